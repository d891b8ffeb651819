"""Sheets and plots: the right number at the right place, printable, no global state of matplotlib touched."""

from __future__ import annotations

import io
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from vitscope.errors import RenderingError
from vitscope.rendering import (
    bars,
    correlation_matrix,
    curves,
    figure_png,
    figure_svg,
    grid,
    head_matrix,
    method_sheet,
    save_figure,
    scatter,
)
from vitscope.rendering.colour import lookup_table


def texts(figure: Figure) -> list[str]:
    from matplotlib.text import Text

    return [item.get_text() for item in figure.findobj(Text) if item.get_text()]


INTERVALS = ([0.5, -3, 0], [2, -1, 0])
BANDS = {"a": ([0, 1, 2], [2, 3, 4])}
NAMED = {"groups": ["x", "y", "x"], "names": ["p", "", "q"], "diagonal": True}
SECOND = {"second": [[1, 2], [3, np.nan]], "second_label": "JS"}
PLOTS: dict[str, Callable[[str], Figure]] = {
    "bars": lambda look: bars(["a", "b", "c"], [1.0, -2.0, np.nan], *INTERVALS, title="t", theme=look),
    "curves": lambda look: curves(
        [0, 1, 2], {"a": [1, np.nan, 3], "b": [3, 2, 1]}, BANDS, zero=True, theme=look
    ),
    "scatter": lambda look: scatter([1, 2, np.nan], [1, 3, 2], **NAMED, theme=look),
    "heads": lambda look: head_matrix([[0.1, 0.9], [np.nan, 0.4]], **SECOND, theme=look),
    "signed heads": lambda look: head_matrix([[-0.1, 0.9]], signed=True, theme=look),
    "one value": lambda look: head_matrix(np.full((2, 2), 0.5), theme=look),
    "no value": lambda look: head_matrix(np.full((2, 2), np.nan), theme=look),
    "correlations": lambda look: correlation_matrix([[1, -0.5], [-0.5, 1]], ["a", "b"], theme=look),
}


@pytest.mark.parametrize(
    ("name", "theme"), [*((name, "light") for name in PLOTS), ("bars", "dark"), ("heads", "dark")]
)
def test_plots_draw_silently_as_png_and_svg_and_leave_no_trace(name: str, theme: str) -> None:
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = PLOTS[name](theme)
        picture = Image.open(io.BytesIO(figure_png(figure, dots_per_inch=60, metadata={"model": "vit"})))
        svg = figure_svg(figure, metadata={"model": "vit <1>"})
    assert picture.text["model"] == "vit" and min(picture.size) > 60
    pixels = np.asarray(picture.convert("L"))
    assert (pixels[0, 0] > 200) == (theme == "light") and pixels.std() > 3
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert dict(mpl.rcParams) == before


def test_the_same_figure_gives_the_same_svg() -> None:
    assert figure_svg(PLOTS["heads"]("light")) == figure_svg(PLOTS["heads"]("light"))


def test_matplotlib_state_of_the_process_is_not_used() -> None:
    import sys

    import vitscope.rendering.plots.charts  # noqa: F401

    folder = Path(sys.modules["vitscope.rendering.plots.charts"].__file__ or "").parent
    lines = [
        line for file in folder.glob("*.py") for line in file.read_text().splitlines() if "import" in line
    ]
    assert lines and not any("pyplot" in line for line in lines)


