"""A Stable Diffusion checkpoint as it is tuned: frozen, but for a low-rank adapter or its UNet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from training.tuning.examples import Example

LAYERS = [
    *("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"),
    *("conv1", "conv2", "time_emb_proj", "proj_in", "proj_out"),
]
TOGETHER = 16


@dataclass(frozen=True)
class Encoded:
    """What the UNet needs of examples: latents [n, c, h, w], words [n, tokens, width], classes."""

    latents: torch.Tensor
    words: torch.Tensor
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


class Checkpoint:
    """The pipeline of a folder; `rank` 0 tunes the whole UNet, else an adapter of that rank."""

    def __init__(self, folder: Path, device: torch.device, rank: int) -> None:
        pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
        self.pipeline = pipeline.to(device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.device, self.rank = device, rank
        self.unet = pipeline.unet
        self.size = self.unet.config.sample_size * pipeline.vae_scale_factor
        for part in (pipeline.vae, pipeline.text_encoder, self.unet):
            part.requires_grad_(False)
        if rank:
            self.unet.add_adapter(
                LoraConfig(r=rank, lora_alpha=rank, target_modules=LAYERS, init_lora_weights=True)
            )
            cast_training_params(self.unet, dtype=torch.float32)
        else:
            self.unet.requires_grad_(True)

    def trained(self) -> list[torch.nn.Parameter]:
        return [weight for weight in self.unet.parameters() if weight.requires_grad]

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of what is trained, on the CPU."""
        named = self.unet.named_parameters()
        return {
            name: weight.detach().cpu().clone() for name, weight in named if weight.requires_grad
        }

    def set_weights(self, weights: dict[str, torch.Tensor]) -> None:
        named = dict(self.unet.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                named[name].copy_(weight)

    @torch.no_grad()
    def encode(self, examples: Sequence[Example]) -> Encoded:
        """Each picture and caption once, before training: only the UNet is trained."""
        latents, words = [], []
        for first in range(0, len(examples), TOGETHER):
            some = examples[first : first + TOGETHER]
            pixels = np.stack([np.asarray(example.open(self.size)) for example in some])
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
            posterior = self.pipeline.vae.encode(images.to(self.device)).latent_dist
            latents.append(posterior.mode() * self.pipeline.vae.config.scaling_factor)
            words.append(self.words([example.caption for example in some]))
        labels = tuple(example.label for example in examples)
        return Encoded(torch.cat(latents).cpu(), torch.cat(words).cpu(), labels)

    @torch.no_grad()
    def words(self, captions: Sequence[str]) -> torch.Tensor:
        tokens = self.pipeline.tokenizer(
            list(captions), padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        found: torch.Tensor = self.pipeline.text_encoder(tokens.to(self.device)).last_hidden_state
        return found

    def save(self, folder: Path) -> None:
        """An adapter for `load_lora_weights`, or the whole checkpoint in half precision."""
        if self.rank:
            state = get_peft_model_state_dict(self.unet)
            StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=state)
            return
        dtypes = self.unet.dtype
        self.pipeline.to(dtype=torch.float16).save_pretrained(folder)
        self.pipeline.to(dtype=dtypes)
