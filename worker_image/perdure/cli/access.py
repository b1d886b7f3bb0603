"""How a command comes to the server, how it proves who asks, and whom it trusts.

Every verb that takes ``--address`` takes the options here, too: they are added to the verbs in one
place, and found by what opens a connection through :func:`current_access`.

A command goes to an address; or, as ``kubectl perdure`` and whenever ``--context`` or
``--kubeconfig`` is given, to the server of a cluster, as the person that kubectl speaks for
(:mod:`perdure.cli.cluster`).
"""

from __future__ import annotations

import inspect
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from perdure.cli.cluster import Way
    from perdure.cli.kubectl import Kubectl
    from perdure.client import TLSConfig, TokenFile

_PANEL = "Reaching the server"

_TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        envvar="PERDURE_TOKEN_FILE",
        metavar="FILE",
        help="Where the bearer token is; read anew for each connection.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
_CaOption = Annotated[
    Path | None,
    typer.Option(
        envvar="PERDURE_TLS_CA",
        metavar="FILE",
        help="The authority that signed the server's certificate, PEM; with it TLS is used.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
_ContextOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Go to the cluster of this context, through kubectl; `kubectl perdure` always does.",
        show_default="the current one",
        rich_help_panel=_PANEL,
    ),
]
_KubeconfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Where that context stands.",
        show_default="as for kubectl",
        rich_help_panel=_PANEL,
    ),
]
_ServerNamespaceOption = Annotated[
    str,
    typer.Option(
        envvar="PERDURE_SERVER_NAMESPACE",
        metavar="NAME",
        help="With a cluster: the namespace that Perdure is installed in.",
        show_default="it is looked for",
        rich_help_panel=_PANEL,
    ),
]
_ACCESS_OPTIONS: dict[str, tuple[Any, Any]] = {
    "token_file": (_TokenFileOption, None),
    "tls_ca": (_CaOption, None),
}
_CLUSTER_OPTIONS: dict[str, tuple[Any, Any]] = {
    "context": (_ContextOption, ""),
    "kubeconfig": (_KubeconfigOption, None),
    "server_namespace": (_ServerNamespaceOption, ""),
}
_OPTIONS = _ACCESS_OPTIONS | _CLUSTER_OPTIONS
PLUGINS = frozenset({"kubectl-perdure", "kubectl-complete-perdure"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a command was given; nothing is needed on loopback."""

    token_file: Path | None = None
    tls_ca: Path | None = None
    ticket: str = ""
    """Shown when there is no token."""
    is_secure_tunnel: bool = False
    """The address is the beginning of a tunnel to a server that speaks TLS."""
    kubectl: Kubectl | None = None
    """Set when the command went to a cluster."""

    def token(self) -> TokenFile | str | None:
        """Return the token, or where it is."""
        from perdure.client import TokenFile

        if self.token_file is not None:
            return TokenFile(self.token_file)
        return self.ticket or None

    def tls(self) -> bool | TLSConfig | ssl.SSLContext:
        """Return how to encrypt; False leaves it to the address.

        Raises:
            UsageError: the authority's file cannot be read.
        """
        from perdure.client import TLSConfig
        from perdure.exceptions import UsageError

        if self.tls_ca is None and self.is_secure_tunnel:
            from perdure.cli.tunnel import in_tunnel

            return in_tunnel()
        if self.tls_ca is None:
            return False
        try:
            return TLSConfig(server_root_ca_cert=self.tls_ca.read_bytes())
        except OSError as error:
            raise UsageError(f"the file of --tls-ca cannot be read: {error}") from error


_current: ContextVar[Access | None] = ContextVar("access", default=None)


def current_access() -> Access:
    """Return what the running command was given."""
    return _current.get() or Access()


def with_access(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Return the verb with the options, if it speaks to a server that it is told of."""
    signature = inspect.signature(verb, eval_str=True)
    if "address" not in signature.parameters:
        return verb

    @wraps(verb)
    def command(invocation: typer.Context, *arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in _OPTIONS}
        access = Access(**{name: given[name] for name in _ACCESS_OPTIONS})
        cluster = {name: given[name] for name in _CLUSTER_OPTIONS}
        if _goes_to_cluster(cluster, invocation):
            namespace = options.get("namespace", "") if _was_given(invocation, "namespace") else ""
            with _through_cluster(access, cluster, namespace) as (access, way):
                options |= {"address": way.address}
                options |= {"namespace": way.namespace} if "namespace" in options else {}
                return _with(access, verb, arguments, options)
        return _with(access, verb, arguments, options)

    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=option)
        for name, (option, default) in _OPTIONS.items()
    ]
    first = inspect.Parameter(
        "invocation", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = [first, *signature.parameters.values(), *added]
    types = {each.name: each.annotation for each in parameters}
    command.__annotations__ = {**types, "return": signature.return_annotation}
    vars(command)["__signature__"] = signature.replace(parameters=parameters)
    return command


def _with(access: Access, verb: Callable[..., Any], arguments: Any, options: Any) -> Any:
    token = _current.set(access)
    try:
        return verb(*arguments, **options)
    finally:
        _current.reset(token)


def is_plugin() -> bool:
    """Tell whether kubectl called us."""
    # kubectl finds plugins with dashes in their words under names with underscores, too.
    return Path(sys.argv[0]).stem.replace("_", "-") in PLUGINS


def _goes_to_cluster(cluster: dict[str, Any], invocation: typer.Context) -> bool:
    if cluster["context"] or cluster["kubeconfig"]:
        return True
    return is_plugin() and not _was_given(invocation, "address")


def _was_given(invocation: typer.Context, name: str) -> bool:
    """Tell whether a person gave this option, by word or by environment."""
    source = invocation.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


@contextmanager
def _through_cluster(
    access: Access, cluster: dict[str, Any], namespace: str
) -> Iterator[tuple[Access, Way]]:
    """Open the way for the length of the block."""
    from perdure.cli.cluster import open_way
    from perdure.cli.kubectl import Kubectl

    kubectl = Kubectl(context=cluster["context"], kubeconfig=cluster["kubeconfig"])
    with open_way(
        kubectl, namespace=namespace, server_namespace=cluster["server_namespace"]
    ) as way:
        found = replace(access, ticket=way.ticket, is_secure_tunnel=way.is_secure, kubectl=kubectl)
        yield found, way
