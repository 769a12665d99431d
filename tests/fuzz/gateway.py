"""Sends the gateway valid and invalid requests, made from its OpenAPI; `__main__` starts this."""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from tests.fuzz.findings import SETTINGS, Findings

CASES_PER_RUN = 60
HANG_SECONDS = 60.0
# Two checks are left out: that a value of a wrong type is always refused, and that a right one is
# always accepted. The gateway ignores unknown fields, as OpenAI's clients expect, and Triton has
# limits that OpenAPI does not state.
CHECKED = (
    *("status_code_conformance", "content_type_conformance"),
    *("response_schema_conformance", "response_headers_conformance"),
)
ID = re.compile(r"[0-9a-f]{32}")
EXPECTED_ERRORS = ("queue_full",)  # more jobs wait than MAX_JOBS
NAMES = (
    *("Idempotency-Key", "X-Request-Id", "Origin", "Accept", "If-None-Match", "Range", "Host"),
    *("Authorization", "Cookie", "Sec-Fetch-Site", "X-Forwarded-For", "Expect", "Connection"),
)
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=300)
WORDS = st.sampled_from(["a", "*", "null", "http://evil.example", "localhost", "bytes=0-1"])
HEADERS: SearchStrategy[dict[str, str]] = st.one_of(
    st.just({}),
    st.dictionaries(st.sampled_from(NAMES), st.one_of(WORDS, PRINTABLE), max_size=2),
)


class Sender:
    def __init__(self, url: str, findings: Findings) -> None:
        load_all_checks()
        self._url = url
        self._findings = findings
        self._session = requests.Session()
        self._checks = CHECKS.get_by_names(CHECKED)
        schema: Any = schemathesis.openapi.from_url(f"{url}/openapi.json")
        self.operations: list[Any] = [found.ok() for found in schema.get_all_operations()]

    def send(self, operation: Any, cases: int, seed: int, **fixed: Any) -> None:
        """Sends `cases` requests, half of them valid by their types; fixed: given parts."""
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        strategies = [operation.as_strategy(generation_mode=mode, **fixed) for mode in modes]

        @hypothesis.seed(seed)
        @hypothesis.settings(max_examples=cases, **SETTINGS)
        @given(st.one_of(strategies), HEADERS)
        def one(case: Any, headers: dict[str, str]) -> None:
            self._one(case, headers)

        one()

    def _one(self, case: Any, headers: dict[str, str]) -> None:
        shown = self._findings.begin((case, headers))
        try:
            answer = case.call(headers=headers, session=self._session, timeout=HANG_SECONDS)
        except requests.RequestException as error:
            self._findings.codes["none"] += 1
            self._findings.add(f"no answer: {type(error).__name__} {error}", shown)
            return
        self._findings.codes[f"gateway {answer.status_code}"] += 1
        if answer.status_code >= 500 and _code_of(answer) not in EXPECTED_ERRORS:
            said = ID.sub("…", answer.text)
            self._findings.add(f"{case.operation.label}: {answer.status_code} {said}", shown)
        try:
            case.validate_response(answer, checks=self._checks)
        except FailureGroup as failures:
            for failure in failures.exceptions:
                self._findings.add(f"{case.operation.label}: {failure}", shown)

    def submitted(self) -> str:
        """Submits a job and returns its id, so that some requests are about an existing job."""
        job: Any = {"prompt": "a", "steps": 1, "size": "64x64", "seed": 1, "previews": True}
        answer = self._session.post(f"{self._url}/v1/jobs", json=job, timeout=HANG_SECONDS)
        return str(answer.json()["id"])


def _code_of(answer: Any) -> object:
    try:
        return answer.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return None


def run(sender: Sender, findings: Findings, cases: int, seed: int) -> None:
    """Fuzzes each operation in turn; every other time with the id of an existing job."""
    rounds = itertools.count(seed)
    while findings.cases < cases:
        number = next(rounds)
        for operation in sender.operations:
            fixed: dict[str, Any] = {}
            if "jobs/{id}" in operation.path and number % 2:
                fixed["path_parameters"] = {"id": sender.submitted(), "index": 0}
            sender.send(operation, min(CASES_PER_RUN, cases), number, **fixed)
            findings.write()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--url", "--findings"):
        parser.add_argument(name, required=True)
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    findings = Findings(Path(options.findings))
    run(Sender(options.url, findings), findings, options.cases, options.seed)


if __name__ == "__main__":
    main()
