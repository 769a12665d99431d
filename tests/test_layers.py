"""Imports only go downwards, as the architecture says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

STAGES_FOLDER = Path(__file__).parent.parent / "ray_stages"
STAGES = (
    "checkpoint text_encoder denoiser engine step_scheduler guidance image_codec request "
    "image_encoder image_file image_to_image init_image deep_cache"
)


def modules_after(statement: str) -> set[str]:
    """The top-level modules that an import brings along."""
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    return set(done.stdout.split())


def test_stages_know_neither_ray_nor_triton() -> None:
    names = ", ".join(f"ray_stages.{name}" for name in STAGES.split())
    assert not modules_after(f"import {names}") & {"ray", "tritonclient"}


def test_the_service_knows_nothing_of_what_stands_on_it() -> None:
    text = "".join(path.read_text() for path in STAGES_FOLDER.rglob("*.py"))
    assert not re.findall(r"^\s*(?:from|import) (?:batch|benchmarks|training)\b", text, re.M)


@pytest.mark.parametrize(
    ("statement", "strangers"),
    [
        (
            "from tests import fake_triton; fake_triton.install(); import ray_stages.bridge",
            {"torch", "diffusers", "transformers"},
        ),
        ("import ray_stages.serve_app", {"torch", "diffusers", "transformers"}),
        ("import ray_stages.launcher", {"torch", "ray"}),
        # What reads and writes does so in processes of its own, which start without.
        ("import batch.source, batch.output", {"torch", "diffusers", "transformers"}),
        ("import batch.command, batch.run", {"torch", "ray"}),
        ("import client", {"torch", "ray", "ray_stages"}),
        ("import gateway.server", {"torch", "diffusers", "ray", "ray_stages"}),
    ],
)
def test_what_need_not_be_loaded_is_not(statement: str, strangers: set[str]) -> None:
    assert not modules_after(statement) & strangers
