"""A graph's weights beside it: files of external data, written tensor by tensor as they come."""

import math

from onnx import TensorProto, helper

LARGEST_FILE = 2_000_000_000  # bytes; a browser holds a file in one buffer of less than 2^31
ALIGNMENT = 64


class ExternalData:
    """`name`, `name`_1, `name`_2, ...: transformers.js finds them under these names."""

    def __init__(self, folder, name, largest=LARGEST_FILE):
        self.folder, self.name, self.largest = folder, name, largest
        self.files = []
        self.file = None

    def write(self, name, element, shape, chunks):
        """Appends a tensor, given as arrays that follow one another; its TensorProto.

        element: of onnx.TensorProto. The graph names the file relative to its own folder.
        """
        length = math.prod(shape) * helper.tensor_dtype_to_np_dtype(element).itemsize
        offset = self.place(length)
        for chunk in chunks:
            self.file.write(chunk.tobytes())
        written = self.file.tell() - offset
        assert written == length, (name, shape, written, length)
        tensor = TensorProto(name=name, data_type=element, dims=shape,
                             data_location=TensorProto.EXTERNAL)
        place = {"location": self.files[-1], "offset": offset, "length": length}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def place(self, length):
        """Where the next `length` bytes go: aligned, and in a new file where this one is full."""
        at = self.file.tell() if self.file else 0
        padding = -at % ALIGNMENT
        if self.file and at + padding + length <= self.largest:
            self.file.write(bytes(padding))
            return at + padding
        self.close()
        self.files.append(self.name + (f"_{len(self.files)}" if self.files else ""))
        self.file = (self.folder / self.files[-1]).open("wb")
        return 0

    def close(self):
        if self.file:
            self.file.close()
            self.file = None
