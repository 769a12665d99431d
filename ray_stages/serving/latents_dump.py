"""Latents on disk, for those who want to look at them, beside the denoising loop."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from ray_stages.requests.fields import Array

log = logging.getLogger("ray.serve")

MOST_WAITING = 64
ZOOM = 8
DEVIATIONS = 3.0  # of the latents that fill the range from black to white


class LatentsDump:
    """Writes `folder/<request id>/step_NNN.safetensors` and `.png`, in a thread of its own.

    Beyond `max_bytes` in the folder the oldest requests go; beyond `MOST_WAITING` requests not yet
    written new ones are left out, and the log says so.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="latents-dump")
        self._waiting = 0

    def write(self, request_id: str, steps: Mapping[int, Array]) -> None:
        """Returns at once. steps: by the step's number, float32 [n, channels, h, w]."""
        if self._waiting >= MOST_WAITING:
            log.warning("event=latents_left_out request_id=%s", request_id)
            return
        self._waiting += 1
        self._thread.submit(self._write, request_id, steps)

    def close(self) -> None:
        """Waits for what is not yet written."""
        self._thread.shutdown()

    def _write(self, request_id: str, steps: Mapping[int, Array]) -> None:
        target = self.folder / _safe(request_id)
        try:
            target.mkdir(parents=True, exist_ok=True)
            for step, latents in steps.items():
                whole = np.ascontiguousarray(latents)  # or safetensors writes other numbers
                save_file({"latents": whole}, target / f"step_{step:03d}.safetensors")
                picture(latents).save(target / f"step_{step:03d}.png")
            self._make_room(target)
        except OSError as error:
            log.warning("event=latents_not_written request_id=%s reason=%s", request_id, error)
        finally:
            self._waiting -= 1

    def _make_room(self, latest: Path) -> None:
        requests = [path for path in self.folder.iterdir() if path.is_dir()]
        requests.sort(key=lambda path: path.stat().st_mtime)
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in requests}
        total = sum(sizes.values())
        for path in requests:
            if total <= self.max_bytes or path == latest:
                break
            shutil.rmtree(path, ignore_errors=True)
            total -= sizes[path]


def picture(latents: Array) -> Image.Image:
    """The channels side by side in grey, the pictures of a request one below the other.

    latents: float32 [n, channels, h, w].
    """
    scaled = np.clip(latents / DEVIATIONS, -1, 1) * 127.5 + 127.5
    rows = np.concatenate([np.concatenate(list(one), axis=1) for one in scaled])
    image = Image.fromarray(rows.astype(np.uint8))
    return image.resize((image.width * ZOOM, image.height * ZOOM), Image.Resampling.NEAREST)


def _safe(request_id: str) -> str:
    """A folder's name, never a path."""
    return re.sub(r"[^\w-]", "_", request_id)[:64] or "_"
