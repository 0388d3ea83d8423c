"""How many blocks of a kernel fit on one multiprocessor of a GPU at the same time."""

from __future__ import annotations

from dataclasses import dataclass

#: What one streaming multiprocessor holds, by compute capability: (warps, blocks, bytes of shared memory,
#: bytes of shared memory reserved per block, granularity of shared memory). Registers: 65,536 on all of them.
#: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
SM_LIMITS = {
    (7, 0): (64, 32, 96 * 1024, 0, 256),
    (7, 5): (32, 16, 64 * 1024, 0, 256),
    (8, 0): (64, 32, 164 * 1024, 1024, 128),
    (8, 6): (48, 16, 100 * 1024, 1024, 128),
    (8, 9): (48, 24, 100 * 1024, 1024, 128),
    (9, 0): (64, 32, 228 * 1024, 1024, 128),
}
SM_REGISTERS, REGISTER_UNIT, WARP_UNIT = 65536, 256, 4


@dataclass(frozen=True)
class Occupancy:
    """How full one kernel keeps a multiprocessor.

    Attributes
    ----------
    blocks, warps : int
        Resident at the same time on one multiprocessor.
    share : float
        Of the warps that the multiprocessor could hold, from 0 to 1.
    limit : str
        What keeps more blocks out: "warps", "blocks", "registers" or "shared memory".
    """

    blocks: int
    warps: int
    share: float
    limit: str


def occupancy(block: int, registers: int, shared: int, cc=(7, 5)) -> Occupancy:
    """Return how many blocks fit on one multiprocessor of a GPU.

    Parameters
    ----------
    block : int
        Threads per block.
    registers : int
        Registers per thread.
    shared : int
        Bytes of shared memory per block.
    cc : tuple of int
        Compute capability, one of `SM_LIMITS`.

    Raises
    ------
    ValueError
        If a number is outside what any GPU allows, or `cc` is not known.
    """
    if cc not in SM_LIMITS:
        raise ValueError(f"cc must be one of {', '.join(map(str, SM_LIMITS))}, got {cc}")
    for name, value, low, high in (("block", block, 1, 1024), ("registers", registers, 0, 255)):
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, got {value}")
    if shared < 0:
        raise ValueError(f"shared must not be negative, got {shared}")
    most_warps, most_blocks, most_shared, reserved, unit = SM_LIMITS[cc]
    warps = -(-block // 32)
    room = {"warps": most_warps // warps, "blocks": most_blocks}
    per_warp = -(-registers * 32 // REGISTER_UNIT) * REGISTER_UNIT
    fitting = SM_REGISTERS // max(per_warp, 1) // WARP_UNIT * WARP_UNIT
    room["registers"] = fitting // warps if registers else most_blocks
    bytes_ = -(-(shared + reserved) // unit) * unit
    room["shared memory"] = most_shared // bytes_ if shared else most_blocks
    limit = min(room, key=room.get)
    blocks = room[limit]
    return Occupancy(blocks, blocks * warps, blocks * warps / most_warps, limit)
