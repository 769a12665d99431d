"""Caches networks on disk in the formats of other runtimes."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from ray_stages.runtimes.network import Network

log = logging.getLogger("ray.serve")


class ExportCache:
    """The exports of one network: a folder named by the digest of its weights and structure.

    If several replicas need the same export, the first makes it and the others wait. An export
    appears by a rename, so it is always complete.
    """

    def __init__(self, cache_dir: Path, network: Network) -> None:
        self.network = network.name
        self.folder = cache_dir / "runtimes" / f"{network.name}-{network.digest}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, make: Callable[[Path], None]) -> Path:
        """Returns the folder of the export `name`; `make` fills it if it does not exist yet."""
        export = self.folder / name
        with self.lock(name):
            if not export.exists():
                log.info("event=export stage=%s what=%s", self.network, name)
                partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.folder))
                try:
                    make(partial)
                    partial.rename(export)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
        return export

    def lock(self, name: str) -> FileLock:
        return FileLock(self.folder / f".{name}.lock")
