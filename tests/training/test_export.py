"""A checkpoint that the recipe makes in a few steps: complete, small, and fit for diffusers."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import LCMScheduler, StableDiffusionPipeline

from training import autoencoder, diffusion, evaluate, export, text_encoder, turbo
from training.tokenizer import build_tokenizer

LARGEST_BYTES = 40_000_000
LARGEST_FILE = 16_000_000
MINUTES = ("--minutes", "0.0005")  # a step or two of each part


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every part, trained for a step or two."""
    folder = tmp_path_factory.mktemp("train")
    given = [*MINUTES, "--batch", "4", "--work", str(folder)]
    text_encoder.main(given)
    autoencoder.main(["decoder", *given])
    autoencoder.main(["encoder", *given])
    parts = ["--text", str(folder / "text_encoder"), "--vae", str(folder / "none")]
    diffusion.main([*given, *parts])
    return folder


@pytest.fixture(scope="module")
def made(work: Path) -> Path:
    """The checkpoint of those parts."""
    export.main(["--work", str(work), "--output", str(work / "made")])
    return work / "made"


@pytest.fixture(scope="module")
def pipeline(made: Path) -> StableDiffusionPipeline:
    loaded = StableDiffusionPipeline.from_pretrained(made, torch_dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_the_tokenizer_is_the_one_we_build(pipeline: StableDiffusionPipeline) -> None:
    built = build_tokenizer()
    assert pipeline.tokenizer.get_vocab() == built.get_vocab()
    assert pipeline.tokenizer.model_max_length == built.model_max_length
    assert pipeline.text_encoder.config.vocab_size == len(built)


def test_it_is_small(made: Path) -> None:
    sizes = [path.stat().st_size for path in made.rglob("*") if path.is_file()]
    assert 10_000_000 < sum(sizes) <= LARGEST_BYTES
    assert max(sizes) <= LARGEST_FILE


def test_it_has_defaults(made: Path) -> None:
    config = json.loads((made / "generation_config.json").read_text())
    assert 1 <= config["num_inference_steps"] <= 12
    assert config["guidance_scale"] >= 1


def test_the_schedule_ends_in_pure_noise(pipeline: StableDiffusionPipeline) -> None:
    scheduler = pipeline.scheduler
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.timestep_spacing == "trailing"
    assert scheduler.alphas_cumprod[-1] < 1e-6


def test_it_draws(pipeline: StableDiffusionPipeline) -> None:
    image = pipeline("a brown hexagon", num_inference_steps=1, guidance_scale=2.0).images[0]
    assert image.size == (128, 128)


def test_training_goes_on_from_it(made: Path, tmp_path: Path) -> None:
    given = [*MINUTES, "--batch", "4", "--work", str(tmp_path), "--start", str(made)]
    autoencoder.main(["decoder", *given])
    diffusion.main([*given, "--vae", str(tmp_path / "none")])
    assert (tmp_path / "diffusion" / "unet" / "config.json").exists()
    assert (tmp_path / "decoder" / "config.json").exists()


def test_its_turbo_sibling_draws(made: Path, tmp_path: Path) -> None:
    folders = ["--teacher", str(made), "--work", str(tmp_path), "--output", str(tmp_path / "turbo")]
    turbo.main([*MINUTES, "--batch", "2", *folders])
    sibling = StableDiffusionPipeline.from_pretrained(tmp_path / "turbo", torch_dtype=torch.float32)
    assert isinstance(sibling.scheduler, LCMScheduler)
    image = sibling("a brown hexagon", num_inference_steps=1, guidance_scale=1.0).images[0]
    assert image.size == (128, 128)


def test_its_figures_go_into_its_card(made: Path) -> None:
    evaluate.main(
        ["--checkpoint", str(made), "--prompts", "2", "--search-prompts", "2", "--steps", "1"]
    )
    card = (made / "README.md").read_text()
    assert "| background |" in card
    assert "4-layer CLIP text encoder" in card
    assert (made / "samples.png").stat().st_size > 1000
    assert json.loads((made / "generation_config.json").read_text())["num_inference_steps"] == 1
