"""What the routes work with, made once an application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from gateway.drawing.cache import Cache
from gateway.drawing.image_service import Studio
from gateway.drawing.readiness import Readiness
from gateway.drawing.served_model import Checkpoint
from gateway.drawing.triton import Triton
from gateway.jobs.job_runner import JobRunner
from gateway.jobs.jobs import Jobs
from gateway.jobs.open_store import open_store
from gateway.jobs.store import Store
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings


@dataclass
class House:
    """leaving: whether the server is about to stop; streams of events then end by themselves."""

    settings: GatewaySettings
    metrics: Metrics
    triton: Triton
    store: Store
    studio: Studio
    checkpoint: Checkpoint
    readiness: Readiness
    jobs: Jobs
    runner: JobRunner
    leaving: bool = False

    def leave(self) -> None:
        self.leaving = True
        self.runner.retire()


@asynccontextmanager
async def open_house(settings: GatewaySettings, metrics: Metrics) -> AsyncIterator[House]:
    triton = Triton(settings.triton_grpc, settings.triton_tls_ca)
    store = await open_store(settings.store, settings.checkpoint, settings.store_bytes)
    studio = Studio(
        triton,
        Cache(settings.cache_bytes),
        metrics,
        settings.checkpoint,
        settings.request_seconds,
    )
    jobs = Jobs(store, settings.results_seconds, settings.max_jobs)
    runner = JobRunner(store, jobs, studio, metrics, settings.jobs_at_once, settings.lease_seconds)
    runner.start()
    try:
        yield House(
            settings,
            metrics,
            triton,
            store,
            studio,
            Checkpoint(settings.checkpoint),
            Readiness(triton, settings.ready_seconds),
            jobs,
            runner,
        )
    finally:
        await runner.stop(settings.drain_seconds)
        await triton.close()
        await store.close()


def _house(request: Request) -> House:
    house: House = request.app.state.house
    return house


Here = Annotated[House, Depends(_house)]
