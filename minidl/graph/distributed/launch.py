"""Start a function on several processes from a running program, such as a notebook, and get the results."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from minidl.graph.distributed.world import ADVICE, MpiUnavailable
from minidl.kernels.arguments import check_integer


class JobFailed(RuntimeError):
    """Raised when a rank has failed, was killed, or took too long; the message says which and why."""


def mpiexec():
    """Return the path of MPI's starter, the one beside this Python first, or None."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def available():
    """Whether several processes can be started here: mpi4py is installed, and so is `mpiexec`."""
    return find_spec("mpi4py") is not None and mpiexec() is not None


def command(ranks, *program):
    """Return the command line that starts this Python on so many ranks."""
    if not available():
        raise MpiUnavailable(ADVICE)
    return [mpiexec(), "-n", str(check_integer("ranks", ranks, 1)), sys.executable, *map(str, program)]


def run(function, ranks, /, *args, timeout=120.0, threads=1, **kwargs):
    """Call a function on `ranks` new processes at once, and return the list of their results.

    Parameters
    ----------
    function : callable
        function(*args, **kwargs), called on every rank; `World()` tells it which one it is. It may be defined
        in a notebook if `cloudpickle` is installed (it comes with ipyparallel), or else in a module.
    ranks : int
    args, kwargs
        The same for all; anything that can be pickled.
    timeout : float
        Seconds after which the job is ended.
    threads : int
        How many threads each rank may use.

    Returns
    -------
    list
        What each rank has returned, by rank.

    Raises
    ------
    MpiUnavailable
        If MPI is not installed here.
    JobFailed
        If a rank raised an error, was killed, or the time is over; no process is left behind.
    """
    if not callable(function):
        raise TypeError(f"function must be callable, got {function!r}")
    program = command(ranks, "-m", "minidl.graph.distributed.worker")
    threads = str(check_integer("threads", threads, 1))
    with tempfile.TemporaryDirectory(prefix="minidl-") as folder:
        folder = Path(folder)
        (folder / "job").write_bytes(_pickled((function, args, kwargs)))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            environment[name] = threads
        log = folder / "log"
        with open(log, "wb") as output:
            job = subprocess.Popen(
                [*program, str(folder)], stdout=output, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, env=environment, start_new_session=True,
            )  # fmt: skip
            try:
                code = job.wait(timeout)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                end(job)
        said = log.read_text("utf-8", "replace")
        if code is None:
            raise JobFailed(f"the {ranks} ranks were not done after {timeout:g} s and were ended.\n{said}")
        if code != 0:
            raise JobFailed(_why(folder, ranks, code, said))
        if said:
            print(said, end="")
        return [pickle.loads((folder / f"result-{rank}").read_bytes()) for rank in range(ranks)]


def end(job):
    """End a starter and all ranks it has started: politely, and three seconds later by force."""
    if job.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(job.pid, number)
        except ProcessLookupError:
            break
        try:
            job.wait(3)
            break
        except subprocess.TimeoutExpired:
            continue


def _pickled(job):
    try:
        import cloudpickle
    except ImportError:
        cloudpickle = pickle
    try:
        return cloudpickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"the function and its arguments must be such that pickle can send them: {error}; "
            "one that is defined in a notebook needs `pip install cloudpickle`"
        ) from None


def _why(folder, ranks, code, said):
    """Say which rank ended the job, and how."""
    errors = {rank: folder / f"error-{rank}" for rank in range(ranks) if (folder / f"error-{rank}").exists()}
    if errors:
        rank = min(errors, key=lambda rank: errors[rank].stat().st_mtime_ns)
        return f"rank {rank} of {ranks} failed, so the job ended.\n{errors[rank].read_text('utf-8')}"
    killed = re.search(r"PID (\d+) RUNNING", said)
    how = re.search(r"EXIT STRING: (.*)", said)
    for rank in range(ranks):
        pid = folder / f"pid-{rank}"
        if killed and pid.exists() and pid.read_text() == killed[1]:
            return f"rank {rank} of {ranks} ended the job: {how[1] if how else f'exit code {code}'}."
    return f"the job of {ranks} ranks ended with exit code {code}.\n{said}"
