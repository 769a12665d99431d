"""Writes intermediate latents to disk, for inspection, without delaying the denoising loop."""

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

MAX_PENDING = 64
ZOOM = 8
DEVIATIONS = 3.0  # standard deviations from the mean to black or white


class LatentsDump:
    """Writes `folder/<request id>/step_NNN.safetensors` and `.png`, in a thread of its own.

    Beyond `max_bytes` it deletes the oldest requests. While MAX_PENDING requests wait to be written
    it skips new ones, and logs that.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="latents-dump")
        self._waiting = 0

    def write(self, request_id: str, steps: Mapping[int, Array]) -> None:
        """Returns at once.

        steps: latents by step number, float32 [n, channels, h, w].
        """
        if self._waiting >= MAX_PENDING:
            log.warning("event=latents_left_out request_id=%s", request_id)
            return
        self._waiting += 1
        self._thread.submit(self._write, request_id, steps)

    def close(self) -> None:
        """Returns when everything is written."""
        self._thread.shutdown()

    def _write(self, request_id: str, steps: Mapping[int, Array]) -> None:
        target = self.folder / _folder_name(request_id)
        try:
            target.mkdir(parents=True, exist_ok=True)
            for step, latents in steps.items():
                # Of an array that is not contiguous, safetensors would write other numbers.
                contiguous = np.ascontiguousarray(latents)
                save_file({"latents": contiguous}, target / f"step_{step:03d}.safetensors")
                latents_image(latents).save(target / f"step_{step:03d}.png")
            self._delete_oldest(keep=target)
        except OSError as error:
            log.warning("event=latents_not_written request_id=%s reason=%s", request_id, error)
        finally:
            self._waiting -= 1

    def _delete_oldest(self, keep: Path) -> None:
        requests = [path for path in self.folder.iterdir() if path.is_dir()]
        requests.sort(key=lambda path: path.stat().st_mtime)
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in requests}
        total = sum(sizes.values())
        for path in requests:
            if total <= self.max_bytes or path == keep:
                break
            shutil.rmtree(path, ignore_errors=True)
            total -= sizes[path]


def latents_image(latents: Array) -> Image.Image:
    """Draws each channel in grey: channels side by side, pictures one below the other.

    latents: float32 [n, channels, h, w].
    """
    scaled = np.clip(latents / DEVIATIONS, -1, 1) * 127.5 + 127.5
    rows = np.concatenate([np.concatenate(list(one), axis=1) for one in scaled])
    image = Image.fromarray(rows.astype(np.uint8))
    return image.resize((image.width * ZOOM, image.height * ZOOM), Image.Resampling.NEAREST)


def _folder_name(request_id: str) -> str:
    """Replaces everything that could make a path of the request id."""
    return re.sub(r"[^\w-]", "_", request_id)[:64] or "_"
