"""The result file, which grows with each measurement, so that a killed run can be continued."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load.samples import Measurement, Summary
from ray_stages.settings import ROOT

RESULTS_FOLDER = ROOT / "benchmarks" / "results"

Groups = Mapping[tuple[str, str], Sequence[Measurement]]
Labels = Mapping[str, str]


@dataclass
class Results:
    """All measurements of a run. facts: its plan, model, peers, machine, versions and commit."""

    name: str
    facts: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)

    @classmethod
    def begin(cls, name: str, facts: Mapping[str, Any]) -> Results:
        """Continues what a killed run left, where plan, model and commit are the same."""
        fresh = cls(name, json.loads(json.dumps(facts)))
        if not fresh.partial.exists():
            return fresh
        left = cls.load(fresh.partial)
        same = all(left.facts.get(key) == fresh.facts[key] for key in ("plan", "model", "commit"))
        return left if same else fresh

    @classmethod
    def load(cls, path: Path) -> Results:
        data = json.loads(path.read_text())
        measurements = [Measurement.from_json(measurement) for measurement in data["cells"]]
        return cls(data["name"], data["facts"], measurements)

    @property
    def path(self) -> Path:
        return RESULTS_FOLDER / f"{self.name}.json"

    @property
    def partial(self) -> Path:
        return RESULTS_FOLDER / f"{self.name}.partial.json"

    def has(self, peer: str, load: str, number: int) -> bool:
        return any(
            (one.peer, one.load, one.round) == (peer, load, number) for one in self.measurements
        )

    def add(self, measurement: Measurement) -> None:
        self.measurements.append(measurement)
        self._write()

    def finish(self) -> None:
        """Replaces the previous result, which only a complete run may do."""
        self._write()
        self.partial.replace(self.path)

    @property
    def labels(self) -> Labels:
        """The peers' display names, by key."""
        return dict(self.facts["peers"])

    def by_load(self) -> Groups:
        """Returns the measurements of all rounds, by peer and load."""
        groups: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
        for measurement in self.measurements:
            groups[measurement.peer, measurement.load].append(measurement)
        return dict(groups)

    def capacity(self) -> float:
        """Returns the pictures a second of the capacity load."""
        return Summary.of(
            [measurement for measurement in self.measurements if measurement.load == "capacity"]
        ).per_second

    def _write(self) -> None:
        RESULTS_FOLDER.mkdir(exist_ok=True)
        temporary = self.partial.with_suffix(".tmp")
        temporary.write_text(self._json())
        temporary.replace(self.partial)

    def _json(self) -> str:
        """Writes each measurement on one line: the file stays small, and its diff readable."""
        head = {"name": self.name, "facts": self.facts}
        lines = [
            json.dumps(measurement.to_json(), separators=(",", ":"))
            for measurement in self.measurements
        ]
        return json.dumps(head, indent=1)[:-2] + ',\n "cells": [\n' + ",\n".join(lines) + "\n]}\n"
