"""The static site around a packed model: pages, scripts, kernels, headers, licences."""

import json
import shutil
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import jinja2

from export.sizes import size_groups

ROOT = Path(__file__).resolve().parent.parent
LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*")
HEADERS = """\
/model/*.bin
  Cache-Control: public, max-age=31536000, immutable
/*
  X-Content-Type-Options: nosniff
"""
README = """\
---
title: {quoted_title}
emoji: 🌳
colorFrom: green
colorTo: gray
sdk: static
app_file: index.html
fullWidth: true
header: mini
pinned: false
license: apache-2.0
short_description: Text-to-image, entirely in your browser
tags: [webgpu, text-to-image, on-device]
{models}---

# {title}

This static site draws pictures from prompts with {name} ({family}, {variant}), on the visitor's
own GPU. The first visit downloads {megabytes:.0f} MB; what is written or drawn stays on the device.

Serve the folder from any static host over HTTPS, or from localhost: WebGPU asks for either.
The licences of the code and, where it brings them, of the model are in `LICENSE` and `model/`.
"""


def version():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]["version"]


def title_of(name):
    words = name.replace("-", " ").replace("_", " ").split()
    return " ".join(word[0].upper() + word[1:] for word in words) + " in your browser"


def write_site(folder, model, weights_url=None):
    """Everything in dist/ but the manifest and the shards."""
    copy_web(ROOT / "web", folder)
    (folder / "wgsl").mkdir(exist_ok=True)
    for kernel in sorted((ROOT / "wgsl").glob("*.wgsl")):
        shutil.copyfile(kernel, folder / "wgsl" / kernel.name)
    render_pages(ROOT / "web" / "pages", folder, page_values(model, weights_url))
    (folder / "model" / "tokenizer.json").write_bytes(model.tokenizer.file)
    (folder / "README.md").write_text(readme(model), encoding="utf-8")
    (folder / "_headers").write_text(HEADERS, encoding="utf-8")
    (folder / ".nojekyll").write_bytes(b"")
    copy_licences(model.source.folder, folder / "model")
    for name in ("LICENSE", "THIRD_PARTY.md"):
        if (ROOT / name).exists():
            shutil.copyfile(ROOT / name, folder / name)


def readme(model):
    """README.md with the front matter of a static Space; a JSON string is a YAML string."""
    title, repository = title_of(model.name), model.source.origin.get("repository")
    return README.format(
        title=title, quoted_title=json.dumps(title), name=model.name, family=model.family.NAME,
        variant=model.variant, megabytes=model.first_bytes / 1e6,
        models=f"models: [{repository}]\n" if repository else "",
    )  # fmt: skip


def copy_web(web, folder):
    """web/ byte for byte, its pages/ apart."""
    for path in sorted(web.rglob("*")):
        relative = path.relative_to(web)
        if relative.parts[0] == "pages" or not path.is_file():
            continue
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def copy_licences(source, target):
    for pattern in LICENCES:
        for path in sorted(source.glob(pattern)):
            if path.is_file():
                shutil.copyfile(path, target / path.name)


def page_values(model, weights_url):
    values = {
        "title": title_of(model.name),
        "name": model.name,
        "family": model.family.NAME,
        "variant": model.variant,
        "download_bytes": model.first_bytes,
        "width": model.pipeline.width,
        "height": model.pipeline.height,
        "pipeline": model.pipeline.manifest(),
        "size_groups": size_groups(model.pipeline.sizes, model.peak_gpu_bytes),
        "steps": model.pipeline.num_inference_steps,
        "prompts": model.pipeline.prompts,
        "patch": model.patch,
        "modules": studio_modules(ROOT / "web"),
        "version": version(),
    }
    if weights_url:  # the one other origin that the page may fetch from
        parts = urlsplit(weights_url)
        values["connect"] = f"{parts.scheme}://{parts.netloc}"
    return values


def studio_modules(web):
    """Scripts of the page, which can then be fetched at once; the worker fetches its own."""
    modules = (web / "studio").rglob("*.js")
    return sorted(path.relative_to(web).as_posix() for path in modules if path.stem != "worker")


def render_pages(pages, folder, values):
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pages),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        keep_trailing_newline=True,
    )
    for page in sorted(pages.glob("*.html")):
        html = environment.get_template(page.name).render(values)
        (folder / page.name).write_text(html, encoding="utf-8", newline="\n")
