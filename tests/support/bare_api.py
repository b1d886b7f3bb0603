"""The Kubernetes API with nothing in between: what a client can do at most, and what is counted.

The manifests benchmark applies with it, measures it, and reads the API server's own metrics with
it: how many writes there were is nobody's word but the API server's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Manifest = dict[str, Any]

ROOT = "/apis/perdure.dev/v1alpha1/namespaces"
APPLY = {"Content-Type": "application/apply-patch+yaml"}
MERGE = {"Content-Type": "application/merge-patch+json"}
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
WRITES = frozenset({"APPLY", "CREATE", "DELETE", "PATCH", "POST", "PUT", "UPDATE"})
PAGE = 1000

_COUNT = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class BareApi:
    """One API server, by a connection pool and JSON."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session, self._address = session, address

    async def call(
        self, method: str, path: str, body: Manifest | None = None, **options: Any
    ) -> bytes:
        """Send a request and return the answer's body.

        Raises:
            AssertionError: the API server refused it.
        """
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        async with self._session.request(
            method, self._address + path, data=data, headers=headers, **options
        ) as answer:
            text = await answer.read()
            assert answer.status < 400, f"{method} {path}: {answer.status} {text[:500]!r}"
            return text

    async def create(self, namespace: str, manifest: Manifest) -> None:
        """Make a Workflow."""
        await self.call("POST", f"{ROOT}/{namespace}/workflows", manifest)

    async def apply_status(self, namespace: str, name: str, status: Manifest) -> None:
        """Write a Workflow's status, as the operator does."""
        body = {
            "apiVersion": "perdure.dev/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": name, "namespace": namespace},
            "status": status,
        }
        path = f"{ROOT}/{namespace}/workflows/{name}/status"
        query = {"fieldManager": "bare", "force": "true"}
        await self.call("PATCH", path, body, params=query, headers=APPLY)

    async def cancel(self, namespace: str, name: str) -> None:
        """Ask for a Workflow's cancellation."""
        path = f"{ROOT}/{namespace}/workflows/{name}"
        await self.call("PATCH", path, {"spec": {"cancel": True}}, headers=MERGE)

    async def delete(self, namespace: str, name: str) -> None:
        """Delete a Workflow."""
        await self.call("DELETE", f"{ROOT}/{namespace}/workflows/{name}")

    async def phase(self, namespace: str, name: str) -> str | None:
        """Return a Workflow's phase, empty while it has none; None when there is no such one."""
        address = f"{self._address}{ROOT}/{namespace}/workflows/{name}"
        async with self._session.get(address) as answer:
            if answer.status == 404:
                return None
            return str((await answer.json()).get("status", {}).get("phase", ""))

    async def phases(self, namespace: str) -> Counter[str]:
        """Return how many Workflows are in each phase, from the API server's watch cache."""
        text = await self.call(
            "GET",
            f"{ROOT}/{namespace}/workflows",
            headers=TABLE,
            params={"resourceVersion": "0", "includeObject": "None"},
        )
        table = json.loads(text)
        names = [column["name"] for column in table["columnDefinitions"]]
        which = names.index("Phase")
        return Counter(row["cells"][which] for row in table["rows"] or ())

    async def workflows(self, namespace: str) -> AsyncIterator[Manifest]:
        """Yield every Workflow, read page by page."""
        following = ""
        while True:
            query = {"limit": str(PAGE), "continue": following}
            text = await self.call("GET", f"{ROOT}/{namespace}/workflows", params=query)
            page = json.loads(text)
            for each in page["items"]:
                yield each
            following = page["metadata"].get("continue", "")
            if not following:
                return

    async def writes(self) -> Counter[str]:
        """Return how often each kind of our objects was written to, as ``VERB kind``."""
        text = (await self.call("GET", "/metrics")).decode()
        found: Counter[str] = Counter()
        for labels, value in _COUNT.findall(text):
            label = dict(_LABEL.findall(labels))
            if label["group"] == "perdure.dev" and label["verb"] in WRITES:
                what = "/".join(filter(None, (label["resource"], label["subresource"])))
                found[f"{label['verb']} {what}"] += round(float(value))
        return found


@asynccontextmanager
async def open_api(kubeconfig: Path) -> AsyncIterator[BareApi]:
    """Give the API that a kubeconfig leads to: its first cluster, by its first user."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as identity:
        for part in ("client-certificate-data", "client-key-data"):
            identity.write(base64.b64decode(user[part]) + b"\n")
        identity.flush()
        context.load_cert_chain(identity.name)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield BareApi(session, cluster["server"])


async def at_once(jobs: Iterable[Callable[[], Awaitable[object]]], *, width: int) -> float:
    """Do all jobs, ``width`` at a time, and return the seconds that it took."""
    left = iter(jobs)

    async def work() -> None:
        for job in left:
            await job()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(width)))
    return time.perf_counter() - began
