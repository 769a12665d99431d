"""What the training programs share: a clock, an average of the weights, pictures as tensors."""

import copy
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from PIL import Image
from torch.multiprocessing.spawn import spawn

WORK_DIRECTORY = Path(os.environ.get("TRAINING_DIRECTORY", ".train"))

ModuleT = TypeVar("ModuleT", bound=torch.nn.Module)


class Clock:
    """Schedules by training time, so a run ends when it should on any machine.

    `tick` after each step. On a CPU only the time counts that the process computes, by thread, so
    a process that is stopped, or waits for busier ones, goes on as if it had not. On a GPU a step
    counts for ten seconds at most.
    """

    LONGEST_STEP = 10.0

    def __init__(self, minutes: float, elapsed: float = 0.0) -> None:
        self.budget = minutes * 60
        self.elapsed = elapsed
        self._waits = torch.cuda.is_available()
        self._last = self._now()

    def _now(self) -> float:
        return time.monotonic() if self._waits else time.process_time() / torch.get_num_threads()

    def tick(self) -> None:
        now = self._now()
        self.elapsed += min(now - self._last, self.LONGEST_STEP)
        self._last = now

    @property
    def progress(self) -> float:
        return min(1.0, self.elapsed / self.budget)

    def learning_rate(self, peak: float, warm_up: float = 0.02) -> float:
        """Linear warm-up over a share of the budget, then a cosine down to (nearly) nothing."""
        return peak * cosine(self.progress, warm_up)


def cosine(progress: float, warm_up: float = 0.02) -> float:
    """The share of the peak learning rate: a linear rise, then half a cosine down to 0.1 %."""
    if progress < warm_up:
        return max(0.02, progress / warm_up)
    fall = (progress - warm_up) / (1 - warm_up)
    return max(1e-3, 0.5 * (1 + math.cos(math.pi * fall)))


class Average(Generic[ModuleT]):
    """An exponential moving average of a module's weights; `module` is the averaged copy."""

    def __init__(self, module: ModuleT, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, module: ModuleT) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averaged: list[torch.Tensor] = list(self.module.parameters())
        current: list[torch.Tensor] = list(module.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)


def run_workers(train: Callable[..., None], workers: int, arguments: tuple[Any, ...]) -> None:
    """Runs `train(rank, *arguments)` in processes that share the weights of the first argument.

    Each worker updates them on its own, without locks ("Hogwild!", Niu et al. 2011). On a few busy
    cores that loses far less than threads that wait for each other at every layer.
    """
    if workers == 1:
        train(0, *arguments)
        return
    arguments[0].share_memory()
    spawn(train, args=arguments, nprocs=workers)  # type: ignore[no-untyped-call]


def choose_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_tensor(images: Sequence[Image.Image]) -> torch.Tensor:
    """Pictures as a float tensor [n, 3, height, width] in -1…1."""
    pixels = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(pixels: torch.Tensor) -> list[Image.Image]:
    """The inverse of `to_tensor`."""
    array = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return [Image.fromarray(picture) for picture in array.permute(0, 2, 3, 1).cpu().numpy()]


def save_atomically(state: dict[str, object], path: Path) -> None:
    """Writes beside the old file and then replaces it, so a kill never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)
