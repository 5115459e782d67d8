"""The ONNX bundle: text_encoder, transformer and vae_decoder, each as two graphs of the same

weights, model.onnx in 32-bit and model_fp16.onnx in 16-bit floats, and what stands around them.
"""

import contextlib
import importlib

import onnx

from export.errors import ExportError
from export.onnx import configs
from export.onnx.external import ExternalData
from export.onnx.graph import OPSET, Graph
from export.onnx.weights import Weights
from export.packing.pack import pack_tensor
from export.site import pages

GRAPHS = {"model.onnx": False, "model_fp16.onnx": True}  # file -> in 16-bit floats


FOLDERS = {"autoencoder": "vae_decoder"}  # component -> the folder of its graphs, if another


def folder_of(component):
    return FOLDERS.get(component, component)


def graph_of(part):
    """The module here of a part's own name: build(graph, config), configuration(config), TABLES."""
    name = part.module.__name__.rpartition(".")[2]
    try:
        return importlib.import_module(f"export.onnx.{name}")
    except ModuleNotFoundError:
        raise ExportError(
            f"--onnx: this version has no ONNX graph of {part.module.CLASS}; leave --onnx out"
        ) from None


def graphs_of(model):
    """Component -> module of its graph."""
    return {name: graph_of(component.part) for name, component in model.components.items()}


def write_bundle(folder, model, progress):
    """Fills the new folder `folder`; one tensor of the model is in memory at a time.

    progress(component): called after each tensor. Raises ExportError.
    """
    graphs = graphs_of(model)
    folder.mkdir()
    for name, component in model.components.items():
        write_component(folder / folder_of(name), component, graphs[name], model, progress)
    configs.write_configs(folder, model, {name: folder_of(name) for name in model.components})


def write_component(folder, component, graph, model, progress):
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        stores = {}
        for file, half in GRAPHS.items():
            data = stack.enter_context(contextlib.closing(ExternalData(folder, f"{file}_data")))
            stores[file] = Weights(data, half, graph.TABLES)
        for name, spec in component.specs.items():
            packed = pack_tensor(component, name, progress)
            for weights in stores.values():
                weights.take(name, spec, packed)
            del packed
    for file, weights in stores.items():
        write_graph(folder / file, graph, weights, component, model)
    files = {file: len(weights.data.files) for file, weights in stores.items()}
    configs.write_component(folder, graph.configuration(component.config), files)


def write_graph(path, module, weights, component, model):
    """Writes and checks one graph, whose weights are written."""
    name = folder_of(component.name)
    graph = Graph(name, weights)
    module.build(graph, component.config)
    properties = {
        "model": model.name, "variant": model.variant, "component": name,
        "class": component.module.CLASS, "precision": "fp16" if weights.half else "fp32",
        "opset": str(OPSET),
    }
    onnx.save(graph.model(properties, pages.version()), path)
    try:
        onnx.checker.check_model(path, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"{path}: the ONNX checker refuses the graph: {error}") from None


def graph_bytes(folder, components):
    """component -> graph -> bytes, its external data included, of the bundle in `folder`."""
    return {
        name: {
            file: sum(path.stat().st_size for path in (folder / folder_of(name)).glob(f"{file}*"))
            for file in GRAPHS
        }
        for name in components
    }
