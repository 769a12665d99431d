"""What comes back."""

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
    queue_ms: float
    compute_ms: float


@dataclass(frozen=True)
class Picture:
    """One picture; `stages` says where the time of its whole request went.

    `latents` [k, channels, height, width] is how it came about, where that was asked for.
    """

    prompt: str
    seed: int
    png: bytes
    stages: Mapping[str, StageTime]
    latents: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, from the PNG's header."""
        width, height = struct.unpack_from(">II", self.png, 16)
        return width, height

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file whole or not at all: nobody ever sees half a picture."""
        path = Path(path)
        if path.exists() and not path.is_file():  # a device or a pipe is not to be replaced
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
    """How far a request is; its pictures are what they will become, as far as is known by then.

    The last one has `is_final`, and the pictures themselves.
    """

    step: int
    steps: int
    pictures: list[Picture]
    is_final: bool


def pictures_from(prompts: Sequence[str], outputs: Tensors) -> list[Picture]:
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
    return Preview(
        step=int(outputs["step"].item()),
        steps=int(outputs["steps_used"].item()),
        # A server may tell of a step without a picture of it.
        pictures=pictures_from(prompts, outputs) if outputs["image"].size else [],
        is_final=bool(outputs["is_final"].item()),
    )
