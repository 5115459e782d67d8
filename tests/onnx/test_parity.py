"""Each graph in onnxruntime against diffusers and transformers in float32."""

import numpy as np
import onnx
import pytest

from export.onnx import weights
from export.onnx.bundle import GRAPHS
from export.onnx.drawing import Bundle, token_ids
from export.samplers.flow_euler import sigmas
from tests.checkpoints import make_checkpoint
from tests.closeness import psnr, relative_error
from tests.fullscale.layouts import write as write_layout
from tests.fullscale.model import Model
from tests.reference import reference

CASES = [  # shape, variant, layout, width, height, steps
    ("shallow", "ternary", "mlx", 48, 64, 2),
    ("uneven", "binary", "mlx", 96, 64, 2),
    ("klein", "ternary", "unpacked", 64, 48, 1),
]
PROMPT = "an old pine, 松 🌲, in the snow"
# Relative L2 errors. fp16 rounds operands to 11 bits, 5e-4 each, and there are a few in a row.
LIMITS = {"fp32": 1e-4, "fp16": 5e-3}
LEAST_PSNR = {"fp32": 60.0, "fp16": 45.0}  # dB
PARTS = ("text_encoder", "transformer", "vae_decoder")


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, case[:3])))
def drawn(request, write, tmp_path_factory):
    """(bundle's folder, seed, size and steps, what diffusers computed)"""
    shape, variant, layout, width, height, steps = request.param
    folder = tmp_path_factory.mktemp("onnx")
    checkpoint = make_checkpoint(folder / "checkpoint", shape, variant, layout)
    write(checkpoint, folder / "onnx", 16 if layout == "unpacked" else None)
    size = (width, height, steps)
    return folder / "onnx", 7, size, reference(checkpoint, PROMPT, 7, *size)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_each_graph_equals_diffusers(drawn, precision, record_property):
    folder, seed, (width, height, steps), want = drawn
    bundle = Bundle(folder, precision)
    assert (bundle.tokens(PROMPT)[0] == want["token_ids"]).all()
    rows, columns = (side // bundle.pixels for side in (height, width))
    noises = sigmas(steps, rows * columns, bundle.scheduler)
    assert (noises == want["sigmas"]).all()
    feed = {
        "hidden_states": want["noise"][None], "timestep": noises[:1],
        "encoder_hidden_states": want["encoder_rows"][None],
        "txt_ids": token_ids(1, 1, len(want["encoder_rows"])),
        "img_ids": token_ids(rows, columns, 1),
    }
    planes = want["latents"].T.reshape(1, -1, rows, columns)
    errors = {
        "encoder_rows": relative_error(bundle.encode(PROMPT)[0], want["encoder_rows"]),
        "velocity": relative_error(bundle.run("transformer", feed)[0], want["velocity"][0]),
        "decoded": relative_error(bundle.decode(np.ascontiguousarray(planes)), want["decoded"]),
    }
    picture = bundle.draw(PROMPT, seed, width, height, steps)
    report = {**errors, "PSNR": psnr(picture, want["picture"])}
    record_property("errors", {name: float(value) for name, value in report.items()})
    assert all(error <= LIMITS[precision] for error in errors.values()), report
    assert report["PSNR"] >= LEAST_PSNR[precision], report


def test_the_checker_knows_every_value(drawn):
    folder = drawn[0]
    for part in PARTS:
        for file in GRAPHS:
            onnx.checker.check_model(folder / part / file, full_check=True)
            model = onnx.load(folder / part / file, load_external_data=False)
            assert {o.domain: o.version for o in model.opset_import} == {"": 23, "com.microsoft": 1}
            assert model.ir_version == 11
            contrib = {node.op_type for node in model.graph.node if node.domain}
            assert contrib <= {"MatMulNBits"}
            inferred = onnx.shape_inference.infer_shapes(
                model, check_type=True, strict_mode=True, data_prop=True).graph
            known = {v.name: v.type.tensor_type for v in [*inferred.value_info, *inferred.output]}
            names = {name for node in inferred.node for name in node.output}
            assert names == known.keys()
            assert all(t.elem_type and t.HasField("shape") for t in known.values())


def test_residual_stream_and_norms_are_32_bit_floats(drawn):
    model = onnx.load(drawn[0] / "transformer" / "model_fp16.onnx", load_external_data=False)
    graph = onnx.shape_inference.infer_shapes(model).graph
    element = {v.name: v.type.tensor_type.elem_type for v in graph.value_info}
    element |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    adds = [node for node in graph.node if node.op_type == "Add"]
    norms = [node for node in graph.node if node.op_type.endswith("Normalization")]
    assert adds and norms
    assert all(element[node.output[0]] == onnx.TensorProto.FLOAT for node in adds + norms)
    products = [node for node in graph.node if node.op_type.startswith("MatMul")]
    assert {element[node.output[0]] for node in products} == {onnx.TensorProto.FLOAT16}


def test_two_prompts_and_two_pictures_at_once(drawn):
    bundle = Bundle(drawn[0])
    tokens = [bundle.tokens(prompt) for prompt in (PROMPT, "a lake")]
    ids, masks = (np.stack(both) for both in zip(*tokens, strict=True))
    context = bundle.run("text_encoder", {"input_ids": ids, "attention_mask": masks})
    config = onnx.load(drawn[0] / "transformer" / "model.onnx", load_external_data=False)
    channels = config.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    random = np.random.default_rng(0)
    batch = {
        "hidden_states": random.standard_normal((2, 6, channels), np.float32),
        "timestep": np.array([1, 0.3], np.float32), "encoder_hidden_states": context,
        "txt_ids": np.repeat(token_ids(1, 1, ids.shape[1]), 2, axis=0),
        "img_ids": np.concatenate([token_ids(2, 3, 1), token_ids(3, 2, 1)]),
    }
    velocity = bundle.run("transformer", batch)
    latents = random.standard_normal((2, channels, 2, 3), np.float32)
    decoded = bundle.run("vae_decoder", {"latent_sample": latents})
    for i, prompt in enumerate((PROMPT, "a lake")):
        assert relative_error(context[i], bundle.encode(prompt)[0]) < 1e-5
        alone = bundle.run("transformer", {name: rows[i : i + 1] for name, rows in batch.items()})
        assert relative_error(velocity[i], alone[0]) < 1e-5
        planes = bundle.decode(latents[i : i + 1])
        assert relative_error(decoded[i], planes.transpose(2, 0, 1)) < 1e-5


def test_some_linears_in_32_bits_among_16(write, tmp_path, monkeypatch):
    """Whichever linears cannot be in 16 bits, the graph's types agree, and its answers stay."""
    random = np.random.default_rng(3)
    monkeypatch.setattr(weights, "is_exact_half", lambda scales: random.random() < 0.5)
    write_layout(Model("tiny", "binary"), "mlx", tmp_path / "source", "mlx")
    write(tmp_path / "source", tmp_path / "onnx")
    latents = []
    for precision in ("fp16", "fp32"):
        bundle = Bundle(tmp_path / "onnx", precision)
        context = bundle.encode("a pine")
        latents.append(bundle.denoise(context, 1, 32, 32, 2, lambda line: None))
    assert 1e-6 < relative_error(*latents) < LIMITS["fp16"]


def test_other_layouts_make_the_same_graphs(write, tmp_path):
    """One random model in four layouts: the same pictures."""
    answers = {}
    for layout in ("mlx", "gemlite", "gguf", "native"):
        checkpoint = tmp_path / f"{layout}-source"
        write_layout(Model("tiny", "ternary"), layout, checkpoint, "mlx")
        bundle = Bundle(write(checkpoint, tmp_path / f"{layout}-onnx"))
        context = bundle.encode("a pine")
        answers[layout] = bundle.denoise(context, 1, 32, 32, 2, lambda line: None)
    for layout, latents in answers.items():
        assert relative_error(latents, answers["mlx"]) < 1e-5, layout
