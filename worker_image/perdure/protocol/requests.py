"""Requests about one run; the verbs in :mod:`perdure.protocol.verbs` say more."""

from __future__ import annotations

import msgspec


class TargetRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which run: the newest of the id unless ``run_id`` is given."""

    namespace: str
    workflow_id: str
    run_id: str = ""
