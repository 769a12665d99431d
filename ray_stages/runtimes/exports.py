"""Where a network lies in the formats of other runtimes, made on first use."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from ray_stages.runtimes.network import Network

log = logging.getLogger("ray.serve")


class Exports:
    """One folder a network, named by its content: other weights are another folder.

    Several replicas may want the same at once: the first makes it, the others wait. What is there
    is whole, since it appears by a rename.
    """

    def __init__(self, cache_dir: Path, network: Network) -> None:
        self.network = network.name
        self.folder = cache_dir / "runtimes" / f"{network.name}-{network.digest}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder `name`; `make` fills an empty one."""
        wanted = self.folder / name
        with self.lock(name):
            if not wanted.exists():
                log.info("event=export stage=%s what=%s", self.network, name)
                partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.folder))
                try:
                    make(partial)
                    partial.rename(wanted)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
        return wanted

    def lock(self, name: str) -> FileLock:
        return FileLock(self.folder / f".{name}.lock")
