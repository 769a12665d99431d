"""Opens a stage's network on the runtime that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch

from ray_stages.families.checkpoint import Checkpoint
from ray_stages.families.networks import NETWORKS
from ray_stages.runtimes import eager
from ray_stages.runtimes.choice import open_fastest
from ray_stages.runtimes.network import Network, Opener, Runtime, Tensors, cast_floats
from ray_stages.runtimes.target import Target
from ray_stages.serving.calibration import Calibration


def opener(checkpoint: Checkpoint, stage: str, threads: int = 0) -> Opener:
    """Returns a function that opens networks of the checkpoint; threads: 0 means the stage's."""
    settings = checkpoint.settings
    own = settings.resources(stage)
    target = Target(
        device=checkpoint.device,
        threads=threads or own.threads,
        cache_dir=settings.cache_dir,
        calibration=Calibration(checkpoint).inputs_of,
    )

    def open_network(network: Network) -> Runtime:
        runtime = open_fastest(network, target, own.runtime, settings.precision)
        exact = None if runtime.precision == "float32" else in_float32(checkpoint, network)
        return replace(runtime, network=network.name, exact=exact)

    return open_network


def in_float32(checkpoint: Checkpoint, network: Network) -> Callable[..., Tensors] | None:
    """Returns a function that computes the network in float32 with PyTorch.

    It returns None for a network with several outputs. The weights are loaded at the first call,
    because few checkpoints ever need it.
    """
    if len(network.outputs) > 1 or network.name not in NETWORKS:
        return None
    settings = checkpoint.settings.replace(precision="float32")

    @cache
    def opened() -> Callable[..., Tensors]:
        return eager.open_as_loaded(NETWORKS[network.name](Checkpoint(settings))).compute

    return lambda *inputs: opened()(*cast_floats(inputs, torch.float32))
