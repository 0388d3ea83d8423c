"""Measures how soon each page of the offline book can be used: `python -m tests.browser.speed [PAGE …]`.

Usable means: loaded, formulas set, widgets drawn, fonts there, and the main thread idle, so that a touch is
answered. Each visit starts with an empty cache; the medians of three visits are printed.
"""

from __future__ import annotations

import argparse
from statistics import median

from book import build
from tests.browser import chromium

VISITS = 3
IDLE = 1000  # milliseconds without a long task (more than 50 ms on the main thread) after which a page rests

# The browser's own record of long tasks; the end of the last of them is kept.
WATCH = """new PerformanceObserver(list => {
    for (const task of list.getEntries()) window.lastBusy = task.startTime + task.duration;
}).observe({type: 'longtask', buffered: true});"""

TIMES = """async idle => {
    const drawn = performance.now();
    while (performance.now() - Math.max(drawn, window.lastBusy || 0) < idle)
        await new Promise(later => setTimeout(later, 50));
    const loaded = performance.getEntriesByType('navigation')[0].loadEventEnd;
    return [loaded, drawn, Math.max(loaded, drawn, window.lastBusy || 0)];
}"""


def visit(browser, address: str, name: str) -> list[float]:
    """Return the milliseconds until a page has loaded, is drawn, and is idle."""
    context = chromium.new_context(browser, "light", 1280, [], address)
    context.add_init_script(WATCH)
    page = context.new_page()
    page.goto(f"{address}{name}.html")
    chromium.settle(page)
    times = page.evaluate(TIMES, IDLE)
    context.close()
    return times


def measure(names: list[str]) -> None:
    """Print a line for each page, the slowest last."""
    folder = build.build("offline")
    rows = []
    with chromium.serve(folder) as address, chromium.launch() as browser:
        visit(browser, address, names[0])  # the browser warms up
        for name in names:
            visits = [visit(browser, address, name) for _ in range(VISITS)]
            size = (folder / f"{name}.html").stat().st_size
            rows.append((*map(median, zip(*visits, strict=True)), size, name))
    print(f"{'page':<44}{'size':>10}{'loaded':>10}{'drawn':>10}{'usable':>10}")
    for loaded, drawn, usable, size, name in sorted(rows, key=lambda row: row[2]):
        seconds = "".join(f"{time / 1e3:>8.2f} s" for time in (loaded, drawn, usable))
        print(f"{name:<44}{size / 1e3:>7,.0f} kB{seconds}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help="pages such as book/index; all by default")
    measure(parser.parse_args().pages or build.pages())
