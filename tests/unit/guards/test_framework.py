"""What happens while workflow code runs, but is not its doing, goes on working."""

# The calls under test are the ones that are discouraged elsewhere:
# ruff: noqa: PTH108

import gc
import importlib
import logging
import os
import pickle
import random
import sys
import time
import traceback
import uuid
import warnings
import weakref
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from perdure.worker.guards import ForbiddenCallError, unguarded


@pytest.fixture
def make_module(tmp_path, monkeypatch):
    def make(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return make


def test_an_import_works_whatever_the_module_does_when_it_is_loaded(as_workflow, make_module):
    name = make_module(
        "imports_much",
        "import os, pathlib, socket, threading, time\n"
        "HOME = os.environ.get('HOME')\n"
        "TEXT = pathlib.Path(__file__).read_text()\n"
        "socket.socket().close()\n"
        "thread = threading.Thread(target=int)\nthread.start()\nthread.join()\n"
        "def later():\n    return os.environ.get('HOME')\n",
    )
    module = as_workflow(lambda: importlib.import_module(name))
    assert module.TEXT.startswith("import os")
    with pytest.raises(ForbiddenCallError):
        as_workflow(module.later)


def test_an_import_takes_no_random_numbers_from_the_run(as_workflow, make_module):
    name = make_module("draws", "import random, uuid\nX = random.random(), uuid.uuid4()\n")

    def code():
        importlib.import_module(name)
        return random.random()

    assert as_workflow(code) == as_workflow(code) == random.Random(7).random()


def test_a_traceback_can_be_rendered(as_workflow):
    def code():
        try:
            raise ValueError("x")
        except ValueError:
            return traceback.format_exc()

    assert 'raise ValueError("x")' in as_workflow(code)


def test_logging_may_write_files_and_has_the_real_time(as_workflow, tmp_path):
    handler = logging.FileHandler(tmp_path / "log", delay=True)
    handler.setFormatter(logging.Formatter("%(created)f %(asctime)s %(message)s"))
    logger = logging.Logger("guards-test")
    logger.addHandler(handler)
    as_workflow(lambda: logger.warning("shipped"))
    handler.close()
    created, *_ = (tmp_path / "log").read_text().split()
    assert float(created) > 1_700_000_001


def test_warnings_can_be_shown(as_workflow):
    def code():
        warnings.warn("x", stacklevel=1)

    with pytest.warns(UserWarning, match="x"):
        as_workflow(code)


def test_time_zones_can_be_read(as_workflow):
    ZoneInfo.clear_cache()
    assert as_workflow(lambda: ZoneInfo("Asia/Kathmandu")).key == "Asia/Kathmandu"


def test_finalizers_of_other_objects_may_clean_up(as_workflow, tmp_path):
    class Owner:
        def __init__(self, path):
            self.path = path
            self.cycle = self

        def __del__(self):
            os.unlink(self.path)

    class Finalized:
        pass

    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.touch()
    finalized = Finalized()
    finalized.cycle = finalized
    weakref.finalize(finalized, os.unlink, paths[1])
    owner = Owner(paths[0])
    del owner, finalized
    as_workflow(lambda: gc.collect(0))  # only what is young: the objects from above
    assert not any(path.exists() for path in paths)


def test_our_own_code_may_step_out(as_workflow):
    def code():
        with unguarded():
            with unguarded():
                pass
            inside = time.time(), Path(__file__).exists()
        return inside, time.time()

    (inside, exists), after = as_workflow(code)
    assert exists
    assert inside > after == 1_700_000_000.123


def test_guards_do_not_bind_when_a_class_keeps_them():
    class Timed:
        timer = time.perf_counter
        new_id = uuid.uuid1

    assert Timed().timer() <= time.perf_counter()
    assert Timed().new_id().version == 1


@pytest.mark.parametrize("function", ["time.sleep", "random.random", "os.stat"])
def test_guards_pickle_by_name(function):
    module, _, name = function.partition(".")
    guard = getattr(sys.modules[module], name)
    assert pickle.loads(pickle.dumps(guard)) is guard
