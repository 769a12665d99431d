"""The objects that the routes share. They are made once for an application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from gateway.drawing.cache import Cache
from gateway.drawing.image_service import ImageService
from gateway.drawing.readiness import Readiness
from gateway.drawing.served_model import ServedModel
from gateway.drawing.triton_client import TritonClient
from gateway.jobs.job_runner import JobRunner
from gateway.jobs.jobs import Jobs
from gateway.jobs.open_store import open_store
from gateway.jobs.store import Store
from gateway.keys import ApiKeys
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings


@dataclass
class Dependencies:
    """shutting_down: whether the server is about to stop. Event streams then end by themselves."""

    settings: GatewaySettings
    metrics: Metrics
    keys: ApiKeys
    triton: TritonClient
    store: Store
    image_service: ImageService
    served_model: ServedModel
    readiness: Readiness
    jobs: Jobs
    job_runner: JobRunner
    shutting_down: bool = False

    def begin_shutdown(self) -> None:
        self.shutting_down = True
        self.job_runner.stop_claiming()


@asynccontextmanager
async def open_dependencies(
    settings: GatewaySettings, metrics: Metrics, keys: ApiKeys
) -> AsyncIterator[Dependencies]:
    triton = TritonClient(settings.triton_grpc, settings.triton_tls_ca)
    store = await open_store(settings.store, settings.checkpoint, settings.store_bytes)
    image_service = ImageService(
        triton,
        Cache(settings.cache_bytes),
        metrics,
        settings.checkpoint,
        settings.request_seconds,
    )
    jobs = Jobs(store, settings.results_seconds, settings.max_jobs)
    job_runner = JobRunner(
        store, jobs, image_service, metrics, settings.jobs_at_once, settings.lease_seconds
    )
    job_runner.start()
    try:
        yield Dependencies(
            settings,
            metrics,
            keys,
            triton,
            store,
            image_service,
            ServedModel(settings.checkpoint),
            Readiness(triton, settings.ready_seconds),
            jobs,
            job_runner,
        )
    finally:
        await job_runner.stop(settings.drain_seconds)
        await triton.close()
        await store.close()


def _dependencies(request: Request) -> Dependencies:
    dependencies: Dependencies = request.app.state.dependencies
    return dependencies


Injected = Annotated[Dependencies, Depends(_dependencies)]
