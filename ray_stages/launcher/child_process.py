"""Child processes that end with us, however we end."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from typing import Any

PR_SET_PDEATHSIG = 1


def start_child(command: list[str], **options: Any) -> subprocess.Popen[Any]:
    """Starts a child out of reach of the terminal's Ctrl-C: we stop our children, in order.

    Should this process be killed, the kernel sends them SIGTERM.
    """
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def end_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the line above
            os.kill(os.getpid(), signal.SIGTERM)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_parent,
        **options,
    )


def stop_child(process: subprocess.Popen[Any], grace: float) -> None:
    """SIGTERM, and SIGKILL where it has not ended after `grace` seconds."""
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
