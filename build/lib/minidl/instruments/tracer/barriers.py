"""Where threads wait for each other: the barriers of a block, and the shuffles, votes and barriers of a warp.

Both functions are called when nobody in the group can run any more. They answer those who wait, so that they
go on, and report who should have been there and was not.
"""

from __future__ import annotations

from minidl.instruments.tracer.intrinsics import FULL_MASK
from minidl.instruments.tracer.syntax import WARP
from minidl.instruments.tracer.values import undefined

WARP_EPOCH_BITS = 20  # an epoch counts the barriers of the block; its low bits those of the warp alone


def settle_block(block, launch) -> list:
    """Let the threads of a block pass a barrier; returns them, none if all have finished.

    All threads must wait at one barrier in the source. A thread that has returned is missing.
    """
    waiting = [thread for thread in block.threads if thread.request]
    gone = [thread.number for thread in block.threads if thread.finished and not thread.raised]
    by_site: dict[int, list] = {}
    for thread in waiting:
        by_site.setdefault(thread.request[1], []).append(thread)
    for site, here in by_site.items():
        elsewhere = [thread.number for thread in waiting if thread.request[1] != site]
        if gone or elsewhere:
            lines = {launch.program.site(other).line for other in by_site if other != site}
            detail = (len(here), len(gone), len(elsewhere), tuple(sorted(lines)), "cuda.syncthreads()")
            launch.memory.problem("divergent-barrier", "", None, site, sorted(gone + elsewhere), detail)
    block.epoch += bool(waiting)
    votes = [bool(thread.request[4]) for thread in waiting if len(thread.request) > 4]
    answers = {
        "syncthreads": None,
        "syncthreads_count": sum(votes),
        "syncthreads_and": int(all(votes)),
        "syncthreads_or": int(any(votes)),
    }
    for thread in waiting:
        thread.answer, thread.request = answers[thread.request[3]], None
        thread.epoch = block.epoch << WARP_EPOCH_BITS
    return waiting


def settle_warp(warp, launch) -> list:
    """Answer the lanes that wait in a warp operation; returns them.

    Lanes belong together if they wait at one place in the source, with one mask. Lanes of the mask that have
    returned need not be there; lanes that wait elsewhere are missing.
    """
    groups: dict[tuple, list] = {}
    for thread in warp.threads:
        if thread.request and thread.request[0] == WARP:
            groups.setdefault(thread.request[1:2] + thread.request[3:5][: _arity(thread)], []).append(thread)
    if not groups:
        return []
    alive = [thread for thread in warp.threads if not thread.finished]
    missing = {}
    for key, lanes in groups.items():
        mask = FULL_MASK if len(key) == 2 else int(key[2]) & FULL_MASK
        named = [thread for thread in alive if mask >> thread.laneid & 1]
        missing[key] = [] if key[1] == "activemask" else [thread for thread in named if thread not in lanes]
    ready = [key for key in groups if not missing[key]] or list(groups)
    released = []
    for key in ready:
        if missing[key]:
            numbers = [thread.number for thread in missing[key]]
            detail = (len(groups[key]), 0, len(numbers), (), f"cuda.{key[1]}()")
            launch.memory.problem("divergent-barrier", "", None, key[0], numbers, detail)
        _answer(groups[key], warp, launch.memory)
        released += groups[key]
    for thread in released:
        thread.request = None
    return released


def _arity(thread):
    """How many of (name, mask) tell groups of lanes apart."""
    return 1 if thread.request[3] == "activemask" else 2


def _answer(lanes, warp, memory):
    """Work out what a warp operation gives each of its lanes."""
    name = lanes[0].request[3]
    operands = {thread.laneid: thread.request[5:] for thread in lanes}
    first = {lane: given[0] for lane, given in operands.items() if given}
    if name == "syncwarp":
        epoch = max(thread.epoch for thread in lanes) + 1
        for thread in lanes:
            thread.epoch = epoch
    elif name.startswith("shfl"):
        for thread in lanes:
            thread.answer = _shuffle(name, thread, operands, warp, memory)
    elif name.startswith("match"):
        for lane, thread in zip(first, lanes, strict=True):
            same = sum(1 << other for other, value in first.items() if value == first[lane])
            everybody = len(set(first.values())) == 1
            thread.answer = same if name == "match_any_sync" else (same if everybody else 0, everybody)
    else:
        votes = {lane: bool(value) for lane, value in first.items()}
        ballot = sum(1 << lane for lane, vote in votes.items() if vote)
        answer = {
            "activemask": sum(1 << thread.laneid for thread in lanes),
            "ballot_sync": ballot,
            "all_sync": all(votes.values()),
            "any_sync": any(votes.values()),
            "eq_sync": len(set(votes.values())) == 1,
        }[name]
        for thread in lanes:
            thread.answer = answer


def _shuffle(name, thread, operands, warp, memory):
    """The value of another lane; that of a lane which takes no part is undefined, and hurts if it is used."""
    own, by = operands[thread.laneid]
    lane = int(by)
    if name == "shfl_sync":
        source = lane % 32
    elif name == "shfl_xor_sync":
        source = thread.laneid ^ lane
    else:
        source = thread.laneid + (lane if name == "shfl_down_sync" else -lane)
    if not 0 <= source < 32:
        return own
    if source in operands:
        return operands[source][0]
    site, number = thread.request[1], thread.number
    return undefined(
        own, lambda: memory.problem("uninitialised-read", "", None, site, [number], (f"lane {source}", name))
    )
