"""What every figure module does when it is run alone: write its SVG beside the place it was called from."""

from __future__ import annotations

from pathlib import Path

from minidl.instruments.style import css, to_svg


def write(module: str, figure) -> Path:
    """Write `figure` as NAME.svg into the current folder, NAME being the module's, and print the path."""
    path = Path(module).with_suffix(".svg").name
    svg = to_svg(figure).replace(">", f"><style>{css()}</style>", 1)
    Path(path).write_text(svg, encoding="utf-8")
    print(path)
    return Path(path)
