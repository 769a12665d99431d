"""The drawn world: scenes, captions, pictures, and the judge that looks at them."""

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from training.captions import COLOUR_WORDS, SHAPE_WORDS, SIZE_WORDS, Said, caption, say
from training.judge import judge, look
from training.sharpness import sharpness
from training.world import (
    IMAGE_SIZE,
    PALETTE,
    RADII,
    SHAPES,
    Object,
    Scene,
    draw,
    sample_scene,
    sample_written,
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
        scene = sample_written(rng)
        for item in scene.objects:
            assert item.colour != scene.background
            for middle in (item.x, item.y):
                assert item.radius - 4 < middle < IMAGE_SIZE - item.radius + 4


def test_twins_are_alike() -> None:
    rng = random.Random(0)
    for _ in range(50):
        first, second = sample_scene(rng, two_objects=1, twins=1).objects
        assert replace(first, x=0, y=0) == replace(second, x=0, y=0)


def test_a_complete_caption_names_everything() -> None:
    rng = random.Random(1)
    for _ in range(300):
        scene = sample_scene(rng)
        text = caption(scene, rng, complete=True).lower()
        assert any(word in text for word in COLOUR_WORDS.get(scene.background, (scene.background,)))
        for item in scene.objects:
            assert any(word in text for word in COLOUR_WORDS.get(item.colour, (item.colour,)))
            assert any(word in text for word in SHAPE_WORDS.get(item.shape, (item.shape,)))
            assert any(word in text for word in SIZE_WORDS[item.size])


def test_half_of_the_captions_say_no_size_and_a_third_no_background() -> None:
    rng = random.Random(2)
    said = [say(sample_written(rng), rng)[1] for _ in range(2000)]
    sizes = [told for one in said for told in one.sizes]
    assert 0.4 < sum(sizes) / len(sizes) < 0.5
    assert 0.6 < sum(one.background for one in said) / len(said) < 0.7


def test_what_is_said_is_in_the_words() -> None:
    rng = random.Random(3)
    for _ in range(500):
        scene = sample_written(rng)
        text, said = say(scene, rng)
        known = [word for words in SIZE_WORDS.values() for word in words]
        assert any(said.sizes) == any(word in text.lower().split() for word in known)
        assert (said.background and scene.background != "grey") <= (
            scene.background in text.lower()
        )


def test_captions_vary() -> None:
    rng = random.Random(2)
    scene = sample_scene(rng)
    assert len({caption(scene, rng) for _ in range(100)}) > 50


@pytest.mark.parametrize(
    "words", ["underneath", "beneath", "next to", "beside", "gray", "grey", "centre", "center"]
)
def test_people_may_write(words: str) -> None:
    rng = random.Random(4)
    texts = " / ".join(caption(sample_written(rng), rng) for _ in range(3000)).lower()
    assert f" {words} " in texts


def test_number_words_come_with_plurals() -> None:
    rng = random.Random(5)
    item = Object("cross", "grey", "small", 40, 64, RADII["small"])
    scene = Scene("white", (item, replace(item, x=88)), relation="left of")
    texts = [caption(scene, rng).lower() for _ in range(100)]
    plural = [text for text in texts if "two " in text or "pair of" in text]
    assert len(plural) > 50
    assert all("crosses" in text or "pluses" in text for text in plural)


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
    scenes = [sample_written(rng) for _ in range(150)]
    right = [all(vars(judge(scene, look(draw(scene)))).values()) for scene in scenes]
    assert all(right)


def test_the_judge_sees_what_is_wrong() -> None:
    drawn = Scene("white", (Object("circle", "red", "small", 26, 26, 18),), (0, 0))
    asked = Scene("white", (Object("square", "blue", "large", 64, 64, 36),), (1, 1))
    verdict = judge(asked, look(draw(drawn)))
    assert verdict.background
    assert verdict.count
    wrong = (verdict.colour, verdict.shape, verdict.size, verdict.place)
    assert not any(wrong)


def test_what_was_not_said_may_be_anything() -> None:
    drawn = Scene("white", (Object("circle", "red", "small", 26, 26, 18),), (0, 0))
    asked = Scene("black", (Object("circle", "blue", "large", 64, 64, 36),), (1, 1))
    said = Said(background=False, colours=(False,), sizes=(False,))
    assert all(vars(judge(asked, look(draw(drawn)), said)).values())


def test_a_blob_is_no_shape() -> None:
    """A star that lost its points overlaps with no outline as it should."""
    star = Scene("white", (Object("star", "blue", "large", 64, 64, 36),))
    image = draw(star)
    assert look(image).objects[0].is_a("star")
    far = np.hypot(*(np.indices((IMAGE_SIZE, IMAGE_SIZE)) - 64)) > 24
    pixels = np.array(image)
    pixels[far] = PALETTE["white"]
    assert not look(Image.fromarray(pixels)).objects[0].is_a("star")


def test_the_judge_sees_swapped_objects() -> None:
    top = Object("circle", "red", "medium", 64, 30, 26)
    bottom = Object("square", "blue", "medium", 64, 98, 26)
    picture = look(draw(Scene("white", (top, bottom), relation="above")))
    swapped = Scene("white", (bottom, top), relation="above")
    assert judge(Scene("white", (top, bottom), relation="above"), picture).colour
    assert not judge(swapped, picture).colour
    anyhow = Said(background=True, colours=(True, True), sizes=(True, True))
    assert all(vars(judge(swapped, picture, anyhow)).values())


def test_next_to_is_not_above() -> None:
    top = Object("circle", "red", "medium", 64, 30, 26)
    bottom = Object("square", "blue", "medium", 64, 98, 26)
    scene = Scene("white", (top, bottom), relation="above")
    beside = Said(True, (True, True), (True, True), relation="beside")
    assert not judge(scene, look(draw(scene)), beside).place


def test_the_judge_finds_nothing_in_an_empty_picture() -> None:
    seen = look(draw(Scene("cyan", ())))
    assert seen.background == "cyan"
    assert seen.objects == ()


def test_soft_edges_are_seen() -> None:
    image = draw(Scene("white", (Object("heart", "blue", "large", 64, 64, 36),)))
    sharp = sharpness(image)
    soft = sharpness(image.resize((32, 32)).resize((IMAGE_SIZE, IMAGE_SIZE)))
    assert sharp
    assert soft
    assert sharp.edge < 1
    assert soft.edge > 2 * sharp.edge
    assert sharp.fringe < 2
    assert sharp.uneven < 1


def test_fringes_and_uneven_areas_are_seen() -> None:
    pixels = np.array(draw(Scene("white", (Object("heart", "blue", "large", 64, 64, 36),))))
    fringed = pixels.copy()
    fringed[..., 0] = np.roll(pixels[..., 0], 2, axis=1)
    found = sharpness(Image.fromarray(fringed))
    assert found
    assert found.fringe > 20
    pixels[:40] -= 10
    found = sharpness(Image.fromarray(pixels))
    assert found
    assert found.uneven >= 10


def test_nothing_has_no_sharpness() -> None:
    assert sharpness(draw(Scene("cyan", ()))) is None
