"""The tokenizer, and the shipped checkpoint: complete, small, and asked for what it knows."""

import json
import random
from itertools import islice
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTokenizer

from benchmarks.load.requests import random_requests
from training.captions import caption
from training.evaluate import sample_cases, sample_prompts
from training.judge import judge, look
from training.known import CHECKPOINT, is_known, known_words, words_of
from training.tokenizer import (
    MAX_LENGTH,
    build_tokenizer,
    caption_words,
    learn_merges,
    refuse_another,
)
from training.world import COLOURS, IMAGE_SIZE, SHAPES, sample_scene

LARGEST_BYTES = 40_000_000
LARGEST_FILE = 16_000_000


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer()


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    loaded = StableDiffusionPipeline.from_pretrained(CHECKPOINT, torch_dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_merges_make_each_word_one_token() -> None:
    merges = learn_merges(["red", "green", "blue"])
    assert {"red</w>", "green</w>", "blue</w>"} <= {left + right for left, right in merges}


def test_caption_words_are_single_tokens(tokenizer: CLIPTokenizer) -> None:
    tokens = tokenizer.tokenize("a large yellow star on a black background, top-left")
    assert [token.removesuffix("</w>") for token in tokens] == [
        *["a", "large", "yellow", "star", "on", "a", "black", "background"],
        *[",", "top", "-", "left"],
    ]


def test_captions_fit(tokenizer: CLIPTokenizer) -> None:
    rng = random.Random(0)
    texts = [caption(sample_scene(rng), rng) for _ in range(500)]
    assert max(len(ids) for ids in tokenizer(texts).input_ids) <= MAX_LENGTH // 2


@pytest.mark.parametrize("text", ["ein großer roter stern", "赤い星", "🌟 étoile", "x" * 9])
def test_other_text_falls_back_to_bytes(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text).input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_tokenizer_survives_saving(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    text = "a red circle 星"
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.model_max_length == MAX_LENGTH


def test_known_words_are_single_tokens() -> None:
    """What the file says is what the tokenizer does, for every word that captions have."""
    shipped = CLIPTokenizer.from_pretrained(CHECKPOINT / "tokenizer")
    known = known_words(CHECKPOINT)
    for word in caption_words(2000):
        assert is_known(word, known) == (len(shipped.tokenize(word)) == 1), word
    assert is_known("A red circle, on blue.", known)
    assert not is_known("a red rhinoceros", known)


def test_the_checkpoint_is_asked_for_what_it_knows() -> None:
    """The unknown words would be among so many prompts, were they not left out."""
    known = known_words(CHECKPOINT)
    prompts = [text for _, text in sample_prompts(200)]
    prompts += [text for _, text, _ in sample_cases(200)]
    prompts += [request.prompt for request in islice(random_requests([0], [12]), 200)]
    asked = {word for text in prompts for word in words_of(text) if not word.isdigit()}
    assert asked - {"no"} <= known
    assert {*COLOURS, *SHAPES} & known <= asked


def test_the_checkpoint_is_small() -> None:
    total = sum(path.stat().st_size for path in CHECKPOINT.rglob("*") if path.is_file())
    assert total <= LARGEST_BYTES
    assert all(path.stat().st_size <= LARGEST_FILE for path in CHECKPOINT.rglob("*"))


def test_the_checkpoint_has_its_defaults() -> None:
    config = json.loads((CHECKPOINT / "generation_config.json").read_text())
    assert 1 <= config["num_inference_steps"] <= 12
    assert config["guidance_scale"] >= 1


def test_the_schedule_ends_in_pure_noise(pipeline: StableDiffusionPipeline) -> None:
    scheduler = pipeline.scheduler
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.timestep_spacing == "trailing"
    assert scheduler.alphas_cumprod[-1] < 1e-6


def test_the_checkpoint_draws(pipeline: StableDiffusionPipeline) -> None:
    generator = torch.Generator().manual_seed(0)
    image = pipeline("a red circle", num_inference_steps=1, generator=generator).images[0]
    assert image.size == (128, 128)


def test_pictures_are_right(pipeline: StableDiffusionPipeline) -> None:
    """The figures of the model card come from many more; this sees a checkpoint that is broken."""
    cases = sample_prompts(8)
    defaults = json.loads((CHECKPOINT / "generation_config.json").read_text())
    images = pipeline(
        [text for _, text in cases],
        height=IMAGE_SIZE,
        width=IMAGE_SIZE,
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(cases))],
        **defaults,
    ).images
    verdicts = [judge(scene, look(image)) for (scene, _), image in zip(cases, images, strict=True)]
    assert sum(verdict.background for verdict in verdicts) >= 7
    assert sum(verdict.count for verdict in verdicts) >= 6
    assert sum(verdict.colour for verdict in verdicts) >= 6


def test_weights_of_another_recipe_are_refused(
    tmp_path: Path,
) -> None:
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    refuse_another(tmp_path)
    tokenizer.add_tokens(["rhinoceros"])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(SystemExit, match="earlier recipe"):
        refuse_another(tmp_path)
