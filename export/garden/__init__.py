"""Garden, the embedded text-to-image model: drawn, trained, made ternary and packed here.

The modules import torch, diffusers and transformers; nothing outside this package imports it.
"""
