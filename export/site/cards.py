"""README.md of the site, with the front matter of a static Space, and of the weights."""

import json

from export.packing.manifest import FORMAT
from export.source.configuration import dump_json
from export.source.front_matter import yaml
from export.source.licence import KEYS

SPACE = """\
# {title}

This static site draws pictures from prompts with {name} ({family}, {variant}), on the visitor's
own GPU. The first visit downloads {megabytes:.0f} MB; what is written or drawn stays on the device.

Serve the folder from any static host over HTTPS, or from localhost: WebGPU asks for either.
The licences of the code and, where it brings them, of the model are in `LICENSE` and `model/`.
"""
WEIGHTS = """\
# {name}, packed for the browser

The weights of {name} ({family}, {variant}) as Trefoil packs them, read by a static site that draws
on the visitor's own GPU: `manifest.json` describes the shards, each named by its SHA-256.
{source}
```js
import {{ loadPipeline }} from './trefoil.js';
const pipe = await loadPipeline('https://huggingface.co/{example}/resolve/main/manifest.json');
```
"""


def title_of(name):
    words = name.replace("-", " ").replace("_", " ").split()
    return " ".join(word[0].upper() + word[1:] for word in words) + " in your browser"


def licence_lines(source, keys=KEYS):
    """The lines of a card that name a model's licence, or that of the base that it draws with;

    none where neither says.
    """
    from_base = source.base and source.made_from_base
    licence = source.licence or (source.base.licence if from_base else {})
    return [f"{key}: {yaml(licence[key])}" for key in keys if key in licence]


def front_matter(lines):
    return "\n".join(["---", *lines, "---", "", ""])


def origins(source):
    """Repository and revision of a source and of its base, as far as they are repositories."""
    return [s.origin for s in (source, source.base) if s and s.origin]


def space_readme(model, places):
    """A JSON string is a YAML string."""
    title = title_of(model.name)
    repositories = [places.weights_repo, *(o["repository"] for o in origins(model.source))]
    repositories = list(dict.fromkeys(filter(None, repositories)))
    lines = [
        f"title: {json.dumps(title)}",
        "emoji: 🌳",
        "colorFrom: green",
        "colorTo: gray",
        "sdk: static",
        "app_file: index.html",
        "fullWidth: true",
        "header: mini",
        "pinned: false",
        *licence_lines(model.source, ("license",)),
        "short_description: Text-to-image, entirely in your browser",
        f"thumbnail: {places.thumbnail}",
        "tags: [webgpu, text-to-image, on-device]",
        *([f"models: [{', '.join(repositories)}]"] if repositories else []),
    ]
    return front_matter(lines) + SPACE.format(
        title=title, name=model.name, family=model.family.name, variant=model.variant,
        megabytes=model.first_bytes / 1e6,
    )


def weights_readme(model, places):
    base, source = [], ""
    made_from = origins(model.source)
    if made_from:
        repositories = ", ".join(origin["repository"] for origin in made_from)
        repositories = f"[{repositories}]" if len(made_from) > 1 else repositories
        base = [f"base_model: {repositories}", "base_model_relation: quantized"]
        named = [f"`{origin['repository']}`, commit `{origin['revision']}`" for origin in made_from]
        source = f"Made from {' and '.join(named)}.\n"
    lines = [
        "library_name: trefoil",
        "pipeline_tag: text-to-image",
        *base,
        *licence_lines(model.source),
        f"tags: [webgpu, {model.family.name}, {model.variant}]",
    ]
    return front_matter(lines) + WEIGHTS.format(
        name=model.name, family=model.family.name, variant=model.variant,
        source=source, example=places.weights_repo or "USER/MODEL",
    )


def weights_config(model):
    """config.json: the file whose requests the hub counts as downloads."""
    config = {"format": FORMAT, "family": model.family.name, "variant": model.variant}
    return dump_json(config, "config.json", indent=2) + "\n"
