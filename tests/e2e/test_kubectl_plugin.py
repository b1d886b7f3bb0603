"""``kubectl perdure`` on a real cluster: through the API server, as the person that kubectl is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import e2e_worker_code
from support.cluster import Cluster
from support.cluster_tools import Announce, tools
from support.e2e import Release, Team
from support.manifests import manifest_of
from support.processes import Process

CODE = Path(e2e_worker_code.__file__)


@dataclass(frozen=True)
class Person:
    """Somebody with kubectl, the plugin, and a kubeconfig."""

    kubeconfig: Path
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """Return what is set in their shell."""
        programs = [Path(sys.executable).parent, tools().kubectl.parent]
        return {
            **os.environ,
            "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
            "KUBECONFIG": str(self.kubeconfig),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }

    def perdure(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Type ``kubectl perdure``."""
        command = ["kubectl", "perdure", *words]
        return subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )

    def says(self, *words: str) -> str:
        """Do the same, where it must work."""
        done = self.perdure(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def admin(cluster: Cluster, team: Team, tmp_path: Path) -> Person:
    """Who has all rights, and the team's namespace in the context."""
    return person(cluster, tmp_path, team.namespace)


def person(cluster: Cluster, folder: Path, namespace: str, **user: Any) -> Person:
    """Return somebody; ``user`` is added to the kubeconfig's user, e.g. whom to impersonate."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["current-context"] = cluster.context
    context = next(each for each in config["contexts"] if each["name"] == cluster.context)
    context["context"]["namespace"] = namespace
    name = context["context"]["user"]
    next(each for each in config["users"] if each["name"] == name)["user"] |= user
    path = folder / f"{user.get('as', 'admin')}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return Person(path, folder)


def give_work(team: Team) -> None:
    """Have a pool, and a run that waits for a word."""
    team.give_code("code", CODE)
    pool = {"code": {"configMap": "code"}, "scaling": {"idleAfter": "120s"}}
    team.apply(
        manifest_of("WorkerPool", "greeters", **pool),
        manifest_of("Workflow", "hello", type="WaitsForWord", workerPool="greeters"),
    )


def test_a_person_sees_steers_and_follows_a_run_while_the_server_moves(
    team: Team, release: Release, admin: Person, announce: Announce, tmp_path: Path
) -> None:
    give_work(team)
    team.wait_for("jsonpath={.status.phase}=Running", "workflow/hello")

    command = ["kubectl", "perdure", "show", "hello", "--follow"]
    with Process(command, tmp_path / "follow.log", env=admin.env) as following:
        head = following.first_line()
        assert head.startswith("Workflow  hello (WaitsForWord)   Running")
        release.kubectl("delete", "pod", release.pod()["metadata"]["name"])
        release.wait_ready()
        assert "signalled hello" in admin.says("signal", "hello", "word", "-i", '"swordfish"')
        told = following.output(timeout=60)
    assert "WorkflowCompleted" in told, following.log.read_text()

    assert json.loads(admin.says("result", "hello")) == "swordfish"
    assert admin.says("list", "-o", "name") == "hello\n"
    assert team.namespace in admin.says("list", "-A")
    log = admin.says("logs", "hello")
    assert "heard swordfish" in log
    announce(f"$ kubectl perdure logs hello\n{log}{admin.says('show', 'hello')}")


def test_the_server_knows_the_person_and_asks_for_their_rights(
    cluster: Cluster, release: Release, team: Team, tmp_path: Path
) -> None:
    give_work(team)
    forward = ["--verb=get,list,create", "--resource=pods,services,pods/portforward"]
    release.kubectl("create", "role", "reach", *forward)
    release.kubectl("create", "rolebinding", "reach", "--role=reach", "--group=staff")
    staff = {"as-groups": ["system:authenticated", "staff"]}
    ann = person(cluster, tmp_path, team.namespace, **{"as": "ann", **staff})
    bob = person(cluster, tmp_path, team.namespace, **{"as": "bob", **staff})
    team.kubectl("create", "rolebinding", "ann", "--clusterrole=edit", "--user=ann")
    team.wait_for("jsonpath={.status.phase}=Running", "workflow/hello")

    where = ("--server-namespace", release.namespace)
    refused = bob.perdure("signal", "hello", "word", "-i", '"mine"', *where)
    assert refused.returncode == 4
    assert "bob may not patch workflows.perdure.dev" in refused.stderr
    assert "signalled hello" in ann.says("signal", "hello", "word", "-i", '"swordfish"', *where)
    assert json.loads(ann.says("result", "hello", *where)) == "swordfish"
    elsewhere = ann.perdure("list", "-A", *where)
    assert elsewhere.returncode == 4
    assert "ann may not list" in elsewhere.stderr
