"""Which cluster the tests take, on machines of every kind; no cluster is started here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.cluster_providers import (
    Kind,
    Localkube,
    NamedContext,
    choose_provider,
)
from support.cluster_tools import ClusterUnavailableError, file_lock, run


class Machine:
    """A machine on which the given programs answer as told; the rest is as it is."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self._bin = folder / "bin"
        self._bin.mkdir()
        monkeypatch.setenv("PATH", f"{self._bin}:{os.environ['PATH']}")
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.delenv("PERDURE_TEST_CONTEXT", raising=False)
        self.has("docker", "exit 1")

    def has(self, program: str, does: str = "") -> None:
        script = self._bin / program
        script.write_text(f'#!/bin/sh\necho "{program} $*" >> {self.calls}\n{does}\n')
        script.chmod(0o755)

    def verbs(self, program: str) -> list[str]:
        lines = self.calls.read_text().splitlines()
        return [line.split()[1] for line in lines if line.startswith(f"{program} ")]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def quiet(text: str) -> None:
    """Announce to nobody."""


def test_a_named_context_comes_before_all(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.has("docker")
    machine.has("kind")
    monkeypatch.setenv("PERDURE_TEST_CONTEXT", "staging")
    assert isinstance(choose_provider(nodes=True), NamedContext)


def test_kind_is_taken_where_a_docker_engine_answers(machine: Machine) -> None:
    machine.has("docker")
    machine.has("kind")
    assert isinstance(choose_provider(nodes=True), Kind)


def test_kind_without_a_docker_engine_is_no_cluster(machine: Machine) -> None:
    machine.has("kind")
    machine.has("uname", "echo Darwin")
    with pytest.raises(ClusterUnavailableError):
        choose_provider(nodes=True)


def test_the_error_says_every_way_to_get_a_cluster_and_how_to_do_without(machine: Machine) -> None:
    machine.has("uname", "echo Darwin")
    machine.has("id", "echo 1000")
    with pytest.raises(ClusterUnavailableError) as caught:
        choose_provider(nodes=True)
    for way in ("PERDURE_TEST_CONTEXT", "kind.sigs.k8s.io", "needs Linux", "needs root"):
        assert way in str(caught.value)
    assert "make test-local" in str(caught.value)


def test_a_cluster_without_nodes_needs_no_root(machine: Machine) -> None:
    machine.has("uname", "echo Linux")
    machine.has("id", "echo 1000")
    machine.has("go")
    machine.has("openssl")
    assert isinstance(choose_provider(nodes=False), Localkube)


def test_a_kind_cluster_that_was_started_here_is_deleted(machine: Machine) -> None:
    machine.has("kind")
    with Kind(nodes=True).running(quiet) as address:
        assert address.context == "kind-perdure-tests"
        assert machine.verbs("kind") == ["get", "create"]
    assert machine.verbs("kind") == ["get", "create", "delete"]


def test_a_kind_cluster_whose_start_fails_is_deleted(machine: Machine) -> None:
    machine.has("kind", '[ "$1" != create ]')
    with pytest.raises(Exception, match="create"), Kind(nodes=True).running(quiet):
        pass
    assert machine.verbs("kind") == ["get", "create", "delete"]


def test_a_kind_cluster_that_was_up_is_left_up(machine: Machine) -> None:
    machine.has("kind", '[ "$1" != get ] || echo perdure-tests')
    with Kind(nodes=True).running(quiet):
        pass
    assert machine.verbs("kind") == ["get", "export"]


def test_the_context_of_a_kind_cluster_takes_images_through_kind(machine: Machine) -> None:
    machine.has("kind")
    NamedContext("kind-mine").load_image(Path("worker.tar"))
    assert machine.calls.read_text() == "kind load image-archive worker.tar --name mine\n"


def test_a_foreign_context_says_how_it_gets_its_images(machine: Machine) -> None:
    with pytest.raises(ClusterUnavailableError, match="PERDURE_TEST_WORKER_IMAGE"):
        NamedContext("staging").load_image(Path("worker.tar"))


def test_two_holders_of_one_lock_are_never_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path, wait=0) as first, file_lock(path, wait=0) as second:
        assert (first, second) == (True, False)
    with file_lock(path, wait=0) as third:
        assert third


def test_localkube_prints_its_use(machine: Machine) -> None:
    script = Path(__file__).parents[1] / "localkube" / "localkube"
    assert "localkube up" in run([script])
