"""The operator's server, when that is a real host in this process."""

from __future__ import annotations

from typing import Any

from perdure_operator.controllers.server import error_for
from perdure_operator.server.errors import VerbError
from support.hosts import World


class RealServer:
    """The port of the controllers, onto a host; another host may take its place."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def call(self, request: Any) -> Any:
        try:
            return await self.world.verbs.table[type(request)](request)
        except VerbError as error:
            raise error_for(error.code, str(error), run_id=error.run_id) from error
