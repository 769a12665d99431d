"""The networks of a Stable Diffusion checkpoint, described for the runtimes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from ray_stages.families import unet_levels
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.model_card import ModelCard
from ray_stages.runtimes.network import Input, Network, Tensors

TOKENS = 77  # of CLIP's text encoders; the UNet takes other numbers too


def text_encoder(model: Any, tokenizer: Any) -> Network:
    """Inputs: input_ids int64 [rows, tokens], and attention_mask if the model was trained with one.

    Output: the last hidden state, [rows, tokens, dim].
    """

    def ids(shape: Sequence[int]) -> torch.Tensor:
        return torch.randint(0, tokenizer.vocab_size, tuple(shape))

    def mask(shape: Sequence[int]) -> torch.Tensor:
        return torch.ones(tuple(shape), dtype=torch.int64)

    tokens = tokenizer.model_max_length
    inputs = [Input("input_ids", ("rows", tokens), ids)]
    if getattr(model.config, "use_attention_mask", False):
        inputs.append(Input("attention_mask", ("rows", tokens), mask))
    return Network("text_encoder", _TextEncoder(model), tuple(inputs), ("last_hidden_state",))


def unet(model: Any, card: ModelCard, *, with_deep: bool = False) -> Network:
    """Inputs: sample [rows, channels, h, w], time_embeds float32 [rows, dim], prompt_embeds [rows,
    tokens, dim], and timestep_cond [rows, dim] if the model takes guidance as an input.

    time_embeds are the sinusoids that `model.time_proj` computes from timesteps. They are inputs
    because a runtime in bfloat16 would round a timestep of 999 to 1000.

    Outputs: the prediction, of the shape of sample, and if with_deep the features that
    `unet_shallow` takes.
    """

    def times(shape: Sequence[int]) -> torch.Tensor:
        embeds: torch.Tensor = model.time_proj(torch.linspace(999, 1, shape[0]))
        return embeds

    config = model.config
    inputs = [
        Input("sample", ("rows", config.in_channels, "height", "width")),
        Input("time_embeds", ("rows", config.block_out_channels[0]), times),
        Input("prompt_embeds", ("rows", "tokens", config.cross_attention_dim)),
    ]
    if config.time_cond_proj_dim:
        inputs.append(Input("timestep_cond", ("rows", config.time_cond_proj_dim)))
    sizes = {**_latent_sizes(card), "tokens": TOKENS}
    # With odd sizes the UNet upsamples to explicit sizes, so the traced graph suits all sizes.
    odd = {"height": sizes["height"] + 1, "width": sizes["width"] + 3}
    module = unet_levels.Whole(model) if with_deep else _UNet(model)
    outputs = ("prediction", "deep") if with_deep else ("prediction",)
    return Network("unet", module, tuple(inputs), outputs, sizes, odd)


def unet_shallow(model: Any, card: ModelCard) -> Network:
    """Inputs: deep [rows, dim, h, w], of an earlier step, and those of `unet`.

    Output: the prediction.
    """
    whole = unet(model, card)
    deep = Input("deep", ("rows", model.config.block_out_channels[1], "height", "width"))
    inputs = (deep, *whole.inputs)
    return replace(whole, name="unet_shallow", module=unet_levels.Shallow(model), inputs=inputs)


def vae_decoder(vae: Any, card: ModelCard) -> Network:
    """Input: latents [rows, channels, h, w]. Output: pixels from -1 to 1, [rows, 3, 8 h, 8 w]."""
    sizes = _latent_sizes(card)
    odd = {name: size + 1 for name, size in sizes.items()}
    inputs = (Input("latents", ("rows", card.latent_channels, "height", "width")),)
    return Network("vae_decoder", _Decoder(vae), inputs, ("pixels",), sizes, odd)


def vae_encoder(vae: Any, card: ModelCard) -> Network:
    """Input: pixels from -1 to 1, [rows, 3, 8 h, 8 w]. Output: mean and log variance of latents."""
    sizes = {"height": card.height, "width": card.width}
    odd = {name: size + card.vae_scale_factor for name, size in sizes.items()}
    inputs = (Input("pixels", ("rows", 3, "height", "width")),)
    return Network("vae_encoder", _Encoder(vae), inputs, ("moments",), sizes, odd)


# The network of each stage.
NETWORKS: dict[str, Callable[[Checkpoint], Network]] = {
    "text_encoder": lambda c: text_encoder(c.text_encoder(), c.tokenizer()),
    "unet": lambda c: unet(c.unet(), c.card),
    "vae_decoder": lambda c: vae_decoder(c.vae(), c.card),
    "vae_encoder": lambda c: vae_encoder(c.vae(), c.card),
}


def _latent_sizes(card: ModelCard) -> dict[str, int]:
    factor = card.vae_scale_factor
    return {"height": card.height // factor, "width": card.width // factor}


class _Wrapper(torch.nn.Module):
    """A module whose inputs and outputs are tensors only, which can be traced."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.eval()


class _TextEncoder(_Wrapper):
    def forward(self, input_ids: torch.Tensor, mask: torch.Tensor | None = None) -> Tensors:
        return (self.model(input_ids, attention_mask=mask)[0],)


class _UNet(_Wrapper):
    def __init__(self, model: Any) -> None:
        super().__init__(model)
        model.get_time_embed = _pass_time_embeds

    def forward(
        self,
        sample: torch.Tensor,
        time_embeds: torch.Tensor,
        prompt_embeds: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
    ) -> Tensors:
        return tuple(
            self.model(
                sample,
                time_embeds,
                encoder_hidden_states=prompt_embeds,
                timestep_cond=timestep_cond,
                return_dict=False,
            )
        )


def _pass_time_embeds(sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """Replaces `get_time_embed`: its `timestep` is the embedding already."""
    return timestep.to(sample.dtype)


class _Decoder(_Wrapper):
    def forward(self, latents: torch.Tensor) -> Tensors:
        return tuple(self.model.decode(latents, return_dict=False))


class _Encoder(_Wrapper):
    def forward(self, pixels: torch.Tensor) -> Tensors:
        return (self.model.encode(pixels, return_dict=False)[0].parameters,)
