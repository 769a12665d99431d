"""Sends hostile requests to Triton and records each kind of answer; `__main__` starts this."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import given

from tests.fuzz import requests
from tests.fuzz.findings import SETTINGS, Findings
from tests.fuzz.verdicts import Triton

CASES_PER_RUN = 150  # small, because hypothesis keeps every case of a run in memory


def send(triton: Triton, findings: Findings, form: str, cases: int, seed: int) -> None:
    act: Any = {"ask": triton.call, "post": triton.post}[form]
    strategy: Any = {"ask": requests.grpc_requests, "post": requests.http_requests}[form]()

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=cases, **SETTINGS)
    @given(strategy)
    def one(case: Any) -> None:
        shown = findings.begin(case)
        verdict = act(case)
        findings.codes[f"{form} {verdict.code}"] += 1
        if verdict.wrong:
            findings.add(f"{verdict.wrong}: {verdict.code} {verdict.details}", shown)

    one()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--grpc", "--http", "--findings"):
        parser.add_argument(name, required=True)
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    findings, triton = Findings(Path(options.findings)), Triton(options.grpc, options.http)
    for seed in range(options.seed, options.seed + options.cases, CASES_PER_RUN):
        for form, cases in (("ask", 2 * CASES_PER_RUN // 3), ("post", CASES_PER_RUN // 3)):
            send(triton, findings, form, cases, seed)
        findings.write()


if __name__ == "__main__":
    main()
