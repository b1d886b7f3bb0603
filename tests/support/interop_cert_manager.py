"""cert-manager's controllers on a cluster, and what a test asks of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.cluster import Cluster, Manifest
from support.interop_programs import program, source
from support.processes import Process

GROUP = "cert-manager.io"


@contextmanager
def cert_manager(cluster: Cluster, folder: Path) -> Iterator[None]:
    """Run cert-manager against a cluster, its definitions applied."""
    crds = str(source("cert-manager") / "deploy" / "crds")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", crds)
    command = [str(program("cert-manager")), "--kubeconfig", str(cluster.kubeconfig)]
    log = folder / "cert-manager.log"
    with Process(command, log) as process:
        yield
        assert process.is_alive, log.read_text()[-4000:]


def an_authority(namespace: str) -> list[Manifest]:
    """Return an issuer ``perdure`` with an authority that cert-manager makes and keeps."""
    own = {"name": "self-signed", "kind": "Issuer", "group": GROUP}
    parts = (
        ("Issuer", "self-signed", {"selfSigned": {}}),
        (
            "Certificate",
            "authority",
            {
                "isCA": True,
                "commonName": "perdure-authority",
                "secretName": "authority",
                "issuerRef": own,
            },
        ),
        ("Issuer", "perdure", {"ca": {"secretName": "authority"}}),
    )
    return [
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        for kind, name, spec in parts
    ]


def renew(cluster: Cluster, namespace: str, name: str) -> None:
    """Have a certificate issued anew at once, as `cmctl renew` does."""
    status = cluster.get("certificates.cert-manager.io", name, namespace=namespace)["status"]
    issuing = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "a test asks for it",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    patch = {"status": {"conditions": [*status["conditions"], issuing]}}
    cluster.kubectl(
        "patch", "certificates.cert-manager.io", name, "-n", namespace,
        "--type=merge", "--subresource=status", "-p", json.dumps(patch),
    )  # fmt: skip


def read_secret(cluster: Cluster, namespace: str, name: str) -> dict[str, bytes]:
    """Return what is in a Secret."""
    data = cluster.get("secret", name, namespace=namespace)["data"]
    return {key: base64.b64decode(value) for key, value in data.items()}


def mount(secret: dict[str, bytes], folder: Path) -> None:
    """Put a Secret's files into a folder as the kubelet does: all at once, by a link."""
    version = folder / f"..{len(list(folder.iterdir()))}"
    version.mkdir()
    for name, content in secret.items():
        (version / name).write_bytes(content)
    link = folder / "..data.new"
    link.symlink_to(version.name)
    link.rename(folder / "..data")
    for name in secret:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data", name))
