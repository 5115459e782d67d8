"""Reference images: the library against diffusers in float32, and what it refuses."""

import base64
import json

import numpy as np
import pytest
from diffusers.pipelines.flux2.image_processor import Flux2ImageProcessor
from PIL import Image

from tests.browser.library import Library, LibraryError, image_of
from tests.browser.test_parity import MODELS, check, check_stages
from tests.closeness import psnr
from tests.reference import reference

CASES = {  # shape, sizes of the images, width and height, steps
    "one, a size of its own": ("shallow", [(75, 98)], (56, 40), 2),
    "two of different sizes": ("uneven", [(100, 66), (64, 83)], (64, 48), 1),
    "narrow, no size": ("garden", [(64, 211)], (None, None), 1),
}
REQUEST = {"prompt": "an old pine in the snow", "seed": 7}
REFERENCE_LIMIT = 1e-5  # relative L2 error of a reference's tokens
LEAST_PSNR = 50.0  # dB


def picture(width, height, seed=1):
    """Smooth colours with noise and an edge, u8 [H, W, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 32
    waves = np.stack([np.sin(x + seed), np.cos(y - x), np.sin(2 * y)], axis=-1)
    values = 128 + 80 * waves + 30 * random.standard_normal((height, width, 3))
    values[:, width // 3 : width // 2] += 60
    return np.clip(values, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def checkpoint(made):
    return lambda shape: MODELS / "garden-ternary" if shape == "garden" else made(shape)


@pytest.mark.parametrize("case", CASES)
def test_picture_matches_diffusers(case, checkpoint, site, server, browser):
    shape, sizes, (width, height), steps = CASES[case]
    folder = checkpoint(shape)
    images = [picture(*size, seed=i) for i, size in enumerate(sizes)]
    request = REQUEST | {"steps": steps, "images": images}
    asked = {"width": width, "height": height} if width else {}
    with Library(browser, server(site(folder, with_image_input=True))) as library:
        library.load(textTokens="padded")
        got = library.generate(tensors=True, **request, **asked)
        assert not library.complaints
    want = reference(folder, **request, width=width, height=height)

    errors = [check(f"reference.{i}", got["seen"][f"reference.{i}"], tokens, REFERENCE_LIMIT)
              for i, tokens in enumerate(want["reference"])]
    assert len(errors) == len(images)
    worst = check_stages(got["seen"], want)
    ratio = psnr(got["rgba"][..., :3], want["picture"])
    print(f"{case}: references {max(errors):.1e}, velocity {worst:.1e}, {ratio:.1f} dB")
    assert ratio >= LEAST_PSNR


# ---- what becomes of pixels --------------------------------------------------------------------

PREPARE = """
async ({ image: { rgba, ...size }, patch }) => {
  const { prepareImage, fittedSize } = await import(
    new URL('api/reference_image.js', library.code));
  const image = { ...size, rgba: new Uint8ClampedArray(Uint8Array.fromBase64(rgba)) };
  const values = prepareImage(image, patch);
  return { ...fittedSize(image, patch), values: new Uint8Array(values.buffer).toBase64() };
}
"""


@pytest.fixture(scope="module")
def dist(checkpoint, site):
    return site(checkpoint("shallow"), with_image_input=True)


@pytest.fixture(scope="module")
def library(dist, server, browser):
    with Library(browser, server(dist)) as library:
        library.load()
        yield library


@pytest.mark.parametrize("size", [(333, 77), (1025, 1024), (1500, 901), (400, 3100)], ids=str)
def test_pixels_are_read_as_diffusers_reads_them(size, library):
    """To the bit: what is not shrunk is exact, and Pillow's Lanczos works in whole numbers."""
    image, patch = picture(*size), 16
    got = library.page.evaluate(PREPARE, {"image": image_of(image), "patch": patch})
    want = Image.fromarray(image)
    processor = Flux2ImageProcessor(vae_scale_factor=patch)
    processor.check_image_input(want)
    want = processor._resize_if_exceeds_area(want)
    width, height = (side // patch * patch for side in want.size)
    want = processor.preprocess(want, height=height, width=width, resize_mode="crop")
    want = want[0].permute(1, 2, 0).numpy()
    assert (got["width"], got["height"]) == (width, height)
    got = np.frombuffer(base64.b64decode(got["values"]), "<f4").reshape(want.shape)
    np.testing.assert_array_equal(got, want)


# ---- what may be asked -------------------------------------------------------------------------

@pytest.mark.parametrize(("images", "words"), [
    ([picture(64, 64)] * 3, ["3 reference images", "at most 2"]),
    ([picture(64, 64), picture(63, 90)], ["reference image 2", "63 x 90", "64"]),
    ([picture(64, 513)], ["reference image 1", "64 x 513", "8 times"]),
], ids=["three", "small", "narrow"])
def test_refused_images(library, images, words):
    with pytest.raises(LibraryError) as caught:
        library.generate(**REQUEST, images=images)
    assert caught.value.name == "InputError"
    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize(("images", "words"), [
    ("{}", ["an array"]),
    ("[null]", ["reference image 1", "undefined x undefined"]),
    ("[{ width: 64, height: 64.5, rgba: new Uint8ClampedArray(4 * 64 * 64) }]", ["64 x 64.5"]),
    ("[{ width: 64, height: 64, rgba: new Uint8ClampedArray(3 * 64 * 64) }]", ["12288", "16384"]),
    ("[{ width: 64, height: 64 }]", ["undefined", "Uint8ClampedArray of 16384"]),
], ids=["no array", "nothing", "half a pixel", "no alpha", "no pixels"])
def test_refused_values(library, images, words):
    error = library.page.evaluate(f"""async () => {{
      const {{ checkImages }} = await import(new URL('api/reference_image.js', library.code));
      const manifest = {{ pipeline: {{ image_input: {{ most: 2 }} }} }};
      checkImages(manifest, [{{ width: 64, height: 512 }}], {{ pixels: false }});
      try {{ checkImages(manifest, {images}); }} catch (error) {{ return `${{error}}`; }}
    }}""")
    assert error.startswith("InputError") and all(word in error for word in words), error


def test_a_build_without_image_input(checkpoint, dist, site, server, browser, library):
    """Refuses images, and without them draws what the other build draws, in as much memory."""
    request = REQUEST | {"steps": 1}
    with Library(browser, server(site(checkpoint("shallow")))) as plain:
        info = plain.load()
        assert "image_input" not in info["pipeline"]
        for ask in (plain.plan, plain.extra_bytes):
            with pytest.raises(LibraryError, match="--with-image-input"):
                ask(images=[{"width": 64, "height": 64}])
        want = plain.generate(**request)
        with pytest.raises(LibraryError, match="InputError.*--with-image-input"):
            plain.generate(**request, images=[picture(64, 64)])
    info = library.load()
    assert info["pipeline"]["image_input"] == {"most": 2}
    got = library.generate(**request)
    np.testing.assert_array_equal(got["rgba"], want["rgba"])
    assert got["peakBytes"] == want["peakBytes"]


# ---- downloads and memory ----------------------------------------------------------------------

def test_the_encoder_is_fetched_once_and_counted(dist, server, browser):
    manifest = json.loads((dist / "model" / "manifest.json").read_text(encoding="utf-8"))
    shards = [s for s in manifest["shards"] if s["component"] == "autoencoder"]
    later = [s for s in shards if s.get("onDemand")]
    assert len(later) == len(shards) - 1 == 1
    size = {"width": 64, "height": 48}
    images = [picture(100, 66), picture(80, 100)]
    asked = [{"width": 100, "height": 66}, {"width": 80, "height": 100}]
    fetched = []
    with Library(browser, server(dist)) as library:
        library.page.on("request", lambda request: fetched.append(request.url.split("/")[-1]))
        library.load()
        assert later[0]["file"] not in fetched
        assert library.extra_bytes(**size) == 0
        assert library.extra_bytes(**size, images=asked) == later[0]["bytes"]
        planned = {count: library.plan(**size, images=asked[:count])["peakBytes"]
                   for count in range(3)}
        assert planned[0] < planned[1] < planned[2]
        assert library.plan(images=asked)["peakBytes"] == library.plan(
            width=96, height=64, images=asked)["peakBytes"]
        assert later[0]["file"] not in fetched

        request = REQUEST | size | {"images": images, "steps": 2}
        first, second = library.generate(**request), library.generate(**request)
        assert fetched.count(later[0]["file"]) == 1
        assert library.extra_bytes(**size, images=asked) == 0
        told = [event["stage"] for event in first["progress"] if event["stage"] != "download"]
        assert list(dict.fromkeys(told)) == ["encode", "reference", "denoise", "decode"]
        fractions = [event["fraction"] for event in first["progress"]]
        assert fractions == sorted(fractions) and fractions[-1] == 1
        assert first["timings"]["referenceMs"] > 0
        assert first["peakBytes"] <= second["peakBytes"] == planned[2]
        np.testing.assert_array_equal(first["rgba"], second["rgba"])
        other = library.generate(**request | {"images": images[::-1]})
        assert (other["rgba"] != first["rgba"]).any()

        library.load(memory="small")
        small = library.generate(**request)
        assert small["peakBytes"] == library.plan(**size, images=asked)["peakBytes"] < planned[2]
        np.testing.assert_array_equal(small["rgba"], first["rgba"])
        with pytest.raises(LibraryError, match="AbortError"):
            library.generate(cancel_at={"stage": "reference", "step": 0}, **request)
        np.testing.assert_array_equal(library.generate(**request)["rgba"], first["rgba"])
        assert not library.complaints
