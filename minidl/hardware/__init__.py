"""Layer 1, Hardware: the devices of this machine, their limits, and how to run something on them."""
