"""Sends the gateway what its own OpenAPI allows, and what it does not; `__main__` starts it."""

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

from tests.fuzz.notes import SETTINGS, Notes

LOT = 60
HANG_SECONDS = 60.0
# Not checked is that what is wrong by its type is always refused, and what is right always drawn:
# unknown fields are ignored, as OpenAI's clients expect, and the limits are Triton's.
CHECKED = (
    *("status_code_conformance", "content_type_conformance"),
    *("response_schema_conformance", "response_headers_conformance"),
)
ID = re.compile(r"[0-9a-f]{32}")
WITH_CAUSE = ("queue_full",)  # said clearly, and true: more jobs wait than MAX_JOBS
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
    def __init__(self, url: str, notes: Notes) -> None:
        load_all_checks()
        self._url = url
        self._notes = notes
        self._session = requests.Session()
        self._checks = CHECKS.get_by_names(CHECKED)
        schema: Any = schemathesis.openapi.from_url(f"{url}/openapi.json")
        self.operations: list[Any] = [found.ok() for found in schema.get_all_operations()]

    def send(self, operation: Any, cases: int, seed: int, **fixed: Any) -> None:
        """Half of what is sent is right by its types; fixed: parts that are as given."""
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        strategies = [operation.as_strategy(generation_mode=mode, **fixed) for mode in modes]

        @hypothesis.seed(seed)
        @hypothesis.settings(max_examples=cases, **SETTINGS)
        @given(st.one_of(strategies), HEADERS)
        def one(case: Any, headers: dict[str, str]) -> None:
            self._one(case, headers)

        one()

    def _one(self, case: Any, headers: dict[str, str]) -> None:
        shown = self._notes.begin((case, headers))
        try:
            answer = case.call(headers=headers, session=self._session, timeout=HANG_SECONDS)
        except requests.RequestException as error:
            self._notes.codes["none"] += 1
            self._notes.complain(f"no answer: {type(error).__name__} {error}", shown)
            return
        self._notes.codes[f"gateway {answer.status_code}"] += 1
        if answer.status_code >= 500 and _code_of(answer) not in WITH_CAUSE:
            said = ID.sub("…", answer.text)
            self._notes.complain(f"{case.operation.label}: {answer.status_code} {said}", shown)
        try:
            case.validate_response(answer, checks=self._checks)
        except FailureGroup as failures:
            for failure in failures.exceptions:
                self._notes.complain(f"{case.operation.label}: {failure}", shown)

    def submitted(self) -> str:
        """The id of a job, so that not all that is asked about is unknown."""
        job: Any = {"prompt": "a", "steps": 1, "size": "64x64", "seed": 1, "previews": True}
        answer = self._session.post(f"{self._url}/v1/jobs", json=job, timeout=HANG_SECONDS)
        return str(answer.json()["id"])


def _code_of(answer: Any) -> object:
    try:
        return answer.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return None


def run(sender: Sender, notes: Notes, cases: int, seed: int) -> None:
    """Each operation in turn, those that take an id every other time with a known one."""
    rounds = itertools.count(seed)
    while notes.cases < cases:
        number = next(rounds)
        for operation in sender.operations:
            fixed: dict[str, Any] = {}
            if "jobs/{id}" in operation.path and number % 2:
                fixed["path_parameters"] = {"id": sender.submitted(), "index": 0}
            sender.send(operation, min(LOT, cases), number, **fixed)
            notes.write()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--url", "--notes"):
        parser.add_argument(name, required=True)
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    notes = Notes(Path(options.notes))
    run(Sender(options.url, notes), notes, options.cases, options.seed)


if __name__ == "__main__":
    main()
