"""The roofline: what a machine allows a kernel to do, and what the kernel does.

A kernel that does F operations and moves B bytes takes at least as long as the machine needs for F, and as
long as it needs for B. Drawn against the intensity F/B, the rate that this allows is a slope, where memory
sets the limit, that ends in a ceiling, where arithmetic does. (S. Williams, A. Waterman, D. Patterson,
"Roofline: an insightful visual performance model for multicore architectures", CACM 52(4), 2009, figure 1.)
"""

from __future__ import annotations

from itertools import cycle

import numpy as np
from matplotlib.figure import Figure

from minidl.hardware.device import Device
from minidl.hardware.limits import Limits, limits
from minidl.instruments.stopwatch import Timings, time_text
from minidl.instruments.style import INK, MUTED, SERIES, describe, drawing, new_figure
from minidl.kernels.ladder import Ladder


@drawing
def roofline(
    ladder: Ladder,
    arguments: tuple,
    timings: Timings | None = None,
    *,
    device: str = "cpu",
    roofs: Limits | None = None,
) -> Figure:
    """Draw a ladder's rungs under a device's roofs: predicted, and below it what was measured.

    The prediction is hollow and sits on the roof, at the intensity that follows from the bytes and operations
    that the rung declares. The measurement is solid; how far it fell is the length of the line between.

    Parameters
    ----------
    ladder : Ladder
    arguments : tuple
        Of the rungs; only their shapes and dtypes count.
    timings : Timings, optional
        What `compare` measured on the same arguments, its first workload. Without it, predictions only.
    device : {"cpu", "cuda"}
        Whose rungs.
    roofs : Limits, optional
        By default those measured here, or those that `timings` was recorded with.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, or the ladder has no rungs for `device` with operations to count.
    DeviceUnavailable
        If the machine does not have the device and there are no roofs to draw.
    """
    if not isinstance(ladder, Ladder):
        raise TypeError(f"ladder must be a Ladder, got {type(ladder).__name__}")
    if timings is not None and timings.ladder != ladder.name:
        raise ValueError(f"timings must be of {ladder.name!r}, got those of {timings.ladder!r}")
    if roofs is None:
        roofs = _roofs(device, timings)
    points = predict(ladder, arguments, device, roofs)
    if not points:
        raise ValueError(f"{ladder.name} has no rung for {device!r} that does any operations")
    measured = _measured(timings)

    figure, axes = new_figure(6.4, 2.9 + 0.19 * len(points))
    intensities = [point[1] for point in points]
    left, right = min(*intensities, roofs.ridge) / 4, max(*intensities, roofs.ridge) * 4
    line = np.geomspace(left, right, 200)
    axes.plot(line, np.minimum(line * roofs.copy_bandwidth, roofs.flops) / 1e9, color=INK)
    says, colors = [], cycle(SERIES)
    for name, intensity, seconds, flops in points:
        color = next(colors) if timings is None or name in measured else MUTED  # the timed stand out
        top = flops / seconds / 1e9
        axes.plot(
            intensity, top, "o", markerfacecolor="none", markeredgecolor=color, markersize=7, clip_on=False
        )
        label = f"{name}: at least {time_text(seconds)}"
        if name in measured:
            reached = flops / measured[name] / 1e9
            axes.plot((intensity, intensity), (top, reached), color=color, linewidth=1, linestyle=(0, (2, 2)))
            axes.plot(intensity, reached, "o", color=color, markersize=7, clip_on=False)
            label += f", took {time_text(measured[name])}"
        elif timings is not None:
            label += ", not timed"
        says.append(label)
        axes.plot([], [], "o", color=color, label=label)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(left, right),
        xlabel="operations per byte of memory traffic",
        ylabel="GFLOP/s",
        title=f"{ladder.name} under the roofs of {roofs.device}",
    )
    reach = f"{roofs.copy_bandwidth / 1e9:.0f} GB/s and {roofs.flops / 1e9:,.0f} GFLOP/s"
    notes = [f"roofs: {reach}", "hollow: what they allow"] + ["solid: measured"] * (timings is not None)
    axes.text(0.99, 0.03, "\n".join(notes), transform=axes.transAxes, ha="right", color=MUTED, fontsize=8)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", fontsize=8)
    source = f" Times: {timings.source()}." if timings is not None else ""
    return describe(
        figure, f"{ladder.name} under the roofs of {roofs.device}, {reach}. {'; '.join(says)}.{source}"
    )


def predict(
    ladder: Ladder, arguments: tuple, device: str = "cpu", roofs: Limits | None = None
) -> list[tuple[str, float, float, int]]:
    """Return what the roofs allow each rung, from the bytes and operations it declares.

    Parameters
    ----------
    ladder, arguments, device, roofs
        As for `roofline`.

    Returns
    -------
    list of (str, float, float, int)
        For each of the device's rungs that does any operations: its name, its intensity (operations per
        byte), the seconds it takes at least, and its operations.
    """
    if roofs is None:
        roofs = limits(device)
    sizes = ladder.shape(*arguments)
    itemsize = max((value.dtype.itemsize for value in arguments if hasattr(value, "dtype")), default=4)
    points = []
    for rung in ladder.on(device):
        bytes, flops = rung.bytes(*sizes, itemsize=itemsize), rung.flops(*sizes)
        if flops > 0 and bytes > 0:
            seconds = max(bytes / roofs.copy_bandwidth, flops / roofs.flops)
            points.append((rung.name, flops / bytes, seconds, flops))
    return points


def _roofs(device, timings):
    recorded = timings.provenance.get("limits", {}).get(device) if timings is not None else None
    if recorded:
        return Limits(**recorded)
    Device(device).require()
    return limits(device)


def _measured(timings):
    if timings is None or not timings.workloads:
        return {}
    return {timing.rung: timing.median for timing in timings.of(timings.workloads[0]) if timing.seconds}
