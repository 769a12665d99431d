"""The plan: which candidates are measured, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from ray_stages.runtimes.catalog import RUNTIME_MODULES
from ray_stages.settings import STAGES, Settings

COMPILED = "torch-compile"
REFERENCE = "torch/float32"
USUAL_UNETS = (REFERENCE, "openvino/float32")


@dataclass(frozen=True)
class Candidate:
    """One stage with one runtime in one precision."""

    stage: str
    runtime: str
    precision: str

    @property
    def label(self) -> str:
        return f"{self.runtime}/{self.precision}"


@dataclass(frozen=True)
class Plan:
    """What is measured.

    only: labels of candidates; empty stands for all that are installed.
    rows: batch sizes; rounds: calls with each of them.
    prompts: for the evaluation; the first `compared` pictures are compared pixel by pixel.
    seconds: of one load on replicas; calls: of a sequence of random batch sizes.
    limit: seconds for one call into a worker process; compiled: with torch-compile.
    """

    stages: tuple[str, ...] = STAGES
    only: tuple[str, ...] = ()
    rows: tuple[int, ...] = (2, 8, 32)
    rounds: int = 5
    prompts: int = 96
    compared: int = 16
    steps: int = 20
    seconds: float = 2.0
    replicas: tuple[int, ...] = (1, 2, 4)
    calls: int = 24
    limit: float = 240.0
    compiled: bool = False

    def candidates(self, stage: str) -> Iterator[Candidate]:
        """Yields the candidates of a stage, the reference (eager float32) first.

        Only the UNet in float32 is compiled, and only with `compiled`, since it takes minutes.
        """
        for name, kind in RUNTIME_MODULES.items():
            if not all(map(find_spec, kind.REQUIRED_PACKAGES)):
                continue
            for precision in kind.precisions(torch.device("cpu")):
                candidate = Candidate(stage, name, precision)
                worth = self.compiled and (stage, precision) == ("unet", "float32")
                if (worth or name != COMPILED) and (not self.only or candidate.label in self.only):
                    yield candidate

    def usual_unets(self) -> list[Candidate]:
        """Returns the UNets that stand for the others where measuring all would take too long."""
        return [one for one in self.candidates("unet") if one.label in USUAL_UNETS]


QUICK = Plan(
    stages=("text_encoder", "unet"),
    only=(REFERENCE, "onnxruntime/float32", "openvino/float32", "openvino/bfloat16"),
    rows=(2,),
    rounds=1,
    prompts=4,
    compared=2,
    steps=2,
    seconds=0.2,
    replicas=(1, 2),
    calls=3,
)


@dataclass(frozen=True)
class Setup:
    """The plan with all that a measurement needs.

    folder: a fresh one for exported networks.
    size: of a picture in pixels; 0 stands for the checkpoint's own.
    draws: whether int8 is calibrated by drawing, which takes long with large checkpoints.
    """

    plan: Plan
    settings: Settings
    folder: Path
    size: int = 0
    draws: bool = True

    @property
    def threads(self) -> int:
        return self.settings.resources("unet").threads

    def cache(self, candidate: Candidate) -> Path:
        """Returns the folder for the exported network of a candidate."""
        return self.folder / f"{candidate.stage}-{candidate.runtime}-{candidate.precision}"
