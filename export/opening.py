"""A checkpoint's folder -> a Model, with everything but its weights read and checked."""

from export import layouts
from export.errors import ExportError
from export.families import choose as choosing
from export.families import recognise
from export.families.call import read_call
from export.families.family import ENCODER, Asked, Opened, Sampler
from export.layouts.naming import Renamed, strip_prefixes, take_tied
from export.packing.model import Component, Model, PromptInput
from export.packing.spec import check_complete, why_dropped
from export.prompts.instruction import measure_instruction
from export.prompts.tokenizer import read_tokenizer
from export.source import files, quantisers
from export.source.configuration import Configuration, show
from export.source.meaning import check_quantization_file

USUAL_BITS = 4  # of a text encoder that is quantised here


def open_model(source, text_encoder_bits=None, with_image_input=False):
    """Everything about the checkpoint but its weights, checked.

    text_encoder_bits: 4, 8, 16, or None for 4 unless the source is quantised already.
    with_image_input: the autoencoder's encoder too, for reference images.
    Raises ExportError.
    """
    # 1 recognise the family, and its parts among the files
    family, pipeline, chosen = choose(source, text_encoder_bits)
    call, index = (read_setting(source, chosen, name) for name in (files.CALL, files.MODEL_INDEX))
    if with_image_input and not family.image_input:
        raise ExportError(f"{source.folder}: models of the family {family.name} draw from no "
                          "reference images; leave --with-image-input out")
    asked = Asked(family.read_own(index, call), with_image_input)

    # 2 open each part
    sources, opened = {}, {}
    for part in family.parts:
        place = chosen.places[part.name]
        check_quantization_file(place.path)
        sources[part.name] = open_tensors(part, place, call, text_encoder_bits)
        file = read_part_file(part, place, chosen.configs[part.name], *sources[part.name])
        opened[part.name] = Opened(file, part.read_config(file, asked))

    # 3 check that they agree, with each other and with how they are called
    family.check(opened)
    configs = {name: each.config for name, each in opened.items()}
    prompts = open_prompts(family, chosen.tokenizers, configs, asked.own)
    latents = family.latents(configs)
    defaults = family.defaults(family.pipelines[pipeline], configs, latents)
    called = read_call(call, defaults, latents.pixels, asked.own, with_image_input)
    sampler = open_sampler(chosen.settings[files.SCHEDULER_CONFIG], family, defaults.samplers,
                           called, defaults.scheduler)
    tables = family.tables(configs, called, latents, sampler)
    components = {}
    for part in family.parts:
        layout, tensors = sources[part.name]
        components[part.name] = open_component(part, configs[part.name], layout, tensors,
                                               text_encoder_bits)
    components[family.denoiser.name].folding = tables
    return Model(source, family, pipeline, called, latents, sampler, prompts, components)


def choose(source, text_encoder_bits):
    """(Family, pipeline class, choose.Chosen) of a checkpoint."""
    listing = files.list_checkpoint(source.folder)
    base = files.list_checkpoint(source.base.folder) if source.base else None
    family, pipeline = choosing.read_family(listing, source.file, base)
    family = family or choosing.guess_family(listing, source.file) or recognise.unknown()
    chosen = choosing.choose(listing, family, text_encoder_bits, source.file, base,
                             source.made_from_base)
    choosing.check_contents(chosen, listing, base)
    return family, pipeline or next(iter(family.pipelines)), chosen


def read_setting(source, chosen, name):
    """A file beside the parts, empty where there is none."""
    path = chosen.settings[name]
    return Configuration.read(path) if path else Configuration(source.folder / name, {})


def open_tensors(part, place, call, bits):
    """(layout class, tensors by our names) of a part where it was found."""
    tensors = place.layout.open(place)
    strip_prefixes(tensors, part.module.ANCHORS)
    if part.original and place.layout.stands_alone and part.original.mark in tensors.entries:
        tensors = Renamed(tensors, part.original.rename(call, tensors.entries.keys()))
    if part.module.PREFIX:
        tensors.strip_prefix(part.module.PREFIX)
    take_tied(tensors, getattr(part.module, "TIED", {}))
    layout = layouts.by_content(place.layout, tensors.entries, part.layouts)
    if part.kind == ENCODER:
        check_bits(layout, part, place.path, bits)
    return layout, tensors


def check_bits(layout, part, path, bits):
    """Refuses a text encoder that is not in the bits asked for; 16 means what the source has."""
    stored = layout.stored_bits(path)
    if bits not in (None, 16) and stored not in (None, bits):
        raise ExportError(
            f"{path}: the text encoder is stored in {stored} bits, got --text-encoder-bits {bits}, "
            f"expected {stored}, 16 or none; or add the full-precision {part.folder}/"
        )


