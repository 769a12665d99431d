"""The drawn world: scenes, captions, pictures, and the judge that looks at them."""

import random
import re

import pytest
from diffusers import AutoencoderKL

from training.common import CHECKPOINT
from training.judge import judge, look
from training.pool import LATENT_SIZE, LatentPool
from training.world import (
    IMAGE_SIZE,
    PALETTE,
    SHAPE_WORDS,
    SHAPES,
    SIZE_WORDS,
    Object,
    Scene,
    caption,
    draw,
    sample_scene,
)


def test_a_seed_gives_the_same_scene_caption_and_picture() -> None:
    first, second = random.Random(7), random.Random(7)
    scene, again = sample_scene(first), sample_scene(second)
    assert scene == again
    assert caption(scene, first) == caption(again, second)
    assert draw(scene).tobytes() == draw(again).tobytes()


def test_scenes_stay_inside_the_picture_and_stand_out() -> None:
    rng = random.Random(0)
    for _ in range(500):
        scene = sample_scene(rng)
        for item in scene.objects:
            assert item.colour != scene.background
            for middle in (item.x, item.y):
                assert item.radius - 4 < middle < IMAGE_SIZE - item.radius + 4


def test_a_complete_caption_names_everything() -> None:
    rng = random.Random(1)
    for _ in range(300):
        scene = sample_scene(rng)
        text = caption(scene, rng, complete=True)
        assert scene.background in text
        for item in scene.objects:
            assert item.colour in text
            assert any(word in text for word in SHAPE_WORDS.get(item.shape, (item.shape,)))
            assert any(word in text for word in SIZE_WORDS[item.size])


def test_captions_vary() -> None:
    rng = random.Random(2)
    scene = sample_scene(rng)
    assert len({caption(scene, rng) for _ in range(100)}) > 50


def test_articles_fit_the_word() -> None:
    rng = random.Random(3)
    texts = " ".join(caption(sample_scene(rng), rng) for _ in range(500))
    assert " an orange" in texts
    assert " a orange" not in texts
    assert " an red" not in texts


@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_are_flat_with_smooth_edges(shape: str) -> None:
    image = draw(Scene("black", (Object(shape, "yellow", "large", 64, 64, 34),)))
    assert image.size == (IMAGE_SIZE, IMAGE_SIZE)
    counts = {colour: count for count, colour in image.getcolors(IMAGE_SIZE**2) or []}
    flat = counts[PALETTE["black"]] + counts[PALETTE["yellow"]]
    assert 0.9 < flat / IMAGE_SIZE**2 < 1


def test_the_judge_agrees_with_drawings() -> None:
    rng = random.Random(4)
    scenes = [sample_scene(rng) for _ in range(200)]
    right = [all(vars(judge(scene, look(draw(scene)))).values()) for scene in scenes]
    assert sum(right) >= 198


def test_the_judge_sees_what_is_wrong() -> None:
    drawn = Scene("white", (Object("circle", "red", "small", 26, 26, 13),), (0, 0))
    asked = Scene("white", (Object("square", "blue", "large", 64, 64, 34),), (1, 1))
    verdict = judge(asked, look(draw(drawn)))
    assert verdict.background
    assert verdict.count
    wrong = (verdict.colour, verdict.shape, verdict.size, verdict.place)
    assert not any(wrong)


def test_the_judge_sees_swapped_objects() -> None:
    top, bottom = (Object("circle", "red", "medium", 64, y, 22) for y in (30, 98))
    bottom = Object("square", "blue", "medium", 64, 98, 22)
    picture = look(draw(Scene("white", (top, bottom), relation="above")))
    assert judge(Scene("white", (top, bottom), relation="above"), picture).colour
    assert not judge(Scene("white", (bottom, top), relation="above"), picture).colour


def test_the_judge_finds_nothing_in_an_empty_picture() -> None:
    seen = look(draw(Scene("cyan", ())))
    assert seen.background == "cyan"
    assert seen.objects == ()


def test_close_ups_show_one_object_and_say_no_place() -> None:
    vae = AutoencoderKL.from_pretrained(CHECKPOINT / "vae")
    pool = LatentPool(vae, random.Random(0))
    pool.add(24)
    latents, captions = pool.close_ups(12)
    assert latents.shape == (12, 4, LATENT_SIZE // 2, LATENT_SIZE // 2)
    said = " ".join(captions)
    assert not re.search(r"\b(top|bottom|left|right|upper|lower|above|below)\b", said)
    assert any(shape in said for shape in SHAPES)
