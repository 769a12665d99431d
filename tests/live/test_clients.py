"""The snippets of docs/clients.md that this machine can run, against a real stack."""

from __future__ import annotations

import base64
import io
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.snippets import run_snippet, snippets
from tests.support.stacks import Stack

CLIENTS = "docs/clients.md"
SHELL = ["bash", "-euo", "pipefail", "-c"]
SHOW = "const show = (picture) => console.log(picture);\n"


def check_picture(folder: Path) -> None:
    (file,) = folder.glob("*.png")
    assert Image.open(file).size == (128, 128)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
@pytest.mark.parametrize("snippet", snippets(CLIENTS, "sh"))
def test_curl(stack: Stack, tmp_path: Path, snippet: str) -> None:
    run_snippet(stack, tmp_path, SHELL, snippet)
    check_picture(tmp_path)


@pytest.mark.parametrize("snippet", snippets(CLIENTS, "python"))
def test_python(stack: Stack, tmp_path: Path, snippet: str) -> None:
    run_snippet(stack, tmp_path, [sys.executable, "-c"], snippet)
    check_picture(tmp_path)


@pytest.mark.parametrize("snippet", snippets(CLIENTS, "micropython"))
def test_micropython_in_cpython(stack: Stack, tmp_path: Path, snippet: str) -> None:
    """With a `requests` as small as MicroPython's."""
    (tmp_path / "requests.py").write_text(REQUESTS)
    run_snippet(stack, tmp_path, [sys.executable, "-c"], snippet)
    check_picture(tmp_path)


REQUESTS = """
import urllib.request

class Response:
    def __init__(self, raw):
        self.raw, self.status_code, self.close = raw, raw.status, raw.close

def get(url, headers):
    return Response(urllib.request.urlopen(urllib.request.Request(url, headers=headers)))
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js on this machine")
@pytest.mark.parametrize("snippet", snippets(CLIENTS, "javascript"))
def test_javascript(stack: Stack, tmp_path: Path, snippet: str) -> None:
    """Three previews, each another, and the picture."""
    node = ["node", "--input-type=module", "--eval"]
    shown = run_snippet(stack, tmp_path, node, SHOW + snippet).split()
    sizes = [Image.open(io.BytesIO(base64.b64decode(one))).size for one in shown]
    assert sizes == [(128, 128)] * 4
    assert len(set(shown)) == 4
