"""Who somebody is and what they may do, as the API server reviews it.

A TokenReview turns a bearer token into an :class:`Identity`; a SubjectAccessReview tells whether
an identity has a :class:`Right`. Here are the values, the port, and the bodies of the two
reviews; :class:`~perdure_operator.cluster.api.KubernetesCluster` sends them. A token stands in the
body of its review and nowhere else: not in an error, not in a log line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from perdure_operator.cluster.kinds import GROUP
from perdure_operator.cluster.port import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a token speaks for."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What the authenticator said besides; authorizers may look at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Something that may be done, in Kubernetes' words."""

    verb: str
    resource: str
    """The plural of one of our kinds."""
    subresource: str = ""
    namespace: str
    """Empty: in every namespace."""
    name: str = ""
    """Empty: with every object."""
    group: str = GROUP


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenVerdict:
    """What a TokenReview came to."""

    identity: Identity | None
    """None: the token is no good."""
    reason: str = ""
    """Why it is no good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RightVerdict:
    """What a SubjectAccessReview came to."""

    allowed: bool
    reason: str = ""
    """What the authorizer said; RBAC says nothing when no rule fits."""


class Reviewer(Protocol):
    """The port. Each method raises ``ClusterError`` when there is no verdict."""

    async def review_token(self, token: str, audience: str) -> TokenVerdict:
        """Return whom a token made for ``audience`` speaks for, or a ticket."""
        ...

    async def review_right(self, identity: Identity, right: Right) -> RightVerdict:
        """Return whether somebody may do something."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewKind:
    """A kind of review: created, answered at once, and kept nowhere."""

    group: str
    kind: str
    plural: str
    version: str = field(default="v1")

    @property
    def path(self) -> str:
        """Where it is created."""
        return f"/apis/{self.group}/{self.version}/{self.plural}"

    def body(self, spec: Manifest) -> Manifest:
        """Return the review to create."""
        return {"apiVersion": f"{self.group}/{self.version}", "kind": self.kind, "spec": spec}


TOKEN_REVIEW = ReviewKind(group="authentication.k8s.io", kind="TokenReview", plural="tokenreviews")
ACCESS_REVIEW = ReviewKind(
    group="authorization.k8s.io", kind="SubjectAccessReview", plural="subjectaccessreviews"
)


def local_access_review(namespace: str) -> ReviewKind:
    """Return the kind of review that a Role in the namespace is enough for."""
    return ReviewKind(
        group="authorization.k8s.io",
        kind="LocalSubjectAccessReview",
        plural=f"namespaces/{namespace}/localsubjectaccessreviews",
    )


def token_spec(token: str, audience: str) -> Manifest:
    """Return what a TokenReview asks."""
    return {"token": token, "audiences": [audience]}


def read_token_status(status: Mapping[str, Manifest], audience: str) -> TokenVerdict:
    """Return what a TokenReview's status says."""
    if not status.get("authenticated"):
        return TokenVerdict(identity=None, reason=str(status.get("error") or ""))
    # An authenticator that knows nothing of audiences returns none: its word is not enough.
    if audience not in status.get("audiences", ()):
        return TokenVerdict(identity=None, reason=f"it was not made for audience {audience!r}")
    user = status.get("user", {})
    extra = user.get("extra") or {}
    identity = Identity(
        username=user.get("username", ""),
        uid=user.get("uid", ""),
        groups=tuple(user.get("groups") or ()),
        extra=tuple((name, tuple(values)) for name, values in sorted(extra.items())),
    )
    if not identity.username:
        return TokenVerdict(identity=None, reason="it names no user")
    return TokenVerdict(identity=identity)


def access_spec(identity: Identity, right: Right) -> Manifest:
    """Return what a SubjectAccessReview asks."""
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": right.resource,
        "subresource": right.subresource,
        "namespace": right.namespace,
        "name": right.name,
    }
    return {
        "user": identity.username,
        "uid": identity.uid,
        "groups": list(identity.groups),
        "extra": {name: list(values) for name, values in identity.extra},
        "resourceAttributes": {name: value for name, value in attributes.items() if value},
    }


def read_access_status(status: Manifest) -> RightVerdict:
    """Return what a SubjectAccessReview's status says."""
    allowed = status.get("allowed") is True and not status.get("denied")
    reason = status.get("reason") or status.get("evaluationError") or ""
    return RightVerdict(allowed=allowed, reason=str(reason))
