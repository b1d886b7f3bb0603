"""What a shell offers when TAB is pressed: options, verbs, and the ids of runs.

``perdure --install-completion`` sets it up for ``perdure``. For ``kubectl perdure``, kubectl's own
completion calls the program ``kubectl_complete-perdure``, which is :func:`main`.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import typer

from perdure.cli.kubectl import Kubectl

_NO_FILES = ":4"
"""The last line of an answer to kubectl: what was not offered is not a file's name."""
_LIMIT = 200


def main() -> None:
    """Answer kubectl: the words so far are the arguments, the last one is being written."""
    from perdure.cli.app import build_app

    words = ["perdure", *sys.argv[1:]]
    os.environ |= {
        "_PERDURE_COMPLETE": "complete_bash",
        "COMP_WORDS": shlex.join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    try:
        build_app()(args=[], prog_name="perdure")
    finally:
        print(_NO_FILES)  # noqa: T201 - the answer


def workflow_ids(invocation: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of runs that begin with what was written; nothing if nobody answers."""
    from perdure.cli.access import is_plugin
    from perdure.cli.errors import CommandError

    params = invocation.params
    try:
        if is_plugin() or params.get("context") or params.get("kubeconfig"):
            found = _of_cluster(params.get("namespace"), params)
        else:
            found = _of_server(params)
    except CommandError:
        return []
    return [each for each in found if each.startswith(incomplete)]


def _of_cluster(namespace: str | None, params: dict[str, object]) -> list[str]:
    """Return the names of Workflows: quicker than a way to the server, and mostly what is meant."""
    kubeconfig = params.get("kubeconfig")
    kubectl = Kubectl(
        context=str(params.get("context") or ""),
        kubeconfig=Path(str(kubeconfig)) if kubeconfig else None,
    )
    where = ["-n", namespace] if namespace and namespace != "default" else []
    found = kubectl.run("get", "workflows.perdure.dev", *where, "-o", "name")
    return [each.rpartition("/")[2] for each in found.split()]


def _of_server(params: dict[str, object]) -> list[str]:
    from perdure.cli import options as opt
    from perdure.cli.asking import ask
    from perdure.protocol.verbs import ListRequest

    address = str(params.get("address") or opt.DEFAULT_ADDRESS)
    namespace = str(params.get("namespace") or "default")
    answer = ask(address, ListRequest(namespace=namespace, limit=_LIMIT))
    return list(dict.fromkeys(each.workflow_id for each in answer.runs))
