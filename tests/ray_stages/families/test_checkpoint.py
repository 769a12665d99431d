from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from ray_stages.families.checkpoint import Checkpoint
from ray_stages.settings import Precision, Settings


def test_sizes_and_defaults_come_from_the_checkpoint(load: Callable[[str], Checkpoint]) -> None:
    card = load("sd15").card
    assert (card.name, card.height, card.width, card.max_size) == ("sd15", 64, 64, 128)
    assert (card.latent_channels, card.embed_dim, card.vae_scale_factor) == (4, 32, 8)
    assert (card.steps, card.guidance_scale, card.scheduler) == (50, 7.5, "pndm")
    assert card.scaling_factor == 0.18215
    miniature = Checkpoint(Settings(device="cpu"))
    assert miniature.card.scaling_factor == miniature.vae().config.scaling_factor != 0.18215


def test_each_family_has_its_own_defaults(load: Callable[[str], Checkpoint]) -> None:
    v_prediction, turbo = load("sd21").card, load("turbo").card
    assert (v_prediction.steps, v_prediction.guidance_scale) == (50, 7.5)
    assert v_prediction.scheduler == "ddim"
    assert (turbo.steps, turbo.guidance_scale, turbo.scheduler) == (1, 0.0, "euler")


def test_settings_override_the_generation_config_which_overrides_the_family(
    checkpoint_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint_folder("sd15"), tmp_path / "own")
    config = {"num_inference_steps": 18, "guidance_scale": 2.5}
    (folder / "generation_config.json").write_text(json.dumps(config))
    own = Checkpoint(Settings(model=str(folder), device="cpu")).card
    assert (own.steps, own.guidance_scale) == (18, 2.5)
    settings = Settings(
        model=str(folder), device="cpu", default_steps=9, default_guidance_scale=0, max_size=512
    )
    card = Checkpoint(settings).card
    assert (card.steps, card.guidance_scale, card.max_size) == (9, 0.0, 512)


@pytest.mark.parametrize(
    ("device", "precision", "dtype"),
    [
        ("cpu", "bfloat16", torch.float32),  # the runtime may compute in bfloat16
        ("cuda", "auto", torch.float16),
        ("cuda", "bfloat16", torch.bfloat16),
        ("cuda", "float32", torch.float32),
    ],
)
def test_half_precision_is_for_cuda_only(
    device: str, precision: Precision, dtype: torch.dtype, checkpoint_folder: Callable[[str], Path]
) -> None:
    settings = Settings(model=str(checkpoint_folder("sd21")), device=device, precision=precision)
    assert Checkpoint(settings).dtype == dtype


def test_pickled_weights_are_not_loaded(
    checkpoint_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint_folder("sd15"), tmp_path / "pickled")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        Checkpoint(Settings(model=str(folder), device="cpu")).unet()


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
def test_weights_that_are_missing_are_named_and_never_made_up(
    checkpoint_folder: Callable[[str], Path], tmp_path: Path, part: str
) -> None:
    folder = shutil.copytree(checkpoint_folder("sd15"), tmp_path / "partial")
    (file,) = (folder / part).glob("*.safetensors")
    weights = load_file(file)
    gone = sorted(weights)[3]
    del weights[gone]
    save_file(weights, file, metadata={"format": "pt"})
    checkpoint = Checkpoint(Settings(model=str(folder), device="cpu"))
    with pytest.raises(ValueError, match=f"1 weights of {part} are in none of its files: {gone}"):
        getattr(checkpoint, part)()


def test_the_schedulers_class_is_that_of_the_model_index(
    checkpoint_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint_folder("sd15"), tmp_path / "own")
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert Checkpoint(Settings(model=str(folder), device="cpu")).card.scheduler == "ddim"
    assert type(StableDiffusionPipeline.from_pretrained(folder).scheduler) is DDIMScheduler


def test_a_tokenizer_without_a_length_has_that_of_its_text_encoder(
    checkpoint_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint_folder("sd15"), tmp_path / "own")
    file = folder / "tokenizer" / "tokenizer_config.json"
    config = json.loads(file.read_text())
    del config["model_max_length"]
    file.write_text(json.dumps(config))
    tokenizer = Checkpoint(Settings(model=str(folder), device="cpu")).tokenizer()
    assert tokenizer.model_max_length == 77
