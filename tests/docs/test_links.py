"""Every file, folder and heading that a page of documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "training/README.md"]
PACKAGES = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
FILE = re.compile(r"[\w-]+\.(?:py|pbtxt|yaml|yml|json|toml|md|txt|js)")
# Files that a page names and that its reader makes or has.
READERS = {
    "docker-compose.override.yml",
    "generation_config.json",
    "deploy/kubernetes/secrets.yaml",
}


def prose(page: Path) -> str:
    """A page without its blocks of code, which name files of the reader."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of headings."""
    heads = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def meant(name: str, page: Path) -> list[Path]:
    """What a name in backquotes can mean: a path from the root or from the page, else a file whose
    name no other file has."""
    if name.strip("/").partition("/")[0] in {path.name for path in PACKAGES}:
        return list(ROOT.glob(name.rstrip("/")))[:1]
    near = [path for path in (page.parent / name, ROOT / name) if path.exists()]
    return near[:1] or [path for package in PACKAGES for path in package.rglob(name)]


def names(page: Path) -> set[str]:
    spans = set(re.findall(r"`([^`\s]+)`", prose(page))) - READERS
    packages = tuple(f"{path.name}/" for path in PACKAGES)
    return {span for span in spans if FILE.fullmatch(span) or span.startswith(packages)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_linked_is_there(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if "://" not in link:
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_that_is_named_is_there_and_no_other_can_be_meant(page: Path) -> None:
    found = {name: meant(name, page) for name in names(page)}
    assert {name: paths for name, paths in found.items() if len(paths) != 1} == {}
