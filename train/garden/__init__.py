"""Garden, the embedded text-to-image model: drawn, trained, distilled and judged here.

The modules import torch, diffusers and transformers; nothing outside this package imports it. Its
low-bit students are made by train.ternarize.
"""
