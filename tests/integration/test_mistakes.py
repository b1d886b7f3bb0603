"""Every mistake of the lists is refused at apply, or said in a condition, with words that help."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.cluster import Cluster, CommandError
from support.mistakes import REFUSED_AT_APPLY, Mistake
from support.mistakes_said import ON_NODES, SAID_IN_A_CONDITION
from support.operator_processes import Operator
from support.operator_scene import a_pool, a_workflow

pytestmark = pytest.mark.timeout(600)

POOL = a_pool("greeters", image="shop/hello:1", modules=["hello"], scaling={"max": 1})
FIRST = a_workflow("first", type="Hello", input=["you"], workerPool="greeters")
NO_CODE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "no-code"}}


@pytest.fixture(scope="module")
def operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator with a worker, to which every mistake was applied."""
    folder = tmp_path_factory.mktemp("mistakes")
    with cluster.namespace("mistakes") as namespace, Operator(cluster, namespace, folder) as own:
        own.apply(POOL, FIRST, {**NO_CODE, "data": {"notes.txt": "none"}})
        own.start_worker(own.the_job())
        own.phase("workflow", "first", "Running")
        own.apply(*(yaml.safe_load(each.text) for each in SAID_IN_A_CONDITION))
        yield own


def _ids(mistake: Mistake) -> str:
    return mistake.what.replace(" ", "-")


@pytest.mark.parametrize("mistake", REFUSED_AT_APPLY, ids=_ids)
def test_the_api_server_refuses_it_and_says_what_to_write(
    cluster: Cluster, mistake: Mistake
) -> None:
    with pytest.raises(CommandError) as caught:
        cluster.kubectl("create", "--dry-run=server", "-f", "-", input=mistake.text)
    for words in mistake.told:
        assert words in str(caught.value)


@pytest.mark.parametrize("mistake", SAID_IN_A_CONDITION, ids=_ids)
def test_the_operator_says_it_where_people_look(operator: Operator, mistake: Mistake) -> None:
    kind, name = yaml.safe_load(mistake.text)["kind"], mistake.name

    def is_said() -> bool:
        status, reason, _ = operator.condition(kind, name, "Stalled")
        return (status, reason) == ("True", mistake.reason)

    operator.eventually(is_said, f"{kind} {name} says {mistake.reason}")
    _, _, message = operator.condition(kind, name, "Stalled")
    for words in mistake.told:
        assert words in message


def test_what_a_node_finds_out_is_shown_by_tests_that_there_are() -> None:
    folder = Path(__file__).parents[1] / "e2e"
    code = "\n".join(each.read_text(encoding="utf-8") for each in folder.glob("test_*.py"))
    assert [test for test in ON_NODES.values() if f"def {test}(" not in code] == []
