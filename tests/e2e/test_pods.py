"""Activities with pods of their own, on nodes: containers in any language, and workers apart.

The containers are shell scripts in an image that is at hand; where they speak HTTP, a line of
Python stands for ``curl``, which that image has not.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from support import placed_on_cluster
from support.cluster_tools import Announce
from support.e2e import Team, container_id
from support.e2e_killing import Killer
from support.manifests import manifest_of

CODE = Path(placed_on_cluster.__file__)
POOL = "placed"
OF_ACTIVITIES = ("-l", "perdure.dev/activity")
SOON = {"initialInterval": "500ms", "backoffCoefficient": 1, "maximumAttempts": 2}

ECHO = """
test "$(cat "$PERDURE_INPUT_FILE")" = "$PERDURE_INPUT" || exit 4
test "$1" = "$PERDURE_INPUT" || exit 5
printf '{"got": %s, "attempt": %s}' "$1" "$PERDURE_ATTEMPT" > "$PERDURE_RESULT_FILE"
"""

POST = (
    "python -c 'import json,os,ssl,sys,urllib.request as u;"
    'e=os.environ;c=ssl.create_default_context(cafile=e["PERDURE_TLS_CA"]);'
    'b=json.loads(sys.argv[2])|{"token":e["PERDURE_TASK_TOKEN"]};'
    'r=u.Request(e["PERDURE_ADDRESS"]+"/api/v1/"+sys.argv[1],json.dumps(b).encode(),'
    '{"Content-Type":"application/json"});print(u.urlopen(r,context=c).read().decode())\''
)

UNTIL_TOLD_TO_STOP = f"""
post() {{ {POST} "$@"; }}
trap 'post report-activity "{{\\"result\\": \\"stopped after $beats beats\\"}}"; exit 0' TERM
beats=0
while true; do
  post beat-activity "{{\\"details\\": [$beats]}}"
  beats=$((beats + 1))
  sleep 0.2
