"""Succeeds when every package of this environment is complete: no installation was cut short."""

import csv
import sys
from importlib.metadata import Distribution, distributions


def is_complete(package: Distribution) -> bool:
    """Tells whether every file in the package's RECORD exists, compiled ones aside."""
    paths = [row[0] for row in csv.reader((package.read_text("RECORD") or "").splitlines())]
    return bool(paths) and all(
        package.locate_file(path).exists()  # type: ignore[attr-defined]
        for path in paths
        if not path.endswith(".pyc")
    )


if __name__ == "__main__":
    packages = {package.name: is_complete(package) for package in distributions()}
    sys.exit("pip" not in packages or not all(packages.values()))
