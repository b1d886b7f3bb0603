"""Printing as tables, JSON and YAML."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.outputs import ago, json_text, table, to_data, to_yaml
from perdure.protocol import events as ev
from perdure.protocol.failures import Failure, RetryState
from perdure.protocol.payloads import Payload
from perdure.protocol.verbs import RunStatus, RunSummary

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
BEGIN = 1_700_000_000_123


@given(VALUES)
def test_yaml_says_the_same_as_json(value):
    text = to_yaml(value)
    assert yaml.safe_load(text) == json.loads(json_text(value))


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "y", "null", "~", "true", "1", "1.5", "1e3", "2001-01-01", "0x1f",
             "22:30", "-", "a: b", "a #b", " a", "", "é", "=", "<<", ".inf", "0o7", "1_000"]
)  # fmt: skip
def test_yaml_keeps_text_that_looks_like_something_else(word):
    assert yaml.safe_load(to_yaml({"x": word, "y": [word]})) == {"x": word, "y": [word]}


def test_yaml_reads_well():
    value = {"name": "order-42", "steps": [{"id": 1, "tags": []}, [2, 3]], "memo": {}}
    assert to_yaml(value).splitlines() == [
        "name: order-42",
        "steps:",
        "- id: 1".rjust(9),
        "    tags: []",
        "  - - 2",
        "    - 3",
        "memo: {}",
    ]


def test_messages_become_data_for_programs():
    summary = RunSummary(
        namespace="default",
        workflow_id="order-42",
        run_id="r",
        workflow_type="Order",
        task_queue="q",
        status=RunStatus.RUNNING,
        started=BEGIN,
    )
    data = to_data(summary)
    assert data["workflowId"] == "order-42"
    assert data["status"] == "Running"
    assert data["started"] == "2023-11-14T22:13:20.123Z"
    assert data["closed"] is None
    json.dumps(data)


def test_events_carry_their_name_and_decoded_values():
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b'{"a":1}')
    done = to_data(ev.HistoryEvent(3, BEGIN, ev.ActivityCompleted(seq=1, result=payload)))
    assert done == {
        "id": 3,
        "time": "2023-11-14T22:13:20.123Z",
        "type": "ActivityCompleted",
        "seq": 1,
        "result": {"a": 1},
    }
    failed = ev.ActivityFailed(seq=1, failure=Failure(), retry_state=RetryState.TIMEOUT)
    assert to_data(ev.HistoryEvent(4, BEGIN, failed))["retryState"] == "TIMEOUT"


def test_columns_stand_under_each_other():
    assert table(["ID", "STATUS"], [["order-42", "Running"], ["a", "Failed"]]) == [
        "ID         STATUS",
        "order-42   Running",
        "a          Failed",
    ]


@pytest.mark.parametrize(
    ("millis", "expected"),
    [(0, "0 s ago"), (59_999, "59 s ago"), (7_200_000, "2 h ago"), (-5, "0 s ago"),
     (61_000, "1 min ago"), (3 * 86_400_000, "3 d ago")],
)  # fmt: skip
def test_how_long_ago_is_said_in_one_unit(millis, expected):
    assert ago(BEGIN, BEGIN + millis) == expected
