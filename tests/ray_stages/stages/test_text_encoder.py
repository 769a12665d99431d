from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import EncodeTextRequest
from ray_stages.stages.text_encoder import TextEncoder


def test_each_request_gets_its_own_rows_of_a_shared_batch(
    load: Callable[[str], Checkpoint],
) -> None:
    encoder = TextEncoder(load("sd15"))
    requests = [EncodeTextRequest(["a star", "a ring"], "dull"), EncodeTextRequest(["a ring"], "")]
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


def test_a_prompt_is_truncated_to_the_models_length(load: Callable[[str], Checkpoint]) -> None:
    encoder = TextEncoder(load("sd21"))
    long, longer = (EncodeTextRequest(["x" * length], "") for length in (500, 1500))
    first, second = encoder.encode([long, longer])
    np.testing.assert_array_equal(first["prompt_embeds"], second["prompt_embeds"])


def test_cached_texts_are_not_encoded_again_within_the_limit(
    load: Callable[[str], Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 77 * 32 * 4
    encoder = TextEncoder(load("sd15"), cache_bytes=2 * size)
    encoded: list[str] = []
    embed = encoder._embed

    def embed_and_note(texts: list[str]) -> list[Array]:
        encoded.extend(texts)
        return embed(texts)

    monkeypatch.setattr(encoder, "_embed", embed_and_note)
    first = encoder.encode([EncodeTextRequest(["a star"], "")])[0]
    again = encoder.encode([EncodeTextRequest(["a star"], "")])[0]
    assert encoded == ["", "a star"]
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    encoder.encode([EncodeTextRequest(["a ring"], "")])
    encoder.encode([EncodeTextRequest(["a star"], "")])
    assert encoded == ["", "a star", "a ring", "a star"]
    assert encoder.cache.currsize <= 2 * size
