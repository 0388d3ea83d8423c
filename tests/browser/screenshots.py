"""Takes pictures of every page of the offline book: `python -m tests.browser.screenshots OUT [PAGE …]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from book import build
from tests.browser import chromium


def take(out: Path, names: list[str]) -> None:
    """Write OUT/<page>-<phone or desktop>-<light or dark>.png, each as tall as its page."""
    folder = build.build("offline")
    out.mkdir(parents=True, exist_ok=True)
    with chromium.serve(folder) as address, chromium.launch() as browser:
        for mode in chromium.MODES:
            for device, width in chromium.WIDTHS.items():
                context = chromium.new_context(browser, mode, width, [], address)
                for name in names or build.pages():
                    page = context.new_page()
                    page.goto(f"{address}{name}.html")
                    chromium.settle(page)
                    path = out / f"{name.replace('/', '-')}-{device}-{mode}.png"
                    page.screenshot(path=path, full_page=True)
                    print(path)
                    page.close()
                context.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument("pages", nargs="*", help="pages such as book/index; all by default")
    arguments = parser.parse_args()
    take(arguments.out, arguments.pages)
