"""Reads what a kernel became: its PTX, line by line beside the Python, and the registers it needs. No GPU
needed.

PTX is the assembly language of NVIDIA's virtual machine. numba compiles a kernel to it anywhere; `ptxas`,
which turns PTX into a real GPU's instructions, tells how many registers and how much memory that takes.
"""

from __future__ import annotations

import html
import importlib.util
import inspect
import linecache
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import numba
from numba.core import types

from minidl.hardware.cuda import cuda
from minidl.instruments.occupancy import Occupancy, occupancy
from minidl.instruments.tracer.program import kernel_function

#: Instructions that are named beside each source line.
SHOWN = ("ld.global", "st.global", "ld.shared", "st.shared", "atom", "fma", "bar.sync", "f64")


@dataclass(frozen=True)
class Ptx:
    """A compiled kernel.

    Attributes
    ----------
    kernel : str
    cc : tuple of int
        Compute capability it was compiled for: (7, 5) is a T4, (9, 0) an H100.
    text : str
        The PTX.
    file : str
        The kernel's source file.
    source : dict of int to str
        Line number → text, of the kernel and of whatever else in its file became instructions.
    max_registers : int or None
        What `@cuda.jit(max_registers=…)` allows.
    """

    kernel: str
    cc: tuple[int, int]
    text: str = field(repr=False)
    file: str
    source: dict[int, str] = field(repr=False)
    max_registers: int | None = None

    @cached_property
    def instructions(self) -> tuple[tuple[int, str], ...]:
        """Every instruction as (line in `file`, text), in order; line 0 for what comes from elsewhere."""
        own = {
            n
            for n, name in re.findall(r'^\s*\.file\s+(\d+)\s+"([^"]+)"', self.text, re.M)
            if name == self.file
        }
        found, line, inside = [], 0, False
        for text in self.text.splitlines():
            text = text.strip()
            location = re.match(r"\.loc\s+(\d+)\s+(\d+)", text)
            if re.match(r"(\.\w+\s+)*\.(entry|func)\b", text):
                inside, line = True, 0
            elif location:
                line = int(location[2]) if location[1] in own else 0
            elif inside and re.match(r"(@!?%p\d+\s+)?[a-z][\w.:]*(\s.*)?;", text):
                text = re.sub(r"\w+_param_(\d+)", r"param_\1", text)
                found.append((line, " ".join(text.rstrip(";").split())))
        return tuple(found)

    def counts(self) -> Counter:
        """Count the instructions in the text; the body of a loop counts once, however often it runs.

        Returns
        -------
        Counter
            Under their full names ("ld.global.f32") and every beginning of those ("ld.global", "ld"); under
            "f64" what computes in double precision, conversions included; and under "all".
        """
        return _count(text for _, text in self.instructions)

    def lines(self) -> dict[int, list[str]]:
        """Return the instructions that each source line became."""
        by_line: dict[int, list[str]] = {}
        for line, text in self.instructions:
            by_line.setdefault(line, []).append(text)
        return dict(sorted(by_line.items()))

    def beside(self) -> str:
        """Return the source, each line followed by its instructions."""
        by_line, rows = self.lines(), []
        for line, text in sorted(self.source.items()):
            rows.append(f"{line:5d}  {text}")
            rows += [f"{'':7}    │ {instruction}" for instruction in by_line.get(line, ())]
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        by_line, rows = self.lines(), []
        for line, text in sorted(self.source.items()):
            counts = _count(by_line.get(line, ()))
            said = ", ".join(f"{counts[name]} {name}" for name in SHOWN if counts[name])
            code = "<br>".join(map(html.escape, by_line.get(line, ())))
            folded = f"<details><summary>{counts['all']} instructions</summary><code>{code}</code></details>"
            cells = (
                str(line),
                f"<code>{html.escape(text)}</code>",
                html.escape(said),
                folded if code else "",
            )
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        needs = f"{self.registers} registers, {self.spills} bytes spilled" if self.registers else self.reason
        needs += f", {self.shared} bytes of shared memory"
        title = f"{self.kernel} for compute capability {self.cc[0]}.{self.cc[1]}: {needs}"
        return (
            f"<table class='osi-ptx'><caption>{html.escape(title)}</caption>"
            "<tr><th>line</th><th>Python</th><th>among them</th><th>PTX</th></tr>"
            f"{''.join(rows)}</table>"
        )

    # -- what the GPU needs for it ---------------------------------------------------------------------------

    @property
    def shared(self) -> int:
        """Bytes of static shared memory per block."""
        return sum(int(size) for size in re.findall(r"^\s*(?:\.\w+ )*\.shared .*\[(\d+)\];", self.text, re.M))

    @cached_property
    def _assembled(self):
        return _assemble(self.text, self.cc, self.max_registers)

    @property
    def registers(self) -> int | None:
        """Registers per thread; None without `ptxas`."""
        return self._assembled[0]

    @property
    def spills(self) -> int | None:
        """Bytes of registers spilled to memory, stores and loads; None without `ptxas`."""
        return self._assembled[1]

    @property
    def reason(self) -> str:
        """Why `registers` and `spills` are None; "" if they are known."""
        return self._assembled[2]

    def occupancy(self, block: int, shared: int = 0) -> Occupancy:
        """Return how many blocks of `block` threads fit on one multiprocessor.

        Parameters
        ----------
        block : int
            Threads per block.
        shared : int
            Bytes of dynamic shared memory per block, beside the static ones.

        Raises
        ------
        ValueError
            If the registers are not known (no `ptxas`).
        """
        if self.registers is None:
            raise ValueError(f"the registers of {self.kernel} are not known: {self.reason}")
        return occupancy(block, self.registers, self.shared + shared, self.cc)


