"""The bundle's configurations, by the names that diffusers, optimum and transformers.js read."""

import shutil

from export.onnx.call import MARK, call_of
from export.site import pages
from export.source.configuration import dump_json
from export.source.files import SCHEDULER_CONFIG, TOKENIZER

ONNX_CLASS = ["diffusers", "OnnxRuntimeModel"]
TOKENIZER_CLASS = ["transformers", "Qwen2TokenizerFast"]


def write_configs(folder, model, parts):
    """All but the components' own; parts: component -> the folder of its graphs."""
    sampler = model.sampler
    tokenizers = {prompt.about.folder: TOKENIZER_CLASS for prompt in model.prompts}
    write_json(folder / "model_index.json", {
        "_class_name": model.pipeline_class, "is_distilled": True,
        "scheduler": ["diffusers", sampler.class_name],
    } | dict.fromkeys(parts.values(), ONNX_CLASS) | tokenizers)
    scheduler = {"_class_name": sampler.class_name} | sampler.config
    write_json(folder / SCHEDULER_CONFIG, scheduler)
    write_json(folder / MARK, call_of(model))
    for prompt in model.prompts:
        (folder / prompt.about.folder).mkdir()
        copy_tokenizer(prompt.tokenizer.folder, folder / prompt.about.folder)
    copy_tokenizer(model.prompts[0].tokenizer.folder, folder)  # where transformers.js looks
    pages.copy_licences(model.source, folder)


def copy_tokenizer(source, folder):
    for name in TOKENIZER:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def write_component(folder, values, files):
    """files: graph -> the number of its files of external data, for transformers.js."""
    write_json(folder / "config.json", values | {
        "transformers.js_config": {"use_external_data_format": files},
    })


def write_json(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = dump_json(values, path.name, indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")
