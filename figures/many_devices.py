"""From two processes to thousands of devices: what of the time is left for computing, and what limits it."""

from __future__ import annotations

import numpy as np

from minidl.graph import scaling
from minidl.graph.links import IMAGENET_CRITICAL, LINKS, PUBLISHED, RESNET50
from minidl.instruments.style import GRAPH, INK, KERNEL, MODEL, MUTED, TASK, describe, drawing, new_figure

DEVICES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


def step(devices: int, size: float, overlap: float, inside="NVLink 1", outside="50 Gbit Ethernet"):
    """Return the `scaling.Step` of Goyal's training on `devices` GPUs, with gradients of `size` bytes.

    The arithmetic is that of ResNet-50 whatever the size: a model with more weights for the same arithmetic,
    as those with large dense layers are, has more to send in the same time.
    """
    compute = 1.5 * RESNET50["back"]  # the way forward takes half of the way back
    traffic = scaling.hierarchical_seconds(LINKS[inside], LINKS[outside], devices, size, RESNET50["node"])
    return scaling.step(compute, traffic, overlap)


def relative_efficiency(devices: int, size: float, overlap: float, base: int = 8, **links):
    """Return the speed of a device among `devices`, as a share of that among `base`."""
    return step(base, size, overlap, **links).seconds / step(devices, size, overlap, **links).seconds


@drawing
def draw(devices: int, megabytes: float, critical: float = IMAGENET_CRITICAL):
    """Return two panels: efficiency against the number of devices, and how much sooner a training is done.

    Parameters
    ----------
    devices : int
        Marked in both.
    megabytes : float
        Of gradients; ResNet-50 has 100.
    critical : float
        Examples in a batch beyond which a larger one is worth little; see `scaling.steps_needed`.
    """
    size, share = megabytes * 1e6, RESNET50["share"]
    counts = np.array(DEVICES)
    figure, (left, right) = new_figure(6.4, 3.5, ncols=2)
    low = [relative_efficiency(int(p), size, 0.0) for p in counts]
    high = [relative_efficiency(int(p), size, 1.0) for p in counts]
    left.fill_between(counts, low, high, color=GRAPH, alpha=0.3, linewidth=0)
    left.plot(counts, high, color=GRAPH, label="all hidden")
    left.plot(counts, low, color=KERNEL, label="none hidden")
    if megabytes * 1e6 == RESNET50["bytes"]:
        goyal = PUBLISHED[0]
        left.plot(goyal.devices, goyal.efficiency[1], "o", color=TASK, label="published, 256")
    left.axvline(devices, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    left.set(xscale="log", ylim=(0, 1.05), xlabel="devices", title="efficiency")
    left.legend(loc="lower left")
    perfect = counts / 8
    of_batch = np.array([float(scaling.speed_up(p, share, critical)) for p in counts])
    of_batch = of_batch / of_batch[0]
    both = of_batch * np.array(low)
    right.plot(counts, perfect, color=MUTED, linewidth=1.2, label="perfect")
    right.plot(counts, of_batch, color=MODEL, label="batch alone")
    right.plot(counts, both, color=INK, label="and traffic")
    right.axvline(devices, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    right.set(xscale="log", yscale="log", xlabel="devices", title="speed-up over 8")
    right.legend(loc="upper left")
    for axes in (left, right):
        axes.tick_params(which="minor", length=0)
    at = DEVICES.index(devices) if devices in DEVICES else int(np.abs(counts - devices).argmin())
    what = scaling.limit(devices, share, critical, low[at])
    figure.suptitle(
        f"{devices:,} devices, {megabytes:g} MB of gradients: limit, {what}", x=0.01, ha="left", fontsize=11
    )
    return describe(
        figure,
        f"{devices:,} devices, {megabytes:g} MB of gradients, {share} examples each. Efficiency against 8 "
        f"devices {low[at]:.0%} if no traffic is hidden, {high[at]:.0%} if all can be. The batch of "
        f"{devices * share:,} makes the training {of_batch[at]:.3g} times as fast as 8 devices do, of "
        f"{perfect[at]:g}; with the traffic, {both[at]:.3g}. The limit: {what}.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(256, 100))