def compile_kernel(kernel, *args, cc=(7, 5)) -> Ptx:
    """Compile a `@cuda.jit` kernel to PTX, on any machine.

    Parameters
    ----------
    kernel : `@cuda.jit` function
    *args
        What it would be launched with, as examples: arrays, numbers, tuples. numba types (`float32[::1]`)
        do too.
    cc : tuple of int
        Compute capability: (7, 5) for a T4, (9, 0) for an H100 or H200.

    Returns
    -------
    Ptx

    Raises
    ------
    TypeError
        If `kernel` is no kernel or an argument has no type that numba knows.
    CompileError
        If the kernel does not compile; the message is numba's, shortened.
    CompilerUnavailable
        If there is no compiler here.

    Examples
    --------
    >>> compile_kernel(kernel, out, a, np.int32(3)).registers  # doctest: +SKIP
    16
    """
    function = kernel_function(kernel)
    if not hasattr(cuda, "compile_ptx"):
        raise CompileError(
            "numba's CUDA simulator is switched on (NUMBA_ENABLE_CUDASIM), and it has no compiler"
        )
    if not (isinstance(cc, tuple) and len(cc) == 2 and all(isinstance(part, int) for part in cc)):
        raise TypeError(f"cc must be a pair of integers such as (7, 5), got {cc!r}")
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    if not len(names) - len(function.__defaults__ or ()) <= len(args) <= len(names):
        raise TypeError(
            f"{function.__name__} takes {len(names)} arguments ({', '.join(names)}), got {len(args)}"
        )
    signature = tuple(_type_of(name, value) for name, value in zip(names, args, strict=False))
    options = getattr(kernel, "targetoptions", None) or {}
    with _pretend_device(cc):
        try:
            fast = bool(options.get("fastmath"))
            text, _ = cuda.compile_ptx(function, signature, cc=cc, lineinfo=True, fastmath=fast)
        except Exception as error:
            if _lacks_compiler(error):
                raise CompilerUnavailable(
                    f"NVIDIA's compiler NVVM was not found: pip install 'numba-cuda[cu12]' ({_short(error)})"
                ) from error
            raise CompileError(f"{function.__name__} does not compile: {_short(error)}") from error
    file = function.__code__.co_filename
    lines, first = inspect.getsourcelines(function)
    ptx = Ptx(function.__name__, cc, text, file, {}, options.get("max_registers"))
    wanted = {*range(first, first + len(lines)), *ptx.lines()} - {0}
    ptx.source.update((line, linecache.getline(file, line).rstrip("\n")) for line in sorted(wanted))
    return ptx


