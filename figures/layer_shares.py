"""Where a network's numbers are and where its work is: two bars, cut into its layers in order."""

from __future__ import annotations

from itertools import groupby

from minidl.instruments.style import (
    GRAPH,
    INK,
    KERNEL,
    MODEL,
    MUTED,
    PAPER,
    TASK,
    describe,
    drawing,
    new_figure,
)

#: What a layer can be, and its colour.
KINDS = {"convolution": KERNEL, "1×1": GRAPH, "depthwise": MODEL, "dense": TASK}


@drawing
def draw(architecture):
    """Return the bars of a `models.zoo` architecture: parameters above, multiply-adds below, in shares."""
    steps = [step for step in architecture.steps if step.kind]
    figure, axes = new_figure(5.6, 2.7)
    spoken = []
    for row, (what, cost) in enumerate(
        (("parameters", lambda step: step.parameters), ("multiply-adds", lambda step: step.flops))
    ):
        total = sum(map(cost, steps))
        left = 0.0
        for kind, run in groupby(steps, lambda step: step.kind):
            inner = [cost(step) / total for step in run]
            axes.barh(row, sum(inner), left=left, height=0.46, color=KINDS[kind], linewidth=0)
            for share in inner:
                left += share
                if share > 0.004:
                    axes.plot((left, left), (row - 0.23, row + 0.23), color=PAPER, linewidth=0.6)
        of = {kind: sum(cost(s) for s in steps if s.kind == kind) / total for kind in KINDS}
        shares = [f"{kind} {share:.0%}" for kind, share in of.items() if share]
        count = f"{total / 1e6:,.1f} million" if total >= 1e6 else f"{total:,}"
        axes.text(0, row - 0.3, f"{what}: {count}", color=INK, va="bottom", weight="bold")
        axes.text(0, row + 0.28, ", ".join(shares), color=MUTED, va="top", fontsize=9)
        spoken.append(f"{count} {what}: {', '.join(shares)}")
    axes.set(xlim=(0, 1), ylim=(1.6, -0.62), xticks=[], yticks=[])
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.set_title(f"{architecture.name}, {architecture.year}")
    handles = [axes.barh(0, 0, color=color) for color in KINDS.values()]
    figure.legend(handles, list(KINDS), loc="outside lower left", ncols=4, handlelength=1, columnspacing=1.2)
    return describe(figure, f"{architecture.name}: {'; '.join(spoken)}.")


if __name__ == "__main__":
    from figures.write import write
    from minidl.models.zoo import ARCHITECTURES

    write(__file__, draw(ARCHITECTURES["alexnet"]))
