"""Pictures and previews, as the client returns them."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from numpy.typing import NDArray

from relay_client.transport import Tensors


class StageTime(NamedTuple):
    """Milliseconds of a request in one stage: in its queue, and computing."""

    queue_ms: float
    compute_ms: float


@dataclass(frozen=True)
class Picture:
    """One picture. stages: times of its whole request, by stage.

    latents: [k, channels, height, width], from k of its steps, where they were requested.
    """

    prompt: str
    seed: int
    png: bytes
    stages: Mapping[str, StageTime]
    latents: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, from the PNG's header."""
        width, height = struct.unpack_from(">II", self.png, 16)
        return width, height

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file as a whole or not at all: no reader sees half a picture."""
        path = Path(path)
        if path.exists() and not path.is_file():  # a device or a pipe must not be replaced
            path.write_bytes(self.png)
            return
        part = path.with_name(f".{uuid4().hex}.part")
        try:
            part.write_bytes(self.png)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@dataclass(frozen=True)
class Preview:
    """The progress of a request, with estimates of its pictures.

    The last preview has `is_final`, and the pictures themselves.
    """

    step: int
    steps: int
    pictures: list[Picture]
    is_final: bool


def pictures_from(prompts: Sequence[str], outputs: Tensors) -> list[Picture]:
    """Returns a picture for each prompt, from the outputs of a request."""
    milliseconds = {
        name.removesuffix("_ms"): times.astype(float).round(3)
        for name, times in outputs.items()
        if name.endswith("_ms")
    }
    stages = {name: StageTime(*times.tolist()) for name, times in milliseconds.items()}
    latents = outputs.get("intermediate_latents", [None] * len(prompts))
    drawn = zip(
        prompts, outputs["seed_used"].tolist(), outputs["image"].tolist(), latents, strict=True
    )
    return [Picture(prompt, seed, png, stages, steps) for prompt, seed, png, steps in drawn]


def preview_from(prompts: Sequence[str], outputs: Tensors) -> Preview:
    """Returns a preview, from one response of a stream."""
    return Preview(
        step=int(outputs["step"].item()),
        steps=int(outputs["steps_used"].item()),
        # A server may report a step without pictures.
        pictures=pictures_from(prompts, outputs) if outputs["image"].size else [],
        is_final=bool(outputs["is_final"].item()),
    )
