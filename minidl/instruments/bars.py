"""Draws what the stopwatch measured: the medians of a comparison as bars."""

from __future__ import annotations

from matplotlib.figure import Figure

from minidl.instruments.stopwatch import Timings, time_text
from minidl.instruments.style import INK, KERNEL, MUTED, OP, describe, drawing, new_figure


@drawing
def draw(comparison: Timings) -> Figure:
    """Draw the medians as bars on a logarithmic scale, a panel for each workload, the floor as a line."""
    workloads = comparison.workloads
    longest = max(len(comparison.of(workload)) for workload in workloads)
    height = len(workloads) * (0.55 + 0.24 * longest) + 0.4
    figure, panels = new_figure(6.2, height, nrows=len(workloads), sharex=True, squeeze=False)
    says = []
    for workload, axes in zip(workloads, panels[:, 0], strict=True):
        timings = [timing for timing in comparison.of(workload) if timing.seconds]
        names = [timing.rung for timing in timings]
        colors = [{"cpu": OP, "cuda": KERNEL}.get(timing.device, MUTED) for timing in timings]
        medians = [timing.median for timing in timings]
        axes.barh(names, medians, color=colors, height=0.6)
        for row, timing in enumerate(timings):
            axes.plot(timing.quartiles, (row, row), color=INK, linewidth=1)
            axes.annotate(
                time_text(timing.median),
                (timing.quartiles[1], row),
                (4, 0),
                textcoords="offset points",
                va="center",
            )
        floors = {timing.floor for timing in timings if timing.floor}
        for floor in floors:
            axes.axvline(floor, color=INK, linewidth=1, linestyle=(0, (2, 2)))
        axes.set(xscale="log", title=workload)
        axes.invert_yaxis()
        if medians:
            low = min([*medians, *floors])
            axes.set_xlim(low / 3, max(medians) * 6)
        says.append(f"{workload}: " + ", ".join(f"{t.rung} {time_text(t.median)}" for t in timings))
    panels[-1, 0].set_xlabel("seconds; the dashed line is the least that the machine's roofs allow")
    return describe(
        figure, f"Median times of {comparison.ladder}, {comparison.source()}. " + "; ".join(says) + "."
    )
