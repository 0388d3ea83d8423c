"""The ImageNet challenge, year by year: the winners' errors, and how many layers deep they were."""

from __future__ import annotations

from minidl.instruments.style import INK, KERNEL, MODEL, MUTED, RULE, describe, drawing, new_figure


@drawing
def draw(entries, human: float):
    """Return two panels over the same rows: top-5 error, and depth.

    Parameters
    ----------
    entries : sequence of (str, float, int or None)
        Name with its year, error in per cent, and layers with weights on the longest way; None for none.
    human : float
        The error of the person who was measured, in per cent.
    """
    figure, (left, right) = new_figure(5.6, 0.42 * len(entries) + 1.0, ncols=2, sharey=True)
    rows = range(len(entries))
    left.barh(rows, [error for _, error, _ in entries], height=0.5, color=KERNEL)
    right.barh(rows, [depth or 0 for *_, depth in entries], height=0.5, color=MODEL)
    for row, (_, error, depth) in enumerate(entries):
        clear = error + 0.5 if error > human else human + 0.5  # not across the dashed line
        left.text(clear, row, f"{error:g}", va="center", color=INK)
        right.text((depth or 0) + 3, row, depth or "none", va="center", color=INK if depth else MUTED)
    left.axvline(human, color=INK, linewidth=0.9, linestyle=(0, (3, 2)))
    left.text(human + 0.6, len(entries) - 0.42, f"one person: {human:g}", color=INK, fontsize=9, va="top")
    left.set(xlim=(0, max(error for _, error, _ in entries) * 1.16), title="top-5 error, %")
    right.set(xlim=(0, 185), title="layers")
    left.set_yticks(rows, [name for name, *_ in entries])
    left.set_ylim(len(entries) + 0.25, -0.6)
    for axes in (left, right):
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines["bottom"].set_visible(False)
        axes.spines["left"].set_color(RULE)
    said = "; ".join(
        f"{name} {error:g}% with {f'{depth} layers' if depth else 'no deep network'}"
        for name, error, depth in entries
    )
    return describe(figure, f"Top-5 error and depth: {said}. One person: {human:g}%.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([("2010 NEC", 28.2, None), ("2015 ResNet", 3.57, 152)], 5.1))
