"""Two neighbouring outputs of a three-tap filter from four multiplications instead of six: F(2,3)."""

from __future__ import annotations

from minidl.instruments.drawing import box, bracketed, canvas, cells, label, number
from minidl.instruments.style import GRAPH, KERNEL, MODEL, MUTED, TASK, describe, drawing

STEPS = ("directly", "mix the inputs", "mix the weights", "multiply", "add up")


@drawing
def draw(d, g, step: int):
    """Return one of the five `STEPS` for four inputs `d` and three weights `g`."""
    d0, d1, d2, d3 = d
    g0, g1, g2 = g
    mixed = (
        ("d0 − d2", d0 - d2, "g0", g0),
        ("d1 + d2", d1 + d2, "(g0 + g1 + g2) / 2", (g0 + g1 + g2) / 2),
        ("d2 − d1", d2 - d1, "(g0 − g1 + g2) / 2", (g0 - g1 + g2) / 2),
        ("d1 − d3", d1 - d3, "g2", g2),
    )
    m = [a * b for _, a, _, b in mixed]
    outputs = (d0 * g0 + d1 * g1 + d2 * g2, d1 * g0 + d2 * g1 + d3 * g2)

    figure, axes = canvas(13.2, 11.4, unit=0.41)
    label(axes, 0.4, 0.5, "inputs d0 … d3", align="left", size=10, bold=True)
    cells(axes, 0.4, 0.9, [number(v) for v in d], fills=[KERNEL] * 4)
    label(axes, 6.6, 0.5, "weights g0 … g2", align="left", size=10, bold=True)
    cells(axes, 6.6, 0.9, [number(v) for v in g], fills=[MODEL] * 3)

    if step == 0:
        for i, y in enumerate((3.4, 5.4)):
            products = " + ".join(f"{number(a)}·{number(b)}" for a, b in zip(d[i : i + 3], g, strict=True))
            label(axes, 0.4, y, f"out {i} = {products} = {number(outputs[i])}", align="left", size=11.5)
        says = "six multiplications for two outputs"
    else:
        says = (
            None,
            "four additions or subtractions",
            "done once for a kernel, however large the picture",
            "the only four multiplications",
            f"{number(m[0])} + {number(m[1])} + {number(m[2])} = {number(outputs[0])} and "
            f"{number(m[1])} − {number(m[2])} − {bracketed(m[3])} = {number(outputs[1])}",
        )[step]
        for row, (name_d, value_d, name_g, value_g) in enumerate(mixed):
            y = 2.9 + 1.35 * row
            lit = 0.45
            label(axes, 2.9, y + 0.5, name_d, align="right", size=10, color=MUTED)
            box(axes, 3.1, y, 1.1, 1.1, number(value_d), fill=KERNEL if step == 1 else None, strength=lit)
            if step >= 2:
                label(axes, 4.6, y + 0.5, "×")
                box(axes, 5.0, y, 1.1, 1.1, number(value_g), fill=MODEL if step == 2 else None, strength=lit)
                label(axes, 6.3, y + 0.5, name_g, align="left", size=10, color=MUTED)
            if step >= 3:
                label(axes, 10.9, y + 0.5, f"= m{row + 1}", align="right", size=10, color=MUTED)
                box(axes, 11.1, y, 1.4, 1.1, number(m[row]), fill=TASK if step == 3 else None, strength=lit)
        if step == 4:
            for i, (x, name) in enumerate(((0.4, "m1 + m2 + m3"), (7.0, "m2 − m3 − m4"))):
                box(axes, x, 8.7, 1.4, 1.1, number(outputs[i]), fill=GRAPH, strength=lit)
                label(axes, x + 1.6, 9.25, f"= {name}", align="left", size=10)
    label(axes, 0.4, 10.8, f"{STEPS[step]}: {says}", align="left", size=10.5)
    return describe(
        figure, f"Step {step}, {STEPS[step]}: {says}. The outputs are {outputs[0]:g} and {outputs[1]:g}."
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([4, 2, 5, 6], [2, 1, 3], 4))
