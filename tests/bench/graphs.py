"""onnxruntime's side of the bench's rows: ONNX graphs whose weights the page supplies.

A graph names its weights as external files; web/bench/theirs.js makes each of the row's own
numbers, in the layout that `theirs.json` says, so both sides multiply the same matrix.
"""

import json

from onnx import TensorProto, helper, save

from export.onnx.web_runtime import BENCH_MODULE, BENCH_WASM, VERSION

FLOAT = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16}
OPSETS = [("", 21), ("com.microsoft", 1)]
IR_VERSION = 10
JOIN_HEADS = [  # heads [1, H, T, Dh] -> y [1, T, H * Dh]; split_heads has `join`
    helper.make_node("Transpose", ["heads"], ["joined"], perm=[0, 2, 1, 3]),
    helper.make_node("Reshape", ["joined", "join"], ["y"]),
]
MAPS = {"depthwise": "Conv of each channel", "linearGrouped": "Conv in groups"}
QUANTISED = ("ternary", "binary", "affine1", "affine2", "affine4")


def write(folder, rows, f16):
    """theirs.json and the graphs, for those of the page's rows that onnxruntime has an op for."""
    lines = []
    for row in rows:
        for index, (graph, line) in enumerate(lines_of(row, f16)):
            name = f"{row['id']}.{index}.onnx".replace("=", "")
            save(graph, folder / name)
            lines.append(line | {"row": row["id"], "model": name})
    described = {"version": VERSION, "runtime": BENCH_MODULE, "wasm": BENCH_WASM, "lines": lines}
    (folder / "theirs.json").write_text(json.dumps(described, indent=1), encoding="utf-8")


def lines_of(row, f16):
    """(graph, line of theirs.json) pairs."""
    types = ["f32", "f16"] if f16 else ["f32"]
    if row["op"] == "linear":
        yield from linears(row, types)
    elif row["op"] == "conv2d" and row["up"] == 1:
        for kind in types:
            for layout in ("NHWC", "NCHW"):
                yield line(f"Conv, {layout} inside", conv(row, kind), type=kind,
                           options={"preferredLayout": layout})
        yield line("Conv", conv(row, "f32"), provider="wasm")
    elif row["op"] in MAPS:
        for kind in types:
            for layout in ("NHWC", "NCHW"):
                yield line(f"{MAPS[row['op']]}, {layout} inside", maps(row, kind), type=kind,
                           options={"preferredLayout": layout})
        yield line(MAPS[row["op"]], maps(row, "f32"), provider="wasm")
    elif row["op"] == "linearAttention":
        for kind in types:
            yield line("MatMuls, Relu, Div", linear_attention(row, kind), type=kind)
        yield line("MatMuls, Relu, Div", linear_attention(row, "f32"), provider="wasm")
    elif row["op"] == "attention" and row["Hq"] == row["Hkv"] and not row["causal"]:
        for kind in types:
            yield line("MultiHeadAttention", attention(row, kind), type=kind)
            yield line("MatMul, Softmax, MatMul", composed_attention(row, kind), type=kind)
        yield line("MultiHeadAttention", attention(row, "f32"), provider="wasm")


def linears(row, types):
    def nbits(kind, bits, block, zero, level, provider="webgpu"):
        return line(f"MatMulNBits {bits} bits, blocks of {block}, accuracy {level}",
                    matmul_nbits(row, kind, bits, block, zero, level), type=kind,
                    provider=provider)

    for kind in types:
        if row["storage"] in QUANTISED:
            for level in (0, 4):
                yield nbits(kind, 4, 32, 8, level)
        if row["storage"] == "ternary":
            for level in (0, 4):
                yield nbits(kind, 2, 128, 1, level)
        yield line("MatMul", matmul(row, kind), type=kind)
    if row["storage"] in QUANTISED:
        yield nbits("f32", 4, 32, 8, 0, "wasm")
    yield line("MatMul", matmul(row, "f32"), provider="wasm")


def line(name, made, provider="webgpu", type="f32", options=None):
    graph, files = made
    label = name if provider == "webgpu" else f"{name}, on the CPU"
    return graph, {"name": f"onnxruntime {label}{', f16' if type == 'f16' else ''}",
                   "provider": provider, "type": type, "files": files, "options": options or {}}


