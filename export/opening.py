"""A checkpoint folder -> a Model, with everything but its weights read and checked."""

from export import layouts
from export.autoencoders import kl
from export.denoisers.flux2_tables import plan_folding
from export.errors import ExportError
from export.families.call import (
    check_guidance,
    check_tokenizer,
    read_family,
    read_pipeline,
    read_scheduler,
    read_taps,
)
from export.layouts.naming import strip_prefixes
from export.packing.model import Component, Model
from export.packing.spec import check_complete, why_dropped
from export.prompts.tokenizer import read_tokenizer
from export.source import files, quantisers
from export.source.configuration import Configuration
from export.source.meaning import check_quantization_file
from export.source.safetensors import Checkpoint
from export.text_encoders import qwen3


def open_model(source, text_encoder_bits=None, with_image_input=False):
    """Everything about the checkpoint but its weights, checked.

    text_encoder_bits: 4, 8, 16, or None for 4 unless the source is quantised already.
    with_image_input: the autoencoder's encoder too, for reference images.
    Raises ExportError.
    """
    folder = source.folder
    listing = files.list_checkpoint(folder)
    family = read_family(folder, stands_alone=files.MODEL_INDEX not in listing.names)
    chosen = files.choose(listing, text_encoder_bits, source.file)
    files.check_contents(listing, chosen)
    call = Configuration.read_optional(folder / files.CALL)
    check_guidance(folder, call)
    place, text_place = chosen.transformer, layouts.recognise(chosen.text_encoder)
    for path in (place.path, text_place.path):
        check_quantization_file(path)
    check_bits(text_place, text_encoder_bits)
    taps = read_taps(call, family.TEXT_ENCODER_OUT_LAYERS)
    checkpoint = place.layout.open(place, call)
    strip_prefixes(checkpoint, family.ANCHORS)
    layout = layouts.by_content(place.layout, checkpoint.entries)
    config_file = read_transformer_config(place, checkpoint, family)
    encoder = qwen3.read_config(Configuration.read(text_place.path / "config.json"), taps)
    transformer = family.read_config(config_file)
    vae = Configuration.read(folder / "vae" / "config.json")
    autoencoder = kl.read_config(vae, with_image_input)
    family.check_components(config_file, transformer, encoder, taps, autoencoder)
    tokenizer = read_tokenizer(folder / chosen.tokenizer)
    check_tokenizer(tokenizer, encoder)
    pipeline = read_pipeline(call, taps, autoencoder.patch, with_image_input)
    scheduler = read_scheduler(folder, family.SCHEDULER)
    folding = plan_folding(transformer, pipeline, autoencoder.patch, scheduler)
    components = (
        open_text_encoder(encoder, text_place, call, text_encoder_bits or 4),
        open_transformer(transformer, layout, checkpoint, family, folding),
        open_autoencoder(folder, autoencoder),
    )
    return Model(
        source=source,
        family=family,
        pipeline=pipeline,
        patch=autoencoder.patch,
        scheduler=scheduler,
        tokenizer=tokenizer,
        components={component.name: component for component in components},
    )


def read_transformer_config(place, checkpoint, family):
    """config.json beside the weights or in transformer/; without one, what the shapes say."""
    path = place.path if place.path != place.folder else place.folder / "transformer"
    if place.layout.stands_alone and not (path / "config.json").exists():
        known = family.drop_reason
        kept = [name for name in checkpoint.entries if not why_dropped(name, known)]
        quantisers.refuse(place.files[0], checkpoint.entries, kept)  # its shapes would mislead
        return Configuration(place.files[0], family.derive_config(place.files[0], checkpoint))
    return Configuration.read(path / "config.json")


def open_transformer(config, layout_class, checkpoint, family, folding):
    specs = family.transformer_spec(config)
    component = Component("transformer", family.TRANSFORMER_CLASS, config,
                          layout_class(checkpoint, specs), specs, folding=folding)  # fmt: skip
    return check(component, family.drop_reason)


def open_text_encoder(config, place, call, bits):
    specs = qwen3.encoder_spec(config)
    checkpoint = place.layout.open(place, call)
    strip_prefixes(checkpoint, qwen3.ANCHORS)
    checkpoint.strip_prefix("model.")
    component = Component("text_encoder", "Qwen3", config, place.layout(checkpoint, specs, bits),
                          specs)  # fmt: skip
    return check(component, qwen3.make_drop_reason(config))


def check_bits(place, bits):
    """Refuses a text encoder that is not in the bits asked for; 16 means what the source has."""
    stored = place.layout.stored_bits(place.path)
    if bits not in (None, 16) and stored not in (None, bits):
        raise ExportError(
            f"{place.path}: the text encoder is stored in {stored} bits, got "
            f"--text-encoder-bits {bits}, expected {stored}, 16 or none; or add the full-precision "
            f"{layouts.Floats.folder}/"
        )


def open_autoencoder(folder, config):
    checkpoint = Checkpoint(folder / "vae")
    strip_prefixes(checkpoint, kl.ANCHORS)
    encoder = kl.encoder_spec(config) if config.encoder else {}
    if encoder and not encoder.keys() & checkpoint.entries.keys():
        raise ExportError(
            f"{checkpoint.folder}: the autoencoder has no encoder, got --with-image-input, "
            f"expected tensors like {next(iter(encoder))}; use the whole autoencoder, or leave "
            "the option out"
        )
    specs = kl.autoencoder_spec(config) | encoder
    component = Component("autoencoder", kl.CLASS, config, layouts.Floats(checkpoint, specs),
                          specs, image_input=tuple(encoder))  # fmt: skip
    return check(component, kl.drop_reason)


def check(component, drop_reason):
    """The component, if its tensors are all there, and with what is left out written down."""
    checkpoint, expected = component.layout.checkpoint, component.layout.expected()
    check_complete(checkpoint.folder, expected, checkpoint.entries, drop_reason)
    for name in checkpoint.entries.keys() - expected.keys():
        why = why_dropped(name, drop_reason)
        component.dropped.setdefault(why, []).append(checkpoint.entries[name].bytes)
    return component
