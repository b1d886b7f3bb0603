"""How the server may be started, and what is refused as unsafe."""

from __future__ import annotations

import argparse

import pytest

from perdure_operator.server.gates import OpenGate
from perdure_operator.server.guarding import add_options, find_fault, is_loopback, open_gate

PAIR = ("--tls-cert", "a.crt", "--tls-key", "a.key")


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    add_options(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--host", "::1"),
        ("--host", "localhost"),
        PAIR,
        ("--host", "0.0.0.0", "--insecure"),
        ("--host", "0.0.0.0", *PAIR, "--auth", "kubernetes"),
    ],
)
def test_on_loopback_or_with_both_guards_or_on_purpose_it_starts(
    arguments: tuple[str, ...],
) -> None:
    assert find_fault(parse(*arguments)) == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "--tls-cert and --tls-key and --auth kubernetes"),
        (("--host", "10.0.0.1", *PAIR), "give --auth kubernetes,"),
        (("--host", "::", "--auth", "kubernetes"), "give --tls-cert and --tls-key,"),
        (("--host", "perdure.example"), "--insecure"),
        (PAIR[:2], "together"),
    ],
)
def test_an_open_port_is_refused_in_words(arguments: tuple[str, ...], words: str) -> None:
    assert words in find_fault(parse(*arguments))


@pytest.mark.parametrize(
    ("host", "answer"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("0.0.0.0", False), ("a.b", False)],
)
def test_loopback_is_known_by_its_address(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


async def test_without_authentication_the_gate_is_open() -> None:
    async with open_gate(parse()) as gate:
        assert isinstance(gate, OpenGate)
