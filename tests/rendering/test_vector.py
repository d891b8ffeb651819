"""Maps as SVG have the colours of the same maps in pixels, and tiles are the panel alone."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from vitscope.errors import RenderingError
from vitscope.rendering.maps.blending import blend
from vitscope.rendering.maps.scaling import scale
from vitscope.rendering.maps.vector import overlay_svg

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("scaling", ["minmax", "signed"])
def test_each_cell_has_the_colour_that_pixels_have(scaling: str) -> None:
    values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    ground = np.full((30, 40, 3), (200, 100, 50), np.uint8)
    scaled = scale(values, scaling)
    root = ElementTree.fromstring(overlay_svg(scaled, Image.fromarray(ground), opacity=0.7, size=4))
    name = "blue-red" if scaling == "signed" else "viridis"
    cells = [each for each in root.iter(f"{SVG}rect") if "data-row" in each.attrib]
    assert len(cells) == 12
    for cell in cells:
        row, column = int(cell.attrib["data-row"]), int(cell.attrib["data-column"])
        fill = np.array([int(cell.attrib["fill"][at : at + 2], 16) for at in (1, 3, 5)])
        share = float(cell.attrib["fill-opacity"])
        seen = (1 - share) * np.array([200, 100, 50]) + share * fill
        expected = blend(
            ground[:1, :1], scaled.values[row : row + 1, column : column + 1], name, scaled.diverging, 0.7
        )
        np.testing.assert_allclose(seen, expected[0, 0], atol=1.5)
    image = root.find(f"{SVG}image")
    assert image is not None
    kept = Image.open(io.BytesIO(base64.b64decode(image.attrib["href"].partition(",")[2])))
    assert (np.asarray(kept) == ground).all()
    left, top, width, height = (float(image.attrib[name]) for name in ("x", "y", "width", "height"))
    first = next(
        each for each in cells if (each.attrib["data-row"], each.attrib["data-column"]) == ("1", "2")
    )
    assert float(first.attrib["x"]) == pytest.approx(left + 2 * width / 4, abs=1e-3)
    assert float(first.attrib["y"]) == pytest.approx(top + height / 3, abs=1e-3)
    assert float(root.attrib["width"]) == 4 * float(root.attrib["viewBox"].split()[2])


def test_cells_lie_where_they_lie_on_the_picture() -> None:
    scaled = scale(np.float32([[0, 1]]), "minmax", extent=(0.25, 0.0, 0.75, 0.5))
    root = ElementTree.fromstring(overlay_svg(scaled, Image.new("RGB", (100, 100))))
    image, cells = (
        root.find(f"{SVG}image"),
        [each for each in root.iter(f"{SVG}rect") if "data-row" in each.attrib],
    )
    assert image is not None
    side, top = float(image.attrib["width"]), float(image.attrib["y"])
    assert float(cells[0].attrib["y"]) == pytest.approx(top + side / 4, abs=1e-3)
    assert float(cells[0].attrib["height"]) == pytest.approx(side / 2, abs=1e-3)
    assert float(cells[0].attrib["width"]) == pytest.approx(side / 4, abs=1e-3)


def test_words_stay_words() -> None:
    hostile = "</title><script>alert(1)</script>&\"'"
    text = overlay_svg(
        scale(np.float32([[0, np.nan]]), "minmax"),
        title=hostile,
        caption=hostile,
        prefix={hostile: 0.5},
        metadata={"picture": hostile},
    )
    assert "<script" not in text
    root = ElementTree.fromstring(text)
    assert root.findtext(f"{SVG}title") == hostile
    assert root.findtext(f"{SVG}metadata") == f"picture: {hostile}"
    fills = [each.attrib["fill"] for each in root.iter(f"{SVG}rect") if "data-row" in each.attrib]
    assert fills[1] == "#787878"  # no value


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(RenderingError, match="jet"):
        overlay_svg(scale(np.float32([[0, 1]]), "minmax"), colour="jet")
    with pytest.raises(RenderingError, match="size of 1, 2 or 4"):
        overlay_svg(scale(np.float32([[0, 1]]), "minmax"), size=3)
