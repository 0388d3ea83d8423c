"""What each pass gains: the same nodes run with no pass, with the first, with the first two, and so on."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from minidl.graph.passes import PASSES
from minidl.graph.static import Session


@dataclass(frozen=True)
class Gain:
    """A run with some passes.

    Attributes
    ----------
    name : str
        The pass that came last; "none" to begin with.
    nodes : int
        How many are left to be computed.
    bytes : int
        Of the results between that could be planned: with a plan what it takes, without one all of them.
    seconds : float
        The median.
    ratio : float
        The median, over rounds, of this time to that without passes in the same round.
    """

    name: str
    nodes: int
    bytes: int
    seconds: float
    ratio: float


def gains(fetches, feed_dict, repeat=30):
    """Measure what each pass adds, interleaved so that all runs see the same machine.

    Parameters
    ----------
    fetches, feed_dict : as for `Session.run`
    repeat : int
        Rounds; in each, every session runs once.

    Returns
    -------
    list of Gain
    """
    names = (*PASSES, "plan")
    sessions = [Session(names[:count]) for count in range(len(names) + 1)]
    programs = [session.program(fetches, feed_dict) for session in sessions]
    for session in sessions:
        session.run(fetches, feed_dict)  # compiles, and plans
        session.run(fetches, feed_dict)
    times = [[] for _ in sessions]
    for _ in range(repeat):
        for session, taken in zip(sessions, times, strict=True):
            start = time.perf_counter()
            session.run(fetches, feed_dict)
            taken.append(time.perf_counter() - start)
    whole = programs[-1]
    return [
        Gain(
            name,
            len(program.nodes),
            program.planned or whole.unplanned,
            statistics.median(taken),
            statistics.median(t / first for t, first in zip(taken, times[0], strict=True)),
        )
        for name, program, taken in zip(("none", *names), programs, times, strict=True)
    ]
