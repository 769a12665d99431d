"""Runs client.py on a pseudo-terminal, to see what it shows while it waits."""

from __future__ import annotations

import os
import pty
import subprocess

from tests.support.fake_triton_server import FakeTriton


def run_on_terminal(triton: FakeTriton, *arguments: str, shown: tuple[str, ...]) -> list[str]:
    """Holds back the server's answer until all of `shown` is on the terminal; returns stdout."""
    triton.proceed.clear()
    controller, terminal = pty.openpty()
    command = triton.command(*arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, text=True) as process:
        os.close(terminal)
        seen = ""
        while not all(text in seen for text in shown):
            seen += os.read(controller, 4096).decode(errors="replace")
        triton.proceed.set()
        output, _ = process.communicate(timeout=10)
    os.close(controller)
    assert process.returncode == 0
    return output.splitlines()
