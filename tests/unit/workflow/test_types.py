from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from perdure.workflow._types import _known_results, return_type_or_none


def plain() -> int:
    return 1


async def coroutine() -> str:
    return ""


def strange() -> Missing:  # type: ignore[name-defined]  # noqa: F821 - that is the point
    return None


class Shop:
    def sell(self) -> float:
        return 1.0

    @classmethod
    def make(cls) -> bytes:
        return b""

    @staticmethod
    def list() -> bool:
        return True

    def __call__(self) -> complex:
        return 1j


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        pytest.param(plain, int, id="function"),
        pytest.param(coroutine, str, id="coroutine"),
        pytest.param(Shop().sell, float, id="method"),
        pytest.param(Shop.sell, float, id="unbound"),
        pytest.param(Shop.make, bytes, id="classmethod"),
        pytest.param(Shop.list, bool, id="staticmethod"),
        pytest.param(Shop(), complex, id="callable"),
        pytest.param(Shop, complex, id="class"),
        pytest.param(functools.partial(functools.partial(plain)), int, id="partial"),
        pytest.param(lambda: 1, None, id="lambda"),
        pytest.param(len, None, id="builtin"),
        pytest.param(strange, None, id="unresolvable"),
    ],
)
def test_the_result_type_of_any_callable_is_found_or_not_needed(
    fn: Callable[..., Any], expected: Any
) -> None:
    assert return_type_or_none(fn) is expected
    assert return_type_or_none(fn) is expected


def test_functions_that_were_asked_about_are_not_kept_alive() -> None:
    def local() -> int:
        return 1

    return_type_or_none(local)
    assert _known_results[local] is int
    reference = weakref.ref(local)
    del local
    gc.collect()

    assert reference() is None
