"""Lists of runs, their filters and counts."""

import pytest

from perdure.client._filters import parse_filter
from perdure.exceptions import UsageError
from perdure.protocol.verbs import ListRequest, ListResponse, RunStatus, RunSummary


def runs(*ids):
    return tuple(
        RunSummary(
            namespace="shop",
            workflow_id=each,
            run_id=f"run-{each}",
            workflow_type="Order",
            task_queue="orders",
            status=RunStatus.RUNNING,
            started=0,
        )
        for each in ids
    )


PAGES = ListResponse(runs=runs("a", "b"), next_page="p2"), ListResponse(runs=runs("c"))


async def test_a_list_goes_on_from_page_to_page(server, client):
    server.answer("list", *PAGES)
    found = [run.id async for run in client.list_workflows("WorkflowType='Order'", page_size=2)]
    assert found == ["a", "b", "c"]
    first = ListRequest(namespace="shop", kind="workflow", workflow_type="Order", limit=2)
    assert server.asked("list")[0] == first
    assert server.asked("list")[1].page == "p2"


async def test_a_list_fetches_no_more_than_is_asked_for(server, client):
    server.answer("list", PAGES[0])
    assert [run.id async for run in client.list_workflows(limit=2)] == ["a", "b"]


async def test_an_empty_page_is_not_the_end(server, client):
    server.answer("list", ListResponse(next_page="p2"), ListResponse(runs=runs("a")))
    assert [run.id async for run in client.list_workflows()] == ["a"]


async def test_nothing_is_an_empty_list(server, client):
    server.answer("list", ListResponse())
    assert [run async for run in client.list_activities()] == []
    assert server.asked("list")[0].kind == "activity"


async def test_a_count_is_over_all_pages(server, client):
    server.answer("list", *PAGES, *PAGES)
    assert (await client.count_workflows()).count == 3
    assert (await client.count_activities()).count == 3


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        pytest.param(None, {}, id="none"),
        pytest.param("  ", {}, id="blank"),
        pytest.param("WorkflowId = 'a b'", {"workflow_id": "a b"}, id="one"),
        pytest.param(
            """WorkflowType="O'Neil" and ExecutionStatus='Running'""",
            {"workflow_type": "O'Neil", "status": "Running"},
            id="two",
        ),
        pytest.param("ActivityType='x'", {"workflow_type": "x"}, id="of-an-activity"),
    ],
)
def test_a_filter_is_equalities_joined_by_and(query, fields):
    assert parse_filter(query) == fields


@pytest.mark.parametrize(
    ("query", "message"),
    [
        pytest.param("StartTime > '2026'", "cannot understand .* WorkflowType", id="operator"),
        pytest.param("Owner='a'", "cannot understand", id="field"),
        pytest.param("WorkflowId='a' OR WorkflowId='b'", "expected AND", id="or"),
        pytest.param("WorkflowId='a' AND ", "cannot understand", id="dangling"),
        pytest.param("WorkflowId='a' ANDWorkflowId='b'", "expected AND", id="glued"),
    ],
)
def test_a_filter_that_the_server_has_not_is_refused(query, message):
    with pytest.raises(UsageError, match=message):
        parse_filter(query)
