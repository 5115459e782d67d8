"""How published checkpoints lay out their tensors: a layout is a file and a line here.

A layout has a `name`, the `folder` that it is found by, and, built from the folder's Checkpoint
and the component's specs {name: Spec},

    expected()         source name -> Expected, for the completeness check
    storage(name)      how the tensor will be stored; reads only what that takes
    pack(name)         the tensor as Packed

`name` is a spec name in the last two. Where two folders are there, the first layout listed wins.
"""

from export.layouts.floats import Floats
from export.layouts.mlx_affine import MlxAffine, find_quantization
from export.layouts.mlx_packed import MlxPacked
from export.layouts.unpacked import Unpacked

TRANSFORMER = [MlxPacked, Unpacked]
TEXT_ENCODER = [MlxAffine, Floats]

__all__ = ["TEXT_ENCODER", "TRANSFORMER", "Floats", "MlxAffine", "find_quantization"]
