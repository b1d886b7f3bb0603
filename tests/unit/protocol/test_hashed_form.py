"""The bytes that the hash chain is over stay what they were, whatever fields are added later."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perdure.protocol import failures, items, payloads, placements, retries
from perdure.protocol.events import decode_events, hashed_form

RECORDED_BY_0_1 = (
    b"\x93\x01\xcf\x00\x00\x01\xa2\x06pD2\x88\xa4type\xafWorkflowStarted\xadworkflow_type\xa9TakesLong"
    b"\xaatask_queue\xa1q\xa5input\x91\x82\xa8metadata\x81\xa8encoding\xc4\njson/plain\xa4data\xc4\x018"
    b"\xa6run_id\xd9$ba9fc33a-306f-4a06-82b4-853795c03376\xactask_timeout\xcd'\x10"
    b"\xa8identity\xadperdure start\xaarequest_id\xd9$6ded6ec9-7f1d-443d-b163-d7021e2526ac",
    b"\x93\x02\xcf\x00\x00\x01\xa2\x06pD8\x85\xa4type\xb5WorkflowTaskCompleted\xa7through\x01"
    b"\xa7started\xcf\x00\x00\x01\xa2\x06pD3\xa8identity\xa814161@vm\xa8build_id\xa2v1",
    b"\x93\x03\xcf\x00\x00\x01\xa2\x06pD8\x88\xa4type\xb1ActivityScheduled\xa3seq\x01\xabactivity_id\xa11"
    b"\xadactivity_type\xa9take_long\xaatask_queue\xa1q\xa5input\x91\x82\xa8metadata\x81\xa8encoding"
    b"\xc4\njson/plain\xa4data\xc4\x038.0\xb6start_to_close_timeout\xcd'\x10\xacretry_policy\x80",
)
"""Events as the first version wrote them."""


@pytest.mark.parametrize("recorded", RECORDED_BY_0_1, ids=["started", "task", "activity"])
def test_what_an_earlier_version_recorded_is_hashed_as_it_was_then(recorded: bytes) -> None:
    (event,) = decode_events(b"\x91" + recorded)
    assert hashed_form(event) == recorded


@pytest.mark.parametrize("module", [failures, items, payloads, placements, retries])
def test_what_events_are_made_of_has_too_few_fields_to_need_a_long_head(module: Any) -> None:
    parts = [each for each in vars(module).values() if isinstance(each, msgspec.StructMeta)]
    assert parts
    for each in parts:
        assert len(each.__struct_fields__) < 15, each
