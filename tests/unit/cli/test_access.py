"""The options by which a command proves who asks."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer.main

from perdure.cli.access import Access, current_access, with_access
from perdure.cli.app import build_app
from perdure.exceptions import UsageError

WITHOUT = {"dev", "run"}


def test_every_verb_that_speaks_to_a_server_takes_a_token_and_an_authority() -> None:
    group = typer.main.get_command(build_app())
    taking = {
        name
        for name, command in group.commands.items()  # type: ignore[attr-defined]  # it is a group
        if {"token_file", "tls_ca"} <= {parameter.name for parameter in command.params}
    }
    assert taking == set(group.commands) - WITHOUT  # type: ignore[attr-defined]  # it is a group


def test_what_was_given_is_known_while_the_verb_runs_and_not_after() -> None:
    def verb(address: str) -> Access:
        assert address == "a"
        return current_access()

    given = with_access(verb)(address="a", token_file=Path("t"), tls_ca=None)
    assert given == Access(token_file=Path("t"))
    assert current_access() == Access()
    assert current_access().token() is None
    assert current_access().tls() is False


def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--tls-ca"):
        Access(tls_ca=tmp_path / "none.crt").tls()
