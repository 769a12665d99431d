"""What people leave out when they ask for a scene, and what they get it written out to.

An example is a short prompt, the full caption that keeps its words, and perhaps a season, which
decides the background where nobody else does. `is_caption` says whether a text is a full caption.
"""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from training.captions import (
    PREFIXES,
    SHAPE_WORDS,
    SIZE_WORDS,
    article,
    say_background,
    say_place,
)
from training.world import COLOURS, SHAPES, Object, Relation, sample_scene

# The shipped enhancer was trained before grey, brown, crescent, hexagon and "underneath" came: its
# vocabulary, and with it its weights, hang on these.
KNOWN_COLOURS = COLOURS[:10]
KNOWN_SHAPES = SHAPES[:8]
KNOWN_SHAPE_WORDS = {shape: said for shape, said in SHAPE_WORDS.items() if shape in KNOWN_SHAPES}
RELATION_WORDS: dict[Relation, tuple[str, ...]] = {
    "above": ("above", "above", "over", "on top of"),
    "below": ("below", "below", "under", "beneath"),
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
}

SEASONS = {
    "spring": ("green", "pink"),
    "summer": ("yellow", "blue"),
    "autumn": ("orange", "red"),
    "winter": ("white", "cyan"),
}
# What stands out from what, and the other way round. Were any two colours as likely, a small model
# would take long to learn that they must differ.
PAIRS = (
    *(("black", one) for one in ("white", "yellow", "cyan", "orange", "pink")),
    *(("white", one) for one in ("red", "blue", "green", "purple")),
    *(("red", "cyan"), ("red", "yellow"), ("blue", "yellow"), ("blue", "orange")),
    *(("blue", "pink"), ("green", "pink"), ("green", "yellow"), ("purple", "orange")),
    ("purple", "cyan"),
)
FITS = {
    colour: tuple(other for pair in PAIRS if colour in pair for other in pair if other != colour)
    for colour in KNOWN_COLOURS
}
SEASON_FORMS = ("{season}", "season: {season}", "it is {season}.", "write for {season}.")
PLACES = ("", "", "", "at the top", "at the bottom", "on the left", "on the right")
Piece = tuple[str, str]  # of the short prompt and of the full one
BESIDE = ("and", "next to", "beside")
HELD_OUT = 20  # one of so many is kept for the evaluation


@dataclass(frozen=True)
class Example:
    """`system` says the season, and is empty where there is none."""

    system: str
    short: str
    full: str

    @property
    def season(self) -> str:
        return next((season for season in SEASONS if season in self.system), "")

    @property
    def has_background(self) -> bool:
        """Whether the short prompt says it."""
        background = background_of(self.full)
        return background in words(self.short)

    @property
    def held_out(self) -> bool:
        """By the words that were given alone, so that no other writing of them is trained on."""
        digest = hashlib.blake2b(f"{self.system}|{self.short}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") % HELD_OUT == 0


def examples(rng: random.Random, count: int, *, held_out: bool) -> list[Example]:
    found: list[Example] = []
    while len(found) < count:
        example = sample_example(rng)
        if example.held_out == held_out:
            found.append(example)
    return found


def sample_example(rng: random.Random) -> Example:
    season = rng.choice(list(SEASONS)) if rng.random() < 0.4 else ""
    system = rng.choice(SEASON_FORMS).format(season=season) if season else ""
    scene = sample_scene(rng, 0.3, colours=KNOWN_COLOURS, shapes=KNOWN_SHAPES)
    ground = scene.background if rng.random() < 0.35 else ""
    prefix = rng.choice(PREFIXES) if rng.random() < 0.06 else ""
    first, *others = (_object(item, ground, rng) for item in scene.objects)
    pieces = [(prefix, prefix), first]
    if scene.relation is None:
        pieces.append(_place(scene.place, rng))
    else:
        relation = rng.choice((*RELATION_WORDS[scene.relation], *BESIDE))
        pieces += [(relation, relation), *others]
    colours = [one for _, full in (first, *others) for one in full.split() if one in KNOWN_COLOURS]
    pieces.append(_background(ground, colours, season, rng))
    if rng.random() < 0.15 and scene.relation is None:
        pieces[-2:] = reversed(pieces[-2:])
    short, full = (_join(texts) for texts in zip(*pieces, strict=True))
    return Example(system, short, full) if short else sample_example(rng)


