"""Global reads of one thread as the window grows, and the least time they take at a given bandwidth."""

from __future__ import annotations

from minidl.instruments.style import INK, KERNEL, MODEL, describe, drawing, new_figure


@drawing
def draw(windows, reads, fetched, chosen: int, outputs: int, bandwidth: float):
    """Return two panels: reads per thread against the window, and least times at the chosen window.

    Parameters
    ----------
    windows : sequence of int
    reads : dict of str to sequence of int
        Kernel → global reads of its busiest thread, one count for each window.
    fetched : dict of str to sequence of float
        Kernel → global reads per output, on average.
    chosen : int
        Position in `windows` of the window shown on the right.
    outputs : int
        Values computed, each written once; reads and writes move 4 bytes each.
    bandwidth : float
        Bytes per second.
    """
    figure, (left, right) = new_figure(6.2, 2.9, ncols=2)
    colors = dict(zip(reads, (MODEL, KERNEL), strict=True))
    for name, counts in reads.items():
        left.plot(windows, counts, "o-", color=colors[name], markersize=4)
        left.annotate(
            name,
            (windows[-1], counts[-1]),
            (-2, 7),
            textcoords="offset points",
            ha="right",
            color=colors[name],
        )
    left.axvline(windows[chosen], color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    left.set(
        xlabel="window", title="global reads per thread", xticks=windows[2:], ylim=(0, max(windows) * 1.25)
    )

    times = {name: 4 * outputs * (counts[chosen] + 1) / bandwidth * 1e6 for name, counts in fetched.items()}
    most = 4 * outputs * (max(windows) + 1) / bandwidth * 1e6
    bars = right.barh(list(times), list(times.values()), color=[colors[name] for name in times], height=0.5)
    right.bar_label(bars, [f"{t:.0f} µs" for t in times.values()], color=INK, padding=4)
    right.set(xlim=(0, most * 1.3), title="if nothing is cached", xlabel="µs", yticks=range(len(times)))
    right.invert_yaxis()
    says = "; ".join(
        f"{n}: {reads[n][chosen]} reads per thread, {t:.0f} µs if nothing is cached" for n, t in times.items()
    )
    return describe(figure, f"Window {windows[chosen]}. {says}.")


if __name__ == "__main__":
    from figures.write import write

    reads = {"naive": [2, 4, 8], "shared": [2, 2, 2]}
    write(
        __file__, draw([2, 4, 8], reads, {"naive": [2, 4, 8], "shared": [1.0, 1.01, 1.03]}, 1, 10**7, 3.35e12)
    )
