"""A bridge's ways to its stage, one for each generation that pictures are in."""

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
from ray_stages.serving.generations import MEET_SECONDS, app_name, registry

FIRST_MEET_SECONDS = 0.1
NAME = re.compile(r"[0-9a-z-]{1,32}")


class Link(NamedTuple):
    """card: of the checkpoint behind the handle."""

    generation: str
    handle: Any
    card: ModelCard


class Links:
    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._bridge = uuid.uuid4().hex
        self._registry: Any = None
        self._current = ""
        self._links: dict[str, Link] = {}
        self._in_use: Counter[str] = Counter()

    async def connect(self) -> None:
        """Returns when there is a generation for new pictures; follows it from then on."""
        while not await self._meet():
            await asyncio.sleep(FIRST_MEET_SECONDS)
        self._following = asyncio.create_task(self._follow())

    @asynccontextmanager
    async def to(self, generation: str = "") -> AsyncIterator[Link]:
        """The link of a picture that began in this generation, or of a new one."""
        if generation and not NAME.fullmatch(generation):
            raise _unknown(generation)
        name = generation or self._current
        self._in_use[name] += 1
        try:
            yield await self._link(name)
        finally:
            self._in_use[name] -= 1
            if not self._in_use[name]:
                del self._in_use[name]

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(MEET_SECONDS)
            await self._meet()

    async def _meet(self) -> bool:
        """Whether there is one; without the actor, which will come back, it is still the last."""
        in_use = list(self._in_use)
        try:
            self._registry = self._registry or registry()
            current = await self._registry.meet.remote(self._bridge, in_use)
            if current:
                await self._link(current)
        except (exceptions.RayError, InvalidRequest):
            self._registry = None
            return bool(self._current)
        self._current = current or self._current
        kept = {self._current, *in_use}
        self._links = {name: link for name, link in self._links.items() if name in kept}
        return bool(self._current)

    async def _link(self, generation: str) -> Link:
        if generation not in self._links:
            app = app_name(self._stage, generation)
            try:
                handle: Any = serve.get_deployment_handle(self._stage, app_name=app)
                self._links[generation] = Link(generation, handle, await handle.card.remote())
            except (KeyError, RayServeException):
                raise _unknown(generation) from None
        return self._links[generation]


def _unknown(generation: str) -> InvalidRequest:
    return InvalidRequest("generation", repr(generation[:40]), "the name of one that is served")
