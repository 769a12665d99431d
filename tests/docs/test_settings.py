"""docs/settings.md is what scripts/settings_table.py writes now, and has every setting."""

from __future__ import annotations

import re

from env_settings import variables
from gateway.settings import GatewaySettings
from ray_stages.settings import STAGES, Settings
from scripts import settings_table

DOCUMENT = settings_table.FILE.read_text()


def test_the_document_is_not_stale() -> None:
    assert settings_table.document() == DOCUMENT, "run: python -m scripts.settings_table"


def test_every_setting_has_a_row_with_a_description() -> None:
    rows = dict(re.findall(r"^\| `(\S+)` \|.* \| ([^|]*) \|$", DOCUMENT, re.MULTILINE))
    for settings in (Settings, GatewaySettings):
        for name, _ in variables(settings):
            stage = next((s for s in STAGES if name.startswith(f"{s.upper()}_")), "")
            of_all_stages = f"…{name.removeprefix(stage.upper())}"
            assert rows.get(name) or rows.get(of_all_stages), name
