"""Opens pages of the built book in this machine's Chromium, cut off from every network but this machine."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from book import build

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MODES = ("light", "dark")
WIDTHS = {"phone": 390, "desktop": 1280}


def find() -> str | None:
    """Return the path of Chromium or Chrome, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def launch() -> Iterator[Browser]:
    """Run a browser with an empty profile of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=QUIET)
        yield browser
        browser.close()


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder to this machine, on a free port; gives the address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def new_context(browser: Browser, mode: str, width: int, refused: list[str], address: str) -> BrowserContext:
    """Return a fresh browser window in a colour mode; requests outside `address` fail and are listed."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=mode)
    context.add_init_script(
        f"localStorage.setItem('mode', '{mode}'); localStorage.setItem('theme', '{mode}')"
    )

    def guard(route):
        if route.request.url.startswith(address):
            return route.continue_()
        refused.append(route.request.url)
        return route.abort()

    context.route("**/*", guard)
    return context


# Every widget's place is filled, by the manager, which starts when the page has loaded.
WIDGETS_ARE_DRAWN = """() => [...document.querySelectorAll('script[type$="widget-view+json"]')].every(
    view => view.parentElement.querySelector('.widget-subarea')?.childElementCount)"""


def settle(page) -> None:
    """Wait until a page that has loaded shows its maths, widgets and fonts."""
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.wait_for_function(WIDGETS_ARE_DRAWN)
    page.evaluate("() => document.fonts.ready")
    page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


def axe() -> str:
    """Return the source of axe-core, which looks for what keeps people out of a page; fetched once."""
    package = json.loads((build.ROOT / "package.json").read_text())
    version, folder = package["devDependencies"]["axe-core"], build.BUILD / "axe"
    script = folder / version / "axe.min.js"
    if not script.exists():
        build.unpack("axe-core", version, package["integrity"]["axe-core"], ["axe.min.js"], folder / version)
    return script.read_text(encoding="utf-8")
