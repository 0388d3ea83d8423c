"""How fast arrays of different sizes are copied: a staircase, one step for each level of the memory."""

from __future__ import annotations

from minidl.instruments.style import HARDWARE, INK, MUTED, describe, drawing, new_figure


@drawing
def draw(sizes, rates, chosen: int):
    """Return the rate at each size, one of them lit, with the time that one copy takes.

    Parameters
    ----------
    sizes : sequence of int
        Bytes that are moved, read and written together.
    rates : sequence of float
        Bytes a second.
    chosen : int
        Which size.
    """
    figure, axes = new_figure(5.4, 3.1)
    rates = [rate / 1e9 for rate in rates]
    axes.plot(sizes, rates, color=MUTED, linewidth=1.4)
    axes.plot(sizes, rates, "o", color=MUTED, markersize=4)
    size, rate = sizes[chosen], rates[chosen]
    axes.plot(size, rate, "o", color=HARDWARE, markersize=10)
    axes.axvline(size, color=HARDWARE, linewidth=1, linestyle=(0, (2, 2)))
    ticks = [power for power in (2**n for n in range(12, 32, 4)) if sizes[0] <= power <= sizes[-1]]
    axes.set(xscale="log", ylim=(0, 1.15 * max(rates)), xlabel="bytes moved", ylabel="GB/s")
    axes.set_xticks(ticks, [bytes_text(tick) for tick in ticks])
    axes.minorticks_off()
    time = size / rate / 1e9
    told = f"{time * 1e6:.3g} µs" if time < 1e-3 else f"{time * 1e3:.3g} ms"
    axes.set_title(f"{bytes_text(size)}: {rate:.0f} GB/s, {told} a copy", color=INK)
    return describe(
        figure,
        f"Copying {bytes_text(size)} runs at {rate:.0f} GB/s and takes {told}; over all sizes the rate lies "
        f"between {min(rates):.0f} and {max(rates):.0f} GB/s.",
    )


def bytes_text(count) -> str:
    """Return a number of bytes in the largest unit of 1,024 that it fills."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"


if __name__ == "__main__":
    from figures.write import write

    steps = [2**n for n in range(12, 28)]
    write(__file__, draw(steps, [60e9] * 6 + [30e9] * 5 + [12e9] * 5, 8))
