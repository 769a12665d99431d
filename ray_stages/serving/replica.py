"""The base class of all deployments: set-up, the model card, log lines.

Only replicas import torch. The launcher's child and Serve's controller import the deployments too,
and start seconds sooner without torch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from ray_stages.requests.fields import Array
from ray_stages.requests.model_card import ModelCard
from ray_stages.requests.stage_requests import RequestContext, StageResult
from ray_stages.settings import Settings

if TYPE_CHECKING:
    from ray_stages.runtimes.network import Network, Runtime

log = logging.getLogger("ray.serve")
T = TypeVar("T", bound="HasRuntime")


class HasRuntime(Protocol):
    runtime: Runtime


class StageReplica:
    """name: the stage's name."""

    name: str

    def __init__(self, settings: Settings) -> None:
        from ray_stages.families.checkpoint import Checkpoint
        from ray_stages.runtimes.torch_thread import TorchThread
        from ray_stages.serving.loopback import listen_on_loopback_only

        if not settings.ray_address:
            listen_on_loopback_only()
        self.torch = TorchThread(settings.resources(self.name).threads)
        self.settings = settings
        self.checkpoint = Checkpoint(settings)

    def card(self) -> ModelCard:
        return self.checkpoint.card

    def set_up(self, load: Callable[[], T], warm_up: Callable[[T], None]) -> T:
        """Loads and warms up a stage in the torch thread, and logs how long each took.

        Serve counts the replica as ready afterwards. `load` opens its network by `open_network`.
        """
        begin = time.monotonic()
        stage = self.torch.submit(load).result()
        loaded = time.monotonic()
        self.torch.submit(lambda: warm_up(stage)).result()
        self.log(
            "set_up",
            **self.checkpoint.facts(),
            threads=self.settings.resources(self.name).threads,
            runtime=stage.runtime,
            load_s=f"{loaded - begin:.2f}",
            warm_up_s=f"{time.monotonic() - loaded:.2f}",
        )
        return stage

    def open_network(self, network: Network) -> Runtime:
        from ray_stages.serving.open_network import opener

        return opener(self.checkpoint, self.name)(network)

    def result(
        self,
        context: RequestContext,
        outputs: dict[str, Array],
        times: tuple[float, float, float],
        final: bool = True,
    ) -> StageResult:
        """Returns the stage's answer, and logs it if it is the final one.

        times: when the request arrived, when computing began and when it ended, in seconds of the
        monotonic clock.
        """
        arrived, began, ended = times
        result = StageResult(outputs, 1000 * (began - arrived), 1000 * (ended - began))
        if not final:
            return result
        self.log(
            "computed",
            request_id=context.id,
            shapes=",".join(f"{name}:{'x'.join(map(str, t.shape))}" for name, t in outputs.items()),
            queue_ms=f"{result.queue_ms:.1f}",
            compute_ms=f"{result.compute_ms:.1f}",
        )
        return result

    def log(self, event: str, **facts: object) -> None:
        line = " ".join(f"{key}={value}" for key, value in facts.items())
        log.info("event=%s stage=%s %s", event, self.name, line)
