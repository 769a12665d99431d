"""The system's Chromium, and a page object for the gateway's page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

EXECUTABLES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_MS = 10_000
DESKTOP = {"width": 1360, "height": 860}
PHONE = {"width": 360, "height": 740}


def executable_path() -> str:
    """The path of Chromium. Skips the test where there is none."""
    found = next(filter(None, map(shutil.which, EXECUTABLES)), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    return found


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser. Skips the test where it, or Playwright, is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    executable = executable_path()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=sandbox)
        yield browser
        browser.close()


def expect(locator: Any) -> Any:
    """Playwright's assertions, which wait for the expected state."""
    from playwright.sync_api import expect

    return expect(locator)


class GatewayPage:
    """The page in a tab of a new profile. tab: Playwright's page; console_errors: with warnings."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        options.setdefault("viewport", DESKTOP)
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(TIMEOUT_MS)
        self.tab = self.context.new_page()
        self.console_errors: list[str] = []
        self.tab.on("console", self._record)
        self.tab.on("pageerror", lambda error: self.console_errors.append(str(error)))
        self.url = url
        self.tab.goto(url)

    def _record(self, message: Any) -> None:
        # Chromium itself logs failed requests. A page cannot prevent that.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.console_errors.append(message.text)

    def close(self) -> None:
        self.context.close()

    def type_prompt(self, prompt: str) -> None:
        self.tab.get_by_label("Prompt", exact=True).fill(prompt)

    def generate(self, prompt: str) -> None:
        self.type_prompt(prompt)
        self.tab.get_by_role("button", name="Generate").click()

    def draw(self, prompt: str) -> None:
        """Generates, and waits for the first picture in the gallery."""
        before = self.thumbnails.count()
        self.generate(prompt)
        self.thumbnails.nth(before).wait_for()

    @property
    def drawing(self) -> Any:
        return self.tab.get_by_role("region", name="Drawing")

    @property
    def status(self) -> Any:
        return self.tab.locator("#status")

    @property
    def thumbnails(self) -> Any:
        return self.tab.locator("#thumbnails img")

    @property
    def preview(self) -> str | None:
        source: str | None = self.tab.locator("#tiles img").first.get_attribute("src")
        return source

    def press(self, name: str) -> None:
        """Clicks a button below the picture that is shown."""
        self.drawing.get_by_role("button", name=name).click()

    def choose_file(self, button: str, path: Path) -> None:
        """Clicks a button that opens a file chooser, and chooses a file."""
        with self.tab.expect_file_chooser() as chooser:
            self.tab.get_by_role("button", name=button).click()
        chooser.value.set_files(path)

    def drop(self, file: bytes, half: str) -> None:
        """Drops a PNG on the half of the drop zone with the given text."""
        transfer = self.tab.evaluate_handle(
            """(bytes) => {
              const transfer = new DataTransfer();
              const type = "image/png";
              transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type }));
              return transfer;
            }""",
            list(file),
        )
        self.tab.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
        offer = self.tab.get_by_text(half)
        offer.dispatch_event("dragover", {"dataTransfer": transfer})
        offer.dispatch_event("drop", {"dataTransfer": transfer})
