"""minidl is the OSI model of neural networks in code: seven packages, each resting on the one below.

    tasks → models → layers → graph → ops → kernels → hardware

Imports go down this list only. `minidl.instruments` stands beside the stack and measures it.
"""

__version__ = "0.1.0"
