"""The options by which a command proves who asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from perdure.cli.access import Access, current_access, with_access
from perdure.cli.app import build_app
from perdure.exceptions import UsageError

WITHOUT = {"dev", "run"}


def flatten(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Go through all commands, those of groups included."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, each in inner.items():
        yield from flatten(each, f"{name} {word}".strip())


def test_every_verb_that_speaks_to_a_server_takes_a_token_and_an_authority() -> None:
    commands = dict(flatten(typer.main.get_command(build_app())))
    taking = {
        name
        for name, command in commands.items()
        if {"token_file", "tls_ca", "context", "kubeconfig"}
        <= {parameter.name for parameter in command.params}
    }
    assert taking == set(commands) - WITHOUT


def test_what_was_given_is_known_while_the_verb_runs_and_not_after() -> None:
    seen = []

    def verb(address: str = "b") -> None:
        seen.append((address, current_access()))

    app = typer.Typer()
    app.command()(with_access(verb))
    app(["--address", "a", "--token-file", "t"], standalone_mode=False)
    assert seen == [("a", Access(token_file=Path("t")))]
    assert current_access() == Access()
    assert current_access().token() is None
    assert current_access().tls() is False


def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--tls-ca"):
        Access(tls_ca=tmp_path / "none.crt").tls()
