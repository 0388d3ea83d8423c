"""The palette stays readable and distinguishable, and figures become compact SVG that follows the page."""

import itertools
import re

import numpy as np
import pytest

from minidl.instruments import style

LAYER_NAMES = [name.lower() for name, _ in style.LAYERS.values()]

# Machado, Oliveira and Fernandes (2009), severity 1.0, for linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


def linear(color):
    srgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    to_lms = np.array(
        [
            [0.4122215, 0.5363325, 0.051446],
            [0.2119035, 0.6806995, 0.107397],
            [0.0883025, 0.2817188, 0.6299787],
        ]
    )
    to_lab = np.array(
        [
            [0.2104543, 0.7936178, -0.004072],
            [1.9779985, -2.4285922, 0.4505937],
            [0.0259040, 0.7827718, -0.8086758],
        ]
    )
    return to_lab @ np.cbrt(to_lms @ np.clip(rgb, 0, 1))


def contrast(first, second):
    lighter, darker = sorted((linear(c) @ [0.2126, 0.7152, 0.0722] for c in (first, second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
class TestPalette:
    def test_layers_stand_out_from_the_paper(self, mode):
        paper = style.PALETTE["paper"][mode]
        assert all(contrast(style.PALETTE[name][mode], paper) >= 3 for name in LAYER_NAMES)

    def test_text_is_readable(self, mode):
        for background in ("paper", "shade"):
            for text in ("ink", "muted"):
                assert contrast(style.PALETTE[text][mode], style.PALETTE[background][mode]) >= 4.5

    @pytest.mark.parametrize("vision", VISION)
    def test_layers_stay_apart(self, mode, vision):
        seen = [oklab(np.array(VISION[vision]) @ linear(style.PALETTE[name][mode])) for name in LAYER_NAMES]
        nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
        assert nearest >= 0.055  # 0.02 is about one just noticeable difference


@style.drawing
def curve():
    figure, axes = style.new_figure(4, 2)
    axes.plot([0, 1, 2], [0.123456, 3, 1])
    axes.set_title("a title")
    return style.describe(figure, "a curve")


def test_every_palette_color_is_used_for_one_name_only():
    lights = [light for light, _ in style.PALETTE.values()]
    assert len(set(lights)) == len(lights)


def test_svg_colors_are_css_variables_with_fallback():
    svg = style.to_svg(curve())
    assert f"stroke: var(--osi-kernel,{style.KERNEL})" in svg
    bare = re.sub(r"var\([^)]*\)", "", svg)
    assert not re.search("|".join(light for light, _ in style.PALETTE.values()), bare)


def test_svg_is_compact_and_valid():
    import xml.etree.ElementTree as ET

    svg = style.to_svg(curve())
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg") and "viewBox" in root.attrib and "width" not in root.attrib
    assert "<metadata" not in svg and "<style" not in svg
    assert not re.search(r"\d\.\d{3,}", svg)
    assert ">a title</text>" in svg  # text stays text


def test_svg_is_the_same_for_the_same_drawing():
    assert style.to_svg(curve()) == style.to_svg(curve())


def test_svg_keeps_exactly_the_ids_in_use():
    svg = style.to_svg(curve())
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    assert used and used == set(re.findall(r' id="([^"]+)"', svg))


def test_drawing_leaves_the_readers_settings_alone():
    import matplotlib as mpl

    before = {key: mpl.rcParams[key] for key in style.SETTINGS}
    curve()
    assert {key: mpl.rcParams[key] for key in style.SETTINGS} == before


def test_css_defines_every_color_in_both_modes():
    light, dark = style.css().split('html[data-theme="dark"]')
    for name, colors in style.PALETTE.items():
        assert f"--osi-{name}: {colors[0]};" in light
        assert f"--osi-{name}: {colors[1]};" in dark
