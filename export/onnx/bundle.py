"""The ONNX bundle: text_encoder, transformer and vae_decoder, each as two graphs of the same

weights, model.onnx in 32-bit and model_fp16.onnx in 16-bit floats, and what stands around them.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

import onnx

from export.errors import ExportError
from export.onnx import configs, flux2, kl, qwen3
from export.onnx.external import ExternalData
from export.onnx.graph import OPSET, Graph
from export.onnx.weights import Weights
from export.packing.model import pack_tensor
from export.site import pages

GRAPHS = {"model.onnx": False, "model_fp16.onnx": True}  # file -> in 16-bit floats


@dataclass(frozen=True)
class Part:
    """A component in the bundle: its folder, its graph's module and its configuration."""

    folder: str
    graph: Any
    config: Any


PARTS = {
    "text_encoder": Part("text_encoder", qwen3, configs.text_encoder_config),
    "transformer": Part("transformer", flux2, configs.transformer_config),
    "autoencoder": Part("vae_decoder", kl, configs.vae_decoder_config),
}


def write_bundle(folder, model, progress):
    """Fills the new folder `folder`; one tensor of the model is in memory at a time.

    progress(component, parameters): called after each tensor. Raises ExportError.
    """
    folder.mkdir()
    for component in model.components.values():
        write_component(folder / PARTS[component.name].folder, component, model, progress)
    configs.write_configs(folder, model)


def write_component(folder, component, model, progress):
    folder.mkdir()
    part = PARTS[component.name]
    with contextlib.ExitStack() as stack:
        stores = {}
        for file, half in GRAPHS.items():
            data = stack.enter_context(contextlib.closing(ExternalData(folder, f"{file}_data")))
            stores[file] = Weights(data, half, part.graph.TABLES)
        for name, spec in component.specs.items():
            packed = pack_tensor(component, name, progress)
            for weights in stores.values():
                weights.take(name, spec, packed)
            del packed
    for file, weights in stores.items():
        write_graph(folder / file, part, weights, component, model)
    files = {file: len(weights.data.files) for file, weights in stores.items()}
    configs.write_component(folder, part.config(component.config), files)


def write_graph(path, part, weights, component, model):
    """Writes and checks one graph, whose weights are written."""
    graph = Graph(part.folder, weights)
    part.graph.build(graph, component.config, model)
    properties = {
        "model": model.name, "variant": model.variant, "component": part.folder,
        "class": component.class_name, "precision": "fp16" if weights.half else "fp32",
        "opset": str(OPSET),
    }  # fmt: skip
    onnx.save(graph.model(properties, pages.version()), path)
    try:
        onnx.checker.check_model(path, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"{path}: the ONNX checker refuses the graph: {error}") from None


def graph_bytes(folder):
    """component -> graph -> bytes, its external data included, of the bundle in `folder`."""
    return {
        name: {
            file: sum(path.stat().st_size for path in (folder / part.folder).glob(f"{file}*"))
            for file in GRAPHS
        }
        for name, part in PARTS.items()
    }
