"""Figures: names in them are no formulas, and none grows with what it shows."""

import ast
import warnings
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base import figures
from harness.results import metrics
from harness.results.report import charts


def draw(names: list[str], title: str = "run") -> np.ndarray:
    """The confusion plot of as many classes, each picture taken for the class after its own: uint8 [H, W, 3]."""
    labels = np.arange(len(names))
    chances = np.roll(np.eye(len(names), dtype=np.float32), 1, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = charts.draw_confusion(metrics.measure(labels, chances, names), title=title)
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("name", ["$5_$", r"$\frac{$", "a$b$c", "Icon\r", "😀", "幸福", "_x", r"\$", "ev\x1b[2Jil"])
def test_a_name_is_drawn_as_it_is(name):
    assert draw([name, "sad"], title=f"{name}: 2 validation pictures").size


@settings(max_examples=20)
@given(st.lists(st.text(min_size=1, max_size=255), min_size=2, max_size=5, unique=True))
def test_any_names_can_be_drawn(names):
    assert draw(names).size


@pytest.mark.parametrize("num_classes", [2, 20, 21, 40, 41, 300])
def test_the_figure_does_not_grow_with_the_classes(num_classes):
    height, width = draw([f"class {number}" for number in range(num_classes)]).shape[:2]
    assert max(height, width) <= 20 * 120 and min(height, width) > 400


def test_names_of_255_characters_leave_room_for_the_figure():
    picture = draw(["a" * 255, "b" * 255], title="c" * 255)
    blue = (picture[..., 0].astype(int) - picture[..., 2] > 60).mean()  # the cells of the shares
    assert blue > 0.08


def test_all_figures_are_made_in_one_place():
    makers = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "harness").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module in ("matplotlib.figure", "matplotlib", "matplotlib.pyplot")
    ]
    assert makers == ["harness/base/figures.py"]


def test_the_same_figure_gives_the_same_bytes():
    def draw_line() -> bytes:
        figure = figures.new_figure(3, 2)
        figure.subplots().plot([1, 2])
        return figures.as_png(figure)

    assert draw_line() == draw_line()


@settings(max_examples=20)
@given(st.text(min_size=1, max_size=40))
def test_a_figure_in_a_page_keeps_any_name_as_text_and_is_the_same_again(name):
    def draw_line() -> str:
        figure = figures.new_figure(3, 2)
        figure.subplots().set_title(figures.title(name))
        return figures.as_svg(figure, name)

    root = ElementTree.fromstring(draw_line())
    titles = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert figures.title(name) in titles
    assert draw_line() == draw_line()


def test_a_figure_in_a_page_takes_its_colour_and_leaves_its_parts_alone():
    figure = figures.new_figure(3, 2)
    figure.subplots().plot([1, 2], color="#4477aa")
    svg = figures.as_svg(figure, "a line")
    assert svg.startswith('<svg role="img" aria-label="a line" ') and svg.rstrip().endswith("</svg>")
    assert "<style" not in svg and "#000000" not in svg and "currentColor" in svg and "#4477aa" in svg
