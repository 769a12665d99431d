"""Handles of one stage's Serve deployments, one for each generation that still has requests."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from ray import exceptions, serve
from ray.serve.exceptions import RayServeException

from ray_stages.errors import InvalidRequest
from ray_stages.requests.model_card import ModelCard
from ray_stages.serving.generations import REPORT_SECONDS, app_name, generation_registry

CONNECT_RETRY_SECONDS = 0.1
GENERATION_NAME = re.compile(r"[0-9a-z-]{1,32}")


class StageHandle(NamedTuple):
    """A stage of one generation.

    deployment: its `ray.serve` DeploymentHandle. card: describes the checkpoint that it serves.
    """

    generation: str
    deployment: Any
    card: ModelCard


class StageHandles:
    """Follows which generation is current, and keeps handles of those in use.

    Once every REPORT_SECONDS it reports to the generation registry which generations it uses.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._bridge_id = uuid.uuid4().hex
        self._registry: Any = None
        self._current = ""
        self._handles: dict[str, StageHandle] = {}
        self._in_use: Counter[str] = Counter()

    async def connect(self) -> None:
        """Returns when there is a current generation; follows changes from then on."""
        while not await self._refresh():
            await asyncio.sleep(CONNECT_RETRY_SECONDS)
        self._refreshing = asyncio.create_task(self._refresh_forever())

    @asynccontextmanager
    async def use(self, generation: str = "") -> AsyncIterator[StageHandle]:
        """Yields the handle of `generation`, or of the current one if that is empty.

        A picture stays in the generation in which its first stage ran. Raises InvalidRequest for a
        generation that is not served.
        """
        if generation and not GENERATION_NAME.fullmatch(generation):
            raise _unknown_generation(generation)
        name = generation or self._current
        self._in_use[name] += 1
        try:
            yield await self._handle(name)
        finally:
            self._in_use[name] -= 1
            if not self._in_use[name]:
                del self._in_use[name]

    async def _refresh_forever(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self._refresh()

    async def _refresh(self) -> bool:
        """Asks the registry for the current generation; returns whether there is one.

        While the registry restarts, the last answer stays valid.
        """
        in_use = list(self._in_use)
        try:
            self._registry = self._registry or generation_registry()
            current = await self._registry.report.remote(self._bridge_id, in_use)
            if current:
                await self._handle(current)
        except (exceptions.RayError, InvalidRequest):
            self._registry = None
            return bool(self._current)
        self._current = current or self._current
        kept = {self._current, *in_use}
        self._handles = {name: handle for name, handle in self._handles.items() if name in kept}
        return bool(self._current)

    async def _handle(self, generation: str) -> StageHandle:
        if generation not in self._handles:
            app = app_name(self._stage, generation)
            try:
                deployment: Any = serve.get_deployment_handle(self._stage, app_name=app)
                card = await deployment.card.remote()
            except (KeyError, RayServeException):
                raise _unknown_generation(generation) from None
            self._handles[generation] = StageHandle(generation, deployment, card)
        return self._handles[generation]


def _unknown_generation(name: str) -> InvalidRequest:
    return InvalidRequest("generation", repr(name[:40]), "the name of one that is served")
