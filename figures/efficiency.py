"""Accuracy against work: published networks, the newest one lit, their parameters as areas."""

from __future__ import annotations

from minidl.instruments.style import INK, KERNEL, MODEL, MUTED, RULE, describe, drawing, new_figure

SHORT = {"nin": "NiN", "efficientnet_b0": "EfficientNet-B0"}

#: Where a name stands, if not to the right of its dot: points to the right, points up, and its alignment.
PLACES = {
    "alexnet": (0, -14, "center"),
    "squeezenet": (-6, 4, "right"),
    "googlenet": (-3, -10, "center"),
    "mobilenet_v1": (-6, -9, "center"),
    "mobilenet_v2": (7, 4, "left"),
    "resnet50": (-7, 4, "right"),
    "resnet101": (-9, 4, "right"),
    "vgg_a": (-13, -2, "right"),
    "vgg_b": (0, -15, "center"),
    "vgg_c": (-9, 12, "center"),
    "vgg_d": (10, -14, "center"),
    "vgg_e": (8, 13, "center"),
}


@drawing
def draw(architectures, year: int):
    """Return the networks of `models.zoo` up to a year: work, accuracy of the first guess, and parameters.

    Parameters
    ----------
    architectures : sequence of models.zoo.Architecture
        Those that have a `top1`; all of them set the scales, those of later years are not drawn.
    year : int
    """
    figure, axes = new_figure(5.6, 3.9)
    axes.set(xscale="log", xlim=(0.22, 34), ylim=(52.5, 81.5))
    axes.set(xlabel="10⁹ multiply-adds for one picture", ylabel="first guess right, %")
    axes.set_xticks([0.3, 1, 3, 10, 30], ["0.3", "1", "3", "10", "30"])
    axes.tick_params(which="minor", length=0)
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    shown = [a for a in architectures if a.year <= year]
    for a in shown:
        new = a.year == year
        x, y, area = a.flops / 1e9, a.top1, 6 * a.parameters / 1e6
        axes.scatter(x, y, s=area, color=MODEL if new else KERNEL, alpha=0.45 if new else 0.22, linewidth=0)
        axes.plot(x, y, "o", color=MODEL if new else KERNEL, markersize=3)
    for a in shown:
        dx, dy, side = PLACES.get(a.key, (8, 0, "left"))
        new = a.year == year
        axes.annotate(
            SHORT.get(a.key, a.name), (a.flops / 1e9, a.top1), (dx, dy), textcoords="offset points",
            ha=side, va="center", fontsize=8.6, color=INK if new else MUTED,
            weight="bold" if new else "normal",
        )  # fmt: skip
    axes.set_title(f"up to {year}")
    newest = [a for a in shown if a.year == year]
    words = "; ".join(
        f"{a.name} {a.top1:.1f}% with {a.flops / 1e9:.2g} billion multiply-adds and"
        f" {a.parameters / 1e6:.3g} million parameters"
        for a in newest
    )
    return describe(figure, f"Accuracy against multiply-adds, networks up to {year}. New in {year}: {words}.")


if __name__ == "__main__":
    from figures.write import write
    from minidl.models.zoo import ARCHITECTURES

    write(
        __file__, draw([a for a in ARCHITECTURES.values() if a.top1 and a.key != "alexnet_two_towers"], 2019)
    )
