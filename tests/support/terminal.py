"""What client.py shows while it waits, to somebody who watches."""

from __future__ import annotations

import os
import pty
import subprocess

from tests.support.fake_triton_server import FakeTriton


def run_on_terminal(triton: FakeTriton, *arguments: str, shown: tuple[str, ...]) -> list[str]:
    """Holds the server until all of `shown` is on the terminal; returns the standard output."""
    triton.proceed.clear()
    ours, theirs = pty.openpty()
    command = triton.command(*arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        seen = ""
        while not all(text in seen for text in shown):
            seen += os.read(ours, 4096).decode(errors="replace")
        triton.proceed.set()
        output, _ = process.communicate(timeout=10)
    os.close(ours)
    assert process.returncode == 0
    return output.splitlines()
