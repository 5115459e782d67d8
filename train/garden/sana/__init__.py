"""Garden at 256 pixels in Sana's shape: scenes of ../large, AutoencoderDC, Gemma 2 and
SanaTransformer2DModel, drawn in two steps as Sana-Sprint draws."""
