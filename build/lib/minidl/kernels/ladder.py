"""A ladder is one algorithm implemented several times, each rung with the lesson that took us up to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Rung:
    """One implementation of an algorithm.

    Attributes
    ----------
    name : str
        Short and unique on its ladder, for instance "numba tiled".
    device : {"cpu", "cuda"}
    callable : callable
        Host function; every rung of a ladder takes the same arguments and returns the same values.
    lesson : str
        The one sentence to remember about this rung.
    bytes : callable
        `bytes(*shape, itemsize=4)`: bytes this rung moves through main (global) memory, by its own account.
    flops : callable
        `flops(*shape)`: floating-point operations this rung does, by its own account.
    kernel : callable, optional
        CUDA rungs: the `@cuda.jit` function, which the tracer and the PTX reader take.
    pure_numba : bool
        Whether it is compiled by numba alone and calls no BLAS.
    """

    name: str
    device: str
    callable: Callable
    lesson: str
    bytes: Callable[..., int]
    flops: Callable[..., int]
    kernel: Callable | None = None
    pure_numba: bool = False

    def __call__(self, *args, **kwargs):
        """Run it: the same as `rung.callable(...)`."""
        return self.callable(*args, **kwargs)


@dataclass(frozen=True)
class Ladder:
    """An algorithm's rungs, from the one that is easiest to read to the fastest.

    Attributes
    ----------
    name : str
        The algorithm.
    rungs : tuple of Rung
        The first is the reference: the specification in NumPy that all others are tested against.
    shape : callable
        `shape(*args) -> tuple`: from a rung's arguments to the sizes that `Rung.bytes` and `Rung.flops` take.
    example : callable, optional
        `example(size) -> args`: typical arguments, float32, whose largest array has about `size` elements.
    """

    name: str
    rungs: tuple[Rung, ...]
    shape: Callable[..., tuple]
    example: Callable[[int], tuple] | None = None

    def __post_init__(self):
        names = self.names
        if len(set(names)) != len(names):
            raise ValueError(f"rungs of {self.name!r} must have different names, got {names}")

    @property
    def names(self) -> list[str]:
        """Rung names, from the bottom up."""
        return [rung.name for rung in self.rungs]

    @property
    def reference(self) -> Rung:
        """The specification, in NumPy."""
        return self.rungs[0]

    def on(self, device: str) -> list[Rung]:
        """The rungs for one device, "cpu" or "cuda"."""
        return [rung for rung in self.rungs if rung.device == device]

    def __getitem__(self, key: str | int) -> Rung:
        if isinstance(key, int):
            return self.rungs[key]
        for rung in self.rungs:
            if rung.name == key:
                return rung
        raise KeyError(f"{self.name} has no rung {key!r}; its rungs are {', '.join(self.names)}")

    def __iter__(self) -> Iterator[Rung]:
        return iter(self.rungs)

    def __len__(self) -> int:
        return len(self.rungs)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(rung.name)}</td><td>{rung.device}</td><td>{escape(rung.lesson)}</td></tr>"
            for rung in self.rungs
        )
        head = "<tr><th>rung</th><th>device</th><th>lesson</th></tr>"
        return f'<table class="osi-table"><thead>{head}</thead><tbody>{rows}</tbody></table>'
