"""Keys that change what weights or settings mean: none is passed over by a reader that lacks it.

One rule for every file of a checkpoint. Where the keys are a class's own (config.json and its
kin), a key passes when a reader has asked for it, when HARMLESS lists it, or when its value
switches nothing on; any other stops the build by name. Where people write what they like
(`__metadata__` of safetensors, key/value pairs of GGUF), a key stops it when its words say that
the weights are not to be multiplied as they are: rotated, permuted, smoothed, with flipped signs.
"""

import difflib
import re

from export.errors import ExportError
from export.source.configuration import Configuration, NonFinite, parse_json, show

# Notes of the libraries that write config.json: where a model came from and who wrote the file.
NOTES = {
    "architectures", "auto_map", "class_name", "dtype", "library_name", "license", "model_type",
    "name_or_path", "pipeline_tag", "tags", "torch_dtype", "transformers_version",
    "diffusers_version", "torchscript", "use_safetensors", "variant", "description", "$schema",
}
MODULE_KEYS = {"bits", "nbits", "group_size", "groupSize", "mode"}  # of one module
QUANTIZATION = {"quantization", "quantization_config"}  # read by the layouts, checked below

HARMLESS = {
    # Klein hands no guidance to an embedder; the rest are notes of trainers about their memory.
    "transformer": NOTES | QUANTIZATION | {
        "guidance_embeds", "sample_size", "enable_time_sign_embed", "gradient_checkpointing",
    },
    # The encoder's half is read where reference images are; we compute in float32 anyway.
    "autoencoder": NOTES | {
        "in_channels", "down_block_types", "use_quant_conv", "batch_norm_momentum", "sample_size",
        "force_upcast", "gradient_checkpointing",
    },
    # Training, generation, the head and the size of a cache; sliding windows are asked for.
    "text_encoder": NOTES | QUANTIZATION | {
        "attention_dropout", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id",
        "unk_token_id", "decoder_start_token_id", "initializer_range", "max_position_embeddings",
        "max_window_layers", "sliding_window", "tie_word_embeddings", "use_cache",
        "cache_implementation", "attn_implementation", "output_attentions",
        "output_hidden_states", "return_dict", "return_dict_in_generate", "output_scores",
        "problem_type", "id2label", "label2id", "num_labels", "finetuning_task",
        "task_specific_params", "pretraining_tp", "gradient_checkpointing",
        "chunk_size_feed_forward", "is_encoder_decoder", "tokenizer_class", "prefix",
        "max_length", "min_length", "do_sample", "early_stopping", "num_beams",
        "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p",
        "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences",
        "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
        "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
        "generation_config", "eos_token", "pad_token", "bos_token", "base_model",
        "trust_remote_code", "model_max_length",
    },
    "scheduler": NOTES,
    "model_index": NOTES | {"feature_extractor", "image_encoder", "image_processor",
                            "safety_checker", "requires_safety_checker", "watermarker"},
    "quantization": {
        "bits", "nbits", "group_size", "groupSize", "mode", "format", "solver", "skip_patterns",
        "skipped_count", "quantized_count", "quantized_fqns", "packing_bitwidth", "pack_seconds",
        "input_dtype", "output_dtype", "quant_method", "model_version", "source", "created",
        "version", "tool", "linear_class", "quantized_modules", "skipped_modules", "skip_modules",
        "ignore", "modules_to_not_convert", "source_model", "base_model", "dtype", "scale_dtype",
        "scales_dtype", "packing",
    },
    "trefoil": {"swapped_norm_out"},  # asked for only where the names are the original ones
}

# Beginnings of keys that carry notes: private ones, and those of known trainers.
NOTE_PREFIXES = ("_", "musubi_", "unsloth_", "simpletuner_", "training_", "train_", "wandb_")

ROTATED = ("the weights are stored in a rotated basis; this version multiplies them as they are, "
           "so the picture would be noise")
RESCALED = ("the weights are stored scaled, reordered or with other signs; this version "
            "multiplies them as they are, so the picture would be noise")
ALWAYS = re.compile("hadamard|quarot|spinquant|quipsharp|flatquant|ostquant|duquant")
ROTATION = re.compile("(?:rotat|orthogon|incoher|househ|givens|walsh|fwht|(?:rand)?had$|basis$)")
RESCALING = re.compile("(?:smooth|permut|perms?$|shuffl|reorder|signs?$|signflip|flip|prescal"
                       "|equaliz|act_order$|desc_act$)")
# Free-text keys of others, by their beginning; and keys whose value is prose, by their end.
FOREIGN = re.compile("(?:general\\.(?!architecture$)|modelspec\\.|ss_|sshs_|ot_|tokenizer\\."
                     "|quantize\\.imatrix)")
PROSE = re.compile("(?:prompt|workflow|parameters|comment|description|title|author|licen[cs]e|name"
                   "|path|tags?|date|url|repo|source|model|dataset|thumbnail|hash|notes?|usage)$")
OFF = ("", "none", "null", "false", "no", "off", "0", "identity", "disabled")
LONGEST_WORD = 80  # longer values, and those with blanks, are sentences or paths

ALIASES = {  # what people write in trefoil.json -> the key that they mean
    "steps": "num_inference_steps", "cfg": "guidance_scale", "cfg_scale": "guidance_scale",
    "guidance": "guidance_scale", "size": "sizes", "resolution": "sizes", "prompt": "prompts",
    "examples": "prompts", "out_layers": "text_encoder_out_layers",
    "taps": "text_encoder_out_layers", "max_length": "max_sequence_length",
    "negative": "negative_prompt",
}


