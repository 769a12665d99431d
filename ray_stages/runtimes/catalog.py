"""All runtimes, by name."""

from __future__ import annotations

from typing import Protocol

import torch

from ray_stages.runtimes import compiled, eager, onnx_runtime, open_vino
from ray_stages.runtimes.network import Network, Runtime
from ray_stages.runtimes.target import Target


class RuntimeModule(Protocol):
    """What each runtime's module defines.

    NAME: as the settings call the runtime; REQUIRED_PACKAGES: the modules to import beside torch.
    """

    NAME: str
    REQUIRED_PACKAGES: tuple[str, ...]

    def precisions(self, device: torch.device) -> tuple[str, ...]:
        """Returns the precisions that the runtime supports on a device; none if it has no use."""

    def open_network(self, network: Network, precision: str, target: Target) -> Runtime:
        """Converts and loads a network; may take minutes the first time."""


RUNTIME_MODULES: dict[str, RuntimeModule] = {
    module.NAME: module for module in (eager, compiled, onnx_runtime, open_vino)
}
