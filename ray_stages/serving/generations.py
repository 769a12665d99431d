"""Generations of the stages: which one new pictures go to, and which still have pictures.

A generation is one deployment of all stages: one checkpoint, one version of the code, one set of
settings. A picture stays in the generation in which it began, so that it never mixes old and new.
An old generation is deleted when no picture is left in it.
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
STATUS_SECONDS = 1.0  # between two queries of Serve
REPORT_SECONDS = 1.0  # between two reports of a bridge
BRIDGE_TIMEOUT_SECONDS = 5.0
# Longer than REPORT_SECONDS, because between two stages a picture is in neither for a moment.
IDLE_SECONDS = 4.0
SMALL_FILE_BYTES, EDGE_BYTES = 1_000_000, 65_536


def generation_name(settings: Settings) -> str:
    """Returns a hash of checkpoint, code and settings, the same on every machine."""
    content = hashlib.sha256(repr(settings.of_stages()).encode())
    for file in sorted((ROOT / "ray_stages").rglob("*.py")):
        content.update(file.read_bytes())
    for part in _checkpoint_content(Path(settings.model)):
        content.update(part)
    return content.hexdigest()[:8]


def _checkpoint_content(folder: Path) -> Iterator[bytes]:
    """Yields small files whole, and of large files the size, the beginning and the end."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            size = path.stat().st_size
            yield f"{path.relative_to(folder)} {size}".encode()
            with path.open("rb") as file:
                yield file.read(SMALL_FILE_BYTES if size <= SMALL_FILE_BYTES else EDGE_BYTES)
                file.seek(max(0, size - EDGE_BYTES))
                yield file.read()


def app_name(stage: str, generation: str) -> str:
    return f"{stage}-{generation}"


def stage_applications(applications: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields generation and Serve application of every stage; skips other applications."""
    for name, application in applications.items():
        stage, _, generation = name.partition("-")
        if stage in STAGES and generation:
            yield generation, application


def serving_generations() -> list[str]:
    """Returns the generations with at least one replica of every stage, the latest last.

    Those that still wait for further replicas, for example for a node with room, come first.
    """
    found: dict[str, list[Any]] = {}
    for generation, application in stage_applications(serve.status().applications):
        states = [d.replica_states for d in application.deployments.values()]
        if states and all(state.get("RUNNING") for state in states):
            found.setdefault(generation, []).append(application)

    def sort_key(generation: str) -> tuple[bool, float]:
        stages = found[generation]
        return (
            all(stage.status == "RUNNING" for stage in stages),
            max(stage.last_deployed_time_s for stage in stages),
        )

    return sorted((name for name in found if len(found[name]) == len(STAGES)), key=sort_key)


class GenerationRegistry:
    """The actor: every bridge reports every REPORT_SECONDS which generations it has pictures in."""

    def __init__(self) -> None:
        self._current = ""
        self._started = time.monotonic()
        self._last_query = -STATUS_SECONDS
        self._last_use: dict[str, float] = {}
        self._last_report: dict[str, float] = {}

    def report(self, bridge: str, in_use: list[str]) -> str:
        """Takes a bridge's id and the generations it uses; returns `current()`."""
        now = time.monotonic()
        self._last_report[bridge] = now
        self._last_use |= dict.fromkeys(in_use, now)
        return self.current()

    def set_current(self, generation: str) -> None:
        self._current = generation
        # Bridges send pictures to the old one until their next report, so it counts as in use.
        self._last_use = dict.fromkeys(self._last_use, time.monotonic())

    def current(self) -> str:
        """Returns the generation for new pictures, or "" while none serves."""
        if not self._current and time.monotonic() > self._last_query + STATUS_SECONDS:
            # This actor may have been restarted on another node, but Serve still knows.
            self._last_query = time.monotonic()
            self._current = (serving_generations() or [""])[-1]
        return self._current

    def idle_seconds(self, generation: str) -> float:
        """Returns the seconds since a bridge last reported a picture in the generation."""
        return time.monotonic() - self._last_use.get(generation, self._started)

    def bridge_count(self) -> int:
        """Returns how many bridges have reported within BRIDGE_TIMEOUT_SECONDS."""
        oldest = time.monotonic() - BRIDGE_TIMEOUT_SECONDS
        return sum(reported > oldest for reported in self._last_report.values())


# Made once: Ray keeps for ever what it exports for each class that `ray.remote` makes.
_REMOTE_CLASS: Any = ray.remote(GenerationRegistry)


def generation_registry() -> Any:
    """Returns the cluster's one actor, and creates it if there is none.

    Each call costs memory in Ray, so frequent callers keep the handle.
    """
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    actor = _REMOTE_CLASS.options(name=ACTOR, get_if_exists=True, lifetime="detached", **options)
    return actor.remote()
