"""The elevator: one number that a network made, followed down through the seven floors, and its gradient up.

    gan = models.gan.pretrained()
    ride = elevator.ride(gan, gan.noise(1, generator), pixel=(3, 4))
    print(ride)                    # what every floor says of this pixel, and whether it agrees with the next
    ride.up()                      # the way back up: one weight, its gradient, its update

Read in this order: `ride` (floors 7 to 4), `last` (floor 3: which products a number is the sum of), `thread`
(floors 2 and 1), `up` (the way back).
"""

from minidl.instruments.elevator.checks import TOLERANCE, Check
from minidl.instruments.elevator.last import DotProduct
from minidl.instruments.elevator.ride import Field, Node, Ride, Stage, Verdict, ride
from minidl.instruments.elevator.thread import Memory, Work
from minidl.instruments.elevator.up import WayUp

__all__ = [
    "TOLERANCE",
    "Check",
    "DotProduct",
    "Field",
    "Memory",
    "Node",
    "Ride",
    "Stage",
    "Verdict",
    "WayUp",
    "Work",
    "ride",
]
