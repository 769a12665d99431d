"""What speaks against a checkpoint is said from its files alone, with what is wanted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ray_stages.families.checkpoint_files import CheckpointFiles, UnfitCheckpoint, examine

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(checkpoint_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    return shutil.copytree(checkpoint_folder("sd15"), tmp_path / "own")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_whole_checkpoint_has_no_faults(folder: Path) -> None:
    assert examine(str(folder), "") == []


def sdxl(folder: Path) -> None:
    edit(
        folder / "model_index.json",
        _class_name="StableDiffusionXLPipeline",
        text_encoder_2=["transformers", "CLIPTextModelWithProjection"],
    )


def pickled(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")


def cut_off(folder: Path) -> None:
    file = folder / "vae" / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])


def a_web_page(folder: Path) -> None:
    (folder / "vae" / WEIGHTS).write_text("<!DOCTYPE html><html>not found</html>")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (sdxl, "StableDiffusionXLPipeline with text_encoder_2; Stable Diffusion 1.x and 2.x are"),
        (lambda f: edit(f / "unet/config.json", in_channels=9), "9, which is an inpainting UNet"),
        (lambda f: edit(f / "unet/config.json", sample_size=None), "sample_size is None"),
        (lambda f: edit(f / "text_encoder/config.json", hidden_size=64), "hidden_size is 64; 32"),
        (lambda f: shutil.rmtree(f / "vae"), "the folder vae/ is missing"),
        (pickled, "only diffusion_pytorch_model.bin, a pickle; load it with diffusers and call"),
        (cut_off, r"vae/diffusion_pytorch_model.safetensors has [\d,]+ bytes, its header tells of"),
        (a_web_page, "it is no safetensors file"),
        (lambda f: (f / "unet/config.json").write_text("{"), "a configuration cannot be read"),
    ],
)
def test_what_cannot_be_served_is_named(
    folder: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(folder)
    with pytest.raises(UnfitCheckpoint, match=words):
        examine(str(folder), "")


def test_code_of_its_own_is_ignored_and_told(folder: Path) -> None:
    edit(folder / "model_index.json", unet=["my_unet", "UNet2DConditionModel"])
    assert examine(str(folder), "") == ["unet in model_index.json names code of its own: ignored"]


@pytest.mark.parametrize(
    ("there", "asked", "taken"),
    [
        ((WEIGHTS,), "fp16", ""),  # the plain file stands in for the variant
        ((WEIGHTS, "diffusion_pytorch_model.fp16.safetensors"), "fp16", "fp16"),
        ((WEIGHTS, "diffusion_pytorch_model.fp16.safetensors"), "", ""),
        (("diffusion_pytorch_model.fp16.safetensors",), "", "fp16"),  # the only one there is
    ],
)
def test_variants_fall_back_part_by_part(
    folder: Path, there: tuple[str, ...], asked: str, taken: str
) -> None:
    whole = (folder / "unet" / WEIGHTS).read_bytes()
    (folder / "unet" / WEIGHTS).unlink()
    for name in there:
        (folder / "unet" / name).write_bytes(whole)
    variant, (file,) = CheckpointFiles(folder, asked).weights("unet")
    assert (variant, file.exists()) == (taken, True)
    assert examine(str(folder), asked) == []


def test_a_shard_that_the_index_names_must_be_there(folder: Path) -> None:
    index = {"weight_map": {"a": "shard-1.safetensors", "b": "shard-2.safetensors"}}
    (folder / "unet" / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "shard-1.safetensors")
    with pytest.raises(UnfitCheckpoint, match=r"unet/shard-2.safetensors is missing"):
        examine(str(folder), "")


def test_a_hub_id_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UnfitCheckpoint, match=r"MODEL=nobody/nothing cannot be served: no folder"):
        examine("nobody/nothing", "")
