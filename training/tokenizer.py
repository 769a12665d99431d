"""A CLIP tokenizer with a small vocabulary of its own: our words, and every byte for the rest.

Byte-pair merges are learned from the words of the captions until each of them is one token. Any
other word falls apart into known pieces or single bytes, so no prompt is ever refused.

    python -m training.tokenizer --output models/miniature-sd/tokenizer
"""

import argparse
import random
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from training.captions import caption
from training.known import END_OF_WORD, words_of
from training.world import sample_scene

SPECIAL = ("<|startoftext|>", "<|endoftext|>")
MAX_LENGTH = 64

Pair = tuple[str, str]


@cache
def caption_words(samples: int = 20_000) -> tuple[str, ...]:
    """Every word and mark of many random captions, sorted."""
    rng = random.Random(0)
    words = set()
    for _ in range(samples):
        words.update(words_of(caption(sample_scene(rng, twins=0.3), rng)))
    return tuple(sorted(words))


def learn_merges(words: Sequence[str]) -> list[Pair]:
    """Merges the most frequent pair again and again until each word is a single token."""
    pieces = [[*word[:-1], word[-1] + END_OF_WORD] for word in words]
    merges: list[Pair] = []
    while counts := Counter(pair for word in pieces for pair in pairwise(word)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        pieces = [_merge(word, best) for word in pieces]
    return merges


def build_tokenizer() -> CLIPTokenizer:
    """The tokenizer, from the words of the world."""
    alphabet = sorted(bytes_to_unicode().values())
    merges = learn_merges(caption_words())
    tokens = [*alphabet, *(letter + END_OF_WORD for letter in alphabet)]
    tokens += list(dict.fromkeys(left + right for left, right in merges))
    tokens = [*dict.fromkeys(tokens), *SPECIAL]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_LENGTH)


def refuse_another(checkpoint: Path) -> None:
    """Weights of another tokenizer are of another recipe: nothing here goes on from them.

    Raises:
        SystemExit: the checkpoint's tokenizer is not the one that `build_tokenizer` builds.
    """
    found = CLIPTokenizer.from_pretrained(checkpoint / "tokenizer")
    if found.get_vocab() != build_tokenizer().get_vocab():
        raise SystemExit(
            f"{checkpoint}: its tokenizer has other words than this recipe's, so its weights "
            "are of an earlier recipe and cannot be used here; train from nothing"
        )


def _merge(word: list[str], pair: Pair) -> list[str]:
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("models/miniature-sd/tokenizer"))
    args = parser.parse_args()
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(args.output)
    print(f"{len(tokenizer)} tokens in {args.output}")


if __name__ == "__main__":
    main()
