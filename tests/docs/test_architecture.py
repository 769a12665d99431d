"""The tables of docs/architecture.md show the floors that `tests/test_layers.py` checks."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT
from tests.test_layers import FLOORS

FOLDERS = (ROOT / "docs/architecture.md").read_text().split("## Folders\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("package", FLOORS)
def test_the_table_of_a_package_has_its_floors_in_their_order(package: str) -> None:
    after = FOLDERS.split(f"**`{package}/`**")[1].split("\n**")[0]
    firsts = [line.split(" | ")[0] for line in after.splitlines() if line.startswith("| `")]
    shown = [set(re.findall(r"(\w+)(?:/|\.py)`", first)) for first in firsts]
    assert shown == [set(floor.split()) for floor in FLOORS[package]]