def matmul_nbits(row, kind, bits, block, zero, level):
    """y = x . W^T, codes in blocks of a row; value = scale * (code - zero)."""
    M, K, N = row["M"], row["K"], row["N"]
    blocks = K // block
    weights = [
        external("codes", TensorProto.UINT8, [N, blocks, block * bits // 8], bits=bits, zero=zero),
        external("scales", FLOAT[kind], [N * blocks], type=kind, block=block),
    ]
    if zero != 1 << (bits - 1):  # else it is what onnxruntime assumes
        weights.append(external("zeros", TensorProto.UINT8, [N * -(-blocks * bits // 8)],
                                bits=bits, block=block, zero=zero))
    node = helper.make_node(
        "MatMulNBits", ["x", *(tensor.name for tensor, _ in weights)], ["y"],
        domain="com.microsoft", K=K, N=N, bits=bits, block_size=block, accuracy_level=level)
    return model(node, {"x": [M, K]}, [M, N], weights, kind)


def matmul(row, kind):
    M, K, N = row["M"], row["K"], row["N"]
    weights = [external("matrix", FLOAT[kind], [K, N], type=kind)]
    return model(helper.make_node("MatMul", ["x", "matrix"], ["y"]), {"x": [M, K]}, [M, N],
                 weights, kind)


def conv(row, kind):
    H, W, Cin, Cout, KS = (row[name] for name in ("H", "W", "Cin", "Cout", "KS"))
    weights = [external("filters", FLOAT[kind], [Cout, Cin, KS, KS], type=kind),
               external("bias", FLOAT[kind], [Cout], type=kind)]
    node = helper.make_node("Conv", ["x", "filters", "bias"], ["y"], kernel_shape=[KS, KS],
                            pads=[KS // 2] * 4)
    return model(node, {"x": [1, Cin, H, W]}, [1, Cout, H, W], weights, kind)


def maps(row, kind):
    """A convolution of each channel, gated if the row is, or of groups of channels."""
    H, W, C = row["H"], row["W"], row["C"]
    if row["op"] == "linearGrouped":
        K = row["K"]
        weights = [external("groups", FLOAT[kind], [C, K, 1, 1], type=kind)]
        nodes = helper.make_node("Conv", ["x", "groups"], ["y"], group=C // K)
        return model(nodes, {"x": [1, C, H, W]}, [1, C, H, W], weights, kind)
    KS, gated = row["KS"], row["gated"]
    channels = 2 * C if gated else C
    weights = [external("taps", FLOAT[kind], [channels, 1, KS, KS], type=kind),
               external("bias", FLOAT[kind], [channels], type=kind)]
    nodes = [helper.make_node("Conv", ["x", "taps", "bias"], ["filtered" if gated else "y"],
                              group=channels, kernel_shape=[KS, KS], pads=[KS // 2] * 4)]
    if gated:
        nodes += [helper.make_node("Split", ["filtered"], ["a", "b"], axis=1, num_outputs=2),
                  helper.make_node("Sigmoid", ["b"], ["gate"]),
                  helper.make_node("Mul", ["b", "gate"], ["silu"]),
                  helper.make_node("Mul", ["a", "silu"], ["y"])]
    return model(nodes, {"x": [1, channels, H, W]}, [1, C, H, W], weights, kind)


def linear_attention(row, kind):
    """q (k^T v) / (q . sum of k + eps) of heads of q, k and v, q and k after Relu."""
    T, H, Dh = row["T"], row["H"], row["Dh"]
    shape, eps = [1, T, H * Dh], 1e-15 if kind == "f32" else 2.0**-14  # which f16 still has
    nodes = [
        *split_heads(H, Dh),
        helper.make_node("Constant", [], ["tokens"], value_ints=[3]),
        helper.make_node("Constant", [], ["eps"],
                         value=helper.make_tensor("eps", FLOAT[kind], [], [eps])),
        helper.make_node("Relu", ["q_heads"], ["queries"]),
        helper.make_node("Relu", ["k_heads"], ["keys"]),
        helper.make_node("MatMul", ["keys", "v_heads"], ["sums"]),
        helper.make_node("ReduceSum", ["keys", "tokens"], ["totals"], keepdims=1),
        helper.make_node("MatMul", ["queries", "sums"], ["above"]),
        helper.make_node("MatMul", ["queries", "totals"], ["weights"]),
        helper.make_node("Add", ["weights", "eps"], ["below"]),
        helper.make_node("Div", ["above", "below"], ["heads"]),
        *JOIN_HEADS,
    ]
    return model(nodes, dict.fromkeys("qkv", shape), shape, [], kind)


def attention(row, kind):
    node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["y"], domain="com.microsoft",
                            num_heads=row["Hq"])
    return model(node, *attention_shapes(row), [], kind)


def composed_attention(row, kind):
    """softmax(q k^T / sqrt(Dh)) v of plain operators."""
    H, Dh = row["Hq"], row["Dh"]
    nodes = [
        *split_heads(H, Dh),
        helper.make_node("Constant", [], ["size"], value=helper.make_tensor(
            "size", FLOAT[kind], [], [Dh**-0.5])),
        helper.make_node("Mul", ["q_heads", "size"], ["q_scaled"]),
        helper.make_node("MatMul", ["q_scaled", "k_heads"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "v_heads"], ["heads"]),
        *JOIN_HEADS,
    ]
    return model(nodes, *attention_shapes(row), [], kind)


def split_heads(H, Dh):
    """q and v [1, T, H * Dh] -> q_heads and v_heads [1, H, T, Dh], k -> k_heads [1, H, Dh, T]."""
    nodes = [helper.make_node("Constant", [], [name], value_ints=value)
             for name, value in {"split": [0, 0, H, Dh], "join": [0, 0, H * Dh]}.items()]
    for name, order in {"q": [0, 2, 1, 3], "k": [0, 2, 3, 1], "v": [0, 2, 1, 3]}.items():
        nodes += [helper.make_node("Reshape", [name, "split"], [f"{name}_split"]),
                  helper.make_node("Transpose", [f"{name}_split"], [f"{name}_heads"], perm=order)]
    return nodes


def attention_shapes(row):
    Tq, Tk, width = row["Tq"], row["Tk"], row["Hq"] * row["Dh"]
    return {"q": [1, Tq, width], "k": [1, Tk, width], "v": [1, Tk, width]}, [1, Tq, width]


def external(layout, element, shape, **how):
    """A weight in a file of its own, and how theirs.js fills that."""
    tensor = TensorProto(name=layout, data_type=element, dims=shape,
                         data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=layout)
    return tensor, {"path": layout, "layout": layout} | how


def model(nodes, inputs, output, weights, kind):
    """(graph of one node or several, the files of its weights)."""
    graph = helper.make_graph(
        nodes if isinstance(nodes, list) else [nodes], "bench",
        [helper.make_tensor_value_info(name, FLOAT[kind], dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info("y", FLOAT[kind], output)],
        initializer=[tensor for tensor, _ in weights])
    imports = [helper.make_opsetid(domain, version) for domain, version in OPSETS]
    made = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    return made, [file for _, file in weights]
