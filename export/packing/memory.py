"""About how much GPU memory a picture takes, and a step's work, for the dry run and the page's list

of sizes.

Counts the weights that stay and the buffers that web/models/ holds at once in its widest moment;
the browser's own pipe.plan() counts exactly.
"""

from dataclasses import dataclass

MEMORY_BUDGET = 1 << 30  # weights that stay between pictures, as in web/trefoil.js
WHOLE_BYTES = 1 << 30  # of a denoiser that is there as a whole, as in web/engine/stages.js
IMAGE_INPUT = "image_input"
SIZES_BYTES = 256 * 256  # of what a submission's dispatches are told, as in web/engine/recorder.js


@dataclass(frozen=True)
class Picture:
    """What is drawn: pixels, and the tokens that the denoiser has at once, images' included; and

    those that a text encoder reads, an instruction's too. texts: the prompt, and a negative one.
    """

    width: int
    height: int
    text_tokens: int
    image_tokens: int
    read_tokens: int
    texts: int = 1


def peak_gpu_bytes(model, size, images=()):
    """The most for a picture of `size` from reference images of `images`, (width, height) each."""
    picture = picture_of(model, size, images)
    resident, activations = {}, {}
    for name, component in model.components.items():
        resident[name] = component.gpu_bytes
        activations[name] = component.module.activation_bytes(component.config, picture)
        if images and component.image_input:
            resident[IMAGE_INPUT] = component.image_input_bytes
            activations[IMAGE_INPUT] = component.module.image_activation_bytes(
                component.config, images)
    together = sum(resident.values())
    if together <= MEMORY_BUDGET:
        return SIZES_BYTES + together + max(activations.values())
    for name, component in model.components.items():
        layer = resident[name] // component.module.streamed_layers(component.config)
        if component is not model.denoiser:
            resident[name] = layer
        elif resident[name] > WHOLE_BYTES:
            resident[name] = WHOLE_BYTES + layer
    return SIZES_BYTES + max(resident[name] + extra for name, extra in activations.items())


def step_flop(model, size):
    """As export.families.family.DenoiserModule has it, of a picture of `size`."""
    denoiser = model.denoiser
    return denoiser.module.step_flop(denoiser.config, picture_of(model, size, ()))


def picture_of(model, size, images):
    area = model.latents.pixels**2
    tokens = sum(width * height // area for width, height in (size, *images))
    rows = model.call.max_sequence_length
    read = max(prompt.length(rows) for prompt in model.prompts)
    return Picture(*size, rows, tokens, read, 2 if model.call.guidance.kind == "cfg" else 1)
