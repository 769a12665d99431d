"""Opens a stage's network on the runtime that the settings name."""

from __future__ import annotations

from ray_stages.families.checkpoint import Checkpoint
from ray_stages.runtimes.choice import open_fastest
from ray_stages.runtimes.network import Network, Opener, Runtime
from ray_stages.runtimes.place import Place
from ray_stages.serving.calibration import Calibration


def opener(checkpoint: Checkpoint, stage: str, threads: int = 0) -> Opener:
    """Returns a function that opens networks of the checkpoint; threads: 0 means the stage's."""
    settings = checkpoint.settings
    own = settings.resources(stage)
    place = Place(
        device=checkpoint.device,
        threads=threads or own.threads,
        cache_dir=settings.cache_dir,
        calibration=Calibration(checkpoint).inputs_of,
    )

    def open_network(network: Network) -> Runtime:
        return open_fastest(network, place, own.runtime, settings.precision)

    return open_network
