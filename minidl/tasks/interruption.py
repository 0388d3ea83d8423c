"""Ctrl-C, politely: what is under way is finished first, so that it leaves everything in order."""

from __future__ import annotations

import contextlib
import signal
import threading


@contextlib.contextmanager
def interruptions():
    """Give a list that is not empty once Ctrl-C was pressed; pressed again, it interrupts at once, as ever.

    Where one is inside another, a search that trains, both hear of it. Only the main thread hears of Ctrl-C:
    in any other the list stays empty.
    """
    pressed = []
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number, frame):
        pressed.append(True)
        signal.signal(signal.SIGINT, before)
        if getattr(before, "is_note", False):
            before(number, frame)

    note.is_note = True
    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        if not (pressed and getattr(before, "is_note", False)):  # the outer one has set back its own
            signal.signal(signal.SIGINT, before)
