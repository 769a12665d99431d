"""Child processes that end when this process ends, even if it is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from typing import Any

PR_SET_PDEATHSIG = 1


def start_child(command: list[str], **options: Any) -> subprocess.Popen[Any]:
    """Starts a child in a session of its own, so that Ctrl-C in the terminal does not reach it.

    The launcher stops its children itself, in order. If this process is killed, the kernel sends
    the child SIGTERM. `options` go to `subprocess.Popen`.
    """
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def end_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died before the line above
            os.kill(os.getpid(), signal.SIGTERM)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_parent,
        **options,
    )


def stop_child(process: subprocess.Popen[Any], grace: float) -> None:
    """Sends SIGTERM, and SIGKILL if the process has not ended after `grace` seconds."""
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
