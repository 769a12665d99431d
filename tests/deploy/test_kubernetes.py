"""The manifests of deploy/kubernetes: by Kubernetes' own schemas, and what they must agree on."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from env_settings import variables
from ray_stages.serving.application import build
from ray_stages.serving.generations import app_name
from ray_stages.settings import STAGES, Settings
from tests.support.paths import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.34"
OVERLAYS = ("base", "gpu")
# Of KubeRay 1.6's RayService, what a key may be and what must be there: its CRD cannot be had
# from a package registry, and pods within it are looked at by Kubernetes' own schema.
RAY_SERVICE = ({"serveConfigV2", "rayClusterConfig", "upgradeStrategy", "serveService"}, set[str]())
CLUSTER = (
    {
        *("rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions"),
        *("headGroupSpec", "workerGroupSpecs", "gcsFaultToleranceOptions", "suspend"),
    },
    {"headGroupSpec"},
)
HEAD = ({"rayStartParams", "template", "serviceType", "headService"}, {"template"})
WORKERS = (
    {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
    {"groupName", "minReplicas", "maxReplicas", "template"},
)


@functools.cache
def resources(overlay: str) -> list[dict[str, Any]]:
    """As kustomize makes them where it is there, else as they are written."""
    if shutil.which("kubectl"):
        made = subprocess.run(
            ["kubectl", "kustomize", FOLDER / overlay], capture_output=True, text=True, check=True
        )
        return list(yaml.safe_load_all(made.stdout))
    files = sorted((FOLDER / "base").glob("*.yaml"))
    documents = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    return [one for one in documents if one.get("kind") not in (None, "Kustomization")]


def named(overlay: str, kind: str) -> dict[str, dict[str, Any]]:
    return {r["metadata"]["name"]: r for r in resources(overlay) if r["kind"] == kind}


def pods(overlay: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each pod template, by who makes pods of it."""
    for resource in resources(overlay):
        if resource["kind"] in ("Deployment", "StatefulSet"):
            yield resource["metadata"]["name"], resource["spec"]["template"]
        elif resource["kind"] == "RayService":
            cluster = resource["spec"]["rayClusterConfig"]
            yield "ray-head", cluster["headGroupSpec"]["template"]
            for group in cluster["workerGroupSpecs"]:
                yield group["groupName"], group["template"]


def check_keys(found: dict[str, Any], keys: tuple[set[str], set[str]]) -> None:
    known, needed = keys
    assert needed <= set(found) <= known


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_resources_are_as_the_schemas_say(overlay: str) -> None:
    for resource in resources(overlay):
        if resource["kind"] != "RayService":
            kubernetes_validate.validate(resource, VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_ray_service_has_what_kuberay_knows(overlay: str) -> None:
    (service,) = named(overlay, "RayService").values()
    check_keys(service["spec"], RAY_SERVICE)
    cluster = service["spec"]["rayClusterConfig"]
    check_keys(cluster, CLUSTER)
    check_keys(cluster["headGroupSpec"], HEAD)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
        kubernetes_validate.validate(pod, VERSION, strict=True)
    for group in cluster["workerGroupSpecs"]:
        check_keys(group, WORKERS)


def test_serve_knows_the_applications_and_each_stage_is_one() -> None:
    (service,) = named("base", "RayService").values()
    config = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
    stages = {application.args["stage"]: application for application in config.applications}
    assert set(stages) == set(STAGES)
    for stage, application in stages.items():
        assert application.name == app_name(stage, "v1")
        assert [deployment.name for deployment in application.deployments] == [stage]


def test_serves_own_config_file_is_the_same() -> None:
    (service,) = named("base", "RayService").values()
    own = yaml.safe_load((FOLDER.parent / "serve.yaml").read_text())
    assert own == yaml.safe_load(service["spec"]["serveConfigV2"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_built_as_the_settings_say(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICE", "cpu")
    monkeypatch.setenv("REPLICAS_PER_NODE", "1")
    deployment = build({"stage": stage})._bound_deployment
    assert deployment.name == stage
    assert deployment._replica_config.max_replicas_per_node == 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_may_do_more_than_it_must(overlay: str) -> None:
    for name, template in pods(overlay):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"], name
            assert not context["allowPrivilegeEscalation"], name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert {"readinessProbe", "livenessProbe", "resources"} <= set(container), name


def test_what_selects_pods_finds_some() -> None:
    labels = [template["metadata"]["labels"] for _, template in pods("base")]
    for kind, path in [("Service", "selector"), ("PodDisruptionBudget", "matchLabels")]:
        for name, resource in named("base", kind).items():
            selector = resource["spec"]["selector"]
            wanted = selector if path == "selector" else selector[path]
            assert any(wanted.items() <= have.items() for have in labels), (kind, name)


def test_settings_are_those_that_we_have() -> None:
    if not (maps := named("base", "ConfigMap")):
        pytest.skip("kustomize makes it, and is not here")
    (settings,) = maps.values()
    assert set(settings["data"]) <= dict(variables(Settings)).keys()
