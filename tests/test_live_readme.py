"""The snippets of the README, run against a real stack."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import CIRCLE, encoded
from tests.serving import ROOT, Stack

README = (ROOT / "README.md").read_text()
THERE = (
    "client.py relay_client request.json Makefile pyproject.toml scripts ray_stages models .venv"
)


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def run_snippet(stack: Stack, folder: Path, command: list[str], snippet: str) -> str:
    """In a folder with what the README's reader has; the default ports are this stack's."""
    for name in THERE.split():
        (folder / name).symlink_to(ROOT / name)
    text = snippet.replace("127.0.0.1:8000", stack.http).replace("127.0.0.1:8001", stack.grpc)
    text = text.replace("http://127.0.0.1:8080", stack.gateway)
    text = text.replace("127.0.0.1:8080", stack.gateway.removeprefix("http://"))
    environment = {**os.environ, "TRITON_HTTP": stack.http, "TRITON_GRPC": stack.grpc}
    done = subprocess.run(
        [*command, text], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# What the snippets print that keep no file: pictures in JSON, or whether a request was found.
SAID = re.compile(r'"image_base64":\s*"iVBORw|"found":\s*false')


@pytest.mark.parametrize("snippet", snippets("sh"))
def test_shell_snippets_of_the_readme(stack: Stack, tmp_path: Path, snippet: str) -> None:
    if "curl" in snippet and shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    output = run_snippet(stack, tmp_path, ["bash", "-euo", "pipefail", "-c"], snippet)
    pictures = [Image.open(file).size for file in tmp_path.glob("*.png")]
    assert pictures == [(128, 128)] * len(pictures)
    assert pictures or SAID.search(output)


@pytest.mark.parametrize("snippet", snippets("python"))
def test_python_snippets_of_the_readme(stack: Stack, tmp_path: Path, snippet: str) -> None:
    (tmp_path / "sketch.jpg").write_bytes(encoded(CIRCLE, "jpeg"))
    run_snippet(stack, tmp_path, [sys.executable, "-c"], snippet)
    (picture,) = tmp_path.glob("*.png")
    assert Image.open(picture).size == (128, 128)
