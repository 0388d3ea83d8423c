"""A wave through a convolution stays a wave: only its height and its place change."""

from __future__ import annotations

import numpy as np

from minidl.instruments.style import KERNEL, MODEL, RULE, describe, drawing, new_figure


@drawing
def draw(kernel, samples: int, cycles: int):
    """Return a wave with `cycles` periods in a ring of `samples` points, and what the kernel makes of it."""
    kernel = np.asarray(kernel, dtype=np.float64)
    points = np.arange(samples)
    fine = np.linspace(0, samples - 1, 40 * samples)
    turn = 2 * np.pi * cycles / samples
    factor = (kernel * np.exp(1j * turn * np.arange(len(kernel)))).sum()

    figure, axes = new_figure(5.4, 2.7)
    axes.axhline(0, color=RULE, linewidth=0.8)
    for name, scale, color, marker in (("in", 1, KERNEL, "o"), ("out", factor, MODEL, "s")):
        axes.plot(fine, (scale * np.exp(1j * turn * fine)).real, color=color, alpha=0.35, linewidth=1.5)
        values = (scale * np.exp(1j * turn * points)).real
        axes.plot(points, values, marker, color=color, markersize=5, linestyle="", label=name)
    axes.set(ylim=(-1.3, 1.75), xticks=[0, samples // 2, samples - 1], yticks=[-1, 0, 1])
    height = abs(factor)
    verdict = "wiped out" if height < 1e-9 else f"{height:.2f} times as high"
    says = f"{cycles} wave{'s' * (cycles > 1)} in {samples} points: {verdict}"
    axes.set_title(says)
    axes.legend(loc="upper right", ncols=2)
    return describe(figure, f"{says}. The frequency has not changed.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([0.25] * 4, 16, 2))
