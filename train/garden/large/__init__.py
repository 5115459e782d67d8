"""The scenes at 256 x 256 pixels, by the same attributes, seeds and captions, in more detail."""
