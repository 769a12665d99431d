"""The snippets of a document, run as its reader would, against a real stack."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.stacks import Stack

# What a reader has in the folder in which a snippet runs.
THERE = (
    *("client.py", "relay_client", "request.json", "Makefile", "pyproject.toml", "scripts"),
    *("ray_stages", "env_settings", "models", ".venv"),
)


def snippets(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def run_snippet(stack: Stack, folder: Path, command: list[str], snippet: str) -> str:
    """In a folder with what the reader has; the default ports are this stack's."""
    for name in THERE:
        (folder / name).symlink_to(ROOT / name)
    text = snippet.replace("127.0.0.1:8000", stack.http).replace("127.0.0.1:8001", stack.grpc)
    text = text.replace("127.0.0.1:8080", stack.gateway.removeprefix("http://"))
    environment = {**os.environ, "TRITON_HTTP": stack.http, "TRITON_GRPC": stack.grpc}
    done = subprocess.run(
        [*command, text], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
