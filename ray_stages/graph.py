"""The UNet as one graph, for CPUs: no Python between its layers, its constants folded."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch

log = logging.getLogger("ray.serve")

UNet = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
EXACT = 1e-4  # of values around 1


class _Network(torch.nn.Module):
    """`unet` with tensors only, as a graph takes and gives them."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self, sample: torch.Tensor, timesteps: torch.Tensor, embeds: torch.Tensor
    ) -> torch.Tensor:
        answer: torch.Tensor = self.unet(
            sample, timesteps, encoder_hidden_states=embeds, return_dict=False
        )[0]
        return answer


@torch.inference_mode()
def trace(unet: Any, channels: int, height: int, width: int, tokens: int, dim: int) -> UNet | None:
    """A graph for latents [any, channels, height, width], by torch.jit.trace.

    None where it cannot be made or says something else than `unet` does, for other rows than those
    it was traced with: tracing would write into the graph whatever Python did with a shape.
    """

    def example(rows: int) -> tuple[torch.Tensor, ...]:
        sample = torch.randn(rows, channels, height, width)
        return sample, torch.linspace(1, 999, rows), torch.randn(rows, tokens, dim)

    network = _Network(unet).eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Python does with shapes: checked below
            traced: Any = torch.jit.trace(network, example(2), check_trace=False)  # type: ignore[no-untyped-call]
            graph: UNet = torch.jit.freeze(traced)
        for rows in (1, 3):
            inputs = example(rows)
            torch.testing.assert_close(graph(*inputs), network(*inputs), rtol=EXACT, atol=EXACT)
    except (RuntimeError, AssertionError) as error:
        log.warning("event=no_graph reason=%s", str(error).strip().splitlines()[0])
        return None
    return graph
