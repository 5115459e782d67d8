"""A family that stands under tests/ alone: registered by a line, it is built and drawn.

Its denoiser is two linears; Qwen3, AutoencoderKLFlux2 and flow Euler are the project's own.
"""

from export import layouts
from export.autoencoders import kl
from export.families.call import Call, Guidance
from export.families.family import AUTOENCODER, DENOISER, ENCODER, Family, Latents, Part, Prompt
from export.samplers import flow_euler
from export.text_encoders import qwen3
from tests.toy import denoiser


def read_own(index, call):
    return {"text_encoder_out_layers": call.integers("text_encoder_out_layers", least=0)}


def check(opened):
    c, encoder = opened["transformer"].config, opened["text_encoder"].config
    width = len(encoder.taps) * encoder.hidden_size
    if c.joint_attention_dim != width:
        opened["transformer"].file.fail(
            f"joint_attention_dim is {c.joint_attention_dim}, expected {width}"
        )


def latents(configs):
    """As FLUX.2's: a token is 2 x 2 latents, normalised by the autoencoder's batch norm."""
    autoencoder = configs["autoencoder"]
    return Latents(
        4 * autoencoder.latent_channels, 2 * autoencoder.scale_factor,
        {"statistics": ["autoencoder.bn.running_mean", "autoencoder.bn.running_var"],
         "eps": autoencoder.batch_norm_eps},
    )


TOY = Family(
    name="toy",
    pipelines={
        "ToyPipeline": Call(num_inference_steps=2, max_sequence_length=16),
        "ToyGuidedPipeline": Call(num_inference_steps=2, max_sequence_length=16,
                                  guidance=Guidance("cfg", 3.0, negative=True)),
    },
    parts=(
        Part("text_encoder", ENCODER, qwen3,
             lambda file, asked: qwen3.read_config(file, asked.own["text_encoder_out_layers"]),
             layouts.LINEAR, "text_encoder"),
        Part("transformer", DENOISER, denoiser, lambda file, asked: denoiser.read_config(file),
             layouts.LOWBIT, "transformer"),
        Part("autoencoder", AUTOENCODER, kl,
             lambda file, asked: kl.read_config(file, asked.image_input), layouts.WHOLE, "vae"),
    ),
    prompts=(Prompt("text_encoder"),),
    samplers={flow_euler.CLASS: flow_euler},
    scheduler={"num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": False},
    read_own=read_own,
    check=check,
    latents=latents,
)
