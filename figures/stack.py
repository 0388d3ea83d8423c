"""The seven floors: the small picture that opens every page, its own floor lit, the others linked."""

from __future__ import annotations

import html
import os
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
        rows = "".join(map(self._row, LAYERS))
        return f'{CSS}<nav class="osi-stack" aria-label="The seven floors">{rows}</nav>'

    def _row(self, floor) -> str:
        here = floor == self.here
        return row(
            floor,
            f'<span class="osi-subject">{html.escape(SUBJECTS[floor])}</span>',
            lit="page" if here else "",
            half=self.half if here else "",
            from_index=self.here is None and not self.aside,
        )


def row(
    floor: int,
    cells: str,
    lit: str = "",
    half: str = "",
    from_index: bool = False,
    links: bool = True,
) -> str:
    """Return one floor as HTML: its colour, number and name, `cells`, and links to its pages.

    Parameters
    ----------
    floor : int
    cells : str
        HTML that stands between the name and the links.
    lit : str
        If not empty, the floor is lit, and this is its `aria-current`.
    half : {"", "down", "up"}
        The page that we are on, which is not linked.
    from_index : bool
        Whether the links start on the front page.
    links : bool
        Whether there are any.
    """
    name, color = LAYERS[floor]
    pages = [to for to in ("down", "up") if links and (floor, to) in CHAPTERS]
    linked = "".join(_link(floor, to, from_index, to == half) for to in pages)
    here, current = (" osi-here", f' aria-current="{lit}"') if lit else ("", "")
    return (
        f'<div class="osi-floor{here}" style="--floor:var(--osi-{name.lower()},{color})"{current}>'
        f'<b>{floor}</b><span class="osi-title">{name}</span>{cells}'
        + (f'<span class="osi-links">{linked}</span>' if linked else "")
        + "</div>"
    )


def _link(floor, half, from_index, here) -> str:
    arrow, word = ("↓", "theory") if half == "down" else ("↑", "code")
    if here:
        return f"<span>{arrow} {word}</span>"
    name = f"{floor} {LAYERS[floor][0]}: {arrow} {word}"
    address = page_address(floor, half, from_index)
    return f'<a href="{address}" aria-label="{name}">{arrow}<span class="osi-word"> {word}</span></a>'


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
    """Return the address of a chapter's page: in Colab and Jupyter, of its notebook."""
    path = f"{floor}_{LAYERS[floor][0].lower()}/{half}"
    if "google.colab" in sys.modules:
        colab = REPOSITORY.replace("github.com", "colab.research.google.com/github")
        return f"{colab}/blob/main/book/{path}.ipynb"
    suffix = "ipynb" if "JPY_SESSION_NAME" in os.environ else "html"  # Jupyter sets it, the build does not
    return f"{path}.{suffix}" if from_index else f"../{path}.{suffix}"


CSS = """<style>
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
.osi-floor .osi-value { min-width: 6.4rem; text-align: right; white-space: nowrap;
  color: var(--osi-ink, #1c2024); font-variant-numeric: tabular-nums; }
.osi-value span { display: inline-block; width: 1.1em; text-align: right; }
@media (max-width: 30rem) {
  .osi-floor .osi-subject { display: none; } .osi-floor .osi-title { flex: 1; }
  .osi-ride .osi-word { display: none; } .osi-ride .osi-links { gap: 0; }
  .osi-ride .osi-links a { padding: 0 0.5rem; }
  .osi-stop .osi-subject { display: inline; } .osi-stop .osi-title { flex: none; }
}
</style>"""

if __name__ == "__main__":
    print(draw()._repr_html_())
