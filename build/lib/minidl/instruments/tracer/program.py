"""A kernel and the device functions it calls, rewritten and ready to be started once per thread."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass

import numpy as np

from minidl.instruments.tracer.arrays import CONSTANT, Array, UnsupportedKernel
from minidl.instruments.tracer.memory import SITE
from minidl.instruments.tracer.rewrite import Rewriter
from minidl.instruments.tracer.syntax import SYMBOLS
from minidl.instruments.tracer.values import number


@dataclass(frozen=True)
class Site:
    """A place in the source that does something."""

    line: int
    column: int
    what: str  # read, write, atomic, barrier, warp, shared, local, call, loop, arithmetic
    text: str  # the array's source, the function's name, the operator
    function: str


class Program:
    """A kernel as a generator function.

    Parameters
    ----------
    kernel : `@cuda.jit` function
    arithmetic : Arithmetic
        What `+` and `math.exp` mean.
    without_barriers : collection of int
        Lines whose barriers are left out.

    Attributes
    ----------
    function : function
        The kernel as it was written.
    sites : list of Site
        Row 0 stands for nothing.
    dynamic_shapes : list of (site, source)
        Shared and local arrays whose shape is no compile-time constant.
    source : dict of int to str
        Line number → text, of the kernel and its device functions.
    """

    def __init__(self, kernel, arithmetic, without_barriers=()):
        self.arithmetic = arithmetic
        self.without_barriers = frozenset(without_barriers)
        self.sites = [Site(0, 0, "", "", "")]
        self.dynamic_shapes: list[tuple[int, str]] = []
        self.source: dict[int, str] = {}
        self._paths: dict[tuple[int, int], int] = {}
        self._constants: dict[int, tuple[str, object]] = {}
        self._names: dict = {}
        self._scope = {"_path_of_": self._path, "_call_": _call, "_slice_": slice}
        for node, symbol in SYMBOLS.items():
            self._scope[f"_{node.__name__}_"] = arithmetic.operator(symbol)
        self.function = kernel_function(kernel)
        self.file = inspect.getsourcefile(self.function) or self.function.__code__.co_filename
        self._entry = self._scope[self.add_function(self.function, is_kernel=True)]

    def start(self, thread, *args):
        """Return the generator that is one thread."""
        return self._entry(thread, 0, 0, *args)

    def site(self, code: int) -> Site:
        """Return the site of a request, whatever path of calls led to it."""
        return self.sites[code & SITE]

    # -- what the rewriter asks for --------------------------------------------------------------------------

    def add_function(self, function, is_kernel=False) -> str:
        """Rewrite a function, unless it has been, and return the name it has in rewritten source."""
        if function in self._names:
            return self._names[function]
        name = self._names[function] = f"_function_{len(self._names)}_{function.__name__}"
        node, lines = source_of(function)
        self.source = {**lines, **self.source}  # where another file has the same line numbers, ours win
        module = ast.Module([Rewriter(self, function, node, is_kernel).rewrite(name)], [])
        exec(compile(module, function.__code__.co_filename, "exec"), self._scope)
        self._scope[name].__defaults__ = tuple(map(number, function.__defaults__ or ()))
        return name

    def add_site(self, node, what, text, function) -> int:
        """Add a row to the table of sites."""
        if len(self.sites) > SITE:
            raise UnsupportedKernel(f"a kernel with more than {SITE:,} accesses in its source")
        self.sites.append(Site(node.lineno, node.col_offset, what, text, function))
        return len(self.sites) - 1

    def constant(self, value) -> str:
        """Return the name that stands for a constant in rewritten source."""
        if id(value) not in self._constants:
            name = f"_constant_{len(self._constants)}_"
            self._constants[id(value)] = name, value  # keeps it alive, and with it its id
            self._scope[name] = _constant_array(value) if isinstance(value, np.ndarray) else value
        return self._constants[id(value)][0]

    def _path(self, path, site):
        """Return the call path one call further."""
        return self._paths.setdefault((path, site), (len(self._paths) + 1) << SITE.bit_length())


def _call(thread, path, trip, function, *args, **kwargs):
    """Call what is only known at run time: a function inside the kernel, or one passed as an argument."""
    if inspect.isgeneratorfunction(function):
        return (yield from function(thread, path, trip, *args, **kwargs))
    return number(function(*args, **kwargs))


def _constant_array(values):
    values = values.copy()
    values.flags.writeable = False
    return Array(values, "a constant array", CONSTANT)


def kernel_function(kernel):
    """Return the Python function of a `@cuda.jit` kernel; TypeError if it is none."""
    function = getattr(kernel, "py_func", None) or getattr(kernel, "fn", None)  # the simulator calls it fn
    options = getattr(kernel, "targetoptions", None) or {}
    if not inspect.isfunction(function):
        got = getattr(kernel, "__name__", None) or f"{kernel!r:.40}"
        hint = "; decorate it with @cuda.jit" if inspect.isfunction(kernel) else ""
        raise TypeError(f"kernel must be a @cuda.jit function, got {got} ({type(kernel).__name__}){hint}")
    if options.get("device") or getattr(kernel, "_device", False):
        raise TypeError(f"kernel must be a kernel, got the device function {function.__name__}")
    return function


def source_of(function) -> tuple[ast.FunctionDef, dict[int, str]]:
    """Return a function's syntax, with the line numbers of its file, and its numbered source lines."""
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        raise UnsupportedKernel(
            f"{function.__name__}, whose source cannot be found: define it in a file or in a notebook cell"
        ) from None
    text, first = "".join(lines), max(first, 1)
    indented = text[:1].isspace()
    try:
        tree = ast.parse("if True:\n" + text if indented else text)
    except SyntaxError:  # a lambda comes with whatever stands around it
        tree = ast.parse("if True: pass")
    ast.increment_lineno(tree, first - 1 - indented)
    node = tree.body[0].body[0] if indented else tree.body[0]
    if not isinstance(node, ast.FunctionDef):
        raise UnsupportedKernel(f"{function.__name__}, which is not written as a def")
    return node, {first + i: line.rstrip("\n") for i, line in enumerate(lines)}
