"""What `launch.run` starts on every rank: read the job, do it, write down the result or the error."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from pathlib import Path


def main(folder):
    """Do the job that lies in a folder."""
    from mpi4py import MPI

    rank = MPI.COMM_WORLD.rank
    (folder / f"pid-{rank}").write_text(str(os.getpid()))
    try:
        function, args, kwargs = pickle.loads((folder / "job").read_bytes())
        result = pickle.dumps(function(*args, **kwargs))
    except BaseException:
        (folder / f"error-{rank}").write_text(traceback.format_exc(), "utf-8")
        MPI.COMM_WORLD.Abort(1)
    (folder / f"result-{rank}").write_bytes(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
