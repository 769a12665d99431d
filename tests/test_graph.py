from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ray_stages import graph
from ray_stages.checkpoint import Checkpoint
from ray_stages.denoiser import Denoiser
from ray_stages.request import DenoiseRequest, Guidance


def predicted(denoiser: Denoiser, count: int, height: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    embeds = rng.normal(size=(count, 77, 32)).astype(np.float32)
    request = DenoiseRequest(
        embeds, embeds[:1], list(range(count)), 4, Guidance(3.0), height, 64, "ddim"
    )
    pictures = [denoiser.start(request, i) for i in range(count)]
    return torch.cat(denoiser.predict(pictures))


@pytest.mark.parametrize("family", ["sd15", "sd21", "turbo"])
def test_the_graph_says_what_the_unet_says_for_any_rows(
    family: str, load: Callable[[str], Checkpoint]
) -> None:
    denoiser = Denoiser(load(family))
    plain = [predicted(denoiser, count, 64) for count in (1, 2, 5)]
    assert denoiser.make_graph(64, 64)
    for count, expected in zip((1, 2, 5), plain, strict=True):
        torch.testing.assert_close(predicted(denoiser, count, 64), expected, rtol=1e-4, atol=1e-4)


def test_other_sizes_go_without_it(
    load: Callable[[str], Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    denoiser = Denoiser(load("sd15"))
    expected = predicted(denoiser, 2, 96)
    denoiser.make_graph(64, 64)

    def unused(*_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the graph is for another size")

    monkeypatch.setattr(denoiser, "_graph", unused)
    torch.testing.assert_close(predicted(denoiser, 2, 96), expected)


def test_a_graph_that_is_not_exact_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    class Shapely(torch.nn.Module):
        """Does with a shape in Python what no graph can know."""

        def forward(self, sample: Any, timesteps: Any, encoder_hidden_states: Any, **_: Any) -> Any:
            return (sample * int(sample.shape[0] == 2),)

    assert graph.trace(Shapely(), 4, 8, 8, 77, 32) is None
    assert "event=no_graph" in caplog.text
