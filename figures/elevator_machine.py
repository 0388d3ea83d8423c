"""The elevator's floors 4 to 1: the nodes, the products, the thread, and the bytes that make one number."""

from __future__ import annotations

import numpy as np

from figures.elevator_network import HEIGHT, TOP
from minidl.instruments.drawing import box, label, number, outline, shades
from minidl.instruments.style import MUTED, RULE


def graph(axes, ride, color):
    """Draw floor 4: the nodes that the number came through; return it in words."""
    columns = (
        (0.45, "node", "left"),
        (6.1, "result", "right"),
        (8.0, "bytes", "right"),
        (9.6, "µs", "right"),
    )
    for x, text, align in columns:
        label(axes, x, TOP, text, size=8.5, align=align, bold=True)
    longest = max(node.seconds for node in ride.nodes)
    step = min(0.46, 4.7 / len(ride.nodes))
    for i, node in enumerate(ride.nodes):
        y = TOP + 0.3 + i * step
        if node.makes_it:
            box(axes, 0.3, y, 10.6, step, fill=color, edge=color)
        middle, bold = y + step / 2, node.makes_it
        texts = (node.op, str(node.shape), f"{node.nbytes:,}", f"{node.seconds * 1e6:.1f}")
        for (x, _, align), text in zip(columns, texts, strict=True):
            label(axes, x, middle, text, size=8.5, align=align, bold=bold)
        box(axes, 9.8, y + 0.1, node.seconds / longest, step - 0.2, fill=color, strength=0.8, edge=color)
    total = sum(node.seconds for node in ride.nodes)
    nbytes = sum(node.nbytes for node in ride.nodes)
    says = f"{len(ride.nodes)} nodes, {nbytes:,} bytes read and written, {total * 1e6:.1f} µs in all"
    label(axes, 0.4, HEIGHT - 0.25, says, size=9, align="left")
    return says + "."


def op(axes, ride, color):
    """Draw floor 3: the products that the number is the sum of; return it in words."""
    dot = ride.op
    products = dot.products
    order = np.argsort(-np.abs(products))[:8]
    label(axes, 0.4, TOP, "input", size=8.5, align="left", bold=True)
    label(axes, 2.9, TOP, "× weight", size=8.5, align="left", bold=True)
    label(axes, 5.9, TOP, "product", size=8.5, align="right", bold=True)
    for i, k in enumerate(order):
        y = TOP + 0.45 + 0.44 * i
        where = "[" + ", ".join(map(str, dot.inputs[k][1:])) + "]" if dot.inputs[k][0] >= 0 else "padding"
        label(axes, 0.4, y, where, size=8, align="left", color=MUTED)
        label(axes, 2.65, y, number(float(dot.row[k])), size=8.5, align="right")
        label(axes, 2.9, y, f"× {number(float(dot.column[k]))}", size=8.5, align="left")
        label(axes, 5.9, y, number(float(products[k])), size=8.5, align="right", bold=True)
    y = TOP + 0.45 + 0.44 * len(order)
    rest = products.sum() - products[order].sum()
    label(axes, 0.4, y, f"{len(products) - len(order)} more", size=8.5, align="left")
    label(axes, 5.9, y, number(float(rest)), size=8.5, align="right", bold=True)
    label(axes, 0.4, y + 0.44, "bias", size=8.5, align="left")
    label(axes, 5.9, y + 0.44, number(dot.bias), size=8.5, align="right", bold=True)
    # The sum as it grows, product after product.
    left, top, width, height = 6.6, TOP + 0.3, 4.2, 4.0
    running = np.concatenate([[0.0], np.cumsum(products), [dot.total]])
    low, high = min(running.min(), 0.0), max(running.max(), 0.0)
    span = (high - low) or 1.0
    xs = left + width * np.linspace(0, 1, len(running))
    ys = top + height * (high - running) / span
    axes.plot((left, left + width), (top + height * high / span,) * 2, color=RULE, linewidth=0.9)
    axes.plot(xs, ys, color=color, linewidth=1.2, drawstyle="steps-post")
    axes.plot(xs[-1], ys[-1], "o", color=color, markersize=5)
    label(axes, left, TOP, "the sum as it grows", size=8.5, align="left", bold=True)
    label(axes, left, top + height + 0.3, f"from 0 to {number(dot.total, 6)}", size=8.5, align="left")
    words = f"{len(products)} products" + " and a bias" * (dot.bias != 0)
    says = f"{words} add up to {number(dot.total, 6)}"
    label(axes, 0.4, HEIGHT - 0.25, says, size=9, align="left", bold=True)
    return says + "."


def block(work):
    """Return the number of the thread's block in the launch."""
    return work.block.x + work.grid.x * (work.block.y + work.grid.y * work.block.z)


