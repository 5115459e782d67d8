"""The JSDoc of web/ fits its code, and trefoil.d.ts says of the library what the JSDoc says."""

import json

import pytest

from export.site.code import write_code
from tests.types.compiler import tsc
from tests.types.declarations import ROOT, WRITTEN, declarations

USER = """\
import { InputError, inspectDevice, loadPipeline, type Pipeline } from './trefoil.js';

export async function draw(prompt: string, canvas: HTMLCanvasElement): Promise<number> {
  const { ok, reason } = await inspectDevice();
  if (!ok) throw new InputError(reason);
  const pipe: Pipeline = await loadPipeline('./model/manifest.json', { precision: 'f16' });
  const picture = await pipe.generate({ prompt, seed: 7 }, { onProgress: ({ fraction }) => {
    canvas.title = `${Math.round(100 * fraction)} %`;
  } });
  const pixels = new ImageData(picture.rgba, picture.width, picture.height);
  canvas.getContext('2d')?.putImageData(pixels, 0, 0);
  pipe.destroy();
  return picture.timings.totalMs + picture.timings.stepMs[0] + picture.peakBytes;
}
"""
WRONG = {  # what is written in place of what, and the error that tells it
    "no prompt": ("{ prompt, seed: 7 }", "{ seed: 7 }", "Property 'prompt' is missing"),
    "a seed in words": ("seed: 7", "seed: 'seven'", "Type 'string' is not assignable"),
    "an unknown precision": ("'f16'", "'f8'", "Type '\"f8\"' is not assignable"),
    "an unknown option": ("precision:", "accuracy:", "'accuracy' does not exist"),
    "no such field": ("picture.peakBytes", "picture.peak", "Property 'peak' does not exist"),
    "no waiting": ("await inspectDevice", "inspectDevice", "Property 'ok' does not exist"),
    "an unknown export": ("InputError,", "InputErrors,", "no exported member named 'InputErrors'"),
    "made by hand": ("await loadPipeline(", "new Pipeline(", "cannot be used as a value"),
}


@pytest.mark.parametrize("project", [".", "tests/types/sw.json"])
def test_web_is_typed_as_its_jsdoc_says(project):
    status, told = tsc("-p", ROOT / project)
    assert (status, told) == (0, "")


def test_the_types_of_the_library_are_of_now():
    assert WRITTEN.read_text(encoding="utf-8") == declarations(), (
        "web/types/trefoil.d.ts is not what follows from the JSDoc; run python -m tests.types")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    write_code(folder)
    options = {"strict": True, "noEmit": True, "target": "es2022", "module": "esnext",
               "moduleResolution": "bundler", "lib": ["es2022", "dom"], "types": []}
    config = {"compilerOptions": options, "files": ["user.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    return folder


def compiled(site, text):
    (site / "user.ts").write_text(text, encoding="utf-8")
    return tsc("-p", site)


def test_a_user_of_the_library_compiles(site):
    assert compiled(site, USER) == (0, "")


@pytest.mark.parametrize("old, new, error", WRONG.values(), ids=WRONG)
def test_a_wrong_use_does_not(site, old, new, error):
    assert old in USER
    status, told = compiled(site, USER.replace(old, new, 1))
    assert status != 0
    assert error in told
