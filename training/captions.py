"""What people say of a scene: many ways to ask for it, in most of which something is left out."""

import random
from dataclasses import dataclass

from training.world import COLUMNS, ROWS, Object, Relation, Scene

SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "circle", "circle", "disc", "disk"),
    "diamond": ("diamond", "diamond", "diamond", "rhombus"),
    "ring": ("ring", "ring", "ring", "donut"),
    "cross": ("cross", "cross", "cross", "plus"),
    "crescent": ("crescent", "crescent", "moon", "crescent moon"),
}
PLURALS = {"cross": "crosses", "plus": "pluses", "rhombus": "rhombuses"}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {"grey": ("grey", "gray")}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "small", "little", "tiny"),
    "medium": ("medium", "medium", "medium-sized"),
    "large": ("large", "large", "big", "huge"),
}
RELATION_WORDS: dict[Relation, tuple[str, ...]] = {
    "above": ("above", "above", "over", "on top of"),
    "below": ("below", "below", "under", "beneath", "underneath"),
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
}
BESIDE_WORDS = ("next to", "beside")
SIDE_BY_SIDE = ("side by side", "next to each other", "beside each other")
STACKED = ("one above the other", "on top of each other")
PREFIXES = ("a drawing of", "a picture of", "an image of", "a photo of", "draw")
MIDDLE_WORDS = ("centre", "center", "middle")


@dataclass(frozen=True)
class Saying:
    """How often a caption says a thing: the shares of captions.

    `middle`: the place of what stands in the middle, where people expect it anyway. `relation`:
    those that are left out say "and" or "next to".
    """

    size: float = 0.45
    colour: float = 0.94
    background: float = 0.67
    place: float = 0.8
    middle: float = 0.15
    relation: float = 0.8
    article: float = 0.65
    untidy: float = 0.15


AS_WRITTEN = Saying()
IN_FULL = Saying(1.0, 1.0, 1.0, 1.0, 0.3, 1.0, 0.7, 0.05)


@dataclass(frozen=True)
class Said:
    """What a caption says of its scene; the rest may be anything.

    `relation` is that of the scene, "beside" for left of or right of, "above or below" for either,
    or empty.
    """

    background: bool
    colours: tuple[bool, ...]
    sizes: tuple[bool, ...]
    place: bool = False
    relation: str = ""


def caption(scene: Scene, rng: random.Random, complete: bool = False) -> str:
    """One of the many ways to ask for this scene; a `complete` one says everything."""
    return say(scene, rng, IN_FULL if complete else AS_WRITTEN)[0]


def say(scene: Scene, rng: random.Random, saying: Saying = AS_WRITTEN) -> tuple[str, Said]:
    """A caption and what of the scene it says."""
    background = say_background(scene.background, rng) if rng.random() < saying.background else ""
    place, relation = "", ""
    colours: tuple[bool, ...]
    sizes: tuple[bool, ...]
    if scene.relation is None:
        text, colour, size = _say_object(scene.objects[0], rng, saying)
        colours, sizes = (colour,), (size,)
        if rng.random() < (saying.middle if scene.place == (1, 1) else saying.place):
            place = say_place(*scene.place, rng)
    elif _are_twins(scene) and rng.random() < 0.8:
        text, relation, colour, size = _say_twins(scene, rng, saying)
        colours, sizes = (colour, colour), (size, size)
    else:
        text, relation, colours, sizes = _say_pair(scene, rng, saying)
    details = [background, place]
    if rng.random() < 0.3:
        details.reverse()
    text = " ".join(filter(None, [text, *details])).replace(" ,", ",")
    if rng.random() < 0.08:
        text = f"{rng.choice(PREFIXES)} {text}"
    return _untidy(text, rng, saying), Said(bool(background), colours, sizes, bool(place), relation)


def _untidy(text: str, rng: random.Random, saying: Saying) -> str:
    """Capitals and full stops, as people set them."""
    if rng.random() < saying.untidy:
        text = rng.choice((text.capitalize(), text.title(), text.upper()))
    return text + ("." if rng.random() < saying.untidy else "")


def _are_twins(scene: Scene) -> bool:
    first, second = scene.objects
    return (first.shape, first.colour, first.size) == (second.shape, second.colour, second.size)


