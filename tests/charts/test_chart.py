"""What the Helm chart renders to, with its defaults and with every switch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from perdure_operator.model import FINALIZER, KINDS
from perdure_operator.model.crds import main as crds_main
from support.cluster_tools import CHECKOUT, CommandError, run, tools

CHART = CHECKOUT / "charts" / "perdure"
NAMESPACE = "perdure-system"

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "defaults": (),
    "namespaced": ("namespaced=true",),
    "no-crds": ("crds.install=false",),
    "no-volume": ("persistence.enabled=false",),
    "existing-claim": ("persistence.existingClaim=mine",),
    "named-volume": ("persistence.storageClass=-", "persistence.volumeName=pv1"),
    "no-rbac": ("rbac.create=false",),
    "no-leader-election": ("operator.leaderElection.enabled=false",),
    "admission-policy": ("operator.admissionPolicy.enabled=true",),
    "no-aggregation": ("rbac.aggregate=false",),
    "own-account": ("serviceAccount.create=false", "serviceAccount.name=mine"),
    "network-policy": ("networkPolicy.enabled=true",),
    "monitor": ("serviceMonitor.enabled=true", "serviceMonitor.labels.release=prometheus"),
    "monitoring": (
        "serviceMonitor.enabled=true",
        "monitoring.podMonitor.enabled=true",
        "monitoring.rules.enabled=true",
        "monitoring.dashboard.enabled=true",
        "monitoring.from[0].podSelector.a=b",
        "networkPolicy.enabled=true",
        "podDisruptionBudget.enabled=true",
    ),
    "open": ("tls.enabled=false", "auth.mode=none"),
    "encrypted-alone": ("auth.mode=none",),
    "asking-alone": ("tls.enabled=false",),
    "granted": ("auth.workers=Granted", "auth.workerNamespaces={shop,bank}"),
    "granted-namespaced": ("auth.workers=Granted", "namespaced=true"),
    "no-tickets": ("auth.tickets=false",),
    "own-certificate": ("tls.existingSecret=mine", "serviceMonitor.enabled=true"),
    "standbys": ("operator.standbys=1",),
    "cert-manager": (
        "tls.certManager.enabled=true",
        "tls.certManager.issuerKind=ClusterIssuer",
        "tls.certManager.issuerName=inside",
    ),
    "local-images": (
        "image.repository=localhost/perdure-operator",
        "image.tag=test",
        "image.pullPolicy=Never",
        "workerImage.repository=localhost/perdure-worker",
        "workerImage.tag=test",
    ),
    "everything-else": (
        "imagePullSecrets[0].name=registry",
        "server.extraArgs[0]=--log-level=debug",
        "server.extraEnv[0].name=A",
        "operator.extraArgs[0]=--verbose",
        "operator.extraEnv[0].name=B",
        "service.annotations.a=b",
        "serviceAccount.annotations.a=b",
        "podAnnotations.a=b",
        "podLabels.team=shop",
        "priorityClassName=high",
        "nodeSelector.disk=ssd",
        "tolerations[0].operator=Exists",
        "affinity.nodeAffinity.x=y",
        "nameOverride=engine",
        "fullnameOverride=durable",
    ),
}

POLICY = ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding")

with_every_setting = pytest.mark.parametrize("setting", SETTINGS)

Manifest = dict[str, Any]


def helm(verb: str, *arguments: str, values: tuple[str, ...] = (), chart: Path = CHART) -> str:
    options = [option for value in values for option in ("--set", value)]
    return run([tools().helm, verb, *arguments, chart, *options])


@cache
def render(setting: str) -> list[Manifest]:
    text = helm("template", "perdure", "--namespace", NAMESPACE, values=SETTINGS[setting])
    return [document for document in yaml.safe_load_all(text) if document]


def pick(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    (found,) = [m for m in manifests if m["kind"] == kind and name in (None, m["metadata"]["name"])]
    return found


def kinds(manifests: list[Manifest]) -> set[str]:
    return {manifest["kind"] for manifest in manifests}


def pod_specs(manifests: list[Manifest]) -> Iterator[Manifest]:
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest["spec"]
        elif manifest["kind"] == "Deployment":
            yield manifest["spec"]["template"]["spec"]


def main(setting: str) -> str:
    """Return the name of the Deployment with the server."""
    return "durable" if setting == "everything-else" else "perdure"


def containers(setting: str = "defaults") -> dict[str, Manifest]:
    deployment = pick(render(setting), "Deployment", main(setting))
    return {c["name"]: c for c in deployment["spec"]["template"]["spec"]["containers"]}


@with_every_setting
def test_the_chart_has_nothing_for_lint_to_say(setting: str) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", values=SETTINGS[setting])


@with_every_setting
def test_every_object_is_named_labelled_and_in_its_namespace(setting: str) -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", *POLICY}
    for manifest in render(setting):
        metadata = manifest["metadata"]
        if manifest["kind"] == "CustomResourceDefinition":
            continue
        assert metadata["labels"]["app.kubernetes.io/instance"] == "perdure"
        if manifest["kind"] not in cluster_wide and metadata["name"] != "perdure-worker":
            assert metadata["namespace"] == NAMESPACE


@with_every_setting
def test_every_pod_meets_pod_security_restricted(setting: str) -> None:
    specs = list(pod_specs(render(setting)))
    assert len(specs) == (3 if setting == "standbys" else 2)

    for spec in specs:
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] == 65532
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        allowed = {"emptyDir", "persistentVolumeClaim", "projected", "configMap", "secret"}
        assert all(set(volume) - {"name"} <= allowed for volume in spec["volumes"])
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert all("hostPort" not in port for port in container.get("ports", []))
            assert container["resources"]["limits"]["memory"]


@with_every_setting
def test_only_who_speaks_to_the_api_server_has_a_token_for_it(setting: str) -> None:
    asks = setting != "open"
    for spec in pod_specs(render(setting)):
        assert spec["automountServiceAccountToken"] is False
        holders = [
            container["name"]
            for container in spec["containers"]
            for mount in container["volumeMounts"]
            if mount["name"] == "kube-api-access"
        ]
        pod = ["server", "operator"] if asks else ["operator"]
        assert holders in ([], pod, ["operator"] if setting == "standbys" else [])
    assert "serviceAccountToken" in json.dumps(pick(render(setting), "Deployment", main(setting)))


def test_the_crds_are_those_of_the_folder_byte_for_byte() -> None:
    toggle, end = "{{- if .Values.crds.install }}\n", "{{- end }}\n"
    keep = "  annotations:\n    helm.sh/resource-policy: keep\n"

    templates = {path.name: path.read_text() for path in (CHART / "templates/crds").iterdir()}

    assert set(templates) == {path.name for path in (CHECKOUT / "crds").iterdir()}
    for name, text in templates.items():
        assert text.startswith(toggle)
        assert text.endswith(end)
        assert text.count(keep) == 1
        bare = text.removeprefix(toggle).removesuffix(end).replace(keep, "")
        assert bare == (CHECKOUT / "crds" / name).read_text()


def test_the_crd_templates_are_fresh() -> None:
    assert crds_main(["--check", "--chart", str(CHART / "templates" / "crds")]) == 0


def test_rendered_crds_are_kept_at_an_uninstall() -> None:
    crds = [m for m in render("defaults") if m["kind"] == "CustomResourceDefinition"]

    assert {crd["metadata"]["name"] for crd in crds} == {kind.crd_name for kind in KINDS}
    for crd in crds:
        annotations = crd["metadata"].pop("annotations")
        assert annotations == {"helm.sh/resource-policy": "keep"}
        path = CHECKOUT / "crds" / f"{crd['metadata']['name']}.yaml"
        assert crd == yaml.safe_load(path.read_text())


def test_crds_can_be_left_out() -> None:
    assert "CustomResourceDefinition" not in kinds(render("no-crds"))


def test_there_is_one_pod_and_never_two_at_once() -> None:
    spec = pick(render("defaults"), "Deployment")["spec"]

    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_the_server_listens_and_keeps_its_data_on_the_volume() -> None:
    server = containers("open")["server"]

    assert server["command"] == ["perdure-server"]
    assert " ".join(server["args"]) == (
        "--host 0.0.0.0 --port 7233 --db /var/lib/perdure/perdure.db --auth=none --insecure"
    )
    assert {"name": "data", "mountPath": "/var/lib/perdure"} in server["volumeMounts"]
    plain = {"port": "http", "scheme": "HTTP"}
    assert server["livenessProbe"]["httpGet"] == {"path": "/healthz", **plain}
    assert server["readinessProbe"]["httpGet"] == {"path": "/readyz", **plain}
    assert server["ports"] == [{"name": "http", "containerPort": 7233}]


def test_the_operator_is_told_where_the_server_is_for_itself_and_for_workers() -> None:
    operator = containers("open")["operator"]

    assert operator["command"] == ["perdure-operator"]
    assert " ".join(operator["args"]) == (
        "--server http://127.0.0.1:7233 "
        "--worker-server http://perdure-server.perdure-system.svc:7233 "
        "--default-image ghcr.io/perdure/perdure-worker:0.1.0 "
        "--show-after=2 "
        "--lease=perdure-system/perdure-operator --lease-duration=10 --identity=$(POD_NAME)"
    )
    assert operator["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert operator["ports"] == [{"name": "health", "containerPort": 8081}]


def test_the_operator_is_told_when_activities_are_shown() -> None:
    assert "--show-after=2" in containers("defaults")["operator"]["args"]
    with pytest.raises(CommandError) as error:
        helm("template", "perdure", values=("activities.showAfter=-1",))
    assert "showAfter" in str(error.value)


@pytest.mark.parametrize(
    ("served", "version"),
    [((), "v1"), (("v1beta1",), "v1beta1"), (("v1", "v1beta1"), "v1")],
    ids=["unknown", "beta", "both"],
)
def test_new_workflows_get_the_operators_finalizer_by_a_policy_if_that_is_wanted(
    served: tuple[str, ...], version: str
) -> None:
    group = "admissionregistration.k8s.io"
    options = [f"--api-versions={group}/{each}/MutatingAdmissionPolicy" for each in served]
    text = helm("template", "perdure", *options, values=SETTINGS["admission-policy"])
    manifests = [document for document in yaml.safe_load_all(text) if document]
    policy, binding = (pick(manifests, kind) for kind in POLICY)

    assert policy["apiVersion"] == binding["apiVersion"] == f"{group}/{version}"
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    assert FINALIZER in policy["spec"]["mutations"][0]["jsonPatch"]["expression"]
    assert policy["spec"]["failurePolicy"] == "Ignore", "the operator puts it on as well"
    assert not kinds(render("defaults")) & set(POLICY)


def test_a_namespaced_install_refuses_a_policy_for_the_whole_cluster() -> None:
    with pytest.raises(CommandError) as error:
        helm("template", "p", values=("namespaced=true", "operator.admissionPolicy.enabled=true"))
    assert "whole cluster" in str(error.value)


def test_images_can_be_chosen() -> None:
    for container in containers("local-images").values():
        assert container["image"] == "localhost/perdure-operator:test"
        assert container["imagePullPolicy"] == "Never"
    assert "localhost/perdure-worker:test" in containers("local-images")["operator"]["args"]


def test_the_service_leads_to_the_server() -> None:
    service = pick(render("defaults"), "Service", "perdure-server")["spec"]
    labels = pick(render("defaults"), "Deployment")["spec"]["template"]["metadata"]["labels"]

    assert service["ports"] == [{"name": "http", "port": 7233, "targetPort": "http"}]
    assert service["selector"].items() <= labels.items()


def test_a_namespaced_install_needs_no_cluster_role() -> None:
    for setting in ("namespaced", "granted-namespaced"):
        assert not [kind for kind in kinds(render(setting)) if kind.startswith("ClusterRole")]
    assert f"--auth-namespace={NAMESPACE}" in containers("namespaced")["server"]["args"]
    args = containers("namespaced")["operator"]["args"]
    assert args[args.index("--namespace") + 1] == NAMESPACE


def rights(manifests: list[Manifest], *role_kinds: str) -> set[str]:
    return {
        f"{group or 'core'}/{resource}: {verb}"
        for manifest in manifests
        if manifest["kind"] in role_kinds
        and not any("aggregate" in label for label in manifest["metadata"]["labels"])
        for rule in manifest["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def spell(resource: str, verbs: str) -> set[str]:
    return {f"{resource}: {verb}" for verb in verbs.split()}


LEADING = spell("coordination.k8s.io/leases", "create get patch")
CERTIFICATE = spell("core/secrets", "get patch")
REQUESTS = "certificates.k8s.io/certificatesigningrequests"
TICKETS = spell(REQUESTS, "create") | spell(REQUESTS, "get")
REVIEWS = spell("authorization.k8s.io/localsubjectaccessreviews", "create")
TAKES = spell("perdure.dev/activities/take", "create")

WATCHED = set().union(
    spell("perdure.dev/workflows", "create get list watch patch delete"),
    spell("perdure.dev/activities", "create get list watch patch delete"),
    spell("perdure.dev/workerpools", "get list watch patch create"),
    spell("perdure.dev/schedules", "get list watch"),
    spell("perdure.dev/schedules/status", "patch"),
    spell("perdure.dev/workflows/status", "patch"),
    spell("perdure.dev/activities/status", "patch"),
    spell("perdure.dev/workerpools/status", "patch"),
    spell("batch/jobs", "create list watch delete"),
    spell("core/pods", "list watch"),
    spell("core/configmaps", "get create watch"),
    spell("apps/controllerrevisions", "create list delete"),
    spell("events.k8s.io/events", "create patch"),
)


def test_the_operator_may_do_what_it_does_and_nothing_more() -> None:
    """Whoever adds a right says here what for; of secrets there is one, and tokens are none."""
    assert rights(render("open"), "ClusterRole") == WATCHED
    assert rights(render("open"), "Role") == LEADING
    assert rights(render("defaults"), "ClusterRole") == WATCHED | TAKES | TICKETS
    assert rights(render("defaults"), "Role") == LEADING | CERTIFICATE
    assert rights(render("no-tickets"), "ClusterRole") == WATCHED | TAKES
    everything = WATCHED | TAKES | LEADING | CERTIFICATE | REVIEWS
    assert rights(render("namespaced"), "Role") == everything
    assert rights(render("no-leader-election"), "Role") == CERTIFICATE


def test_of_secrets_the_server_reads_and_fills_its_own_alone() -> None:
    roles = [m for m in render("defaults") if m["kind"] == "Role"]
    (rule,) = [rule for role in roles for rule in role["rules"] if "secrets" in rule["resources"]]
    assert rule["resourceNames"] == ["perdure-server-certificate"]


@pytest.mark.parametrize("setting", ["defaults", "namespaced", "own-account"])
def test_every_binding_gives_a_role_that_is_there_to_the_account_of_the_pod(setting: str) -> None:
    manifests = render(setting)
    account = next(pod_specs(manifests))["serviceAccountName"]

    bindings = [m for m in manifests if m["kind"].endswith("RoleBinding")]
    people = "perdure-system-perdure-tickets"
    assert len(bindings) == (4 if setting == "namespaced" else 6)
    for binding in bindings:
        role = binding["roleRef"]
        assert role["name"] == "system:auth-delegator" or pick(
            manifests, role["kind"], role["name"]
        )
        if binding["metadata"]["name"] == people:
            continue
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
        ]


def test_roles_and_account_can_be_somebody_elses() -> None:
    assert not [kind for kind in kinds(render("no-rbac")) if "Role" in kind]
    assert "ServiceAccount" not in kinds(render("own-account"))
    assert next(pod_specs(render("own-account")))["serviceAccountName"] == "mine"


def test_namespace_roles_of_the_cluster_reach_the_custom_resources_if_wanted() -> None:
    def aggregated(setting: str) -> list[str]:
        return [
            label.rpartition("/")[2]
            for manifest in render(setting)
            for label in manifest["metadata"].get("labels", {})
            if "aggregate-to" in label
        ]

    assert sorted(aggregated("defaults")) == [
        "aggregate-to-admin",
        "aggregate-to-edit",
        "aggregate-to-view",
    ]
    assert aggregated("no-aggregation") == aggregated("namespaced") == []


def test_the_volume_is_claimed_and_outlives_the_release() -> None:
    claim = pick(render("defaults"), "PersistentVolumeClaim")

    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "10Gi"}},
    }


def test_a_claim_can_be_bound_to_a_volume_that_was_made_by_hand() -> None:
    spec = pick(render("named-volume"), "PersistentVolumeClaim")["spec"]

    assert (spec["storageClassName"], spec["volumeName"]) == ("", "pv1")


@pytest.mark.parametrize(
    ("setting", "volume"),
    [
        ("defaults", {"persistentVolumeClaim": {"claimName": "perdure"}}),
        ("existing-claim", {"persistentVolumeClaim": {"claimName": "mine"}}),
        ("no-volume", {"emptyDir": {}}),
    ],
)
def test_the_pod_mounts_the_volume_that_was_chosen(setting: str, volume: Manifest) -> None:
    volumes = next(pod_specs(render(setting)))["volumes"]

    assert {"name": "data"} | volume in volumes
    assert ("PersistentVolumeClaim" in kinds(render(setting))) is (setting == "defaults")


def test_a_network_policy_lets_workers_reach_the_server() -> None:
    policy = pick(render("network-policy"), "NetworkPolicy")["spec"]

    assert policy["ingress"] == [
        {"ports": [{"protocol": "TCP", "port": "http"}], "from": [{"namespaceSelector": {}}]}
    ]


def test_a_monitor_scrapes_the_service() -> None:
    monitor = pick(render("monitor"), "ServiceMonitor")
    service = pick(render("monitor"), "Service")

    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_policy_and_monitor_are_off_by_default() -> None:
    assert not kinds(render("defaults")) & {"NetworkPolicy", "ServiceMonitor"}


def test_helm_test_asks_the_server_whether_it_is_ready() -> None:
    pod = pick(render("defaults"), "Pod")

    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (container,) = pod["spec"]["containers"]
    url = "https://perdure-server.perdure-system.svc:7233/readyz"
    assert container["command"][-2:] == [url, "/etc/perdure/ca/ca.crt"]
    compile(container["command"][2], "test pod", "exec")


def test_names_can_be_replaced() -> None:
    names = {
        manifest["metadata"]["name"]
        for manifest in render("everything-else")
        if manifest["kind"] in ("Deployment", "Service", "ServiceAccount")
    }

    assert names == {"durable", "durable-server"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("storage.size=1Gi", "additional properties 'storage' not allowed"),
        ("persistence.sizes=1Gi", "additional properties 'sizes' not allowed"),
        ("persistence.size=much", "/persistence/size"),
        ("image.tag=a:b", "/image/tag"),
        ("image.repository=perdure:test", "/image/repository"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("namespaced=maybe", "/namespaced"),
        ("podLabels.app\\.kubernetes\\.io/instance=other", "invalid propertyName"),
        ("service.port=0", "/service/port"),
        ("service.type=Loadbalancer", "/service/type"),
        ("serviceMonitor.interval=often", "/serviceMonitor/interval"),
        ("serviceAccount.create=false", "serviceAccount.name is needed"),
        ("auth.mode=basic", "/auth/mode"),
        ("auth.workers=Anybody", "/auth/workers"),
        ("auth.workerNamespaces={shop}", "with auth.workers=Granted only"),
        ("auth.workerNamespaces={Shop}", "/auth/workerNamespaces/0"),
        ("tls.existingSecret=My_Secret", "/tls/existingSecret"),
        ("tls.existingSecret=a,tls.certManager.enabled=true", "both name a certificate"),
        ("tls.enabled=false,tls.existingSecret=a", "tls.enabled is false"),
        ("namespaced=true,networkPolicy.from={a}", "/networkPolicy/from/0"),
        ("tls.certManager.issuerKind=Vault", "/tls/certManager/issuerKind"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(value: str, words: str) -> None:
    with pytest.raises(CommandError) as error:
        helm("template", "perdure", values=(value,))

    assert words in str(error.value)


def described(schema: Manifest, path: str = "") -> Iterator[tuple[str, str]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}{name}", field.get("description", "")
        if field.get("additionalProperties") is False:
            yield from described(field, f"{path}{name}.")


def paths(values: Manifest, fields: set[str], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{path}{name}"
        if isinstance(value, dict) and any(f.startswith(f"{path}{name}.") for f in fields):
            yield from paths(value, fields, f"{path}{name}.")


def test_every_value_is_described_and_has_a_default() -> None:
    fields = dict(described(json.loads((CHART / "values.schema.json").read_text())))
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert set(paths(values, set(fields))) == set(fields) - {"global"}
    assert all(len(description) > 5 for description in fields.values())


def test_the_notes_say_what_is_watched_and_warn_when_nothing_is_kept(tmp_path: Path) -> None:
    """Helm shows notes only when it installs, so they are made a manifest of a copied chart."""
    copy = shutil.copytree(CHART, tmp_path / "perdure")
    (copy / "templates" / "NOTES.txt").rename(copy / "NOTES.txt")
    (copy / "templates" / "notes.yaml").write_text(
        'notes: |\n{{ tpl (.Files.Get "NOTES.txt") . | indent 2 }}\n'
    )

    def notes(*values: str) -> str:
        shown = ("--show-only", "templates/notes.yaml")
        text = helm("template", "perdure", *shown, values=values, chart=copy)
        return str(yaml.safe_load(text)["notes"])

    assert "watches all namespaces" in notes()
    assert "WARNING" not in notes()
    assert "watches the namespace default" in notes("namespaced=true")
    assert "Every run is lost" in notes("persistence.enabled=false")
    assert "apply those of this version from crds/" in notes("crds.install=false")
    assert "not scraped is down" in notes("monitoring.rules.enabled=true")
    scraped = ("serviceMonitor.enabled=true", "monitoring.podMonitor.enabled=true")
    assert "WARNING" not in notes("monitoring.rules.enabled=true", *scraped)
    assert "deletes the pod" in notes("podDisruptionBudget.enabled=true")
    evictable = "podDisruptionBudget.maxUnavailable=1"
    assert "deletes the pod" not in notes("podDisruptionBudget.enabled=true", evictable)
