"""What has been measured so far: a file that grows cell by cell, so that a killed run goes on."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.loads.samples import Cell, Summary

FOLDER = Path(__file__).parent / "results"

Groups = Mapping[tuple[str, str], Sequence[Cell]]
Labels = Mapping[str, str]


@dataclass
class Results:
    """facts: of plan, model, peers, machine, versions and commit."""

    name: str
    facts: dict[str, Any]
    cells: list[Cell] = field(default_factory=list)

    @classmethod
    def begin(cls, name: str, facts: Mapping[str, Any]) -> Results:
        """Goes on with what a killed run left, if that was measured in the same way."""
        fresh = cls(name, json.loads(json.dumps(facts)))
        if not fresh.partial.exists():
            return fresh
        left = cls.load(fresh.partial)
        same = all(left.facts.get(key) == fresh.facts[key] for key in ("plan", "model", "commit"))
        return left if same else fresh

    @classmethod
    def load(cls, path: Path) -> Results:
        data = json.loads(path.read_text())
        cells = [Cell.from_json(cell) for cell in data["cells"]]
        return cls(data["name"], data["facts"], cells)

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.json"

    @property
    def partial(self) -> Path:
        return FOLDER / f"{self.name}.partial.json"

    def has(self, peer: str, load: str, number: int) -> bool:
        return any((c.peer, c.load, c.round) == (peer, load, number) for c in self.cells)

    def add(self, cell: Cell) -> None:
        self.cells.append(cell)
        self._write()

    def finish(self) -> None:
        """Only a whole run takes the place of the one before."""
        self._write()
        self.partial.replace(self.path)

    @property
    def labels(self) -> Labels:
        """What the peers are called."""
        return dict(self.facts["peers"])

    def by_load(self) -> Groups:
        """The cells of all rounds, by peer and load."""
        groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
        for cell in self.cells:
            groups[cell.peer, cell.load].append(cell)
        return dict(groups)

    def capacity(self) -> float:
        """Pictures a second."""
        return Summary.of([cell for cell in self.cells if cell.load == "capacity"]).per_second

    def _write(self) -> None:
        FOLDER.mkdir(exist_ok=True)
        temporary = self.partial.with_suffix(".tmp")
        temporary.write_text(self._json())
        temporary.replace(self.partial)

    def _json(self) -> str:
        """One line a cell: small enough to keep, and a diff that can be read."""
        head = {"name": self.name, "facts": self.facts}
        lines = [json.dumps(cell.to_json(), separators=(",", ":")) for cell in self.cells]
        return json.dumps(head, indent=1)[:-2] + ',\n "cells": [\n' + ",\n".join(lines) + "\n]}\n"
