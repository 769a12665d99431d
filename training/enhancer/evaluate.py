"""Measures the miniature enhancer with prompts it has not seen, and writes its card.

python -m training.enhancer.evaluate
"""

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

from batch.configuration.options import EnhanceOptions
from batch.operators.prompt_enhancer import PromptEnhancer
from training.enhancer.short_prompts import (
    SEASONS,
    Example,
    background_of,
    examples,
    is_caption,
    keeps,
)
from training.enhancer.train import ENHANCER

UNSEEN_SEED = 1_000_000_007
TARGET = 0.95
TOGETHER = 100
CARD_TEMPLATE = Path(__file__).parent / "model_card.md"
SHOWN = (
    *(("", "a star"), ("", "red circle"), ("", "a heart and a ring"), ("", "tiny cross on blue")),
    *((season, "a star") for season in SEASONS),
)


@dataclass(frozen=True)
class Figures:
    """Shares of the outputs; season: of those whose background was left to a season."""

    valid: float
    kept: float
    both: float
    season: float


def measure(enhancer: PromptEnhancer, asked: list[Example]) -> Figures:
    texts = []
    for first in range(0, len(asked), TOGETHER):
        some = asked[first : first + TOGETHER]
        seeds = range(first, first + len(some))
        texts += enhancer.write([e.short for e in some], [e.system for e in some], list(seeds))
    valid = [is_caption(text) for text in texts]
    kept = [keeps(example.short, text) for example, text in zip(asked, texts, strict=True)]
    seasonal = [
        background_of(text) in SEASONS[example.season]
        for example, text, is_valid in zip(asked, texts, valid, strict=True)
        if is_valid and example.season and not example.has_background
    ]
    return Figures(
        valid=_share(valid),
        kept=_share(kept),
        both=_share([one and other for one, other in zip(valid, kept, strict=True)]),
        season=_share(seasonal),
    )


def write_card(enhancer: PromptEnhancer, figures: Figures, count: int, minutes: float) -> None:
    systems, shorts = zip(*SHOWN, strict=True)
    texts = enhancer.write(shorts, systems, range(len(SHOWN)))
    lines = [
        f"- {short}{f' ({system})' if system else ''} → {text}"
        for system, short, text in zip(systems, shorts, texts, strict=True)
    ]
    folder = Path(enhancer.options.model)
    card = CARD_TEMPLATE.read_text().format(
        parameters=f"{enhancer.model.num_parameters() / 1e6:.1f}",
        vocabulary=len(enhancer.tokenizer),
        megabytes=f"{sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f}",
        count=f"{count:,}",
        temperature=enhancer.options.temperature,
        minutes=f"{minutes:g}",
        examples="\n".join(lines),
        **{name: f"{value:.1%}" for name, value in vars(figures).items()},
    )
    (folder / "README.md").write_text(card)


def _share(right: list[bool]) -> float:
    return sum(right) / len(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--model", type=Path, default=ENHANCER)
    parser.add_argument("--minutes", type=float, default=24, help="it was trained, for the card")
    args = parser.parse_args()
    enhancer = PromptEnhancer(EnhanceOptions(model=str(args.model)))
    asked = examples(random.Random(UNSEEN_SEED), args.prompts, held_out=True)
    figures = measure(enhancer, asked)
    write_card(enhancer, figures, args.prompts, args.minutes)
    print(figures)
    print("target met" if figures.both >= TARGET else f"below the target of {TARGET:.0%}")


if __name__ == "__main__":
    main()
