"""What is asked of every drawing, on whichever page it stands; tests/test_figures_*.py bring theirs."""

import re

import pytest
from matplotlib.text import Text

from minidl.instruments.style import to_svg


def texts(figure) -> list[str]:
    """Return what is written in a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


class Figures:
    """Base of a test class: what holds for every drawing of its `drawings`, {name: figure or [figure, …]}."""

    drawings: dict

    def pytest_generate_tests(self, metafunc):
        lists = {name: made if isinstance(made, list) else [made] for name, made in self.drawings.items()}
        if "figure" in metafunc.fixturenames:
            figures = [
                pytest.param(figure, id=f"{name}-{i}" if len(made) > 1 else name)
                for name, made in lists.items()
                for i, figure in enumerate(made)
            ]
            metafunc.parametrize("figure", figures)
        if "frames" in metafunc.fixturenames:
            widgets = {name: made for name, made in lists.items() if len(made) > 1}
            metafunc.parametrize("frames", widgets.values(), ids=widgets)

    def test_says_in_words_what_it_shows(self, figure):
        assert len(figure.get_label()) > 20 and not re.search(r"\bnan\b", figure.get_label())

    def test_can_be_read_on_a_phone(self, figure):
        """A page 390 pixels wide leaves 340 for a drawing."""
        scale = 340 / (figure.get_figwidth() * 72)
        sizes = [text.get_fontsize() * scale for text in figure.findobj(Text) if text.get_text().strip()]
        assert min(sizes) >= 6.5

    def test_uses_the_palette_only(self, figure):
        outside = re.sub(r"var\(--osi-\w+,#[0-9a-f]{6}\)", "", to_svg(figure), flags=re.I)
        assert not re.search(r"#[0-9a-f]{6}\b", outside, re.I)


class Widgets(Figures):
    """Base of a test class: what also holds for lists of figures, which are the frames of one widget."""

    def test_frames_have_one_size(self, frames):
        assert len({tuple(figure.get_size_inches()) for figure in frames}) == 1

    def test_frames_differ(self, frames):
        assert len({to_svg(figure) for figure in frames}) == len(frames)
