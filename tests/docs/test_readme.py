"""The tables of README.md and docs/triton-api.md state what the code does and what was measured."""

from __future__ import annotations

import re

import pytest

from ray_stages.requests.schedulers import SCHEDULERS
from ray_stages.settings import Settings
from tests.support.paths import ROOT

TRITON_API = (ROOT / "docs/triton-api.md").read_text()

ONE, TEMPLATE, BATCH = "diffusers, one process", "Ray Serve template", "Ray Serve, @serve.batch"
# For each ratio in the README's table: the measured table, the load, the peer and the column.
MEASURED = [
    ("results", "1 client", ONE, "p50"),
    ("results", "1 client", f"{ONE}, our runtime", "p50"),
    ("results", "16 clients", TEMPLATE, "pictures/s"),
    ("results", "16 clients", BATCH, "pictures/s"),
    ("results", "16 clients", f"{BATCH}, our runtime", "pictures/s"),
    ("same-runtime", "16 clients", f"{BATCH}, our runtime", "pictures/s"),
    ("results", "Poisson 80 %", BATCH, "p95"),
    ("same-runtime", "Poisson 80 %", f"{BATCH}, our runtime", "p95"),
    ("results", "Poisson 110 %", BATCH, "pictures/s"),
    ("same-runtime", "Poisson 110 %", f"{BATCH}, our runtime", "pictures/s"),
    ("batch", "mixed steps and sizes", "`map_batches`, PyTorch", "pictures/s"),
    ("batch", "mixed steps and sizes", "`map_batches`, our runtime", "pictures/s"),
]
OURS = {"results": "**Latent Relay**", "same-runtime": "**Latent Relay**", "batch": "`batch/`"}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, without the first table's head."""
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [cells(line) for line in section.splitlines() if line.startswith("|")][2:]


def measured(marker: str, load: str, peer: str, column: str) -> float:
    """One figure of the tables that the benchmarks write."""
    page = "batch" if marker == "batch" else "benchmarks"
    section = (ROOT / f"docs/{page}.md").read_text().split(f"<!-- {marker} -->")[1]
    table = next(part for part in section.split("\n\n") if f"| {column} |" in part.split("\n")[0])
    head, *lines = table.splitlines()
    (row,) = [line for line in lines if line.startswith(f"| {load} | {peer} |")]
    return float(cells(row)[cells(head).index(column)])


def test_ratios_are_those_that_were_measured() -> None:
    told = [row[1:] for row in rows((ROOT / "README.md").read_text(), "What it is good at")]
    ratios = [float(ratio) for row in told for ratio in re.findall(r"([\d.]+)×", " ".join(row))]
    ours = [measured(place[0], place[1], OURS[place[0]], place[3]) for place in MEASURED]
    theirs = [measured(*place) for place in MEASURED]
    expected = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    # Both tables round to two digits after the point.
    assert ratios == [pytest.approx(ratio, rel=0.02, abs=0.01) for ratio in expected]


@pytest.mark.parametrize(
    ("ensemble", "headings"),
    [("stable_diffusion", ["Inputs"]), ("image_to_image", ["Inputs", "From a picture"])],
)
def test_inputs_are_those_of_the_ensemble(ensemble: str, headings: list[str]) -> None:
    config = (ROOT / f"model_repository/{ensemble}/config.pbtxt").read_text()
    inputs = re.findall(r'name: "(\w+)"', config.split("output [")[0])
    firsts = [row[0] for heading in headings for row in rows(TRITON_API, heading)]
    named = [name for cell in firsts for name in cell.split(", ")]
    assert sorted(name.strip("`") for name in named) == sorted(set(inputs) - {ensemble})


def test_outputs_are_those_of_the_ensembles() -> None:
    """Those of a stream have a table of their own for what a picture alone lacks."""
    outputs = [
        set(re.findall(r'name: "(\w+)"', config.split("output [")[1].split("ensemble_sched")[0]))
        for name in ("stable_diffusion", "stable_diffusion_stream")
        for config in [(ROOT / f"model_repository/{name}/config.pbtxt").read_text()]
    ]
    named = [
        {name for row in rows(TRITON_API, heading) for name in re.findall(r"`(\w+)`", row[0])}
        for heading in ("Outputs", "Previews")
    ]
    assert named[0] == outputs[0]
    assert named[1] <= outputs[1] <= named[0] | named[1]


def test_limits_of_a_picture_are_the_settings() -> None:
    (picture,) = [row for row in rows(TRITON_API, "From a picture") if row[0] == "`init_image`"]
    limits = [Settings().max_image_bytes, Settings().max_image_pixels]
    assert re.findall(r"[\d,]{9,}", picture[3]) == [f"{limit:,}" for limit in limits]


def test_schedulers_are_all_named() -> None:
    (scheduler,) = [row for row in rows(TRITON_API, "Inputs") if row[0] == "`scheduler`"]
    assert set(re.findall(r"`(\w+)`", scheduler[3])) == set(SCHEDULERS)
