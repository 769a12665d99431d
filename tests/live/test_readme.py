"""The snippets of the README and of the pages for users and clients, run against a real stack."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.pictures import CIRCLE, encoded
from tests.support.snippets import run_snippet, snippets
from tests.support.stacks import Stack

PAGES = (
    "README.md",
    "docs/http-api.md",
    "docs/triton-api.md",
    "docs/guidance.md",
    "docs/latents.md",
)
# What the snippets print that keep no file: pictures in JSON, or whether a request was found.
SAID = re.compile(r'"image_base64":\s*"iVBORw|"found":\s*false')


def of_pages(language: str) -> list[str]:
    """All snippets of a language, each once, whichever pages show it."""
    return list(dict.fromkeys(one for page in PAGES for one in snippets(page, language)))


@pytest.mark.parametrize("snippet", of_pages("sh"))
def test_shell_snippets(stack: Stack, tmp_path: Path, snippet: str) -> None:
    if "curl" in snippet and shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    output = run_snippet(stack, tmp_path, ["bash", "-euo", "pipefail", "-c"], snippet)
    pictures = [Image.open(file).size for file in tmp_path.glob("*.png")]
    assert pictures == [(128, 128)] * len(pictures)
    assert pictures or SAID.search(output)


@pytest.mark.parametrize("snippet", of_pages("python"))
def test_python_snippets(stack: Stack, tmp_path: Path, snippet: str) -> None:
    (tmp_path / "sketch.jpg").write_bytes(encoded(CIRCLE, "jpeg"))
    run_snippet(stack, tmp_path, [sys.executable, "-c"], snippet)
    (picture,) = tmp_path.glob("*.png")
    assert Image.open(picture).size == (128, 128)