def refuse_unread(config, kind):
    """Refuses a key of `config` that no reader asked for and that is not known to be harmless.

    To be called when the reader of this `kind` of file (a key of HARMLESS) is done.
    """
    known = config.asked | HARMLESS[kind]
    for key, value in config.values.items():
        if key in config.asked or is_off(value):
            continue
        if key in HARMLESS[kind]:
            refuse_value(config.path, key, value)
            continue
        refuse_words(config.path, key, key, value)
        if kind == "trefoil" or not key.startswith(NOTE_PREFIXES):
            config.fail(f"{key} is {show(value)}, a key that this version does not know; "
                        + hint(key, known))
    for key in QUANTIZATION & config.values.keys() & HARMLESS[kind]:
        check_quantization(config.path, key, config.values[key])


def check_quantization_file(folder):
    """Refuses what quantization_config.json holds beyond what the layouts read or may ignore."""
    config = Configuration.read_optional(folder / "quantization_config.json")
    check_quantization(config.path, "", config.values)


def check_quantization(path, where, values):
    """As check_quantization_file, for a block of values; `where` is its key in the file."""
    if not isinstance(values, dict):
        return  # the layouts say what they expect
    own_scheme = where and values.get("quant_method")  # of transformers: the tensors tell
    for key, value in values.items():
        name = f"{where}.{key}" if where else key
        if is_off(value):
            continue
        refuse_words(path, name, key, value)
        if key == "mode" and value != "affine" and not own_scheme:
            raise ExportError(f"{path}: {name} is {show(value)}, expected 'affine'; take a model "
                              "that is quantised that way")
        if own_scheme or key in HARMLESS["quantization"] or is_of_module(key, value):
            continue
        raise ExportError(f"{path}: {name} is {show(value)}, a key that this version does not "
                          f"know; {hint(key, HARMLESS['quantization'])}")


def is_of_module(key, value):
    """Whether a pair is mlx-lm's way to say how one module is quantised."""
    if isinstance(value, bool):
        return "." in key or key in ("lm_head", "embed_tokens")
    return isinstance(value, dict) and value.keys() <= MODULE_KEYS


def check_pairs(path, pairs):
    """Refuses pairs of free text that say that the weights are not to be taken as they are.

    pairs: `__metadata__` of a safetensors file, or key -> value of a GGUF header, where a number
    is whether it is other than zero.
    """
    if not isinstance(pairs, dict):
        return
    groups = {key.rsplit(".", 1)[0] for key, value in pairs.items()
              if key.endswith(".enabled") and is_off(value)}
    for key, value in pairs.items():
        switched_off = key.rsplit(".", 1)[0] in groups
        if not switched_off and not is_off(value) and not FOREIGN.match(key):
            refuse_words(path, key, key, value)


def refuse_words(path, name, key, value):
    """Refuses a pair, `name` in the file, whose words say that the weights are transformed."""
    reason = find_words(key)
    if reason:
        refuse(path, name, value, reason)
    refuse_value(path, name, value)


def refuse_value(path, name, value):
    """As refuse_words, of the value alone, and of what is inside: an object, or JSON in text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = parse_json(value)
        except ValueError:
            return
    if isinstance(value, dict):
        for key, part in value.items():
            if not is_off(part):
                refuse_words(path, f"{name}.{key}", key, part)
    for text in value if isinstance(value, list) else [value]:
        is_told = isinstance(text, str) and not PROSE.search(name.lower())
        if is_told and find_words_in_value(text):
            refuse(path, name, value, ROTATED)


def refuse(path, name, value, reason):
    raise ExportError(f"{path}: {name} is {show(value)}: {reason}; take the model in a form "
                      "without that")


def find_words(key):
    """Why weights with such a key are not to be multiplied as they are, or None."""
    words = [word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+(?![a-z])", key)]
    if ALWAYS.search(key.lower()) or any(ROTATION.match(word) for word in words):
        return ROTATED
    parts = (*words, *key.lower().split("."))
    return RESCALED if any(RESCALING.match(part) for part in parts) else None


def find_words_in_value(text):
    """Whether a value says that the weights are rotated; in a sentence only by proper names."""
    if ALWAYS.search(text.lower()):
        return True
    is_word = len(text) <= LONGEST_WORD and not re.search(r"[\s/]", text)
    words = re.findall("[a-z]+", text.lower()) if is_word else []
    return any(ROTATION.match(word) for word in words)


def is_off(value):
    """Whether a value switches nothing on."""
    if isinstance(value, str):
        return value.strip().lower() in OFF
    if isinstance(value, list | tuple):
        return all(part is None for part in value)  # [null, null] is diffusers' absent component
    return not isinstance(value, NonFinite) and not value


def hint(key, known):
    """What to do about an unknown key: the known one that it resembles, or to ask its maker."""
    words = set(key.lower().split("_"))
    near = [name for name in known if words <= set(name.split("_"))]
    near = near or difflib.get_close_matches(key, known, 1, 0.6)
    alias = ALIASES.get(key.lower())
    best = alias if alias in known else min(near, default=None, key=len)
    if best:
        return f"write {best} if that is meant"
    return "it may change what the model means; where it does not, take it out of the file"