done
"""


def a_container(team: Team, name: str, script: str, *words: str, **spec: Any) -> None:
    template = {
        "image": team.release.worker_image,
        "command": ["sh", "-c", script, "sh", *words],
        "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "128Mi"}},
        **spec.pop("template", {}),
    }
    spec = {"retryPolicy": SOON, **spec}
    team.apply(manifest_of("Activity", name, template=template, **spec))


def apply_pool(team: Team) -> None:
    team.give_code("code", CODE)
    scaling = {"max": 1, "idleAfter": "30s"}
    team.apply(manifest_of("WorkerPool", POOL, code={"configMap": "code"}, scaling=scaling))


def nothing_is_left(team: Team) -> None:
    team.cluster.eventually(
        lambda: not team.kubectl("get", "jobs,pods", *OF_ACTIVITIES, "-o", "name"),
        what="no Job and no pod of an activity left",
    )


def test_a_shell_script_takes_its_input_three_ways_and_gives_a_result(
    team: Team, announce: Announce
) -> None:
    began = time.monotonic()
    a_container(team, "scan", ECHO, "$(PERDURE_INPUT)", input=["$(HOME) €", {"n": [1, None]}])

    team.wait_for("condition=Complete", "activity/scan")

    announce(f"a container from apply to Complete: {time.monotonic() - began:.1f} s")
    result = team.status("activity/scan")["result"]
    assert result == {"got": ["$(HOME) €", {"n": [1, None]}], "attempt": 1}
    nothing_is_left(team)


def test_a_script_that_fails_is_tried_again_and_its_last_words_are_said(team: Team) -> None:
    a_container(team, "fails", 'echo "attempt $PERDURE_ATTEMPT: no such photo"; exit 3')

    team.wait_for("condition=Failed", "activity/fails")

    status = team.status("activity/fails")
    assert status["attempt"] == 2
    assert status["lastFailure"]["type"] == "ContainerFailed"
    said = "container main exited with code 3: attempt 2: no such photo"
    assert status["lastFailure"]["message"] == said
    nothing_is_left(team)


def test_a_script_that_uses_too_much_memory_says_so(team: Team) -> None:
    hog = "python -c 'x = bytearray(10**9)'"
    a_container(team, "hog", hog, template={"resources": {"limits": {"memory": "32Mi"}}})

    team.wait_for("condition=Failed", "activity/hog")

    assert "OOMKilled" in team.status("activity/hog")["lastFailure"]["message"]


def test_an_image_that_is_not_there_is_said_while_it_is_waited_for(team: Team) -> None:
    template = {"image": "localhost/no-such:1", "imagePullPolicy": "Never"}
    a_container(team, "lost", "true", template=template)

    said = team.wait_for_reason("ImagePullFailed", "Stalled", "activity/lost")
    assert "localhost/no-such:1" in said["message"]

    team.kubectl("delete", "activity/lost")
    nothing_is_left(team)


def test_a_script_beats_over_http_and_cancellation_reaches_it(team: Team) -> None:
    timeouts = {"heartbeat": "20s", "startToClose": "4m"}
    a_container(team, "beats", UNTIL_TOLD_TO_STOP, timeouts=timeouts)
    team.wait_for("jsonpath={.status.phase}=Running", "activity/beats")
    time.sleep(3)
    team.patch("activity/beats", {"spec": {"cancel": True}})

    team.wait_for("condition=Complete", "activity/beats")

    result = team.status("activity/beats")["result"]
    assert result.startswith("stopped after ")
    assert int(result.split()[2]) >= 1
    nothing_is_left(team)


def test_a_script_that_does_not_listen_is_stopped_and_canceled(team: Team) -> None:
    grace = {"spec": {"terminationGracePeriodSeconds": 1}}
    a_container(team, "deaf", "sleep 600", template={"pod": grace})
    team.wait_for("jsonpath={.status.phase}=Running", "activity/deaf")
    team.patch("activity/deaf", {"spec": {"cancel": True}})

    team.wait_for("condition=Failed", "activity/deaf")

    assert team.status("activity/deaf")["phase"] == "Canceled"
    nothing_is_left(team)


def test_a_workflow_runs_a_container_and_a_worker_of_its_own(
    team: Team, announce: Announce
) -> None:
    apply_pool(team)
    image, given = team.release.worker_image, ["a", {"b": 1}]
    script = ECHO.replace("$1", "$PERDURE_INPUT")
    team.apply(
        manifest_of("Workflow", "scan", type="Scan", input=[image, script, given], workerPool=POOL),
        manifest_of("Workflow", "measure", type="Measure", input=["length"], workerPool=POOL),
    )
    team.wait_for("condition=Complete", "workflow/scan")
    team.wait_for("condition=Complete", "workflow/measure")

    assert team.status("workflow/scan")["result"] == {"got": given, "attempt": 1}
    measured = team.status("workflow/measure")["result"]
    assert (measured["what"], measured["attempt"]) == ("length", 1)
    announce(f"$ kubectl get activities\n{team.kubectl('get', 'activities')}")
    nothing_is_left(team)


def test_an_operator_that_is_killed_makes_no_second_pod_of_an_attempt(
    team: Team, killer: Killer, announce: Announce
) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
    team.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "effects"},
         "spec": claim}
    )  # fmt: skip
    template = {
        "volumes": [{"name": "effects", "persistentVolumeClaim": {"claimName": "effects"}}],
        "volumeMounts": [{"name": "effects", "mountPath": "/effects"}],
        "pod": {"spec": {"securityContext": {"fsGroup": 10001}}},
    }
    script = 'echo "$1" >> /effects/lines; sleep 4; echo "\\"$1\\"" > $PERDURE_RESULT_FILE'
    names = [f"one-{number}" for number in range(4)]
    for name in names:
        a_container(team, name, script, name, template=template)
    for _ in range(3):
        time.sleep(2)
        kill_operator(team, killer)

    for name in names:
        team.wait_for("condition=Complete", f"activity/{name}", timeout=120)
    assert [team.status(f"activity/{name}")["result"] for name in names] == names
    assert [team.status(f"activity/{name}")["attempt"] for name in names] == [1] * 4
    lines = team.print_volume("effects", "lines").split()
    announce(f"the operator was killed 3 times; effects: {sorted(lines)}")
    assert sorted(lines) == names
    nothing_is_left(team)


def kill_operator(team: Team, killer: Killer) -> None:
    before = team.release.container("operator")
    if "running" not in before["state"]:
        return
    killer.kill(container_id(team.release.pod(), "operator"))
