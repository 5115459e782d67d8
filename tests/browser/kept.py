"""Pictures for the gallery that are not drawn but painted, by the page's own modules."""

PAINT = """async (pictures) => {
  const { openGallery } = await import('./studio/gallery/store.js');
  const { makeThumbnail } = await import('./studio/gallery/thumbnail.js');
  const { encodePng } = await import('./studio/picture.js');
  const store = await openGallery();
  return Promise.all(pictures.map(async ({ createdAt, ...settings }) => {
    const { width, height, seed } = settings;
    const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
    for (let i = 0; i < rgba.length; i += 4) rgba.set([seed, i / width / 4, i / 4 % width], i);
    const blob = await encodePng({ rgba, width, height }, settings);
    const thumbnail = await makeThumbnail(blob);
    return store.add({ blob, thumbnail, settings, createdAt });
  }));
}"""


def settings(seed, **changes):
    return {
        "prompt": f"picture {seed}", "seed": seed, "width": 64, "height": 48, "steps": 4,
        "model": "painted: by hand, at once", "precision": "f32", "version": "Trefoil 0",
        **changes,
    }  # fmt: skip


def paint(page, *pictures):
    """Keeps pictures with these settings, the last of them the newest; returns their entries."""
    dated = [{"createdAt": 1_700_000_000_000 + i, **one} for i, one in enumerate(pictures)]
    return page.evaluate(PAINT, dated)
