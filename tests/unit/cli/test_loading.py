"""Finding workflows and activities in what a user names."""

import sys

import pytest

from perdure.cli.errors import CommandError
from perdure.cli.loading import choose_workflow, load_definitions
from perdure.worker import guards

ORDERS = """
import asyncio
from perdure import activity, workflow
from time import time

@activity.defn
def charge(): ...

@activity.defn(name="ship-it")
async def ship(): ...

def helper(): ...

@workflow.defn
class Order:
    @workflow.run
    async def run(self): ...

class Special(Order): ...

@workflow.defn(name="refund")
class Refund:
    @workflow.run
    async def run(self): ...

alias = charge
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch, tmp_path):
    known = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]
    guards.uninstall()


@pytest.fixture
def write(tmp_path):
    def write(name, text=ORDERS):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def names(definitions):
    return (
        [cls.__name__ for cls in definitions.workflows],
        [fn.__name__ for fn in definitions.activities],
    )


def refused(*modules):
    with pytest.raises(CommandError) as raised:
        load_definitions(modules)
    return str(raised.value)


def test_a_file_gives_every_definition_that_it_holds(write):
    found = load_definitions([str(write("orders.py"))])
    assert names(found) == (["Order", "Refund"], ["charge", "ship"])
    assert found.workflows[0].__module__ == "orders"


def test_a_dotted_name_is_looked_up_from_the_current_directory(write):
    write("shop/__init__.py", "")
    write("shop/orders.py")
    assert names(load_definitions(["shop.orders"]))[0] == ["Order", "Refund"]


def test_modules_beside_a_file_can_be_imported(write):
    write("deep/parts.py")
    file = write("deep/main.py", "from parts import Order, charge\n")
    assert names(load_definitions([str(file)])) == (["Order"], ["charge"])


def test_what_two_modules_share_counts_once(write):
    write("parts.py")
    write("more.py", "from parts import *\n")
    assert names(load_definitions(["parts", "more"])) == (["Order", "Refund"], ["charge", "ship"])


def test_a_file_named_like_a_known_module_does_not_replace_it(write):
    import json

    found = load_definitions([str(write("json.py"))])
    assert found.workflows[0].__module__ == "perdure_user_json"
    assert sys.modules["json"] is json


def test_a_file_named_like_the_standard_library_leaves_it_importable(write):
    load_definitions([str(write("tabnanny.py"))])
    assert "tabnanny" not in sys.modules


def test_guards_are_there_before_a_module_takes_functions_by_name(write):
    load_definitions([str(write("orders.py"))])
    assert isinstance(sys.modules["orders"].time, guards.patches.Guard)


def test_a_module_without_definitions_is_refused(write):
    assert "mark classes with @workflow.defn" in refused(str(write("empty.py", "x = 1\n")))


def test_a_missing_file_is_refused():
    assert refused("nowhere.py") == "there is no file nowhere.py"


def test_a_missing_module_is_refused():
    assert "there is no module 'nowhere.at_all'" in refused("nowhere.at_all")


def test_a_missing_import_within_a_module_is_its_own_error(write):
    message = refused(str(write("broken.py", "import not_installed_anywhere\n")))
    assert "broken.py cannot be imported" in message
    assert "No module named 'not_installed_anywhere'" in message
    assert "line 1" in message


def test_an_error_at_import_shows_the_users_lines_only(write):
    message = refused(str(write("broken.py", "def f():\n    return 1 / 0\nf()\n")))
    assert 'broken.py", line 3' in message
    assert "ZeroDivisionError" in message
    assert "loading.py" not in message
    assert "importlib" not in message
    assert "broken" not in sys.modules


def test_a_syntax_error_is_shown_with_its_line(write):
    message = refused(str(write("broken.py", "x = 1\ny = = 2\n")))
    assert "broken.py:2" in message
    assert "y = = 2" in message


def test_a_module_that_exits_is_an_error(write):
    assert "SystemExit" in refused(str(write("broken.py", "raise SystemExit(0)\n")))


def test_a_type_is_chosen_by_its_name_or_its_class(write):
    found = load_definitions([str(write("orders.py"))])
    assert choose_workflow(found, "refund", "orders.py") == "refund"
    assert choose_workflow(found, "Refund", "orders.py") == "refund"
    assert choose_workflow(found, "Order", "orders.py") == "Order"


def test_the_only_workflow_needs_no_name(write):
    only = ORDERS.split("class Special", maxsplit=1)[0]
    assert choose_workflow(load_definitions([str(write("only.py", only))]), "", "f") == "Order"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param("", "several workflows, say which: o.py:Order, o.py:refund", id="several"),
        pytest.param("Nope", "no workflow 'Nope', but: o.py:Order, o.py:refund", id="unknown"),
    ],
)
def test_a_choice_that_cannot_be_made_lists_what_there_is(write, wanted, message):
    found = load_definitions([str(write("o.py"))])
    with pytest.raises(CommandError, match=message):
        choose_workflow(found, wanted, "o.py")


def test_activities_alone_cannot_be_run(write):
    found = load_definitions([str(write("acts.py", ORDERS.split("@workflow", maxsplit=1)[0]))])
    with pytest.raises(CommandError, match="has no workflow"):
        choose_workflow(found, "", "acts.py")
