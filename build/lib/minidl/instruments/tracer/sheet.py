"""Draws boxes with numbers into SVG, one element a line: frames share the lines they have in common."""

from __future__ import annotations

import textwrap
from html import escape

from minidl.instruments.style import PALETTE

CELL, PER_ROW, LEFT = 32, 16, 74  # pixels; boxes in a row; room for names
WIDTH = LEFT + PER_ROW * CELL + 6

#: What an access looks like: its colour, and a letter for those who cannot tell colours apart.
LOOKS = {"read": ("op", "R"), "write": ("task", "W"), "atomic": ("graph", "A")}


def color(name) -> str:
    """Return a colour of the palette that follows light and dark mode."""
    return f"var(--osi-{name},{PALETTE[name][0]})"


class Sheet:
    """A drawing that grows downwards."""

    def __init__(self):
        self.lines: list[str] = []
        self.y = 4

    def svg(self, height=None) -> str:
        """Return the drawing; `height` keeps frames of one widget equally high."""
        size = f"{WIDTH} {max(height or 0, self.y + 4)}"
        root = f'<svg viewBox="0 0 {size}" font-family="var(--osi-font,sans-serif)">'
        return "\n".join([root, *self.lines, "</svg>"])

    def text(self, x, y, text, *, size=12, name="ink", anchor="start", bold=False, mono=False):
        """Write one line of text."""
        style = ' font-weight="bold"' * bold + ' font-family="monospace" xml:space="preserve"' * mono
        self.lines.append(
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{color(name)}" text-anchor="{anchor}"{style}>'
            f"{escape(str(text))}</text>"
        )

    def paragraph(self, text, *, size=12.5, width=88, name="ink", bold=False):
        """Write text, wrapped, and move down."""
        for line in textwrap.wrap(text, width):
            self.y += 17
            self.text(6, self.y, line, size=size, name=name, bold=bold)

    def code(self, number, text, *, marked=False):
        """Write one numbered line of source and move down."""
        self.y += 17
        if marked:
            self.lines.append(
                f'<rect x="2" y="{self.y - 13}" width="{WIDTH - 4}" height="17" fill="{color("model")}" '
                'fill-opacity="0.22"/>'
            )
        self.text(
            6, self.y, f"{'▶' if marked else ' '}{number:4d}  {text[:84]}", size=11.5, mono=True, bold=marked
        )

    def box(self, x, y, text, *, fill=None, strength=0.3, letter="", width=CELL, height=CELL, edge="muted"):
        """Draw one cell with its value, and a small letter for what happens to it."""
        heavy = 2.4 if letter else 0.8
        paint = f'fill="{color(fill)}" fill-opacity="{strength:.2f}"' if fill else 'fill="none"'
        edge = color(fill if letter and fill else edge)
        self.lines.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" {paint} stroke="{edge}" '
            f'stroke-width="{heavy}"/>'
        )
        if text != "":
            size = 11 if len(str(text)) < 5 else 9 if len(str(text)) < 7 else 7
            self.text(x + width / 2, y + height / 2 + 4, text, size=size, anchor="middle")
        if letter:
            self.text(x + width - 3, y + 9, letter, size=8, name=fill or "ink", anchor="end", bold=True)

    def row(self, name, cells):
        """Draw named boxes, 16 to a row: `cells` are (index label, text, fill, strength, letter)."""
        self.y += 10
        for start in range(0, max(len(cells), 1), PER_ROW):
            if start == 0:
                self.text(LEFT - 8, self.y + 20, name, size=13, anchor="end", bold=True)
            for i, (label, text, fill, strength, letter) in enumerate(cells[start : start + PER_ROW]):
                x = LEFT + i * CELL
                self.box(x, self.y, text, fill=fill, strength=strength, letter=letter)
                self.text(x + CELL / 2, self.y + CELL + 9, label, size=8, name="muted", anchor="middle")
            self.y += CELL + 14


def short(value) -> str:
    """Write a number as short as a box needs it."""
    return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-")
