"""Layer 2, Kernel: implementations. One file per algorithm, read from top to bottom as a ladder of rungs."""
