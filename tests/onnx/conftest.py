"""Fixtures: bundles of small models, written once a module."""

import pytest

from export.finding import find_model
from export.onnx.bundle import write_bundle
from export.opening import open_model


@pytest.fixture(scope="session")
def write():
    """write(checkpoint, out, text_encoder_bits): its ONNX bundle in the new folder `out`."""

    def run(checkpoint, out, text_encoder_bits=None):
        source = find_model(str(checkpoint), text_encoder_bits)
        write_bundle(out, open_model(source, text_encoder_bits), lambda *done: None)
        return out

    return run
