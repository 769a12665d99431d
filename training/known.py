"""Which words a checkpoint knows, so that it is asked for nothing else.

The world may be larger than it was when a checkpoint was trained. What the checkpoint learned it
has as one token in its tokenizer (`tokenizer.py`).
"""

import json
import re
from collections.abc import Set
from functools import cache
from pathlib import Path

CHECKPOINT = Path("models/miniature-sd")
END_OF_WORD = "</w>"


def words_of(text: str) -> list[str]:
    """The words and marks of a text, in lower case."""
    return re.findall(r"[a-z]+|[^\sa-z]+", text.lower())


@cache
def known_words(checkpoint: Path) -> frozenset[str]:
    """The words that the checkpoint's tokenizer has as one token.

    Raises:
        FileNotFoundError: the checkpoint has no `tokenizer/tokenizer.json`.
    """
    tokenizer = json.loads((checkpoint / "tokenizer" / "tokenizer.json").read_text("utf-8"))
    tokens = tokenizer["model"]["vocab"]
    ends = [token for token in tokens if token.endswith(END_OF_WORD)]
    return frozenset(token.removesuffix(END_OF_WORD) for token in ends)


def is_known(text: str, known: Set[str]) -> bool:
    """Whether each word of the text is one of the known ones."""
    return all(word in known for word in words_of(text))