def _object(item: Object, ground: str, rng: random.Random) -> Piece:
    """What is given in the words that were given, the rest in plain ones.

    ground: the background's colour, where that is given.
    """
    full = [item.size, item.colour, item.shape]
    given = [rng.random() < share for share in (0.35, 0.5, 0.97)]
    if given[0]:
        full[0] = rng.choice(SIZE_WORDS[item.size])
    if ground and not given[1]:
        full[1] = rng.choice(FITS[ground])
    if given[2]:
        full[2] = rng.choice(SHAPE_WORDS.get(item.shape, (item.shape,)))
    short = [word for word, there in zip(full, given, strict=True) if there]
    the = rng.random() < 0.05
    if short and (the or rng.random() < 0.6):
        short.insert(0, "the" if the else article(short[0]))
    first = "the" if short[:1] == ["the"] else article(full[0])
    return " ".join(short), " ".join([first, *full])


def _place(place: tuple[int, int], rng: random.Random) -> Piece:
    if rng.random() < 0.3:
        said = say_place(*place, rng)
        return said, said
    return "", rng.choice(PLACES)


def _background(ground: str, colours: Sequence[str], season: str, rng: random.Random) -> Piece:
    """As given, or of the season, or one that goes well with what stands before it."""
    if ground:
        said = say_background(ground, rng, complete=True)
        return said, said
    offered = SEASONS[season] if season else FITS[colours[0]]
    free = [one for one in offered if one not in colours] or [
        one for one in KNOWN_COLOURS if one not in colours
    ]
    ground = rng.choice(free)
    return "", f"on {article(ground)} {ground} background"


def _join(texts: Sequence[str]) -> str:
    return " ".join(filter(None, texts)).replace(" ,", ",").strip(" ,")


def words(text: str) -> Counter[str]:
    """`a` and `an` are one word: which it is depends on the next."""
    said = re.findall(r"[a-z-]+", text.lower())
    return Counter("a" if word == "an" else word for word in said)


def keeps(short: str, full: str) -> bool:
    return words(short) <= words(full)


def is_caption(text: str) -> bool:
    """Says size, colour and shape of each object and a background that they stand out from."""
    match = _pattern().fullmatch(text.removesuffix("."))
    if match is None or re.search(r"\ba [aeiou]|\ban [^aeiou]", text):
        return False
    return words(text)[background_of(text)] == 1


def background_of(text: str) -> str:
    """The colour of a full caption's; empty where the text is none."""
    match = _pattern().fullmatch(text.removesuffix("."))
    return next((colour for colour in KNOWN_COLOURS if match and colour in match["background"]), "")


@cache
def _pattern() -> re.Pattern[str]:
    """As the world says it: its places are all that it says in many tries."""
    rng = random.Random(0)
    places = {say_place(row, col, rng) for row in range(3) for col in range(3) for _ in range(500)}
    shape = _one_of(KNOWN_SHAPE_WORDS, KNOWN_SHAPES)
    item = rf"(?:an?|the) {_one_of(SIZE_WORDS)} {_one(KNOWN_COLOURS)} {shape}"
    relation = _one([*(word for said in RELATION_WORDS.values() for word in said), *BESIDE])
    colour = _one(KNOWN_COLOURS)
    forms = [
        rf"(?:on|with|against) an? {colour} background",
        *(rf"on {colour}", rf", {colour} background", rf"on {colour} background"),
    ]
    background = rf"(?P<background> ?(?:{'|'.join(forms)}))"
    place = rf" ?{_one(places)}"
    start = rf"(?:{_one(PREFIXES)} )?{item}(?: {relation} {item})?"
    return re.compile(rf"{start}(?:{place})?{background}(?:{place})?")


def _one(texts: Iterable[str]) -> str:
    return "(?:" + "|".join(sorted(map(re.escape, texts), key=len, reverse=True)) + ")"


def _one_of(said: Mapping[str, Sequence[str]], *more: Sequence[str]) -> str:
    return _one({word for texts in (*said.values(), *more) for word in texts})
