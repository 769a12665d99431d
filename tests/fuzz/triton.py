"""Sends hostile requests to Triton and writes down each kind of answer; `__main__` starts it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import given

from tests.fuzz import requests
from tests.fuzz.answers import Triton
from tests.fuzz.notes import SETTINGS, Notes

LOT = 150  # hypothesis remembers what it has tried, so many at a time


def send(triton: Triton, notes: Notes, form: str, cases: int, seed: int) -> None:
    act: Any = {"ask": triton.ask, "post": triton.post}[form]
    strategy: Any = {"ask": requests.asked, "post": requests.posted}[form]()

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=cases, **SETTINGS)
    @given(strategy)
    def one(case: Any) -> None:
        shown = notes.begin(case)
        verdict = act(case)
        notes.codes[f"{form} {verdict.code}"] += 1
        if verdict.wrong:
            notes.complain(f"{verdict.wrong}: {verdict.code} {verdict.details}", shown)

    one()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--grpc", "--http", "--notes"):
        parser.add_argument(name, required=True)
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    notes, triton = Notes(Path(options.notes)), Triton(options.grpc, options.http)
    for seed in range(options.seed, options.seed + options.cases, LOT):
        for form, cases in (("ask", 2 * LOT // 3), ("post", LOT // 3)):
            send(triton, notes, form, cases, seed)
        notes.write()


if __name__ == "__main__":
    main()
