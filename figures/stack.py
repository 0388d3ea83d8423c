"""The seven floors: the small picture that opens every page, its own floor lit, the others linked."""

from __future__ import annotations

import html
import sys
from dataclasses import dataclass

from minidl.instruments.style import LAYERS

#: What each floor is about, in a few words.
SUBJECTS = {
    7: "what is asked of the network",
    6: "architectures that answer",
    5: "building blocks",
    4: "the computation as a graph",
    3: "algorithms on arrays",
    2: "implementations, thread by thread",
    1: "silicon and memory",
}

#: The chapters that exist, as (floor, half); tests/test_book.py holds this and _toc.yml together.
CHAPTERS = {
    (7, "down"),
    (6, "down"),
    (5, "down"),
    (4, "down"),
    (3, "down"),
    (2, "down"),
    (1, "down"),
    (1, "up"),
    (2, "up"),
    (3, "up"),
    (4, "up"),
    (5, "up"),
    (7, "up"),
    (6, "up"),
}

REPOSITORY = "https://github.com/OWNER/osi-of-neural-networks"


@dataclass(frozen=True)
class Stack:
    """The seven floors as HTML, in Jupyter, Colab and the built book."""

    here: int | None
    half: str
    aside: bool = False

    def _repr_html_(self) -> str:
        rows = "".join(self._row(floor) for floor in LAYERS)
        return f'{_CSS}<nav class="osi-stack" aria-label="The seven floors">{rows}</nav>'

    def _row(self, floor) -> str:
        name, color = LAYERS[floor]
        variable = f"var(--osi-{name.lower()},{color})"
        here = floor == self.here
        halves = "".join(self._link(floor, half) for half in ("down", "up"))
        subject = f'<span class="osi-subject">{html.escape(SUBJECTS[floor])}</span>'
        current = ' aria-current="page"' if here else ""
        return (
            f'<div class="osi-floor{" osi-here" if here else ""}" style="--floor:{variable}"{current}>'
            f'<b>{floor}</b><span class="osi-title">{name}</span>{subject}'
            f'<span class="osi-links">{halves}</span></div>'
        )

    def _link(self, floor, half) -> str:
        word = "↓ theory" if half == "down" else "↑ code"
        if (floor, half) not in CHAPTERS:
            return ""
        if floor == self.here and half == self.half:
            return f"<span>{word}</span>"
        address = page_address(floor, half, from_index=self.here is None and not self.aside)
        return f'<a href="{address}">{word}</a>'


def draw(here: int | None = None, half: str = "down", aside: bool = False) -> Stack:
    """Return the seven floors with floor `here` lit.

    Parameters
    ----------
    here : int, optional
        The floor this page is about, 7 (Task) to 1 (Hardware); None on the front page.
    half : {"down", "up"}
        Which of the floor's two pages this is.
    aside : bool
        Whether this page is about no floor, but in a folder of its own, like those of the appendix.

    Raises
    ------
    ValueError
        If there is no such floor or half.
    """
    if here is not None and here not in LAYERS:
        raise ValueError(f"here must be a floor from 7 to 1, got {here!r}")
    if half not in ("down", "up"):
        raise ValueError(f"half must be 'down' or 'up', got {half!r}")
    return Stack(here, half, aside)


def page_address(floor: int, half: str, from_index: bool = False) -> str:
    """Return the address of a chapter's page: beside this one in the book, in Colab when we run there."""
    path = f"{floor}_{LAYERS[floor][0].lower()}/{half}"
    if "google.colab" in sys.modules:
        colab = REPOSITORY.replace("github.com", "colab.research.google.com/github")
        return f"{colab}/blob/main/book/{path}.ipynb"
    return f"{path}.html" if from_index else f"../{path}.html"


_CSS = """<style>
.osi-stack { max-width: 34rem; margin: 0.5rem 0 1.5rem; font-size: 0.85rem; line-height: 1.25;
  background: var(--osi-paper, #fff); color: var(--osi-ink, #1c2024); }
.osi-floor { display: flex; gap: 0.6rem; align-items: baseline; padding: 0.16rem 0.6rem; margin: 2px 0;
  border-left: 0.45rem solid var(--floor); background: var(--osi-shade, #f1f3f5); }
.osi-floor b { color: var(--osi-ink, #1c2024); }
.osi-floor .osi-title { min-width: 4.6rem; font-weight: 600; }
.osi-floor .osi-subject { flex: 1; color: var(--osi-muted, #5b626b); }
.osi-floor .osi-links { display: flex; gap: 0.8rem; white-space: nowrap; }
.osi-floor .osi-links a { color: var(--osi-ink, #1c2024); text-decoration: underline; }
.osi-here { outline: 2px solid var(--floor); outline-offset: -2px; font-weight: 600; }
@media (max-width: 30rem) { .osi-floor .osi-subject { display: none; } .osi-floor .osi-title { flex: 1; } }
</style>"""

if __name__ == "__main__":
    print(draw()._repr_html_())
