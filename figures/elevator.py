"""The elevator: one number of a network on each of the seven floors, below the seven floors."""

from __future__ import annotations

import html

import ipywidgets
import numpy as np

from figures import elevator_machine, elevator_network, stack
from figures.elevator_machine import block
from figures.elevator_network import HEIGHT, place
from minidl.hardware.limits import limits
from minidl.instruments.drawing import canvas
from minidl.instruments.elevator import ride
from minidl.instruments.style import LAYERS, describe, drawing
from minidl.instruments.widgets import frames, picture
from minidl.models import gan

WIDTH = 11.2
FLOORS = tuple(LAYERS)  # 7 … 1
PICTURES = {
    7: elevator_network.task,
    6: elevator_network.model,
    5: elevator_network.layer,
    4: elevator_machine.graph,
    3: elevator_machine.op,
    2: elevator_machine.kernel,
    1: elevator_machine.hardware,
}
#: On the page of the elevator, the heading of each floor: a link to it also brings the elevator there.
HEADINGS = {floor: f"floor-{floor}-{name.lower()}" for floor, (name, _) in LAYERS.items()}


@drawing
def draw(ride, floor: int):
    """Return the picture of one floor of a ride.

    Parameters
    ----------
    ride : minidl.instruments.elevator.Ride
    floor : int
        From 7, the sample, to 1, the addresses.

    Raises
    ------
    ValueError
        If there is no such floor.
    """
    if floor not in LAYERS:
        raise ValueError(f"floor must be from 7 to 1, got {floor!r}")
    figure, axes = canvas(WIDTH, HEIGHT, unit=0.5)
    name, color = LAYERS[floor]
    says = PICTURES[floor](axes, ride, color)
    return describe(figure, f"Floor {floor}, {name}, of the number at {place(ride)}: {says}")


def numbers(ride, floor: int, shown=FLOORS, links: bool = True) -> str:
    """Return floors as `figures.stack` has them, with the number of each and whether it agrees: HTML.

    Parameters
    ----------
    ride : minidl.instruments.elevator.Ride
    floor : int
        The one that is lit.
    shown : sequence of int
    links : bool
        Whether the floors' pages are linked.
    """
    kind, name = "osi-ride" if links else "osi-stop", f"The number at {place(ride)}, floor by floor"
    rows = [stack.row(at, _cells(ride, at), lit="true" if at == floor else "", links=links) for at in shown]
    frame = f'<div class="osi-stack {kind}" role="group" aria-label="{name}">'
    return "\n".join([stack.CSS, frame, *rows, "</div>"])


def _cells(ride, floor):
    agrees = all(check.agrees for check in ride.checks if check.floors[1] == floor)
    value = f"{ride.numbers[floor]:.6f}".replace("-", "−")
    sign = "" if floor == 7 else "=" if agrees else "≠"
    subject = f'<span class="osi-subject">{html.escape(subject_of(ride, floor))}</span>'
    return f'{subject}<span class="osi-value">{value}<span>{sign}</span></span>'


def subject_of(ride, floor: int) -> str:
    """Return in a few words what the number is on a floor."""
    dot, work = len(ride.op.row), ride.kernel
    activations = " and ".join(type(layer).__name__ for layer, _ in ride.layer.after)
    scaled = ride.task.kind in ("gan", "began")
    return {
        7: f"brightness of {place(ride)}" if scaled else f"score of {place(ride)}",
        6: "the network's output: twice that, less 1" if scaled else "the network's output",
        5: f"before the {activations}" if activations else f"of the layer {type(ride.layer.layer).__name__}",
        4: f"made by the node {next(node.op for node in ride.nodes if node.makes_it)}",
        3: f"a sum of {dot} products" + " and a bias" * (ride.op.bias != 0),
        2: f"thread {work.lane + 32 * work.warp} of block {block(work)}",
        1: f"the bytes at {len(work.reads)} addresses",
    }[floor]


