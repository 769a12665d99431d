"""Splits Stable Diffusion's UNet into its outermost level and all levels below, for DeepCache.

Both together compute diffusers' `UNet2DConditionModel.forward` with text and time only.
"""

from __future__ import annotations

from typing import Any

import torch

from ray_stages.runtimes.network import Tensors

DOWN, UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
# Conditions of other UNets, beside text and time.
OTHER_CONDITIONS = (
    *("addition_embed_type", "center_input_sample", "class_embed_type", "encoder_hid_dim_type"),
    *("num_class_embeds", "time_embedding_act_fn"),
)


def check_splittable(config: Any) -> None:
    """Raises ValueError for a UNet that is not built like Stable Diffusion's."""
    down, up = config.down_block_types, config.up_block_types
    right = {
        "down_block_types": down[0] == DOWN and {*down[1:]} <= {DOWN, "DownBlock2D"} and down[1:],
        "mid_block_type": config.mid_block_type == "UNetMidBlock2DCrossAttn",
        "up_block_types": up[-1] == UP and {*up[:-1]} <= {UP, "UpBlock2D"},
        "norm_num_groups": config.norm_num_groups,
        **{name: not config[name] for name in OTHER_CONDITIONS},
    }
    wrong = [f"{name}={config[name]}" for name, is_right in right.items() if not is_right]
    if wrong:
        raise ValueError(
            f"UNET_DEEP_EVERY over 1 is not possible with this UNet ({', '.join(wrong)}): "
            "only with those of Stable Diffusion 1.x and 2.x"
        )


class Shallow(torch.nn.Module):
    """The outermost level: from the deep features of an earlier step to a prediction.

    emb: time embedding, [rows, dim]; skips: the outputs of the first down block that the last up
    block takes.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.time_embedding = model.time_embedding
        self.conv_in, self.down = model.conv_in, model.down_blocks[0]
        self.up, self.conv_norm_out = model.up_blocks[-1], model.conv_norm_out
        self.conv_act, self.conv_out = model.conv_act, model.conv_out

    def forward(
        self,
        deep: torch.Tensor,
        sample: torch.Tensor,
        time_embeds: torch.Tensor,
        prompt_embeds: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
    ) -> Tensors:
        emb = self.embed(time_embeds, sample.dtype, timestep_cond)
        _, skips = self.descend(sample, emb, prompt_embeds)
        return (self.ascend(deep, skips, emb, prompt_embeds),)

    def embed(self, times: torch.Tensor, dtype: torch.dtype, cond: torch.Tensor | None) -> Any:
        return self.time_embedding(times.to(dtype), cond)

    def descend(self, sample: torch.Tensor, emb: Any, embeds: Any) -> tuple[torch.Tensor, Tensors]:
        """Returns the input of the level below, at half the size, and the skips."""
        first = self.conv_in(sample)
        below, skips = self.down(hidden_states=first, temb=emb, encoder_hidden_states=embeds)
        return below, (first, *skips[:-1])

    def ascend(self, deep: torch.Tensor, skips: Tensors, emb: Any, embeds: Any) -> torch.Tensor:
        last = self.up(
            hidden_states=deep,
            res_hidden_states_tuple=skips,
            temb=emb,
            encoder_hidden_states=embeds,
        )
        prediction: torch.Tensor = self.conv_out(self.conv_act(self.conv_norm_out(last)))
        return prediction


class Deep(torch.nn.Module):
    """All levels below the outermost: from [rows, dim, h / 2, w / 2] to [rows, dim, *size]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.down, self.mid = model.down_blocks[1:], model.mid_block
        self.up = model.up_blocks[:-1]

    def forward(self, hidden: torch.Tensor, size: Any, emb: Any, embeds: Any) -> torch.Tensor:
        skips: Tensors = (hidden,)
        for block in self.down:
            hidden, own = block(hidden_states=hidden, temb=emb, encoder_hidden_states=embeds)
            skips += own
        hidden = self.mid(hidden, emb, encoder_hidden_states=embeds)
        for block in self.up:
            count = len(block.resnets)
            own, skips = skips[-count:], skips[:-count]
            hidden = block(
                hidden_states=hidden,
                res_hidden_states_tuple=own,
                temb=emb,
                encoder_hidden_states=embeds,
                upsample_size=skips[-1].shape[2:] if skips else size,
            )
        return hidden


class Whole(torch.nn.Module):
    """The whole UNet: returns its prediction, and the deep features that `Shallow` takes."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.shallow, self.deep = Shallow(model), Deep(model)

    def forward(
        self,
        sample: torch.Tensor,
        time_embeds: torch.Tensor,
        prompt_embeds: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
    ) -> Tensors:
        emb = self.shallow.embed(time_embeds, sample.dtype, timestep_cond)
        below, skips = self.shallow.descend(sample, emb, prompt_embeds)
        deep = self.deep(below, sample.shape[2:], emb, prompt_embeds)
        return self.shallow.ascend(deep, skips, emb, prompt_embeds), deep
