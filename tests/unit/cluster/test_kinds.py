"""Where the API serves what, and what its refusals mean."""

from __future__ import annotations

import pytest

from perdure_operator.cluster import (
    CONFIG_MAPS,
    JOBS,
    WORKFLOWS,
    ClusterError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ObjectKind,
    UnavailableError,
)
from perdure_operator.cluster.errors import error_for_status


@pytest.mark.parametrize(
    ("kind", "name", "subresource", "path"),
    [
        (WORKFLOWS, "", "", "/apis/perdure.dev/v1alpha1/namespaces/shop/workflows"),
        (WORKFLOWS, "a", "status", "/apis/perdure.dev/v1alpha1/namespaces/shop/workflows/a/status"),
        (JOBS, "a", "", "/apis/batch/v1/namespaces/shop/jobs/a"),
        (CONFIG_MAPS, "a", "", "/api/v1/namespaces/shop/configmaps/a"),
    ],
)
def test_each_kind_has_its_address(
    kind: ObjectKind, name: str, subresource: str, path: str
) -> None:
    assert kind.path("shop", name, subresource=subresource) == path


def test_the_core_group_has_no_name() -> None:
    assert (CONFIG_MAPS.api_version, JOBS.api_version) == ("v1", "batch/v1")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidError),
        (401, UnavailableError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, InvalidError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
def test_an_error_says_who_must_act(status: int, error: type[ClusterError]) -> None:
    found = error_for_status(status, "get jobs", "why")

    assert type(found) is error
    assert str(found) == "get jobs: why"
    assert found.message == "why"
