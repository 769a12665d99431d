"""What the README says of inputs is so; `test_live_readme.py` runs its snippets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ray_stages.requests.schedulers import SCHEDULERS
from ray_stages.settings import Settings
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(ROOT / "docs").glob("*.md"),
]


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize(
    ("ensemble", "headings"),
    [
        ("stable_diffusion", ["What a request may say"]),
        ("image_to_image", ["What a request may say", "From a picture"]),
    ],
)
def test_inputs_are_those_of_the_ensemble(ensemble: str, headings: list[str]) -> None:
    config = (ROOT / f"model_repository/{ensemble}/config.pbtxt").read_text()
    inputs = re.findall(r'name: "(\w+)"', config.split("output [")[0])
    cells = [row[0] for heading in headings for row in rows(heading)]
    named = [name for cell in cells for name in cell.split(", ")]
    assert sorted(name.strip("`") for name in named) == sorted(set(inputs) - {ensemble})


def test_limits_of_a_picture_are_the_settings() -> None:
    (picture,) = [c for c in rows("From a picture") if c[0] == "`init_image`"]
    limits = [Settings().max_image_bytes, Settings().max_image_pixels]
    assert re.findall(r"[\d,]{9,}", picture[3]) == [f"{limit:,}" for limit in limits]


def test_schedulers_are_all_named() -> None:
    (scheduler,) = [c for c in rows("What a request may say") if c[0] == "`scheduler`"]
    assert set(re.findall(r"`(\w+)`", scheduler[3])) == set(SCHEDULERS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_linked_is_there(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not link.startswith("http"):
            assert (document.parent / link).exists(), link
