"""The runtimes there are."""

from __future__ import annotations

from typing import Protocol

import torch

from ray_stages.runtimes import compiled, eager, onnx_runtime, open_vino
from ray_stages.runtimes.network import Network, Runtime
from ray_stages.runtimes.place import Place


class Kind(Protocol):
    """What each module of a runtime has. NEEDS: the packages it is made of, beside torch."""

    NAME: str
    NEEDS: tuple[str, ...]

    def precisions(self, device: torch.device) -> tuple[str, ...]: ...
    def open_network(self, network: Network, precision: str, place: Place) -> Runtime: ...


KINDS: dict[str, Kind] = {kind.NAME: kind for kind in (eager, compiled, onnx_runtime, open_vino)}
