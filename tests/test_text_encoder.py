from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ray_stages.checkpoint import Checkpoint
from ray_stages.request import TextRequest
from ray_stages.text_encoder import TextEncoder


def test_each_request_gets_its_own_rows_whoever_shares_the_batch(
    load: Callable[[str], Checkpoint],
) -> None:
    encoder = TextEncoder(load("sd15"))
    requests = [TextRequest(["a star", "a ring"], "dull"), TextRequest(["a ring"], "")]
    together = encoder.encode(requests)
    for request, ours in zip(requests, together, strict=True):
        (alone,) = encoder.encode([request])
        assert ours["prompt_embeds"].shape == (len(request.prompts), 77, 32)
        assert ours["negative_prompt_embeds"].shape == (1, 77, 32)
        for name in ours:
            assert ours[name].dtype == np.float32
            np.testing.assert_allclose(ours[name], alone[name], atol=1e-5)
    ring = together[0]["prompt_embeds"][1]
    np.testing.assert_array_equal(ring, together[1]["prompt_embeds"][0])
    assert not np.allclose(ring, together[0]["prompt_embeds"][0])


def test_a_prompt_longer_than_the_model_reads_is_cut(load: Callable[[str], Checkpoint]) -> None:
    encoder = TextEncoder(load("sd21"))
    long, longer = (TextRequest(["x" * length], "") for length in (500, 1500))
    first, second = encoder.encode([long, longer])
    np.testing.assert_array_equal(first["prompt_embeds"], second["prompt_embeds"])
