"""An adapter of external metrics, as KEDA's is: the API server asks it for the autoscaler.

It serves one number under every name. A Service of type ExternalName leads the API server's
aggregator to it, so it needs no pod.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from support.cluster import Cluster
from support.pki import write_pair

GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"


def _answer(path: str, read: Callable[[], int]) -> dict[str, Any] | None:
    if path == f"/apis/{GROUP}/{VERSION}":
        resource = {
            "name": "externalmetrics",
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{GROUP}/{VERSION}",
            "resources": [resource],
        }
    if not path.startswith(f"/apis/{GROUP}/{VERSION}/namespaces/"):
        return None
    value = {
        "metricName": path.rpartition("/")[2],
        "metricLabels": {},
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "value": str(read()),
    }
    kind = "ExternalMetricValueList"
    return {"kind": kind, "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": [value]}


@contextmanager
def external_metrics(
    cluster: Cluster, namespace: str, read: Callable[[], int], folder: Path
) -> Iterator[None]:
    """Give the cluster an external metrics API whose every metric is what ``read`` says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = _answer(self.path.partition("?")[0], read)
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer or {}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_pair(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        cluster.apply(*_registration(namespace, server.server_address[1]), namespace=namespace)
        try:
            yield
        finally:
            cluster.delete("apiservice", f"{VERSION}.{GROUP}")
            server.shutdown()
            thread.join()


def _registration(namespace: str, port: int) -> list[dict[str, Any]]:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "metrics"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{VERSION}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"namespace": namespace, "name": "metrics", "port": port},
        },
    }
    return [service, api]
