"""Input that is changed together with what may change: the API server cannot see it."""

from __future__ import annotations

from perdure_operator.cluster import WORKFLOWS
from support.operator_scene import Scene, a_pool, a_workflow, ref

NAME = "order-42"


async def a_run(**spec: object) -> Scene:
    scene = Scene()
    scene.apply(a_pool())
    scene.apply(a_workflow(**spec))
    await scene.look(WORKFLOWS, NAME)
    return scene


async def test_a_run_whose_input_was_changed_goes_on_and_says_so_until_it_is_taken_back() -> None:
    scene = await a_run(input=[1, {"a": None}])
    scene.cluster.edit(WORKFLOWS, ref(NAME), input=[2], deletionPolicy="Terminate")
    await scene.look(WORKFLOWS, NAME)
    assert scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", "SpecChanged")
    assert "goes on with what it was started with" in scene.message(WORKFLOWS, NAME, "Stalled")
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Running"

    scene.cluster.edit(WORKFLOWS, ref(NAME), input=[1, {"a": None}])
    await scene.look(WORKFLOWS, NAME)
    assert "Stalled" not in scene.conditions(WORKFLOWS, NAME)
