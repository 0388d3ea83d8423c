"""What the roofline promises for batches of several sizes, and what a measurement made of it."""

from __future__ import annotations

from minidl.instruments.style import HARDWARE, INK, KERNEL, describe, drawing, new_figure


@drawing
def draw(batches, promised, took, chosen: int):
    """Return both times against the batch, one batch lit.

    Parameters
    ----------
    batches : sequence of int
    promised, took : sequence of float
        Seconds.
    chosen : int
        Which batch.
    """
    figure, axes = new_figure(5.4, 3.2)
    axes.plot(batches, [t * 1e6 for t in promised], color=HARDWARE, label="promised")
    axes.plot(batches, [t * 1e6 for t in took], "o", color=KERNEL, markersize=5, label="took")
    batch, best, real = batches[chosen], promised[chosen] * 1e6, took[chosen] * 1e6
    axes.plot((batch, batch), (best, real), color=INK, linewidth=1)
    axes.plot(batch, real, "o", color=KERNEL, markersize=10)
    axes.set(xscale="log", yscale="log", xlabel="pictures in a batch", ylabel="µs for one pass")
    axes.set_xticks(batches, [str(b) for b in batches])
    axes.minorticks_off()
    axes.legend(loc="upper left")
    axes.set_title(
        f"batch {batch}: promised {best:.0f} µs, took {real:.0f} µs\n{real / batch:.1f} µs a picture"
    )
    return describe(
        figure,
        f"A batch of {batch} was promised in {best:.0f} µs and took {real:.0f} µs, "
        f"{real / batch:.1f} µs for each picture.",
    )


if __name__ == "__main__":
    from figures.write import write

    sizes = [1, 4, 16, 64, 256]
    write(__file__, draw(sizes, [1e-4, 1e-4, 2e-4, 8e-4, 3e-3], [2e-4, 2e-4, 3e-4, 1e-3, 4e-3], 3))