def kernel(axes, ride, color):
    """Draw floor 2: the thread, in its block, and what it reads and writes; return it in words."""
    work = ride.kernel
    warps = -(-work.threads.size // 32)
    step = 0.29
    label(
        axes,
        0.4,
        TOP,
        f"block {block(work)}: {warps} warps of 32 threads",
        size=8.5,
        align="left",
        bold=True,
    )
    box(axes, 0.4, TOP + 0.3 + work.warp * step, 32 * step, step, fill=color, strength=0.16)
    outline(axes, 0.4, TOP + 0.3 + work.warp * step, 32 * step, step, color)
    for w in range(1, warps):
        axes.plot((0.4, 0.4 + 32 * step), (TOP + 0.3 + w * step,) * 2, color=RULE, linewidth=0.6)
    for lane in range(1, 32):
        axes.plot((0.4 + lane * step,) * 2, (TOP + 0.3, TOP + 0.3 + warps * step), color=RULE, linewidth=0.6)
    box(axes, 0.4, TOP + 0.3, 32 * step, warps * step, edge=MUTED)
    box(axes, 0.4 + work.lane * step, TOP + 0.3 + work.warp * step, step, step, fill=color, strength=0.9)
    y = TOP + 0.62 + warps * step
    who = f"thread ({work.thread.x}, {work.thread.y}) of block ({work.block.x}, {work.block.y})"
    label(axes, 0.4, y, f"{who} of {work.kernel}", size=8.5, align="left", bold=True)
    later = f"another kernel adds the bias, {number(work.bias, 4)}" if work.bias else ""
    shown = [("reads", access) for access in work.reads[:2]]
    shown += [(f"… {len(work.reads) - 3} more reads …", None)] * (len(work.reads) > 3)
    shown += [("reads", access) for access in work.reads[2:][-1:]] + [("writes", work.write)]
    shown += [(later, None)] * bool(later)
    for i, (verb, access) in enumerate(shown):
        at = y + 0.38 + 0.36 * i
        label(axes, 0.4, at, verb, size=8, align="left", color=MUTED)
        if access:
            name, index, value, line = access
            index = index if isinstance(index, tuple) else (index,)
            label(axes, 1.9, at, f"{name}[{', '.join(map(str, index))}]", size=8.5, align="left")
            label(axes, 7.0, at, number(value, 5), size=8.5, align="right", bold=True)
            label(axes, 7.5, at, f"line {line}", size=8, align="left", color=MUTED)
    says = f"{who} of {work.kernel} makes {len(work.reads)} reads and writes {number(work.write[2], 5)}"
    return f"{says}; {later}." if later else f"{says}."


def hardware(axes, ride, color):
    """Draw floor 1: the cache lines and the bytes in them that the thread wants; return it in words."""
    memory = ride.hardware
    by_name: dict[str, list] = {}
    for name, _, offset, address in memory.places:
        by_name.setdefault(name, []).append((offset, address))
    names = sorted((n for n in by_name if n != "bias"), key=lambda n: -len(by_name[n]))
    item = ride.op.row.itemsize
    cell, y = 0.265 * item / 4, TOP
    for name in names:
        places = by_name[name]
        lines = list(dict.fromkeys(offset // 128 for offset, _ in places))
        touched = {offset for offset, _ in places}
        start = places[0][1] - places[0][0]
        words = f"{name}, from address {start:#x}: {_count(len(touched), 'number')} in "
        words += f"{_count(len(lines), 'line')} of 128 bytes"
        label(axes, 0.4, y, words, size=8.5, align="left", bold=True)
        for i, line in enumerate(lines[:2]):
            top = y + 0.28 + 0.42 * i
            label(axes, 1.95, top + 0.15, f"+{line * 128:,}", size=8, align="right", color=MUTED)
            used = [[line * 128 + k * item in touched for k in range(128 // item)]]
            shades(axes, 2.15, top, used, size=cell, strength=0.85, positive=color)
            for sector in range(4):
                box(axes, 2.15 + sector * 8 * 4 / item * cell, top, 8 * 4 / item * cell, cell)
        more = len(lines) - 2
        y += 0.42 * min(len(lines), 2) + 0.42
        if more > 0:
            label(axes, 2.15, y - 0.02, f"… {_count(more, 'more line')}", size=8, align="left", color=MUTED)
            y += 0.3
        y += 0.08
    moved = f"{memory.asked:,} bytes wanted, {memory.moved:,} moved: {memory.sectors} sectors of 32 bytes"
    time = f"{memory.seconds * 1e9:.0f} ns at the {memory.bandwidth / 1e9:.0f} GB/s that this machine copies"
    share = memory.warp_asked / memory.warp_moved
    warp = f"its warp together: {memory.warp_moved:,} bytes moved, {share:.0%} of them wanted"
    for i, line in enumerate((moved, time, warp)):
        label(axes, 0.4, HEIGHT - 1.0 + 0.38 * i, line, size=8.5, align="left", bold=i == 0)
    return f"{moved}; {time}; {warp}."


def _count(number, noun):
    return f"{number:,} {noun}{'s' * (number != 1)}"
