"""The clock of workflow code stands at the activation's time."""

# The calls under test are the ones that are discouraged elsewhere:
# ruff: noqa: DTZ001, DTZ002, DTZ003, DTZ005, DTZ011, PLW0108

import datetime
import gc
import time
import types
from datetime import UTC, timedelta, timezone
from time import monotonic as bound_before

import msgspec
import pytest
from pydantic import BaseModel

from perdure.worker import guards

NOW_MS = 1_700_000_000_123
NOW = datetime.datetime(2023, 11, 14, 22, 13, 20, 123000)


@pytest.mark.parametrize(
    "clock", ["time", "monotonic", "perf_counter", "process_time", "thread_time"]
)
def test_every_clock_shows_workflow_time(as_workflow, clock):
    assert as_workflow(lambda: getattr(time, clock)()) == NOW_MS / 1000
    assert as_workflow(lambda: getattr(time, f"{clock}_ns")()) == NOW_MS * 1_000_000


def test_system_clocks_show_workflow_time(as_workflow):
    assert as_workflow(lambda: time.clock_gettime(time.CLOCK_REALTIME)) == NOW_MS / 1000
    assert as_workflow(lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC)) == NOW_MS * 10**6


def test_naive_now_is_workflow_time_in_utc(as_workflow):
    assert as_workflow(lambda: datetime.datetime.now()) == NOW
    assert as_workflow(lambda: datetime.datetime.utcnow()) == NOW
    assert as_workflow(lambda: datetime.datetime.today()) == NOW
    assert as_workflow(lambda: datetime.date.today()) == NOW.date()


def test_aware_now_is_workflow_time_in_its_zone(as_workflow):
    zone = timezone(timedelta(hours=5))
    now = as_workflow(lambda: datetime.datetime.now(zone))
    assert now == NOW.replace(tzinfo=UTC)
    assert now.utcoffset() == timedelta(hours=5)
    assert as_workflow(lambda: datetime.datetime.now(tz=UTC)) == NOW.replace(tzinfo=UTC)


def test_subclasses_of_datetime_keep_their_class(as_workflow):
    class Instant(datetime.datetime):
        pass

    class Day(datetime.date):
        pass

    assert type(as_workflow(Instant.now)) is Instant
    assert type(as_workflow(lambda: Instant.now(UTC))) is Instant
    assert type(as_workflow(Day.today)) is Day
    assert type(Instant.now()) is Instant


def test_broken_down_time_without_an_argument_is_workflow_time(as_workflow):
    expected = time.gmtime(NOW_MS / 1000)
    assert as_workflow(time.gmtime) == expected
    assert as_workflow(time.localtime) == expected
    assert as_workflow(time.ctime) == time.asctime(expected)
    assert as_workflow(time.asctime) == time.asctime(expected)
    assert as_workflow(lambda: time.strftime("%Y-%m-%d %H:%M")) == "2023-11-14 22:13"


def test_broken_down_time_of_a_given_instant_is_as_everywhere(as_workflow):
    assert as_workflow(lambda: time.gmtime(0)) == time.gmtime(0)
    assert as_workflow(lambda: time.localtime(0)) == time.localtime(0)
    assert as_workflow(lambda: time.ctime(0)) == time.ctime(0)
    assert as_workflow(lambda: time.strftime("%Y", time.gmtime(0))) == "1970"
    assert as_workflow(lambda: time.asctime(time.gmtime(0))) == time.asctime(time.gmtime(0))


def test_datetime_stays_the_class_that_it_was(as_workflow):
    class Model(BaseModel):
        at: datetime.datetime

    class Struct(msgspec.Struct):
        at: datetime.datetime

    now = as_workflow(lambda: datetime.datetime.now(UTC))
    assert type(now) is datetime.datetime
    assert Model(at=now).at == now
    assert msgspec.json.decode(msgspec.json.encode(Struct(at=now)), type=Struct).at == now


def test_outside_workflow_code_the_clock_goes_on():
    assert abs(time.time() - datetime.datetime.now(UTC).timestamp()) < 5
    assert time.time() > NOW_MS / 1000 + 10**6
    assert time.perf_counter() <= time.perf_counter()
    assert datetime.date.today() == datetime.datetime.now().date()


def test_without_guards_everything_is_the_original_again():
    guarded = time.time, datetime.datetime.now
    guards.uninstall()
    assert isinstance(time.time, types.BuiltinFunctionType)
    assert isinstance(datetime.datetime.now, types.BuiltinFunctionType)
    assert time.time is not guarded[0]
    gc.collect()
    assert datetime.datetime.now().tzinfo is None


def test_installing_twice_is_installing_once():
    first = time.time
    guards.install()
    assert time.time is first
    guards.uninstall()
    assert isinstance(time.time, types.BuiltinFunctionType)


def test_a_function_bound_by_name_before_is_guarded_in_workflow_modules(as_workflow):
    module = types.ModuleType("orders")
    module.clock = bound_before
    assert as_workflow(lambda: module.clock()) != NOW_MS / 1000
    guards.install_into(module)
    assert as_workflow(lambda: module.clock()) == NOW_MS / 1000
    guards.uninstall()
    assert module.clock is bound_before


def test_modules_of_the_same_package_are_guarded_together(as_workflow, monkeypatch):
    workflows, helpers, other = (
        types.ModuleType(name) for name in ("orders.workflows", "orders.helpers", "ordersx")
    )
    for module in (workflows, helpers, other):
        module.clock = bound_before
        monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    guards.install_into(workflows)
    assert as_workflow(lambda: helpers.clock()) == NOW_MS / 1000
    assert other.clock is bound_before