def test_head_matrix_paints_each_head_where_it_is() -> None:
    values = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 8.0]])
    figure = head_matrix(values, numbers=False, block_labels=["0", "1"], head_labels=["0", "1", "2"])
    [picture] = figure.axes[0].images
    shown = np.asarray(picture.get_array())
    for (row, column), value in np.ndenumerate(values):
        assert shown[row, column].tolist() == lookup_table("viridis")[round(255 * value / 8)].tolist()
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["0", "1"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0", "1", "2"]
    with pytest.raises(RenderingError, match="3 labels"):
        head_matrix(values, head_labels=["0"])
    assert {"0", "4", "8"} <= set(texts(figure))  # the colour bar's ends and middle


def test_numbers_are_written_into_the_cells_until_they_no_longer_fit() -> None:
    assert "0.62" in texts(head_matrix([[0.62, 0.38]]))
    assert texts(head_matrix(np.full((2, 30), 0.62))).count("0.62") < 10  # the colour bar's


def test_leaderboard_is_sorted_with_intervals_and_missing_values_last() -> None:
    figure = bars(["low", "none", "high"], [1.0, np.nan, 3.0], [0.5, 0, 2.5], [1.5, 0, 3.5])
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["high", "low", "none"]
    lengths = [bar.get_width() for bar in figure.axes[0].patches]
    assert lengths == [3.0, 1.0] and {"3.00", "1.00", " no value"} <= set(texts(figure))
    spans = [list(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert [2.5, 3.5] in spans and [0.5, 1.5] in spans


def test_curves_hold_their_data_and_grey_what_is_not_highlighted() -> None:
    series = {f"method {index}": np.linspace(index, 0, 5) for index in range(15)}
    figure = curves(np.arange(5), series, highlight=["method 3"])
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 5]
    assert len(drawn) == 15 and len({line.get_color() for line in drawn}) == 2
    with pytest.raises(RenderingError, match="at most 10"):
        curves(np.arange(5), series)


def test_scatter_says_how_many_points_have_no_value() -> None:
    assert "2 points without a value not shown" in texts(scatter([1, 2, np.nan], [np.inf, 1, 1]))


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_figures_are_saved_by_suffix(suffix: str, tmp_path: Path) -> None:
    path = save_figure(bars(["a"], [1]), tmp_path / "deep" / f"plot{suffix}", metadata={"model": "vit"})
    head = path.read_bytes()[:8]
    assert head.startswith({".png": b"\x89PNG", ".svg": b"<?xml"}[suffix])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: bars(["a", "b"], [1.0]), "2 numbers"),
        (lambda: bars(["a"], [1.0], [2.0], [3.0]), "low ≤ value ≤ high"),
        (lambda: head_matrix([1.0, 2.0]), "rows and columns"),
        (lambda: head_matrix([[1.0]], second=[[1.0, 2.0]]), "second matrix"),
        (lambda: head_matrix([[1.0]], colour="jet"), "refused"),
        (lambda: head_matrix([[1.0]], theme="sepia"), "unknown theme"),
        (lambda: correlation_matrix([[1.0, 2.0], [2.0, 1.0]], ["a", "b"]), "within −1 and 1"),
        (lambda: correlation_matrix([[1.0]], ["a", "b"]), "2 × 2"),
        (lambda: scatter([1, 2], [1]), "2 numbers"),
        (lambda: save_figure(bars(["a"], [1]), "plot.bmp"), "rename it"),
    ],
)
def test_wrong_plots_are_refused_in_one_line(draw: Callable[[], object], words: str) -> None:
    with pytest.raises(RenderingError, match=words) as caught:
        draw()
    assert "\n" not in str(caught.value)


def test_sheet_holds_every_method_on_every_picture() -> None:
    cells = [
        [Image.new("RGB", (20, 10), (index * 40, column * 80, 0)) for column in range(3)]
        for index in range(2)
    ]
    cells[1][2] = None  # type: ignore[call-overload]
    drawn = np.asarray(grid(cells, ["first", "second"], ["a", "b", "c"], title="Sheet"))
    for row in range(2):
        for column in range(3):
            colour = (row * 40, column * 80, 0)
            count = int((drawn == colour).all(axis=-1).sum())
            assert count >= 200 if (row, column) != (1, 2) else count == 0


def test_method_sheet_leaves_raw_maps_alone_and_shares_columns() -> None:
    random = np.random.default_rng(0)
    maps = {"plain": random.random((2, 3, 4)), "signed": random.normal(size=(2, 5, 5))}
    before = {name: values.copy() for name, values in maps.items()}
    pictures = [Image.new("RGB", (80, 60), "green"), Image.new("L", (40, 90), 90)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = method_sheet(
            maps, pictures, ["one", "two"], scaling={"signed": "signed"}, title="Two methods"
        )
        smaller = method_sheet(maps, pictures, ["one", "two"], show_pictures=False, colour="cividis")
    assert all(np.array_equal(maps[name], before[name]) for name in maps)
    assert drawn.width > smaller.width


def test_wrong_sheets_are_refused() -> None:
    picture = Image.new("RGB", (8, 8))
    with pytest.raises(RenderingError, match="one map per picture"):
        method_sheet({"a": np.zeros((2, 3, 3))}, [picture], ["x"])
    with pytest.raises(RenderingError, match="name every picture"):
        method_sheet({"a": np.zeros((1, 3, 3))}, [picture], [])
    with pytest.raises(RenderingError, match="name them all"):
        grid([[picture]], ["a", "b"], ["c"])
    with pytest.raises(RenderingError, match="refused"):
        method_sheet({"a": np.zeros((1, 3, 3))}, [picture], ["x"], colour="jet")
