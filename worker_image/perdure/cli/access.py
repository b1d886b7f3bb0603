"""How a command proves who asks, and whom it trusts: the token's file and the authority's.

Every verb that takes ``--address`` takes ``--token-file`` and ``--tls-ca``, too. They are added to
the verbs here, in one place, and found by what opens a connection through :func:`current_access`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from perdure.client import TLSConfig, TokenFile

_TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        envvar="PERDURE_TOKEN_FILE",
        metavar="FILE",
        help="Where the bearer token is; read anew for each connection.",
        show_default=False,
    ),
]
_CaOption = Annotated[
    Path | None,
    typer.Option(
        envvar="PERDURE_TLS_CA",
        metavar="FILE",
        help="The authority that signed the server's certificate, PEM; with it TLS is used.",
        show_default=False,
    ),
]
_OPTIONS = {"token_file": _TokenFileOption, "tls_ca": _CaOption}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a command was given; nothing is needed on loopback."""

    token_file: Path | None = None
    tls_ca: Path | None = None

    def token(self) -> TokenFile | None:
        """Return where the token is."""
        from perdure.client import TokenFile

        return TokenFile(self.token_file) if self.token_file is not None else None

    def tls(self) -> bool | TLSConfig:
        """Return how to encrypt; False leaves it to the address.

        Raises:
            UsageError: the authority's file cannot be read.
        """
        from perdure.client import TLSConfig
        from perdure.exceptions import UsageError

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
    """Return the verb with the two options, if it speaks to a server that it is told of."""
    signature = inspect.signature(verb, eval_str=True)
    if "address" not in signature.parameters:
        return verb

    @wraps(verb)
    def command(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in _OPTIONS}
        token = _current.set(Access(**given))
        try:
            return verb(*arguments, **options)
        finally:
            _current.reset(token)

    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _OPTIONS.items()
    ]
    parameters = [*signature.parameters.values(), *added]
    types = {each.name: each.annotation for each in parameters}
    command.__annotations__ = {**types, "return": signature.return_annotation}
    vars(command)["__signature__"] = signature.replace(parameters=parameters)
    return command
