"""The rooflines of several machines, one of them lit, and a kernel under it."""

from __future__ import annotations

import numpy as np

from minidl.instruments.style import HARDWARE, KERNEL, RULE, describe, drawing, new_figure


def least_seconds(machine: tuple[float, float], work: tuple[float, float]) -> float:
    """Return the least time for `work` (operations, bytes) on a `machine` (operations, bytes a second)."""
    return max(work[0] / machine[0], work[1] / machine[1])


@drawing
def draw(machines, kernels, machine: str, kernel: str):
    """Return all roofs, the chosen one strong, and where the kernel meets it.

    Parameters
    ----------
    machines : dict of str to (float, float)
        Name → operations and bytes a second.
    kernels : dict of str to (float, float)
        Name → operations and bytes.
    machine, kernel : str
        The chosen ones.
    """
    figure, axes = new_figure(5.4, 3.5)
    intensities = {name: flops / moved for name, (flops, moved) in kernels.items()}
    ridges = [rate / bandwidth for rate, bandwidth in machines.values()]
    edges = min(*intensities.values(), *ridges) / 2.5, max(*intensities.values(), *ridges) * 2.5
    line = np.geomspace(*edges, 300)
    for name, (rate, bandwidth) in sorted(machines.items(), key=lambda item: item[0] == machine):
        here = name == machine
        roof = np.minimum(line * bandwidth, rate)
        axes.plot(line, roof, color=HARDWARE if here else RULE, linewidth=2.6 if here else 1.4)
    rate, bandwidth = machines[machine]
    for name, intensity in intensities.items():
        here = name == kernel
        axes.axvline(intensity, color=KERNEL if here else RULE, linewidth=1, linestyle=(0, (2, 2)))
        if here:
            axes.plot(intensity, min(intensity * bandwidth, rate), "o", color=KERNEL, markersize=9)

    seconds = least_seconds(machines[machine], kernels[kernel])
    reached = kernels[kernel][0] / seconds / rate
    waits = "arithmetic" if kernels[kernel][0] / rate >= kernels[kernel][1] / bandwidth else "memory"
    time = _time(seconds)
    axes.set(
        xscale="log", yscale="log", xlim=edges, xlabel="operations per byte", ylabel="operations a second"
    )
    axes.set_title(f"{kernel} on {machine}\nat least {time}, waits for {waits}, {reached:.1%} of the peak")
    axes.tick_params(which="minor", length=0)
    return describe(
        figure,
        f"{kernel}, {intensities[kernel]:.3g} operations per byte, on {machine}, whose roof bends at "
        f"{rate / bandwidth:.3g}: at least {time}, waits for {waits}, {reached:.1%} of the peak.",
    )


def _time(seconds) -> str:
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


if __name__ == "__main__":
    from figures.write import write

    machines = {"a laptop": (1e11, 3e10), "H100": (67e12, 3.35e12)}
    write(__file__, draw(machines, {"copy and add": (1, 8), "product": (100, 1)}, "H100", "product"))
