"""Words from outside the miniature's world, which training puts into captions to be ignored.

`FOREIGN` are English words that people may well write; one in `HELD_OUT` of them is never trained
on, so that the evaluation meets words that are new. `insert` puts such words, and made-up ones,
between the words of a caption.
"""

import random

HELD_OUT = 8
FOREIGN = """
beautiful shiny bright glowing dark soft old new ancient modern happy sad angry lovely ugly simple
fancy wooden metallic golden silver transparent fluffy smooth rough striped dotted painted digital
realistic detailed minimal abstract cute scary magic magical mysterious elegant vintage rustic
futuristic dramatic cinematic colourful vivid pale plain perfect broken floating flying dancing
sleeping shining sparkling burning frozen icy snowy rainy sunny foggy stormy quiet loud fast slow
heavy light thin thick tall short long wide narrow deep shallow sharp blurry clean dirty wet dry
warm cold hot cool sweet sour salty bitter fresh rotten ripe raw young strong weak brave shy proud
clever silly funny serious strange weird normal common rare famous unknown secret hidden visible
open closed empty full whole half double single many few several some any every other another same
different very really quite rather so too extremely slightly almost nearly please nicely carefully
cat dog horse dragon bird fish lion tiger elephant rabbit mouse wolf bear fox whale robot castle
house tree forest mountain river lake ocean sea beach desert island garden flower rose tulip leaf
grass sky cloud sun planet rocket spaceship car train boat ship bicycle plane street city village
bridge tower church window door table chair lamp book letter clock mirror bottle glass cup plate
bread cake apple banana cherry lemon pizza coffee tea king queen knight wizard witch pirate princess
soldier doctor teacher child woman man girl boy baby family crowd hat shoe dress coat gold stone
paper cotton velvet marble plastic rubber leather neon laser pixel sketch watercolour oil canvas
poster logo icon symbol sticker style art artwork masterpiece quality resolution render lighting
shadow texture pattern gradient photographic portrait landscape macro closeup studio award winning
trending ghost monster alien zombie vampire angel fairy unicorn phoenix volcano waterfall rainbow
morning evening night midnight summer winter autumn spring christmas halloween birthday party music
covered tired scattered blackened whitened starry starfish ringed crossed hearted squared greenish
reddish bluish yellowish goldfish barred stared redder bored hundred kindred sacred blackboard
""".split()
SYLLABLES = """
ba be bi bo bu da de di do du fa fe fi fo ga ge go gu ha he hi ho ka ke ki ko la le li lo lu ma me
mi mo mu na ne ni no nu pa pe pi po ra re ri ro ru sa se si so su ta te ti to tu va ve vi wa wo ya
za ze zo an en in on un ar er or ur al el ol as es is os ab ed ick ock ing ung ish ful less ness
able ly ous ive ent ant ist sh th ch st tr br gr dr fl gl pl ö ä ü é ñ ß
""".split()
TRAINED = tuple(word for index, word in enumerate(FOREIGN) if index % HELD_OUT)
UNSEEN = tuple(FOREIGN[::HELD_OUT])


def made_up(rng: random.Random) -> str:
    """A word of one to four syllables that means nothing."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4)))


def insert(text: str, rng: random.Random, words: tuple[str, ...] = TRAINED) -> str:
    """The text with one to three foreign words, each before a word of the text or at the end."""
    parts = text.split(" ")
    for _ in range(rng.choice((1, 1, 2, 3))):
        word = made_up(rng) if words is TRAINED and rng.random() < 0.4 else rng.choice(words)
        parts.insert(rng.randint(0, len(parts)), word)
    return " ".join(parts)
