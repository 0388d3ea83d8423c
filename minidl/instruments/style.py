"""One look for every drawing: the palette, and matplotlib figures as SVG that follows light and dark mode.

Drawing code uses the light colours below. `to_svg` then writes each of them as a CSS variable with the
light colour as its fallback, `var(--osi-ink, #1c2024)`; the book's style sheet (`css()`) sets the variables
for both modes, so one drawing serves both.
"""

from __future__ import annotations

import io
import re

import matplotlib as mpl
from matplotlib.figure import Figure

# name: (light, dark). One colour per OSI layer, warm at the top of the stack and cold at its foot. Any two
# stay apart under simulated colour blindness (Machado et al. 2009), and all stand out from the paper by 3:1
# or more; tests/instruments/test_style.py checks it.
PALETTE = {
    "ink": ("#1c2024", "#e8eaed"),
    "muted": ("#5b626b", "#a7afb9"),
    "rule": ("#ccd1d7", "#454d58"),
    "shade": ("#f1f3f5", "#222932"),
    "paper": ("#ffffff", "#14181e"),
    "task": ("#9c1a10", "#ff4b3e"),
    "model": ("#9c5716", "#f3b25d"),
    "layer": ("#b38f00", "#f8f25a"),
    "graph": ("#16a183", "#98f5dc"),
    "op": ("#0a76a0", "#55c6ff"),
    "kernel": ("#1a31c0", "#5f7bff"),
    "hardware": ("#6d2468", "#d56bae"),
}

INK, MUTED, RULE, SHADE, PAPER = (PALETTE[name][0] for name in ("ink", "muted", "rule", "shade", "paper"))

#: Number → (name, colour) of the seven layers, from the top of the stack down.
LAYERS = {
    number: (name, PALETTE[name.lower()][0])
    for number, name in zip(
        range(7, 0, -1), ("Task", "Model", "Layer", "Graph", "Op", "Kernel", "Hardware"), strict=True
    )
}
TASK, MODEL, LAYER, GRAPH, OP, KERNEL, HARDWARE = (color for _, color in LAYERS.values())

#: Colours for curves and bars side by side, in the order in which they stay apart best.
SERIES = (KERNEL, MODEL, GRAPH, HARDWARE, OP, TASK, LAYER)

SETTINGS = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(color=SERIES),
    "grid.color": RULE,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text: it is searched, read aloud, and follows the page's colours
    "svg.hashsalt": "minidl",  # the same drawing gives the same file
}


#: Decorator of every function that draws: the settings above hold while it runs, and only then.
drawing = mpl.rc_context(SETTINGS)


@drawing
def new_figure(width: float = 6.0, height: float = 3.0, **subplots) -> tuple[Figure, object]:
    """Return a figure of `width` × `height` inches and its axes, in the house style.

    Further keywords go to `Figure.subplots` (`nrows`, `ncols`, `width_ratios`, …). The figure does not belong
    to pyplot: nothing is shown until the page shows it, and it is freed like any other object.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**subplots)


def describe(figure: Figure, alt: str) -> Figure:
    """Give a figure its text alternative: what it shows, in words. Returns the figure."""
    figure.set_label(alt)
    return figure


@drawing
def to_svg(figure: Figure) -> str:
    """Return a figure as compact SVG whose palette colours are CSS variables.

    Every element stands on a line of its own, coordinates keep two decimals, and ids that nothing refers to
    are dropped. The ids left are hashes of what they name, so many drawings can stand on one page.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"\s*<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
    svg = re.sub(r' (xmlns:xlink="[^"]*"|version="1.1")', "", svg)
    svg = svg.replace("xlink:href", "href").replace("<defs/>", "")
    svg = re.sub(r"<[^>]*>", _shorten, svg)  # in tags only: what is written stays as it is
    svg = _drop_unused_ids(svg)
    for name, (light, _) in PALETTE.items():
        svg = re.sub(f"{light}\\b", f"var(--osi-{name},{light})", svg, flags=re.I)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.S)
    root = 'style="stroke-linejoin:round;stroke-linecap:butt;font-family:var(--osi-font,sans-serif)"'
    svg = svg.replace("<svg", f"<svg {root}", 1)
    svg = re.sub(r' ?font-family: [^;"]*;?', "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*"', "", svg)
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: " ".join(path[0].split()), svg)
    return "\n".join(line.strip() for line in svg.splitlines() if line.strip())


def _shorten(tag) -> str:
    """Return a tag whose coordinates have two decimals at most."""
    return re.sub(r"-?\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}".rstrip("0").rstrip("."), tag[0])


def _drop_unused_ids(svg: str) -> str:
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    return re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", svg)


def css() -> str:
    """Return the style sheet that defines the palette's CSS variables in light and dark mode."""
    light = "".join(f"  --osi-{name}: {colors[0]};\n" for name, colors in PALETTE.items())
    dark = "".join(f"  --osi-{name}: {colors[1]};\n" for name, colors in PALETTE.items())
    return (
        "/* Written by the build from minidl/instruments/style.py. */\n"
        f'html {{\n{light}}}\nhtml[data-theme="dark"] {{\n{dark}}}\n'
    )
