"""The way to the server of a cluster: finding it, the tunnel, the ticket."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from perdure.cli import cluster
from perdure.cli.cluster import find_server, forget_tickets, open_way
from perdure.cli.errors import CommandError
from perdure.cli.kubectl import Kubectl
from perdure.cli.tunnel import Tunnel
from perdure.protocol.verbs import ListRequest, ListResponse
from support.fake_kubectl import CONTEXT, FakeKubectl, service, services

FORBIDDEN = 'services is forbidden: User "ann" cannot list resource "services"'


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    fake = FakeKubectl(tmp_path, port=4711)
    monkeypatch.setenv("PATH", fake.install())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return fake


def knows(kubectl: FakeKubectl, *found: dict[str, Any], **others: Any) -> None:
    answers = [
        ("config view", {"data": CONTEXT}),
        ("get services --all-namespaces", services(*found)),
        ("create -f -", {"says": "created"}),
    ]
    kubectl.answer(answers, **others)


def test_a_command_goes_to_the_server_in_the_contexts_namespace(perdure, kubectl) -> None:
    knows(kubectl, service("perdure-system"))
    told = perdure("list", "--context", "prod", answers={ListRequest: ListResponse()})
    assert (told.code, told.address) == (0, "127.0.0.1:4711")
    assert told.request.namespace == "shop"
    assert kubectl.called("port-forward") == [
        "--context prod port-forward -n perdure-system service/perdure-server :7233"
    ]
    assert not kubectl.called("create")


def test_what_a_person_says_goes_before_the_context(perdure, kubectl) -> None:
    knows(kubectl, service("perdure-system"))
    answers = {ListRequest: ListResponse()}
    assert perdure(
        "list", "--context", "prod", "-n", "bank", answers=answers
    ).request.namespace == ("bank")
    assert perdure("list", "--context", "prod", "-A", answers=answers).request.namespace == ""


def test_without_a_context_nobody_asks_kubectl(perdure, kubectl) -> None:
    told = perdure("list", answers={ListRequest: ListResponse()})
    assert told.address == "127.0.0.1:7233"
    assert kubectl.calls == []


def test_a_server_in_the_namespace_itself_comes_before_others(kubectl) -> None:
    knows(kubectl, service("perdure-system"), service("shop"))
    assert find_server(Kubectl(), "shop").namespace == "shop"
    with pytest.raises(CommandError, match=r"several Perdure servers.*--server-namespace"):
        find_server(Kubectl(), "bank")


def test_who_may_not_list_all_services_finds_it_where_it_usually_is(kubectl) -> None:
    kubectl.answer(
        [
            ("--all-namespaces", {"fails": FORBIDDEN}),
            ("-n perdure-system", services(service("perdure-system"))),
        ]
    )
    assert find_server(Kubectl(), "shop").namespace == "perdure-system"


def test_no_server_is_said_with_what_kubectl_said(perdure, kubectl) -> None:
    kubectl.answer([("config view", {"data": CONTEXT}), ("get services", {"fails": FORBIDDEN})])
    told = perdure("list", "--context", "prod")
    assert told.code == 3
    assert "no Perdure server was found" in told.err
    assert 'User "ann" cannot list' in told.err
    assert "--server-namespace" in told.err


def test_no_right_to_forward_is_said_with_the_right(perdure, kubectl) -> None:
    knows(kubectl, service("perdure-system"), **{"port-forward-fails": "pods is forbidden"})
    told = perdure("list", "--context", "prod")
    assert told.code == 3
    assert "pods is forbidden" in told.err
    assert "pods/portforward" in told.err


def test_without_kubectl_a_person_is_told_what_else_there_is(
    perdure, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told = perdure("list", "--context", "prod")
    assert told.code == 3
    assert "kubectl is not on the PATH" in told.err


def test_a_ticket_is_made_once_for_many_commands_and_again_when_it_was_refused(kubectl) -> None:
    knows(kubectl, service("perdure-system", tickets=True, scheme="https"))

    def ticket() -> str:
        with open_way(Kubectl()) as way:
            assert way.is_secure
            return way.ticket

    first = ticket()
    assert first.startswith("perdure-ticket.")
    assert ticket() == first
    (made,) = [each for each in kubectl.calls if "create" in each["words"]]
    assert first not in made["stdin"]
    (kept,) = cluster._folder().iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    forget_tickets()
    assert ticket() != first


def test_a_cluster_that_lets_no_ticket_be_made_is_explained(perdure, kubectl) -> None:
    kubectl.answer(
        [
            ("config view", {"data": CONTEXT}),
            ("get services", services(service("perdure-system", tickets=True))),
            ("create -f -", {"fails": "certificatesigningrequests is forbidden"}),
        ]
    )
    told = perdure("list", "--context", "prod")
    assert told.code == 4
    assert "auth.tickets" in told.err


def openings(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Return what is released each time that a tunnel is opened."""
    opened = threading.Semaphore(0)
    open_ = Tunnel._open

    def tell(tunnel: Tunnel) -> str:
        said = open_(tunnel)
        opened.release()
        return said

    monkeypatch.setattr(Tunnel, "_open", tell)
    return opened


def test_a_forward_that_ends_is_opened_again_at_the_same_port(kubectl, monkeypatch) -> None:
    monkeypatch.setattr("perdure.cli.tunnel._AGAIN", 0.0)
    knows(kubectl, service("perdure-system"))
    opened = openings(monkeypatch)
    with Tunnel(Kubectl(), "ns", "perdure-server", 7233, is_secure=False) as tunnel:
        assert opened.acquire(timeout=10)
        (kubectl.folder / "stop").touch()
        assert opened.acquire(timeout=10)
        assert tunnel.address == "127.0.0.1:4711"
    assert [line.split()[-1] for line in kubectl.called("port-forward")] == [":7233", "4711:7233"]


def test_a_tunnel_that_leads_nowhere_is_opened_again(kubectl, monkeypatch) -> None:
    monkeypatch.setattr("perdure.cli.tunnel._AGAIN", 0.0)
    monkeypatch.setattr("perdure.cli.tunnel._WATCH_EVERY", 0.01)
    knows(kubectl, service("perdure-system"))
    opened = openings(monkeypatch)
    with Tunnel(Kubectl(), "ns", "perdure-server", 7233, is_secure=False):
        # Nobody listens at the port that the fake says it forwards from.
        assert opened.acquire(timeout=10)
        assert opened.acquire(timeout=10)
