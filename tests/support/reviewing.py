"""A reviewer for tests: tokens and rights as a test says, and a count of what was asked."""

from __future__ import annotations

from perdure_operator.cluster import Identity, Right, RightVerdict, TokenVerdict
from perdure_operator.cluster.errors import UnavailableError

Rule = tuple[str, str, str, str]
"""User, verb, resource (with its subresource), namespace; ``*`` is any."""


class FakeReviewer:
    """The port :class:`perdure_operator.cluster.Reviewer`, in memory: the token is the user."""

    def __init__(self, *rules: Rule, users: tuple[str, ...] = ("ann", "bob")) -> None:
        self.rules = set(rules)
        self.users = set(users)
        self.named: set[tuple[str, str]] = set()
        """Users and the names of objects that they may do all with."""
        self.aliases: dict[str, str] = {}
        """Further tokens, and whose they are."""
        self.asked: list[str] = []
        self.is_away = False

    async def review_token(self, token: str, audience: str) -> TokenVerdict:
        self._ask(f"token {token} for {audience}")
        user = self.aliases.get(token, token)
        if user not in self.users:
            return TokenVerdict(identity=None, reason="it has expired")
        return TokenVerdict(identity=Identity(username=user))

    async def review_right(self, identity: Identity, right: Right) -> RightVerdict:
        resource = f"{right.resource}/{right.subresource}".rstrip("/")
        self._ask(f"{identity.username} {right.verb} {resource} {right.namespace}:{right.name}")
        asked = (identity.username, right.verb, resource, right.namespace)
        allowed = any(
            all(rule in ("*", given) for rule, given in zip(each, asked, strict=True))
            for each in self.rules
        )
        return RightVerdict(allowed=allowed or (identity.username, right.name) in self.named)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.is_away:
            raise UnavailableError("review", "connection refused")
