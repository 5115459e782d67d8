"""Writes a graph: one call an operator, and what the three models share.

Letters: B the batch, T tokens, D the width of a token, H heads of width Dh. The residual stream and
the norms are f32; `half` graphs multiply in f16. A method casts its operands to what it computes
in, so that a model need not know which graph it writes.
"""

import contextlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from export.onnx.weights import F16, F32, Value

OPSET, IR_VERSION = 23, 11  # RMSNormalization and RotaryEmbedding came with 23
MICROSOFT = "com.microsoft"  # the domain of MatMulNBits
I64, BOOL = TensorProto.INT64, TensorProto.BOOL


class Graph:
    def __init__(self, name, weights):
        self.name, self.weights = name, weights
        self.compute = F16 if weights.half else F32
        self.inputs, self.outputs, self.nodes = [], [], []
        self.constants, self.infos = {}, []
        self.kept = {}  # casts and sums that several operators share
        self.prefix = name

    @contextlib.contextmanager
    def scope(self, prefix):
        """Names of nodes and values begin with `prefix`."""
        before, self.prefix = self.prefix, prefix
        yield
        self.prefix = before

    def input(self, name, element, dims):
        self.inputs.append(helper.make_tensor_value_info(name, element, dims))
        return Value(name, element)

    def output(self, name, value, dims):
        self.nodes.append(helper.make_node("Identity", [value.name], [name], name=name))
        self.outputs.append(helper.make_tensor_value_info(name, value.element, dims))

    def op(self, kind, *operands, element=None, count=1, domain="", **attributes):
        """The Value of an operator, or `count` of them.

        Operands are Values, names of weights that are floats, None, or constants: whole numbers
        and lists of them, and numpy's scalars and arrays. element: the first operand's by default.
        """
        operands = [self.operand(operand) for operand in operands]
        name = f"{self.prefix}/{kind}_{len(self.nodes)}"
        names = [name] if count == 1 else [f"{name}.{i}" for i in range(count)]
        self.nodes.append(helper.make_node(
            kind, [o.name for o in operands], names, name=name, domain=domain, **attributes))
        values = [Value(n, element or operands[0].element) for n in names]
        return values[0] if count == 1 else values

    def operand(self, operand):
        if isinstance(operand, Value):
            return operand
        if isinstance(operand, str):
            return self.weights[operand]
        if operand is None:
            return Value("", 0)
        array = np.asarray(operand)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            name = f"constant_{len(self.constants)}"
            self.constants[key] = numpy_helper.from_array(array, name)
        tensor = self.constants[key]
        return Value(tensor.name, tensor.data_type)

    def model(self, properties, version):
        """The ModelProto; its weights lie beside it."""
        graph = helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs,
            initializer=[*self.constants.values(), *self.weights.initializers],
            value_info=self.infos,
        )
        model = helper.make_model(
            graph, producer_name="trefoil", producer_version=version, ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
        )
        helper.set_model_props(model, properties)
        return model

    # What the models share.

    def cast(self, value, element):
        value = self.operand(value)
        if value.element == element:
            return value
        return self.once("Cast", value, element=element, to=element)

    def once(self, kind, value, *operands, **attributes):
        """As op, but asked again for the same value it gives what it gave."""
        key = (kind, value.name, str(operands), str(attributes))
        if key not in self.kept:
            self.kept[key] = self.op(kind, value, *operands, **attributes)
        return self.kept[key]

    def linear(self, x, name):
        """x [B, T, K] . weight [N, K]^T."""
        weight = self.weights[f"{name}.weight"]
        if isinstance(weight, Value):
            return self.op("MatMul", self.cast(x, weight.element), weight)
        rows, columns = weight.shape
        y = self.op(
            "MatMulNBits", self.cast(x, weight.scales.element), weight.codes, weight.scales,
            *([weight.zeros] if weight.zeros else []),
            domain=MICROSOFT, K=columns, N=rows, bits=weight.bits, block_size=weight.block,
        )
        # onnx knows no shapes of another domain's operators.
        self.infos.append(helper.make_tensor_value_info(y.name, y.element, ["batch", None, rows]))
        if weight.rest is None:
            return y
        rest = self.op("MatMul", self.block_sums(x, columns, weight.block), weight.rest)
        return self.op("Add", self.cast(y, F32), rest)

    def block_sums(self, x, columns, block):
        """Sums of `block` values each, f32 [B, T, K / block]."""
        blocks = self.once("Reshape", self.cast(x, F32), [0, 0, columns // block, block])
        return self.once("ReduceSum", blocks, [3], keepdims=0)

    def rms_norm(self, x, name, eps):
        """Over the last axis, in f32."""
        return self.op("RMSNormalization", self.cast(x, F32), f"{name}.weight", epsilon=eps)

    def silu(self, x):
        return self.op("Mul", x, self.op("Sigmoid", x))

    def swiglu(self, gate, up):
        """silu(gate) * up, in f32 where only one of them is in 16 bits."""
        element = gate.element if gate.element == up.element else F32
        return self.op("Mul", self.silu(self.cast(gate, element)), self.cast(up, element))

    def attention(self, q, k, v, mask=None):
        """softmax(q k + mask) v; q [.., T, Dh] with its scale, k [.., Dh, T], v [.., T, Dh]."""
        q, k, v = (self.cast(value, self.compute) for value in (q, k, v))
        scores = self.op("MatMul", q, k)
        if mask:
            scores = self.op("Add", scores, self.cast(mask, self.compute))
        return self.op("MatMul", self.op("Softmax", scores, axis=-1), v)
