"""The system's Chromium, and the page in it as a visitor uses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS = 10_000
DESK = {"width": 1360, "height": 860}
PHONE = {"width": 360, "height": 740}


def program() -> str:
    """Skips the test where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    return found


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; skips the test where it, or Playwright, is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    executable = program()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=sandbox)
        yield browser
        browser.close()


def expect(locator: Any) -> Any:
    """Playwright's, which waits."""
    from playwright.sync_api import expect

    return expect(locator)


class Visit:
    """One visitor with a profile of their own, who notes what the console complains about."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        options.setdefault("viewport", DESK)
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.url = url
        self.page.goto(url)

    def _note(self, message: Any) -> None:
        # That a server refused, or was not there, Chromium notes itself: no page can prevent it.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def leave(self) -> None:
        self.context.close()

    def ask(self, prompt: str) -> None:
        self.page.get_by_label("Prompt", exact=True).fill(prompt)

    def generate(self, prompt: str) -> None:
        self.ask(prompt)
        self.page.get_by_role("button", name="Generate").click()

    def draw(self, prompt: str) -> None:
        """And waits for it."""
        before = self.thumbnails.count()
        self.generate(prompt)
        self.thumbnails.nth(before).wait_for()

    @property
    def stage(self) -> Any:
        return self.page.get_by_role("region", name="Drawing")

    @property
    def state(self) -> Any:
        return self.page.locator("#state")

    @property
    def thumbnails(self) -> Any:
        return self.page.locator("#thumbnails img")

    @property
    def preview(self) -> str | None:
        source: str | None = self.page.locator("#tiles img").first.get_attribute("src")
        return source

    def press(self, name: str) -> None:
        """A button below the picture on the stage."""
        self.stage.get_by_role("button", name=name).click()

    def give(self, button: str, path: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name=button).click()
        chooser.value.set_files(path)

    def drop(self, file: bytes, half: str) -> None:
        """Drags a PNG over the page and lets it go over one of the offers."""
        transfer = self.page.evaluate_handle(
            """(bytes) => {
              const transfer = new DataTransfer();
              const type = "image/png";
              transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type }));
              return transfer;
            }""",
            list(file),
        )
        self.page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
        offer = self.page.get_by_text(half)
        offer.dispatch_event("dragover", {"dataTransfer": transfer})
        offer.dispatch_event("drop", {"dataTransfer": transfer})
