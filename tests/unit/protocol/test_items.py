"""Which items of a batch have failed, as text."""

from __future__ import annotations

import pytest

from perdure.protocol.items import MAX_INDEXES_TEXT, indexes_text


@pytest.mark.parametrize(
    ("indexes", "text"),
    [
        pytest.param([], "", id="none"),
        pytest.param([7], "7", id="one"),
        pytest.param([5, 3, 4, 0, 7], "0,3-5,7", id="spans, in any order"),
        pytest.param(range(100_000), "0-99999", id="all"),
    ],
)
def test_items_are_told_as_kubernetes_tells_those_of_a_job(indexes: list[int], text: str) -> None:
    assert indexes_text(indexes) == text


def test_many_items_are_cut_between_two_and_it_is_said_that_there_are_more() -> None:
    text = indexes_text(range(0, 10_000, 2))
    *whole, sign = text.split(",")
    assert sign == "…"
    assert whole == [str(number) for number in range(0, 2 * len(whole), 2)]
    assert len(text) <= MAX_INDEXES_TEXT + 2
