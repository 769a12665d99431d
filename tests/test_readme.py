"""What the README says of inputs and settings is so; `test.py` runs its snippets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ray_stages.schedulers import SCHEDULERS
from ray_stages.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_settings_have_the_defaults_that_the_table_says() -> None:
    for names, defaults, _ in rows("Settings"):
        for name, default in zip(
            re.findall(r"`(\w+)`", names), re.findall(r"`([^`]*)`|none", defaults), strict=True
        ):
            value = str(getattr(Settings(), name.lower()))
            assert value.removeprefix(f"{ROOT}/") == default, name


def test_inputs_are_those_of_the_ensemble() -> None:
    config = (ROOT / "model_repository/stable_diffusion/config.pbtxt").read_text()
    inputs = re.findall(r'name: "(\w+)"', config.split("output [")[0])
    assert re.findall(r"^\| ((?:`\w+`(?:, )?)+)", README, re.M)
    named = [name for cells in rows("What a request may say") for name in cells[0].split(", ")]
    assert sorted(name.strip("`") for name in named) == sorted(set(inputs) - {"stable_diffusion"})


def test_schedulers_are_all_named() -> None:
    (scheduler,) = [c for c in rows("What a request may say") if c[0] == "`scheduler`"]
    assert set(re.findall(r"`(\w+)`", scheduler[3])) == set(SCHEDULERS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_linked_is_there(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not link.startswith("http"):
            assert (document.parent / link).exists(), link
