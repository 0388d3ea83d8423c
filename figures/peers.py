"""What cells printed where the libraries they need are installed: recorded there, shown where they are not.

    if find_spec("torch"):
        …
        print("largest difference", …)
    else:
        print(peers.recorded("our convolution in PyTorch", "torch"))

`python -m figures.peers` runs those pages here, with the libraries, and records anew what such cells print,
into figures/records/peers.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path

from minidl.instruments.stopwatch import provenance

RECORD = "peers.json"
NAMES = {"torch": "PyTorch", "jax": "JAX", "keras": "Keras", "onnx": "ONNX", "onnxruntime": "ONNX Runtime"}
CALL = re.compile(r'peers\.recorded\(\s*"([^"]+)"((?:,\s*"\w+")+)')
METHOD = "the output of the page's cell, as it was printed"


def recorded(name: str, *packages: str) -> str:
    """Return what is missing here, where and when the cell was recorded, and below it what it printed there.

    Parameters
    ----------
    name : str
        Of the cell, no two alike in the book.
    *packages : str
        What the cell needs; those that are missing here are named, and the versions that were recorded.

    Raises
    ------
    KeyError
        If there is no record of that name.
    """
    record = json.loads(resources.files("figures").joinpath("records", RECORD).read_text("utf-8"))
    if name not in record["printed"]:
        raise KeyError(f"no cell was recorded as {name!r}, only {', '.join(map(repr, record['printed']))}")
    about = record["about"]
    missing = [NAMES.get(package, package) for package in packages if find_spec(package) is None]
    used = [f"{NAMES.get(package, package)} {about['versions'][package]}" for package in packages]
    verb = "is" if len(missing) == 1 else "are"
    here = f"{' and '.join(missing)} {verb} not installed here; r" if missing else "R"
    head = (
        f"{here}ecorded with {' and '.join(used)} on {about['devices']['cpu']}, {about['cores']} cores, "
        f"{about['date']}:"
    )
    return f"{head}\n{record['printed'][name].rstrip()}"


def cells(folder: Path) -> Iterator[tuple[Path, str, str, list[str]]]:
    """Yield (notebook, the cell's id, name, packages) of every cell in a folder that shows a record."""
    for path in sorted(folder.rglob("*.ipynb")):
        if any(part.startswith((".", "_")) for part in path.relative_to(folder).parts):
            continue
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            for name, packages in CALL.findall("".join(cell["source"])):
                yield path, cell["id"], name, re.findall(r"\w+", packages)


def make(folder: Path) -> dict:
    """Run a folder's pages with the libraries, and return the record, which JSON can hold.

    Raises
    ------
    ImportError
        If a library is missing.
    ValueError
        If two cells have one name, or one prints nothing.
    """
    import nbformat
    from nbclient import NotebookClient

    found = list(cells(folder))
    names = [name for _, _, name, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two cells are called {name!r}")
    packages = sorted({package for *_, needed in found for package in needed})
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ImportError(f"to be recorded, the pages need {', '.join(missing)}: see requirements-peers.txt")
    printed = {}
    for path in dict.fromkeys(path for path, *_ in found):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": path.parent}}).execute()
        outputs = {cell.id: cell.get("outputs", ()) for cell in notebook.cells}
        for where, cell, name, _ in found:
            if where == path:
                printed[name] = "".join(o.text for o in outputs[cell] if o.get("name") == "stdout")
                if not printed[name].strip():
                    raise ValueError(f"{name!r} printed nothing")
    about = {key: value for key, value in provenance().items() if key not in ("limits", "commit")}
    about["versions"] |= {package: metadata.version(package) for package in packages}
    about["method"] = METHOD
    return {"about": about, "printed": {name: printed[name] for name in names}}


if __name__ == "__main__":
    root = Path(__file__).resolve().parent
    record = make(root.parent / "book")
    file = root / "records" / RECORD
    file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(file)
