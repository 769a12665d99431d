"""Pictures with captions from disk, parted into what is trained on and what is only measured."""

import io
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
CAPTION_KEYS = ("caption", "prompt", "text")
PICTURE_KEYS = ("file_name", "file", "image", "png")
UNCLASSED = "all"


class NoExamples(ValueError):
    """A place holds no pictures with captions, or not as it should; says where and why."""


@dataclass(frozen=True)
class Example:
    """A picture, what it shows, and its class: `UNCLASSED` where no column names one.

    picture: a file, or the bytes of one.
    """

    picture: Path | bytes
    caption: str
    label: str = UNCLASSED

    def open(self, size: int) -> Image.Image:
        """As RGB of size x size pixels: the middle square, scaled."""
        source = io.BytesIO(self.picture) if isinstance(self.picture, bytes) else self.picture
        with Image.open(source) as file:
            image = file.convert("RGB")
        side = min(image.size)
        left, top = ((length - side) // 2 for length in image.size)
        square: Image.Image = image.crop((left, top, left + side, top + side))
        if side != size:
            square = square.resize((size, size), Image.Resampling.LANCZOS)
        return square


def read_examples(place: Path, class_column: str | None = None) -> list[Example]:
    """All examples of a folder or a file, sorted by where they stand.

    A folder: pictures with text files of the same name beside them, JSONL files whose lines name
    pictures, Parquet files such as the batch pipeline writes, or a mix. Rows without a picture
    are left out, such as the batch pipeline's failures.

    Raises:
        NoExamples: there are none, or a row has no caption, or not the class column.
    """
    if not place.exists():
        raise NoExamples(f"{place} does not exist")
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    examples: list[Example] = []
    for file in files:
        if file.suffix == ".jsonl":
            rows: Iterator[Mapping[str, Any]] = map(json.loads, file.read_text().splitlines())
            examples += _from_rows(file, rows, class_column)
        elif file.suffix == ".parquet":
            import pyarrow.parquet  # only who reads Parquet needs it

            rows = iter(pyarrow.parquet.read_table(file).to_pylist())
            examples += _from_rows(file, rows, class_column)
        elif file.suffix.lower() in SUFFIXES and file.with_suffix(".txt").exists():
            caption = file.with_suffix(".txt").read_text().strip()
            examples.append(Example(file, caption, file.parent.name if class_column else UNCLASSED))
    if not examples:
        kinds = "pictures with .txt files beside them, .jsonl or .parquet"
        raise NoExamples(f"{place} holds no {kinds}")
    return examples


def _from_rows(
    file: Path, rows: Iterator[Mapping[str, Any]], class_column: str | None
) -> Iterator[Example]:
    for number, row in enumerate(rows, start=1):
        picture = _picture(file, row)
        if picture is None:
            continue
        caption = next((row[key] for key in CAPTION_KEYS if row.get(key)), None)
        if caption is None:
            raise NoExamples(f"{file}, row {number}: none of {', '.join(CAPTION_KEYS)}")
        if class_column and row.get(class_column) is None:
            raise NoExamples(f"{file}, row {number}: no {class_column}")
        yield Example(picture, caption, str(row[class_column]) if class_column else UNCLASSED)


def _picture(file: Path, row: Mapping[str, Any]) -> Path | bytes | None:
    """Bytes of a row, or the file it names, beside the rows or beside their folder."""
    for key in PICTURE_KEYS:
        value = row.get(key)
        if isinstance(value, bytes):
            return value
        if isinstance(value, str):
            for folder in (file.parent, file.parent.parent):
                if (folder / value).is_file():
                    return folder / value
            raise NoExamples(f"{file} names {value}, which is not there")
    return None


def by_class(examples: Sequence[Example]) -> dict[str, list[Example]]:
    classes: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        classes[example.label].append(example)
    return dict(sorted(classes.items()))


def hold_out(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """(to train on, to measure with): the share of each class, at least one picture of each.

    Raises:
        NoExamples: a class has one picture only.
    """
    rng = random.Random(seed)
    kept: list[Example] = []
    held: list[Example] = []
    for label, members in by_class(examples).items():
        if len(members) < 2:
            raise NoExamples(f"class {label!r} has one picture; two are the least")
        shuffled = rng.sample(members, len(members))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held += shuffled[:count]
        kept += shuffled[count:]
    return kept, held


class Rotation:
    """Numbers of examples, each class as often as any other, shuffled anew after each round."""

    def __init__(self, examples: Sequence[Example], rng: random.Random) -> None:
        numbers: dict[str, list[int]] = defaultdict(list)
        for number, example in enumerate(examples):
            numbers[example.label].append(number)
        self._numbers = list(numbers.values())
        self._left: list[list[int]] = [[] for _ in self._numbers]
        self._turns: list[int] = []
        self._rng = rng

    def take(self, count: int) -> list[int]:
        return [self._next() for _ in range(count)]

    def _next(self) -> int:
        if not self._turns:
            self._turns = self._rng.sample(range(len(self._numbers)), len(self._numbers))
        turn = self._turns.pop()
        if not self._left[turn]:
            self._left[turn] = self._rng.sample(self._numbers[turn], len(self._numbers[turn]))
        return self._left[turn].pop()
