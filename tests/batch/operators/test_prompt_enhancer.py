"""The prompt enhancer: the model in this repository, and what holds for any chat model."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from batch.configuration.options import EnhanceOptions
from batch.operators.enhance import Enhance
from batch.operators.prompt_enhancer import PromptEnhancer, SeededGumbelNoise
from batch.rows import Row, to_table
from ray_stages.families.checkpoint import Checkpoint
from training.enhancer.evaluate import TARGET, UNSEEN_SEED, measure
from training.enhancer.short_prompts import (
    SEASONS,
    Example,
    background_of,
    examples,
    is_caption,
    keeps,
    words,
)
from training.enhancer.train import ENHANCER, batch_of, build_tokenizer

LARGEST_BYTES = 8_000_000
SHORT = ["a star", "red circle", "tiny cross on blue", "a heart above a ring", "draw a disc"]


@pytest.fixture(scope="module")
def enhancer() -> PromptEnhancer:
    return PromptEnhancer(EnhanceOptions())


def test_texts_are_captions_that_keep_the_words_of_the_prompt(enhancer: PromptEnhancer) -> None:
    figures = measure(enhancer, examples(random.Random(UNSEEN_SEED), 200, held_out=True))
    assert figures.both >= TARGET


def test_a_season_decides_the_background(enhancer: PromptEnhancer) -> None:
    for season, colours in SEASONS.items():
        texts = enhancer.write(["a star"] * 8, [season] * 8, list(range(8)))
        backgrounds = [background_of(text) for text in texts]
        assert sum(one in colours for one in backgrounds) >= 7, backgrounds


def test_a_text_depends_on_its_seed_and_not_on_the_batch(enhancer: PromptEnhancer) -> None:
    seeds = [11, 12, 13, 14, 15]
    together = enhancer.write(SHORT, [""] * 5, seeds)
    alone = [enhancer.write([s], [""], [seed])[0] for s, seed in zip(SHORT, seeds, strict=True)]
    assert together == alone
    assert len(set(enhancer.write(["a star"] * 20, [""] * 20, list(range(20))))) > 5


def test_without_temperature_the_seed_does_not_matter() -> None:
    greedy = PromptEnhancer(EnhanceOptions(temperature=0.0))
    assert len(set(greedy.write(["a star"] * 3, [""] * 3, [1, 2, 3]))) == 1


def test_noise_draws_tokens_with_the_odds_of_the_scores() -> None:
    scores = torch.log(torch.tensor([[0.7, 0.2, 0.1]])).repeat(2000, 1)
    drawn = SeededGumbelNoise(range(2000))(torch.empty(0), scores).argmax(dim=-1)
    shares = torch.bincount(drawn, minlength=3) / 2000
    assert shares.tolist() == pytest.approx([0.7, 0.2, 0.1], abs=0.04)


def test_the_model_is_small_and_holds_no_code() -> None:
    files = [path for path in ENHANCER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LARGEST_BYTES
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja", ".md"}
    assert "auto_map" not in json.loads((ENHANCER / "config.json").read_text())


def test_the_operator_writes_prompts_out_and_checks_them(
    load: Callable[[str], Checkpoint],
) -> None:
    checkpoint = load("sd15")
    settings, card = checkpoint.settings, checkpoint.card
    actor = Enhance(EnhanceOptions(), settings, card, threads=1)
    row: Row = {"key": "a", "status": "ok", "system": "winter", "negative_prompt": ""}
    (written,) = actor(to_table([{**row, "original_prompt": "a star"}])).to_pylist()
    assert is_caption(written["prompt"])
    assert background_of(written["prompt"]) in SEASONS["winter"]
    assert written["enhance_ms"] > 0
    actor.enhancer.write = lambda *_: [" "]  # type: ignore[method-assign]
    (empty,) = actor(to_table([{**row, "original_prompt": "a star"}])).to_pylist()
    assert (empty["status"], empty["kind"]) == ("error", "invalid prompt")


def test_examples_are_full_captions_that_keep_the_short_ones_words() -> None:
    for example in examples(random.Random(3), 500, held_out=False):
        assert is_caption(example.full), example
        assert keeps(example.short, example.full), example
        if example.season and not example.has_background:
            colours = SEASONS[example.season]
            taken = set(colours) <= words(example.full).keys()  # by the objects, so another serves
            assert taken or background_of(example.full) in colours


def test_what_is_held_out_is_not_trained_on() -> None:
    trained = {(e.system, e.short) for e in examples(random.Random(0), 3000, held_out=False)}
    held_out = {(e.system, e.short) for e in examples(random.Random(0), 300, held_out=True)}
    assert not trained & held_out


@pytest.mark.parametrize(
    "text",
    [
        "a star",
        "a large red star",
        "a large red star on a red background",
        "a large star on a black background",
        "a large red star on an black background",
        "a large red star on a black background and more",
    ],
)
def test_what_is_no_full_caption(text: str) -> None:
    assert not is_caption(text)


def test_a_word_that_got_lost_is_noticed() -> None:
    assert keeps("an orange star", "a large orange star on a black background")
    assert not keeps("a red ring and a red star", "a large red ring and a small blue star on white")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


def test_only_the_answer_is_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    batch = batch_of([Example("", "a star", "a red star"), Example("winter", "x", "y")], tokenizer)
    learned = [tokenizer.decode(row[row >= 0]) for row in batch["labels"]]
    assert [text.strip() for text in learned] == ["a red star<|end|>", "y<|end|>"]


def test_the_shipped_tokenizer_is_the_one_we_build(tokenizer: PreTrainedTokenizerFast) -> None:
    shipped = Path(ENHANCER / "tokenizer.json").read_text()
    assert json.loads(shipped) == json.loads(tokenizer.backend_tokenizer.to_str())