def read_part_file(part, place, path, layout, tensors):
    """config.json at `path`; where there is none, what the shapes of the tensors say."""
    if path is None and part.derive_config:
        known = part.module.drop_reason(None)
        kept = [name for name in tensors.entries if not why_dropped(name, known)]
        if layout is place.layout:  # whose content has shown no other
            quantisers.refuse_packing(place.files[0], tensors.entries, kept)
        quantisers.refuse(place.files[0], tensors.entries, kept)  # its shapes would mislead
        return Configuration(place.files[0], part.derive_config(place.files[0], tensors))
    return Configuration.read(path or place.folder / part.folder / "config.json")


def open_component(part, config, layout, tensors, bits):
    """The Component, its tensors complete."""
    images = part.module.image_spec(config)
    if images and not images.keys() & tensors.entries.keys():
        raise ExportError(
            f"{tensors.folder}: the {part.name} has no encoder, got --with-image-input, "
            f"expected tensors like {next(iter(images))}; use the whole {part.name}, or leave "
            "the option out"
        )
    specs = part.module.spec(config) | images
    tensors.flatten({name: spec.shape for name, spec in specs.items()})
    own = (bits or USUAL_BITS,) if part.kind == ENCODER and layout.quantises else ()
    component = Component(part, config, layout(tensors, specs, *own), specs,
                          image_input=tuple(images))
    return check(component, part.module.drop_reason(config))


def check(component, drop_reason):
    """The component, if its tensors are all there, and with what is left out written down."""
    checkpoint, expected = component.layout.checkpoint, component.layout.expected()
    check_complete(checkpoint.folder, expected, checkpoint.entries, drop_reason)
    for name in checkpoint.entries.keys() - expected.keys():
        why = why_dropped(name, drop_reason)
        component.dropped.setdefault(why, []).append(checkpoint.entries[name].bytes)
    return component


def open_prompts(family, tokenizers, configs, own):
    """A PromptInput for each of the family's prompts; every token has an embedding.

    own: what the family's read_own gave.
    """
    prompts = []
    for number, about in enumerate(family.prompts, 1):
        tokenizer = read_tokenizer(tokenizers[about.encoder], about.chat, about.pads_right)
        config = configs[about.encoder]
        if tokenizer.largest_id >= config.vocab_size:
            raise ExportError(
                f"{tokenizer.folder / 'tokenizer.json'}: the largest token id is "
                f"{tokenizer.largest_id}, expected less than the text encoder's vocab_size "
                f"{config.vocab_size}"
            )
        own_rows = read_length(tokenizer, config) if about.own_length else None
        file = "tokenizer.json" if number == 1 else f"tokenizer_{number}.json"
        lines = own.get(about.instruction) if about.instruction else None
        prompts.append(PromptInput(about, tokenizer, file, measure_instruction(tokenizer, lines),
                                   own_rows))
    return tuple(prompts)


def read_length(tokenizer, config):
    """Ids of every text for an encoder with so many positions: the tokenizer's model_max_length."""
    length, most = tokenizer.config.get("model_max_length"), config.max_position_embeddings
    if length is None or length != int(length) or not 0 < length <= most:
        raise ExportError(
            f"{tokenizer.folder / 'tokenizer_config.json'}: model_max_length is {show(length)}, "
            f"expected a whole number up to the text encoder's max_position_embeddings {most}; the "
            "pipeline pads and cuts every prompt to it"
        )
    return int(length)


def open_sampler(path, family, classes, call, own=None):
    """The Sampler of scheduler_config.json, or the pipeline's usual one where there is none.

    classes: those that the pipeline draws with, () for all of the family's; own: values in place of
    the family's where there is no file.
    """
    config = Configuration.read(path) if path else None
    classes = classes or tuple(family.samplers)
    name = config.get("_class_name", None) if config else None
    if isinstance(name, str) and name in family.samplers and name not in classes:
        config.fail(f"_class_name is {show(name)}, and the pipeline of this model draws only with "
                    + " or ".join(classes))
    name = name if isinstance(name, str) and name in classes else classes[0]
    module = family.samplers[name]
    for other in family.samplers.values() if config else ():
        for key in other.KEYS:  # diffusers' from_config leaves those of the class before, unread
            config.get(key, None)
    values = family.scheduler if config else family.scheduler | (own or {})
    return Sampler(name, module, module.read_config(config, values, call))
