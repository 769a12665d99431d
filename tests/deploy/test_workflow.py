"""CI's steps are commands that there are."""

from __future__ import annotations

import re

import yaml

from tests.support.paths import ROOT

JOBS = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
COMMANDS = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]


def test_every_python_that_is_supported_is_tested() -> None:
    pythons = JOBS["check-and-test"]["strategy"]["matrix"]["python"]
    (bounds,) = re.findall(r'">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert pythons == [f"3.{minor}" for minor in range(*map(int, bounds))]


def test_what_is_run_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in COMMANDS:
        if command.startswith("make "):
            assert f"\n{command.split()[1]}:" in makefile
        elif not command.startswith("docker"):
            assert (ROOT / command).exists(), command
