"""The static site around a packed model: pages, scripts, kernels, headers, licences."""

import hashlib
import shutil
import tomllib
from pathlib import Path

import jinja2

from export.families.call import MOST_STEPS
from export.folder import record
from export.packing.manifest import read_manifest, write_manifest
from export.site import cards, headers, shell
from export.site.code import write_code
from export.site.size_groups import size_groups
from export.source import files

ROOT = Path(__file__).resolve().parents[2]


def version():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]["version"]


def write_site(folder, model, manifest, places):
    """Everything in dist/ but the shards. Raises OSError."""
    code = write_code(folder)
    values = page_values(model, manifest, places.weights_url) | {"code": code}
    render_pages(ROOT / "web" / "pages", folder, values)
    (folder / "model").mkdir(exist_ok=True)
    own = {"weights_url": places.weights_url} if places.weights_url else {}
    write_model(folder / "model", model, manifest | own)
    (folder / "README.md").write_text(cards.space_readme(model, places), encoding="utf-8")
    rules = headers.headers_file(code, places.weights_url)
    (folder / "_headers").write_text(rules, encoding="utf-8")
    (folder / ".nojekyll").write_bytes(b"")
    for name in ("LICENSE", "THIRD_PARTY.md"):
        if (ROOT / name).exists():
            shutil.copyfile(ROOT / name, folder / name)
    shell.write_shell(folder)


def write_weights(folder, model, manifest, places):
    """What lies beside the shards of a site that does not carry them: a model's whole folder."""
    write_model(folder, model, manifest)
    (folder / "README.md").write_text(cards.weights_readme(model, places), encoding="utf-8")
    (folder / "config.json").write_text(cards.weights_config(model), encoding="utf-8")


def write_model(folder, model, manifest):
    write_manifest(folder / "manifest.json", manifest)
    for prompt in model.prompts:
        (folder / prompt.file).write_bytes(prompt.tokenizer.file)
    copy_licences(model.source, folder)


def copy_licences(source, target):
    """Those of a source, and those of its base, under its name where the source has such a file."""
    for path in files.licences(source.folder):
        shutil.copyfile(path, target / files.readable(path.name))
    for path in files.licences(source.base.folder) if source.base else ():
        name = files.readable(path.name)
        name = f"{name}-{source.base.name}" if (target / name).exists() else name
        shutil.copyfile(path, target / name)


def pin(folder, places):
    """Names the weights' commit, which is known only once they are uploaded."""
    path = folder / "model" / "manifest.json"
    manifest = read_manifest(path)
    partial = path.with_name("manifest.partial")
    write_manifest(partial, manifest | {"weights_url": places.weights_url})
    partial.replace(path)
    shell.write_shell(folder)


def list_files(folder):
    """{path: bytes} of a written site."""
    return record.files(folder)


def page_values(model, manifest, weights_url):
    onnx = manifest.get("onnx", {"shards": []})  # its runtime is WebAssembly
    return {
        "title": cards.title_of(model.name),
        "name": model.name,
        "family": model.family.name,
        "variant": model.variant,
        "model": model_mark(manifest),
        "download_bytes": model.first_bytes,
        "width": model.call.width,
        "height": model.call.height,
        "pipeline": model.call.manifest(),
        "trims_text": all(prompt.about.mask for prompt in model.prompts),
        "size_groups": size_groups(model.call.sizes, model.peak_gpu_bytes, model.step_flop),
        "steps": model.call.num_inference_steps,
        "most_steps": MOST_STEPS,
        "prompts": model.call.prompts,
        "patch": model.latents.pixels,
        "modules": studio_modules(ROOT / "web"),
        "version": version(),
        "onnx_bytes": sum(shard["bytes"] for shard in onnx["shards"]),
        "policy": headers.policy(weights_url, wasm=bool(onnx["shards"])),
        "wasm_policy": headers.policy(weights_url, wasm=True),
    }


def model_mark(manifest):
    """What tells models apart, as web/loader/updated.js makes it of a manifest."""
    files = [*manifest["shards"], *(prompt["tokenizer"] for prompt in manifest["prompts"])]
    return hashlib.sha256("".join(file["sha256"] for file in files).encode()).hexdigest()


# What another script starts, and what runs where modules do not.
NOT_MODULES = ("worker", "stuck")


def studio_modules(web):
    """Scripts of the page, which can then be fetched at once; the worker fetches its own."""
    modules = [*(web / "studio").rglob("*.js"), web / "api" / "limits.js"]
    return sorted(path.relative_to(web).as_posix() for path in modules
                  if path.stem not in NOT_MODULES)


def render_pages(pages, folder, values):
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pages),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        keep_trailing_newline=True,
    )
    for page in sorted(path for path in pages.iterdir() if path.is_file()):
        text = environment.get_template(page.name).render(values)
        (folder / page.name).write_text(text, encoding="utf-8", newline="\n")
