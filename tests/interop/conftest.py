"""What the tests with others' programs share: an API server without nodes."""

from __future__ import annotations

from support.cluster_fixtures import announce, cluster_without_nodes

__all__ = ["announce", "cluster_without_nodes"]
