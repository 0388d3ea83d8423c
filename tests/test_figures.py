"""Every drawing can be drawn, says in words what it shows, and shows what it says."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import figures
from figures import doubling, halo, sliding_window, stack, threads_and_blocks
from minidl.instruments.style import LAYERS, to_svg

MODULES = sorted(
    module.name
    for module in pkgutil.iter_modules(figures.__path__)
    if hasattr(importlib.import_module(f"figures.{module.name}"), "draw")
)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "stack"])
def test_run_alone_a_module_writes_its_svg(name, tmp_path):
    subprocess.run([sys.executable, "-m", f"figures.{name}"], cwd=tmp_path, check=True, capture_output=True)
    text = (tmp_path / f"{name}.svg").read_text()
    assert text.startswith("<svg") and "--osi-ink: " in text


def test_sliding_window_does_the_arithmetic_it_shows():
    figure = sliding_window.draw([4, 2, 5, 6, 2, 4], 2, 2)
    assert "(5 + 6) / 2 = 5.5" in to_svg(figure)
    assert "(5 + 6) / 2 = 5.5" in figure.get_label()


def test_threads_beyond_the_end_have_nothing_to_do():
    assert "output 9" in threads_and_blocks.draw(10, 4, 2, 1).get_label()
    assert "nothing to do" in threads_and_blocks.draw(10, 4, 2, 2).get_label()


def test_halo_is_unknown_until_it_is_read():
    ten = [4, 2, 5, 6, 2, 4, 7, 1, 3, 5]
    assert "holds 4, 2, 5, 6, ?, ?" in halo.draw(ten, 3, 4, 0, 0).get_label()
    assert "holds 4, 2, 5, 6, 2, 4" in halo.draw(ten, 3, 4, 0, 1).get_label()


def test_doubling_adds_two_halves():
    assert ">17</text>" in to_svg(doubling.draw([4, 2, 5, 6], 2, 0))


class TestStack:
    def test_lights_its_own_floor_and_links_the_other_half(self):
        page = stack.draw(2, "down")._repr_html_()
        assert page.count('aria-current="page"') == 1
        assert 'href="../2_kernel/up.html"' in page and "2_kernel/down.html" not in page

    def test_front_page_links_from_its_own_folder(self):
        assert 'href="2_kernel/down.html"' in stack.draw()._repr_html_()

    def test_the_appendix_links_from_a_folder_beside_the_chapters(self):
        page = stack.draw(aside=True)._repr_html_()
        assert 'href="../2_kernel/down.html"' in page and "aria-current" not in page

    def test_colab_links_go_to_colab(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "google.colab", sys)
        assert "https://colab.research.google.com/github/" in stack.draw(2, "up")._repr_html_()

    def test_jupyter_links_go_to_the_notebooks_beside_this_one(self, monkeypatch):
        monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/book/2_kernel/up.ipynb")
        assert 'href="../2_kernel/down.ipynb"' in stack.draw(2, "up")._repr_html_()

    def test_links_say_where_they_lead(self):
        assert 'aria-label="3 Op: ↑ code">↑<span' in stack.draw(2, "up")._repr_html_()

    def test_names_every_floor(self):
        page = stack.draw()._repr_html_()
        assert all(name in page for name, _ in LAYERS.values())

    @pytest.mark.parametrize(("here", "half"), [(0, "down"), (8, "up"), (2, "sideways")])
    def test_refuses_floors_that_are_not_there(self, here, half):
        with pytest.raises(ValueError, match="must be"):
            stack.draw(here, half)
