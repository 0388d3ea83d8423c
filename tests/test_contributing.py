"""The examples of CONTRIBUTING.md do what it says of them."""

import re

import numpy as np
import pytest

from book import build
from minidl.instruments.ptx import compile_kernel
from minidl.instruments.stopwatch import compare
from minidl.instruments.tracer import TracedGpu
from minidl.instruments.widgets import picture

TEXT = (build.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def example(heading, tmp_path, monkeypatch, language="python"):
    """Import the first code block under a heading, as the file that the text would have it be."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    source = re.search(rf"^```{language}\n(.*?)^```", section, re.M | re.S)[1]
    name = heading.rpartition(" ")[2] + "_of_contributing"
    (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return __import__(name)


def test_add_a_kernel(tmp_path, monkeypatch):
    root = example("Add a kernel", tmp_path, monkeypatch)
    x = np.random.default_rng(0).random(257, dtype=np.float32)
    machine = TracedGpu()
    np.testing.assert_allclose(root.root_cuda(x, machine=machine), np.sqrt(x), rtol=1e-6)
    assert machine.traces[0].findings == []
    assert compile_kernel(root.root_naive_kernel, x, x).counts()["f64"] == 0
    assert compare(root.LADDER, {"few": root.LADDER.example(100)}, repeat=3).workloads == ["few"]
    assert (root.LADDER["cuda naive"].bytes(100), root.LADDER["cuda naive"].flops(100)) == (800, 100)


def test_add_a_figure(tmp_path, monkeypatch):
    figure = example("Add a figure", tmp_path, monkeypatch).draw([1, 3, 2])
    assert picture(figure).alt == "Bars of 3 numbers; number 2 is the largest."


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:\w+/)+[\w.]+\.py|_toc\.yml)`|\]\(([\w./-]+)\)", TEXT)))
)
def test_the_files_it_names_exist(path):
    named = path[0] or path[1]
    assert (
        named in ("minidl/kernels/root.py", "tests/kernels/test_root.py") or (build.ROOT / named).exists()
    ), named