def _say_object(item: Object, rng: random.Random, saying: Saying) -> tuple[str, bool, bool]:
    """The words, and whether they tell the colour and the size."""
    words = []
    size, colour = rng.random() < saying.size, rng.random() < saying.colour
    if size:
        words.append(rng.choice(SIZE_WORDS[item.size]))
    if colour:
        words.append(rng.choice(COLOUR_WORDS.get(item.colour, (item.colour,))))
    words.append(rng.choice(SHAPE_WORDS.get(item.shape, (item.shape,))))
    if rng.random() < saying.article:
        chance = rng.random()
        words.insert(0, "the" if chance < 0.1 else "one" if chance < 0.13 else article(words[0]))
    return " ".join(words), colour, size


def _say_twins(scene: Scene, rng: random.Random, saying: Saying) -> tuple[str, str, bool, bool]:
    item = scene.objects[0]
    words, size = [rng.choice(("two", "two", "two", "a pair of"))], rng.random() < saying.size
    if size:
        words.append(rng.choice(SIZE_WORDS[item.size]))
    colour = rng.random() < saying.colour
    if colour:
        words.append(rng.choice(COLOUR_WORDS.get(item.colour, (item.colour,))))
    word = rng.choice(SHAPE_WORDS.get(item.shape, (item.shape,)))
    words.append(PLURALS.get(word, f"{word}s"))
    relation = ""
    if rng.random() < 0.6 * saying.relation:
        is_beside = scene.relation in ("left of", "right of")
        relation = "beside" if is_beside else "above or below"
        words.append(rng.choice(SIDE_BY_SIDE if is_beside else STACKED))
    return " ".join(words), relation, colour, size


def _say_pair(
    scene: Scene, rng: random.Random, saying: Saying
) -> tuple[str, str, tuple[bool, ...], tuple[bool, ...]]:
    assert scene.relation is not None
    said = [_say_object(item, rng, saying) for item in scene.objects]
    (first, second), colours, sizes = (tuple(column) for column in zip(*said, strict=True))
    if rng.random() >= saying.relation:
        if scene.relation == "right of" or (scene.relation == "left of" and rng.random() < 0.5):
            return f"{first} {rng.choice(BESIDE_WORDS)} {second}", "beside", colours, sizes
        if scene.relation != "below":
            return f"{first} and {second}", "", colours, sizes
    words = rng.choice(RELATION_WORDS[scene.relation])
    return f"{first} {words} {second}", scene.relation, colours, sizes


def say_background(colour: str, rng: random.Random, complete: bool = True) -> str:
    """Empty now and then where it need not be `complete`."""
    if not complete and rng.random() < 0.12:
        return ""
    colour = rng.choice(COLOUR_WORDS[colour]) if colour in COLOUR_WORDS else colour
    forms = (
        f"on {article(colour)} {colour} background",
        f"on {article(colour)} {colour} background",
        f"on {colour}",
        f", {colour} background",
        f"with {article(colour)} {colour} background",
        f"against {article(colour)} {colour} background",
        f"on {colour} background",
    )
    return rng.choice(forms)


def say_place(row: int, column: int, rng: random.Random) -> str:
    middle = rng.choice(MIDDLE_WORDS)
    if (row, column) == (1, 1):
        return rng.choice((f"in the {middle}", f"at the {middle}", f", {middle}"))
    if row == 1:
        side = COLUMNS[column]
        forms = [
            f"on the {side}",
            f"at the {side}",
            f"on the {side} side",
            f"at the {middle} {side}",
            f"in the {middle} {side}",
            f", {middle} {side}",
        ]
        return rng.choice(forms)
    vertical = ROWS[row]
    if column == 1:
        forms = [
            f"at the {vertical}",
            f"at the {vertical} {middle}",
            f"in the {vertical} {middle}",
            f", {vertical} {middle}",
        ]
        return rng.choice(forms)
    if rng.random() < 0.2:
        vertical = {"top": "upper", "bottom": "lower"}[vertical]
    corner = f"{vertical}{rng.choice((' ', ' ', ' ', '-'))}{COLUMNS[column]}"
    forms = [f"in the {corner} corner", f"in the {corner}", f"at the {corner}", f", {corner}"]
    return rng.choice(forms)


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
