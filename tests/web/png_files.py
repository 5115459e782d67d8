"""PNG files with texts in them, as Pillow writes them."""

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo


def png(*texts, size=(4, 3)):
    """A PNG that Pillow writes; texts: (keyword, text, kind, compressed)."""
    info = PngInfo()
    for keyword, text, kind, compressed in texts:
        add = info.add_itxt if kind == "iTXt" else info.add_text
        add(keyword, text, zip=compressed)
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def infotext(prompt="a tree", **changes):
    pairs = {"Steps": 4, "Sampler": "Euler", "Seed": 7, "Size": "64x48"} | changes
    return f"{prompt}\n" + ", ".join(f"{key}: {value}" for key, value in pairs.items())
