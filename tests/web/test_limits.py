"""Limits that stand once in Python and once in JavaScript."""

from export.report import LARGEST_IMAGE
from tests.web.node import WEB, call

FITTED = f"""
async (images) => {{
  const {{ fittedSize }} = await import('{WEB}api/reference_image.js');
  return images.map(([width, height]) => fittedSize({{ width, height }}, 16));
}}
"""


def test_the_largest_reference_image_is_what_the_page_makes_of_larger_ones():
    width, height = LARGEST_IMAGE
    sizes = [(width, height), (2 * width, 2 * height)]
    largest = {"width": width, "height": height}
    assert call(FITTED, sizes) == [largest, largest]
    smaller = (width - 16, height - 16)
    assert call(FITTED, [smaller]) == [{"width": smaller[0], "height": smaller[1]}]
    # Whatever its shape, none has more pixels.
    for fitted in call(FITTED, [(4 * width, height), (width, 7 * height), (width + 16, height)]):
        assert fitted["width"] * fitted["height"] <= width * height
