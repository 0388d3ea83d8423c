"""Downpour SGD on a parabola: several workers, one server, and gradients that are old when they arrive."""

from __future__ import annotations

from minidl.instruments.style import KERNEL, MUTED, describe, drawing, new_figure


def train(workers: int, rate: float, steps: int, start: float = 1.0) -> list[float]:
    """Return the server's weight after each step of descending w²/2, whose gradient is w.

    The workers take turns. Each pushes the gradient at the weight it holds, then fetches the new weight.
    """
    server, held, history = start, [start] * workers, [start]
    for step in range(steps):
        turn = step % workers
        server -= rate * held[turn]  # the gradient of w²/2 at the held w is w
        held[turn] = server
        history.append(server)
    return history


@drawing
def draw(workers: int, rate: float, steps: int = 40):
    """Return the server's weight step by step; the best weight is 0."""
    history = train(workers, rate, steps)
    figure, axes = new_figure(6.2, 2.8)
    axes.axhline(0, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    axes.plot(range(steps + 1), history, "o-", color=KERNEL, markersize=3)
    late = workers - 1
    axes.set(xlim=(0, steps), ylim=(-2.5, 2.5), xlabel="updates of the server", ylabel="weight",
             title=f"rate {rate:g}, gradients {late} update{'s' * (late != 1)} old")  # fmt: skip
    far = max(map(abs, history[-10:]))
    return describe(
        figure,
        f"Workers: {workers}, learning rate {rate:g}, age of each gradient in updates: {late}. The weight "
        f"starts at 1; over the last ten of {steps} updates it is at most {far:.2g} away from the best, 0.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(3, 0.5))
