"""Old pictures where there are none: the checkpoint draws its own before it is changed."""

import io
import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from training.captions import say
from training.known import is_known, known_words
from training.tokenizer import MAX_LENGTH
from training.tuning.checkpoint import Checkpoint
from training.tuning.examples import Example, NoExamples, read_examples
from training.world import sample_written

TOGETHER = 16
RECORDS = "captions.jsonl"


def old_prompts(checkpoint: Checkpoint, prompts: Path | None, count: int, seed: int) -> list[str]:
    """What the checkpoint is to draw: the lines of a file in turn, or captions of words
    that the miniature knows.

    Raises:
        NoExamples: no file, or an empty one, and the checkpoint is not the miniature.
    """
    if prompts is not None:
        lines = [line.strip() for line in prompts.read_text().splitlines() if line.strip()]
        if not lines:
            raise NoExamples(f"{prompts} holds no prompts")
        return [lines[index % len(lines)] for index in range(count)]
    if checkpoint.pipeline.tokenizer.model_max_length != MAX_LENGTH:  # CLIP's own is 77
        raise NoExamples("no --old and no --old-prompts: what should the checkpoint not forget?")
    rng, known = random.Random(seed), known_words(Path(checkpoint.pipeline.config._name_or_path))
    said = (say(sample_written(rng), rng)[0] for _ in itertools.count())
    return list(itertools.islice((text for text in said if is_known(text, known)), count))


def draw_old(
    checkpoint: Checkpoint, prompts: Sequence[str], folder: Path, seed: int
) -> list[Example]:
    """Draws a picture of each prompt into the folder, those that are not there yet, and reads them.

    Steps and guidance are the checkpoint's own (`generation_config.json`), else 30 and 7.5.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(checkpoint.pipeline.config._name_or_path) / "generation_config.json"
    settings = json.loads(source.read_text()) if source.exists() else {}
    names = [f"{number:06d}.png" for number in range(len(prompts))]
    missing = [number for number, name in enumerate(names) if not (folder / name).exists()]
    for first in tqdm(range(0, len(missing), TOGETHER), desc="draws old pictures"):
        numbers = missing[first : first + TOGETHER]
        images = checkpoint.pipeline(
            [prompts[number] for number in numbers],
            height=checkpoint.size,
            width=checkpoint.size,
            num_inference_steps=settings.get("num_inference_steps", 30),
            guidance_scale=settings.get("guidance_scale", 7.5),
            generator=[torch.Generator().manual_seed(seed + number) for number in numbers],
        ).images
        for number, image in zip(numbers, images, strict=True):
            file = io.BytesIO()
            image.save(file, "png")
            (folder / names[number]).write_bytes(file.getvalue())
    lines = [
        json.dumps({"file_name": name, "caption": prompt})
        for name, prompt in zip(names, prompts, strict=True)
    ]
    (folder / RECORDS).write_text("\n".join(lines) + "\n")
    return read_examples(folder / RECORDS)
