"""Words from outside the miniature's world, which training puts into captions to be ignored.

`FOREIGN` are English words that people may well write; one in `HELD_OUT` of them is never trained
on, so that the evaluation meets words that are new. `insert` puts such words, and made-up ones,
between the words of a caption.
"""

import random
from pathlib import Path

HELD_OUT = 8
FOREIGN = Path(__file__).with_name("foreign_words.txt").read_text(encoding="utf-8").split()
ONSETS = [*"bdfghklmnprstvwz", "sh", "th", "ch", "st", "tr", "br", "gr", "fl", "pl"]
VOWELS = [*"aeiouäöüé"]
ENDINGS = ["", "", "ed", "ing", "ish", "ful", "less", "ness", "able", "ly", "ous", "ive", "ent"]
TRAINED = tuple(word for index, word in enumerate(FOREIGN) if index % HELD_OUT)
UNSEEN = tuple(FOREIGN[::HELD_OUT])


def made_up(rng: random.Random) -> str:
    """A word of one to three syllables and an ending that means nothing."""
    count = rng.randint(1, 3)
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(count)) + rng.choice(
        ENDINGS
    )


def insert(text: str, rng: random.Random, words: tuple[str, ...] = TRAINED) -> str:
    """The text with one to three foreign words, each before a word of the text or at the end."""
    parts = text.split(" ")
    for _ in range(rng.choice((1, 1, 2, 3))):
        word = made_up(rng) if words is TRAINED and rng.random() < 0.4 else rng.choice(words)
        parts.insert(rng.randint(0, len(parts)), word)
    return " ".join(parts)
