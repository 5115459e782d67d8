"""The bundle's configurations, by the names that diffusers, optimum and transformers.js read."""

import shutil

from export.families import FAMILIES
from export.families.call import SCHEDULER_CLASS
from export.onnx.call import MARK, call_of
from export.site import pages
from export.source.configuration import dump_json
from export.source.files import TOKENIZER

ONNX_CLASS = ["diffusers", "OnnxRuntimeModel"]


def write_configs(folder, model):
    """All but the components' own."""
    pipelines = {family: name for name, family in FAMILIES.items()}
    write_json(folder / "model_index.json", {
        "_class_name": pipelines[model.family], "is_distilled": True,
        "scheduler": ["diffusers", SCHEDULER_CLASS],
        "text_encoder": ONNX_CLASS, "tokenizer": ["transformers", "Qwen2TokenizerFast"],
        "transformer": ONNX_CLASS, "vae_decoder": ONNX_CLASS,
    })  # fmt: skip
    scheduler = {"_class_name": SCHEDULER_CLASS} | model.scheduler
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_json(folder / MARK, call_of(model))
    (folder / "tokenizer").mkdir()
    for place in (folder / "tokenizer", folder):  # optimum looks there, transformers.js here
        for name in TOKENIZER:
            if (model.tokenizer.folder / name).exists():
                shutil.copyfile(model.tokenizer.folder / name, place / name)
    pages.copy_licences(model.source.folder, folder)


def text_encoder_config(c):
    """transformers' Qwen3Config, with the layers that are there."""
    return {
        "architectures": ["Qwen3Model"], "model_type": "qwen3", "hidden_act": "silu",
        "hidden_size": c.hidden_size, "num_hidden_layers": c.num_hidden_layers,
        "num_attention_heads": c.num_attention_heads,
        "num_key_value_heads": c.num_key_value_heads, "head_dim": c.head_dim,
        "intermediate_size": c.intermediate_size, "rms_norm_eps": c.rms_norm_eps,
        "rope_theta": c.rope_theta, "vocab_size": c.vocab_size,
    }  # fmt: skip


def transformer_config(c):
    """diffusers' Flux2Transformer2DModel."""
    values = c.manifest() | {"patch_size": 1, "guidance_embeds": False}
    del values["mlp_hidden"]
    return {"_class_name": "Flux2Transformer2DModel"} | values


def vae_decoder_config(c):
    """diffusers' AutoencoderKLFlux2; of its encoder nothing is there."""
    return {"_class_name": "AutoencoderKLFlux2", "patch_size": [2, 2]} | c.manifest()


def write_component(folder, values, files):
    """files: graph -> the number of its files of external data, for transformers.js."""
    write_json(folder / "config.json", values | {
        "transformers.js_config": {"use_external_data_format": files},
    })  # fmt: skip


def write_json(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = dump_json(values, path.name, indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")