def elevator(rides, start: int = 0, headings=False):
    """Return the floors of some rides behind two sliders: which number, and which floor.

    Parameters
    ----------
    rides : list of Ride
    start : int
        The ride shown first, on floor 7.
    headings : bool
        Whether a link to a floor's heading (`HEADINGS`) brings it to that floor.
    """
    rides = list(rides)
    return frames(
        [[draw(ride, floor) for floor in FLOORS] for ride in rides],
        ("number", "floor"),
        names=([place(ride) for ride in rides], [f"{floor} {LAYERS[floor][0]}" for floor in FLOORS]),
        start=start * len(FLOORS),
        above=[[numbers(ride, floor) for floor in FLOORS] for ride in rides],
        anchors=list(HEADINGS.values()) if headings else None,
    )


def stop(floor: int):
    """Return one floor of the ride that all pages share, below the floor it has to agree with.

    Parameters
    ----------
    floor : int
        From 7 to 1.

    Returns
    -------
    minidl.instruments.widgets.Picture
    """
    if floor not in LAYERS:
        raise ValueError(f"floor must be from 7 to 1, got {floor!r}")
    # Only the lowest floor has a use for the bandwidth, which takes a second to measure.
    taken = example(bandwidth=limits("cpu").copy_bandwidth if floor == 1 else 1.0)
    shown = [at for at in (floor + 1, floor) if at in LAYERS]
    return picture(draw(taken, floor), above=numbers(taken, floor, shown, links=False))


def live(model, z):
    """Choose any pixel of a drawing (or any class) and a floor, and ride: for a running kernel.

    On a static page it shows the first ride, and its controls rest.

    Parameters
    ----------
    model : Layer
    z : array_like
        As for `minidl.instruments.elevator.ride`.

    Returns
    -------
    ipywidgets.VBox
    """
    first = _first(model, z)
    sizes = first.path[-1].output.shape[1:]
    names = {1: ("class",), 3: ("channel", "row", "column")}[len(sizes)]
    if len(sizes) == 3 and sizes[0] == 1:
        names, sizes = names[1:], sizes[1:]
    places = [
        ipywidgets.Dropdown(description=name, options=range(size), value=0)
        for name, size in zip(names, sizes, strict=True)
    ]
    floor = ipywidgets.Dropdown(description="floor", options=range(7, 0, -1), value=7)
    says, shown = ipywidgets.HTML(), ipywidgets.HTML()
    rides = {(0,) * len(places): first}

    def show(_=None):
        key = tuple(place.value for place in places)
        try:
            if key not in rides:
                rides[key] = ride(model, z, key)
            shown.value = picture(
                draw(rides[key], floor.value), above=numbers(rides[key], floor.value)
            )._repr_html_()
            worst = max(check.error for check in rides[key].checks)
            says.value = (
                f"The ride took {rides[key].seconds:.2f} s; the floors differ by {worst:.0e} at most."
            )
        except Exception as problem:
            says.value = f"It went wrong: {html.escape(str(problem))}"

    for control in (*places, floor):
        control.observe(show, "value")
    show()
    hint = ipywidgets.HTML(
        "<em>These controls run the network and the tracer on the machine that runs this page: they work in "
        "Colab and Jupyter, and rest on the static page.</em>"
    )
    hint.add_class("osi-screen")  # left out on paper
    return ipywidgets.VBox([hint, *places, floor, says, shown])


def _first(model, z):
    """Ride with the first number, whatever the output's shape."""
    for pixel in ((0, 0), 0):
        try:
            return ride(model, z, pixel)
        except ValueError as error:
            if not str(error).startswith("pixel must be"):
                raise
    return ride(model, z, (0, 0, 0))


def example(bandwidth=None):
    """Return the ride that all pages share: a pixel of the first digit that the GAN draws with seed 0."""
    model = gan.pretrained()
    return ride(model, model.noise(1, np.random.default_rng(0)), (3, 4), bandwidth)


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(example(), 3))
