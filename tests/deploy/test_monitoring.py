"""What Prometheus and Grafana are told to look at is what we export."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from gateway.metrics import Metrics
from ray_stages.errors import RelayError
from tests.support.paths import ROOT

FOLDER = ROOT / "deploy" / "monitoring"
DASHBOARD = json.loads((FOLDER / "grafana/dashboards/latent-relay.json").read_text())
ALERTS = yaml.safe_load((FOLDER / "prometheus/alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
EXPRESSIONS = [
    *(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]),
    *(rule["expr"] for rule in RULES),
]


def exported() -> set[str]:
    gateway = re.findall(r"^# TYPE (\w+)", Metrics().exposition().decode(), re.M)
    triton = re.findall(
        r'"(latent_relay_\w+)"', (ROOT / "ray_stages/bridge/metrics.py").read_text()
    )
    names = {*gateway, *triton}
    return {"up", *names, *(f"{name}_bucket" for name in names)}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_metric_that_is_asked_for_is_exported(expression: str) -> None:
    asked = set(re.findall(r"\b(?:gateway|latent_relay)_\w+|\bup\b", expression))
    assert asked
    assert asked <= exported()


def test_alerts_are_about_failures_that_there_are() -> None:
    kinds = {error.kind for error in RelayError.__subclasses__()}
    told = set(re.findall(r'kind="(\w+)"', " ".join(EXPRESSIONS)))
    assert told <= kinds


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_say_what_is_wrong(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]


def test_prometheus_asks_the_services_that_there_are() -> None:
    config = yaml.safe_load((FOLDER / "prometheus/prometheus.yml").read_text())
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert {job["job_name"] for job in config["scrape_configs"]} <= set(services)
    assert all((FOLDER / "prometheus" / file).exists() for file in config["rule_files"])
