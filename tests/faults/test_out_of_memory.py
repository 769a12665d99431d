"""A replica gets no more memory than it has, and is asked for large pictures.

Those are told that there is not enough memory for them; the others are drawn as before, by it or,
if it does not survive that, by the one that takes its place.
"""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor

import pytest
from tritonclient.utils import InferenceServerException

from tests.faults.scene import CLEAR, Scene
from tests.support.stacks import STAR

LARGE = 256
AT_ONCE = 16


@pytest.mark.parametrize("stage", ["unet", "vae_decoder"])
def test_out_of_memory(scene: Scene, stage: str) -> None:
    told: list[str] = []

    def draw_large(seed: int) -> None:
        try:
            scene.stack.infer(STAR, seed=seed, steps=2, height=LARGE, width=LARGE)
        except InferenceServerException as error:
            told.append(str(error))

    def strike() -> None:
        replica = scene.stack.replica(stage)
        room = replica.memory_info().vms
        resource.prlimit(replica.pid, resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(draw_large, range(AT_ONCE)))

    scene.suffer(f"a replica of `{stage}` out of memory", strike, refuses=True)
    assert all(CLEAR.search(reason) for reason in told), told