class CompileError(ValueError):
    """Raised when a kernel does not compile for the GPU."""


class CompilerUnavailable(RuntimeError):
    """Raised where numba has no CUDA compiler; the message says what to install."""


# -- compiling without a GPU ---------------------------------------------------------------------------------


def _type_of(name, value):
    """Return the numba type of an example argument."""
    if isinstance(value, types.Type):
        return value
    try:
        return numba.typeof(value)
    except ValueError:
        raise TypeError(f"{name} has no numba type: {type(value).__name__} {value!r:.40}") from None


@contextmanager
def _pretend_device(cc):
    """While a kernel compiles: device functions ask the current device for its capability; answer for it.

    They also keep what they compiled; what they compile here is forgotten afterwards, because it is not
    meant for the GPU of this machine. They get line numbers, which by default only the kernel has.
    """
    from numba.cuda import dispatcher

    made = []
    ask, build = dispatcher.get_current_device, dispatcher.CUDADispatcher.compile_device

    def compile_device(self, args, *rest, **named):
        if args in self.overloads:
            return build(self, args, *rest, **named)
        before = self.targetoptions.get("lineinfo")
        self.targetoptions["lineinfo"] = True
        try:
            made.append((self, args))
            return build(self, args, *rest, **named)
        finally:
            self.targetoptions["lineinfo"] = before

    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=cc)
    dispatcher.CUDADispatcher.compile_device = compile_device
    try:
        yield
    finally:
        dispatcher.get_current_device, dispatcher.CUDADispatcher.compile_device = ask, build
        for function, args in made:
            function.overloads.pop(args, None)


def _lacks_compiler(error) -> bool:
    """Whether a compilation failed because a library of NVIDIA's is not there."""
    while error is not None:
        if isinstance(error, OSError) or type(error).__name__ in (
            "NvvmSupportError",
            "DynamicLibNotFoundError",
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _short(error) -> str:
    """The lines of a numba error that say what is wrong."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [
        line
        for line in lines
        if line and not line.startswith(("During", "Overload", "- Of which", ">>>", "^"))
    ]
    return " ".join(kept)[:400] or type(error).__name__


def _count(instructions) -> Counter:
    counts: Counter = Counter()
    for text in instructions:
        parts = re.sub(r"^@!?%p\d+ ", "", text).split()[0].split(".")
        for end in range(1, len(parts) + 1):
            counts[".".join(parts[:end])] += 1
        counts["all"] += 1
        counts["f64"] += "f64" in parts and parts[0] not in ("ld", "st", "mov")
    return counts


# -- ptxas ---------------------------------------------------------------------------------------------------


def find_ptxas() -> Path | None:
    """Return the path of `ptxas`, from the wheel nvidia-cuda-nvcc-cu12 or the system, or None."""
    try:
        wheel = importlib.util.find_spec("nvidia.cuda_nvcc")
    except ModuleNotFoundError:
        wheel = None
    for folder in wheel.submodule_search_locations if wheel else ():
        path = Path(folder, "bin", "ptxas")
        if path.exists():
            return path
    path = shutil.which("ptxas")
    return Path(path) if path else None


def _assemble(text, cc, most_registers):
    """Return (registers, spilled bytes, "") or (None, None, reason)."""
    ptxas = find_ptxas()
    if ptxas is None:
        return None, None, "ptxas was not found; it comes with `pip install nvidia-cuda-nvcc-cu12`"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.ptx")
        path.write_text(text)
        command = [
            str(ptxas),
            "-v",
            f"-arch=sm_{cc[0]}{cc[1]}",
            str(path),
            "-o",
            str(Path(folder, "kernel.cubin")),
        ]
        if most_registers:
            command.append(f"-maxrregcount={most_registers}")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, None, f"ptxas could not be run: {error}"
    said = done.stderr + done.stdout
    registers = re.findall(r"Used (\d+) registers", said)
    if done.returncode or not registers:
        return None, None, f"ptxas refused the PTX: {said.strip()[:300]}"
    spills = sum(int(number) for number in re.findall(r"(\d+) bytes spill (?:stores|loads)", said))
    return max(map(int, registers)), spills, ""
