"""A replica can take no more memory, and is asked for large pictures.

These are refused for lack of memory. The others are still drawn, by this replica or, if it does not
survive, by the one that replaces it.
"""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor

import pytest
from tritonclient.utils import InferenceServerException

from tests.faults.scenario import CLEAR_REFUSAL, FaultScenario
from tests.support.stacks import STAR

LARGE = 256
AT_ONCE = 16


@pytest.mark.parametrize("stage", ["unet", "vae_decoder"])
def test_out_of_memory(scenario: FaultScenario, stage: str) -> None:
    errors: list[str] = []

    def draw_large(seed: int) -> None:
        try:
            scenario.stack.infer(STAR, seed=seed, steps=2, height=LARGE, width=LARGE)
        except InferenceServerException as error:
            errors.append(str(error))

    def inject() -> None:
        replica = scenario.stack.replica(stage)
        size = replica.memory_info().vms
        resource.prlimit(replica.pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(draw_large, range(AT_ONCE)))

    scenario.survive(f"a replica of `{stage}` out of memory", inject, refuses=True)
    assert all(CLEAR_REFUSAL.search(error) for error in errors), errors
