"""Keeping the server's own certificate: in a Secret, in files, and through all that may happen."""

from __future__ import annotations

import asyncio
import logging
import stat
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure_operator.cluster import ConflictError, Manifest, ObjectKind, ObjectRef
from perdure_operator.cluster.errors import UnavailableError
from perdure_operator.server.issuing import LIFETIME, MaterialError, renew
from perdure_operator.server.self_made import Files, MissingSecretError, SelfMade

REF = ObjectRef(namespace="perdure-system", name="perdure-server-certificate")
NAMES = ("perdure-server", "127.0.0.1")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Secrets:
    """The one Secret, on an API server that may be away or have others who write."""

    def __init__(self, data: dict[str, str] | None = None) -> None:
        self.body: Manifest | None = {
            "metadata": {"name": REF.name, "uid": "u1", "resourceVersion": "1"},
        }
        if data is not None:
            self.body["data"] = data
        self.is_away = False
        self.writes = 0
        self.others_write = 0

    async def get(self, kind: ObjectKind, ref: ObjectRef) -> Manifest | None:
        assert (kind.plural, ref) == ("secrets", REF)
        if self.is_away:
            raise UnavailableError("get secret", "connection refused")
        return self.body

    async def apply(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        assert self.body is not None
        if self.others_write:
            self.others_write -= 1
            self.put(renewed_at(BEGIN))
        if manifest["metadata"]["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
            raise ConflictError("apply secret", "another one was faster")
        assert manifest["metadata"]["uid"] == "u1"
        self.writes += 1
        self.put(manifest["data"])
        return manifest

    def put(self, data: dict[str, str]) -> None:
        assert self.body is not None
        version = str(int(self.body["metadata"]["resourceVersion"]) + 1)
        metadata = {**self.body["metadata"], "resourceVersion": version}
        self.body = {"metadata": metadata, "data": data}

    @property
    def data(self) -> dict[str, str]:
        assert self.body is not None
        found: dict[str, str] = self.body["data"]
        return found


def renewed_at(now: datetime) -> dict[str, str]:
    material = renew(None, NAMES, now)
    fields = {"ca.crt": material.authorities, "ca.key": material.authority_key,
              "tls.crt": material.chain, "tls.key": material.key}  # fmt: skip
    return {name: b64encode(content).decode() for name, content in fields.items()}


class Scene:
    def __init__(self, folder: Path, secrets: Secrets) -> None:
        self.secrets = secrets
        self.now = BEGIN
        self.files = Files(
            certificate=folder / "tls.crt", key=folder / "tls.key", authority=folder / "ca.crt"
        )
        self.kept = self.start()

    def start(self) -> SelfMade:
        return SelfMade(self.secrets, REF, names=NAMES, files=self.files, now=lambda: self.now)

    def laid_down(self) -> dict[str, str]:
        paths = {"tls.crt": self.files.certificate, "tls.key": self.files.key,
                 "ca.crt": self.files.authority}  # fmt: skip
        return {name: b64encode(path.read_bytes()).decode() for name, path in paths.items()}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path, Secrets())


async def test_an_empty_secret_is_filled_once_and_what_is_in_it_is_laid_down(scene: Scene) -> None:
    await scene.kept.look()
    await scene.kept.look()

    assert scene.secrets.writes == 1
    assert scene.laid_down().items() <= scene.secrets.data.items()
    assert stat.S_IMODE(scene.files.key.stat().st_mode) == 0o600
    assert not list(scene.files.key.parent.glob("*.partial"))


async def test_a_server_that_starts_anew_takes_what_there_is(scene: Scene) -> None:
    await scene.kept.look()
    before = scene.secrets.data
    await scene.start().look()
    assert scene.secrets.data == before
    assert scene.secrets.writes == 1


async def test_what_is_due_is_renewed_and_the_authority_stays(scene: Scene) -> None:
    await scene.kept.look()
    before = scene.secrets.data
    scene.now += LIFETIME
    await scene.kept.look()

    assert scene.secrets.data["ca.crt"] == before["ca.crt"]
    assert scene.secrets.data["tls.crt"] != before["tls.crt"]
    assert scene.laid_down().items() <= scene.secrets.data.items()


async def test_of_two_who_make_it_at_once_both_use_one(scene: Scene) -> None:
    scene.secrets.others_write = 1
    await scene.kept.look()
    assert scene.secrets.writes == 0
    assert scene.laid_down().items() <= scene.secrets.data.items()


async def test_who_never_comes_first_says_so(scene: Scene) -> None:
    scene.secrets.others_write = 99
    scene.now += LIFETIME * 2  # what the others put there is due at once
    with pytest.raises(ConflictError):
        await scene.kept.look()


async def test_a_secret_that_somebody_emptied_gets_back_what_is_in_use(scene: Scene) -> None:
    await scene.kept.look()
    before = scene.secrets.data
    scene.secrets.put({})
    await scene.kept.look()
    assert scene.secrets.data == before


async def test_half_a_secret_is_left_alone(scene: Scene) -> None:
    half = renewed_at(BEGIN)
    del half["ca.key"]
    scene.secrets.put(half)
    with pytest.raises(MaterialError, match=r"it has no ca\.key: empty it"):
        await scene.kept.look()
    assert scene.secrets.data == half


async def test_without_the_secret_it_says_where_it_comes_from(scene: Scene) -> None:
    scene.secrets.body = None
    with pytest.raises(MissingSecretError, match="apply the chart again"):
        await scene.kept.look()


@pytest.mark.looptime
async def test_a_start_waits_for_the_api_server_and_says_so_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.secrets.is_away = True
    waiting = asyncio.create_task(scene.kept.prepare(asyncio.Event()))
    await asyncio.sleep(60)
    assert not waiting.done()
    scene.secrets.is_away = False
    await waiting
    assert scene.files.certificate.exists()
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "connection refused" in errors[0].getMessage()


@pytest.mark.looptime
async def test_a_start_that_is_to_stop_waits_no_longer(scene: Scene) -> None:
    scene.secrets.is_away = True
    stop = asyncio.Event()
    waiting = asyncio.create_task(scene.kept.prepare(stop))
    await asyncio.sleep(1)
    stop.set()
    await waiting


async def test_a_container_that_is_started_again_serves_without_the_api_server(
    scene: Scene,
) -> None:
    await scene.kept.look()
    before = scene.laid_down()
    scene.secrets.is_away = True
    await scene.start().prepare(asyncio.Event())
    assert scene.laid_down() == before


@pytest.mark.looptime
async def test_it_is_looked_at_for_as_long_as_the_server_runs(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.kept.look()
    before: Any = scene.secrets.data
    watching = asyncio.create_task(scene.kept.watch())
    scene.now += LIFETIME - timedelta(days=1)
    scene.secrets.is_away = True
    await asyncio.sleep(1300)
    assert "connection refused" in caplog.text
    scene.secrets.is_away = False
    await asyncio.sleep(600)
    watching.cancel()
    assert scene.secrets.data["tls.crt"] != before["tls.crt"]
