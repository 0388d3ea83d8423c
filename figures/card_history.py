"""How graphics cards became calculators: what was made for pictures and what for arithmetic, year by year."""

from __future__ import annotations

from minidl.instruments.style import GRAPH, HARDWARE, INK, MUTED, RULE, describe, drawing, new_figure

#: Year, what, and whether it is for pictures. Sources: the history section of 1 Hardware, going down.
EVENTS = (
    (1992, "OpenGL", True),
    (1995, "DirectX", True),
    (2004, "OpenGL 2.0: own programs", True),
    (2006, "CUDA", False),
    (2008, "OpenCL", False),
    (2012, "AlexNet on two cards", False),
    (2014, "Metal", True),
    (2014, "cuDNN", False),
    (2015, "DirectX 12", True),
    (2015, "first TPU at work", False),
    (2016, "Vulkan", True),
    (2017, "V100: tensor cores", False),
)


@drawing
def draw(events=EVENTS):
    """Return the years as a line from top to bottom, pictures on its left and arithmetic on its right.

    Parameters
    ----------
    events : sequence of (int, str, bool)
        Year, name, whether it was made for pictures. No two of one side in one year.
    """
    years = [year for year, _, _ in events]
    figure, axes = new_figure(5.4, 0.19 * (max(years) - min(years)) + 0.7)
    axes.plot((0, 0), (min(years) - 1, max(years) + 1), color=RULE, linewidth=1.5)
    told = {True: [], False: []}
    for year, name, pictures in events:
        side, color = (-1, GRAPH) if pictures else (1, HARDWARE)
        axes.plot((0, 0.1 * side), (year, year), color=color, linewidth=1.2)
        axes.plot(0.1 * side, year, "o", color=color, markersize=6)
        text = f"{name}  {year}" if pictures else f"{year}  {name}"
        axes.text(0.16 * side, year, text, color=INK, ha="right" if pictures else "left", va="center")
        told[pictures].append(f"{year} {name}")
    for side, text, align in ((-0.16, "for pictures", "right"), (0.16, "for arithmetic", "left")):
        axes.text(side, min(years) - 1.6, text, color=MUTED, ha=align, va="center")
    axes.set(xlim=(-1.2, 1.2), ylim=(max(years) + 1, min(years) - 2.4), xticks=[], yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    return describe(
        figure, f"For pictures: {'; '.join(told[True])}. For arithmetic: {'; '.join(told[False])}."
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw())
