"""The Kubernetes base: it renders, it is restricted, and it agrees with the binary."""

import pathlib
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from gateway import ROOT, built

BASE = ROOT / "k8s/base"


@pytest.fixture(scope="module")
def objects():
    """Each object of the base by kind and name, as kubectl renders it."""
    kubectl = pathlib.Path(sys.executable).parent / "kubectl"
    done = subprocess.run(
        [kubectl, "kustomize", str(BASE)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    rendered = list(yaml.safe_load_all(done.stdout))
    return {(one["kind"], one["metadata"]["name"]): one for one in rendered}


def pod(objects):
    return objects["Deployment", "gateway"]["spec"]["template"]["spec"]


def test_everything_that_a_gateway_needs_is_there(objects):
    kinds = {kind for kind, _ in objects}
    assert kinds >= {
        "Namespace", "ServiceAccount", "Deployment", "Service", "ConfigMap",
        "PersistentVolumeClaim", "NetworkPolicy",
    }
    namespace = objects["Namespace", "hanse"]["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"
    everything_denied = objects["NetworkPolicy", "default-deny"]["spec"]
    assert everything_denied["podSelector"] == {}
    assert set(everything_denied["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in everything_denied and "egress" not in everything_denied


def test_the_pod_is_restricted(objects):
    spec = pod(objects)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"]["drop"] == ["ALL"]
        assert "memory" in container["resources"]["limits"]


def test_flags_and_ports_are_those_of_the_binary(objects):
    [container] = pod(objects)["containers"]
    text = subprocess.run(
        [built("gateway"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    known = set(re.findall(r"--[a-z][a-z-]*", text))
    used = {argument.split("=")[0] for argument in container["args"] if argument.startswith("--")}
    assert used and used <= known, f"unknown: {used - known}"

    [default, metrics] = re.findall(r"127\.0\.0\.1:(\d+)", text)
    [port, metrics_port] = container["ports"]
    assert (metrics_port["name"], metrics_port["containerPort"]) == ("metrics", int(metrics))
    assert f"--metrics-listen=0.0.0.0:{metrics}" in container["args"]
    assert port["containerPort"] == int(default)
    [listen] = [argument for argument in container["args"] if argument.startswith("--listen=")]
    assert listen.endswith(f":{default}")
    [service] = objects["Service", "gateway"]["spec"]["ports"]
    assert service["targetPort"] in (port["name"], port["containerPort"])
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        get = container[probe]["httpGet"]
        assert (get["path"], get["scheme"], get["port"]) == (path, "HTTPS", port["name"])


def test_metrics_are_for_prometheus_alone(objects):
    [policy] = [
        one for (kind, name), one in objects.items() if (kind, name) == ("NetworkPolicy", "gateway")
    ]
    open_to_all, for_prometheus = policy["spec"]["ingress"]
    assert [one["port"] for one in open_to_all["ports"]] == ["https"]
    assert [one["port"] for one in for_prometheus["ports"]] == ["metrics"]
    [source] = for_prometheus["from"]
    labels = source["namespaceSelector"]["matchLabels"]
    assert labels == {"kubernetes.io/metadata.name": "monitoring"}
    # a Service would offer it to whoever resolves names
    ports = objects["Service", "gateway"]["spec"]["ports"]
    assert [one["name"] for one in ports] == ["https"]
    annotations = objects["Deployment", "gateway"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == "9464"


def test_mounted_files_are_the_ones_that_the_flags_name(objects):
    spec = pod(objects)
    [container] = spec["containers"]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    values = [argument.split("=", 1)[1] for argument in container["args"] if "=/" in argument]
    assert values
    for value in values:
        assert any(value == mount or value.startswith(mount + "/") for mount in mounts), value
    volumes = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    config = {name: one for (kind, name), one in objects.items() if kind == "ConfigMap"}
    [projected] = [volume["projected"] for volume in spec["volumes"] if "projected" in volume]
    files = set()
    for source in (one["configMap"] for one in projected["sources"]):
        known = config[source["name"]]["data"]
        items = source.get("items") or [{"key": key, "path": key} for key in known]
        assert {item["key"] for item in items} <= set(known)
        files |= {f"/etc/hanse/{item['path']}" for item in items}
    named = [value for value in values if value.startswith("/etc/hanse")]
    for value in named:
        assert any(one == value or one.startswith(value + "/") for one in files), (value, files)


def test_the_region_is_required(objects):
    affinity = pod(objects)["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    keys = [one["key"] for term in terms for one in term["matchExpressions"]]
    assert "topology.kubernetes.io/region" in keys


def test_copied_policies_are_the_originals():
    for name in ("jurisdictions.toml", "tenants/development.toml"):
        assert (BASE / "config" / name).read_text() == (ROOT / "policies" / name).read_text()


def test_the_models_are_those_of_the_repository_but_for_their_source():
    ours = tomllib.loads((BASE / "config/models.toml").read_text())
    theirs = tomllib.loads((ROOT / "models.toml").read_text())
    assert ours["partition"] == theirs["partition"]
    for one in (*ours["model"], *theirs["model"]):
        del one["source"]
    assert ours["model"] == theirs["model"]
    assert {zone["id"] for zone in ours["zone"]} == {zone["id"] for zone in theirs["zone"]}
