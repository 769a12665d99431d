"""Which stages a new picture goes to, while those before finish theirs.

A generation is one deployment of all stages: one checkpoint, one version of the code, one set of
settings. A picture stays in the generation it began in, so that old and new never mix in it; an
old generation ends when no picture is left in it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import serve

from ray_stages.settings import ROOT, STAGES, Settings

ACTOR = "latent-relay-generations"
LOOK_SECONDS = 1.0
MEET_SECONDS = 1.0
GONE_SECONDS = 5.0
# Between two stages a picture is in neither for a moment, and bridges tell once a second.
IDLE_SECONDS = 4.0
WHOLE_BYTES, END_BYTES = 1_000_000, 65_536


def name_of(settings: Settings) -> str:
    """The same for the same checkpoint, code and settings, wherever it is deployed from."""
    content = hashlib.sha256(repr(settings.of_stages()).encode())
    for file in sorted((ROOT / "ray_stages").rglob("*.py")):
        content.update(file.read_bytes())
    for part in _checkpoint(Path(settings.model)):
        content.update(part)
    return content.hexdigest()[:8]


def _checkpoint(folder: Path) -> Iterator[bytes]:
    """Small files whole; of weights the length and both ends."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            size = path.stat().st_size
            yield f"{path.relative_to(folder)} {size}".encode()
            with path.open("rb") as file:
                yield file.read(WHOLE_BYTES if size <= WHOLE_BYTES else END_BYTES)
                file.seek(max(0, size - END_BYTES))
                yield file.read()


def app_name(stage: str, generation: str) -> str:
    return f"{stage}-{generation}"


def stages_of(applications: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Generation and application; other people's are left out."""
    for name, application in applications.items():
        stage, _, generation = name.partition("-")
        if stage in STAGES and generation:
            yield generation, application


def serving() -> list[str]:
    """Generations with a replica of every stage; those without all of them first, the latest last.

    Others of its replicas may still wait for a node with room.
    """
    found: dict[str, list[Any]] = {}
    for generation, application in stages_of(serve.status().applications):
        states = [d.replica_states for d in application.deployments.values()]
        if states and all(state.get("RUNNING") for state in states):
            found.setdefault(generation, []).append(application)

    def order(generation: str) -> tuple[bool, float]:
        stages = found[generation]
        return (
            all(stage.status == "RUNNING" for stage in stages),
            max(stage.last_deployed_time_s for stage in stages),
        )

    return sorted((name for name in found if len(found[name]) == len(STAGES)), key=order)


class Generations:
    """The actor: every bridge tells it once a second which generations it has pictures in."""

    def __init__(self) -> None:
        self._current = ""
        self._begun = time.monotonic()
        self._looked = -LOOK_SECONDS
        self._in_use: dict[str, float] = {}
        self._bridges: dict[str, float] = {}

    def meet(self, bridge: str, in_use: list[str]) -> str:
        """The generation for new pictures; none while nothing is deployed."""
        now = time.monotonic()
        self._bridges[bridge] = now
        self._in_use |= dict.fromkeys(in_use, now)
        return self.current()

    def switch(self, generation: str) -> None:
        self._current = generation
        # As if it had just been in use: bridges go on with the one before for up to a second.
        self._in_use = dict.fromkeys(self._in_use, time.monotonic())

    def current(self) -> str:
        if not self._current and time.monotonic() > self._looked + LOOK_SECONDS:
            # This actor may have been restarted, on another node: Serve still knows.
            self._looked = time.monotonic()
            self._current = (serving() or [""])[-1]
        return self._current

    def idle_seconds(self, generation: str) -> float:
        return time.monotonic() - self._in_use.get(generation, self._begun)

    def bridges(self) -> int:
        """How many have been heard of lately."""
        end = time.monotonic() - GONE_SECONDS
        return sum(heard > end for heard in self._bridges.values())


# Made once: of each that `ray.remote` makes, Ray keeps what it exported, for ever.
_MADE: Any = ray.remote(Generations)


def registry() -> Any:
    """The one actor of the cluster; whoever needs it first makes it. Who calls often keeps it."""
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    return _MADE.options(name=ACTOR, get_if_exists=True, lifetime="detached", **options).remote()
