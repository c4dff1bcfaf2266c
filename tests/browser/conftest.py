"""A real site and a real browser (Debian's Chromium, driven by Playwright)."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.running_site import PASSWORD, RunningSite

#: As root there is no sandbox; the rest keeps the browser from calling home.
_FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    # Software drawing in one process: beside emulated guests a GPU process does not always answer in time.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def running_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSite]:
    """One site for all browser tests."""
    site = RunningSite.stand_up(tmp_path_factory.mktemp("browser"))
    yield site
    site.take_down()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests; each test has contexts of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go; STRONGROOM_PICTURES names a folder that outlives the run."""
    named = os.environ.get("STRONGROOM_PICTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(running_site: RunningSite, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page as somebody who is logged in; at the end nothing may have been said on any console."""
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def open_page(name: str | None, *, breaks_rules: bool = False, **options: object) -> Page:
        context = chromium.new_context(ignore_https_errors=True, base_url=running_site.url, **options)  # type: ignore[arg-type] # Playwright's own options
        contexts.append(context)
        page = context.new_page()
        if not breaks_rules:
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: said.append(str(error)))
        if name is not None:
            page.goto("/login")
            page.fill("#name", name)
            page.fill("#password", PASSWORD)
            page.click("button[type=submit]")
            page.wait_for_url(f"{running_site.url}/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    # Chromium reports an answer of 401 or 403 to a page as a failed load: those the tests ask for.
    # htmx reports each request that it gave up for a newer one, or for the page that was opened instead.
    expected = ("Failed to load resource: the server responded with", "htmx:afterRequest", "htmx:sendAbort")
    assert [line for line in said if not line.startswith(expected)] == []
