"""CLIP's text model and its tokenizer: configuration, tensors, and files that are refused."""

import json
import math

import numpy as np
import pytest

from export import layouts
from export.errors import ExportError
from export.families.family import ENCODER, Part
from export.opening import USUAL_BITS
from export.prompts.tokenizer import read_tokenizer
from export.source.configuration import Configuration
from export.text_encoders import clip
from tests.clip_tokenizer import write_tokenizer
from tests.export.packed import PackedSite
from tests.export.tiny import as_float, bf16, edit, save, write_json
from tests.one_part import open_part, write_part

CLIP_L = {  # text_encoder/config.json of FLUX.1 as it is published
    "_name_or_path": "openai/clip-vit-large-patch14", "architectures": ["CLIPTextModel"],
    "attention_dropout": 0.0, "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2,
    "hidden_act": "quick_gelu", "hidden_size": 768, "initializer_factor": 1.0,
    "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 12,
    "num_hidden_layers": 12, "pad_token_id": 1, "projection_dim": 768, "torch_dtype": "bfloat16",
    "transformers_version": "4.43.3", "vocab_size": 49408,
}
TINY = CLIP_L | {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
                 "num_hidden_layers": 2, "max_position_embeddings": 20, "vocab_size": 24}
PART = Part("text_encoder", ENCODER, clip, lambda file, asked: clip.read_config(file),
            layouts.LINEAR, "text_encoder")
WEIGHTS = "text_encoder/model.safetensors"
POSITIONS = "embeddings.position_embedding.weight"


def read(**values):
    return clip.read_config(Configuration("config.json", TINY | values))


def test_the_published_model():
    """All of its linears and its table of tokens can be quantised in groups of 64."""
    config = clip.read_config(Configuration("config.json", CLIP_L))
    specs = clip.spec(config)
    assert sum(math.prod(spec.shape) for spec in specs.values()) == 123_060_480
    assert config.eos_token_id == 2 and config.max_position_embeddings == 77
    linears = {name: spec.shape for name, spec in specs.items() if spec.is_linear}
    assert len(linears) == 1 + 6 * 12 and all(width % 64 == 0 for _, width in linears.values())
    assert linears["encoder.layers.11.mlp.fc2.weight"] == (768, 3072)
    assert specs["encoder.layers.11.mlp.fc1.bias"].shape == (3072,)
    assert specs[POSITIONS].shape == (77, 768)


def test_what_is_absent_is_what_the_class_has():
    own = clip.read_config(Configuration("config.json", {}))
    assert own.manifest() == {
        "hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8,
        "intermediate_size": 2048, "layer_norm_eps": 1e-5, "max_position_embeddings": 77,
        "vocab_size": 49408, "eos_token_id": 49407}


@pytest.mark.parametrize(("values", "says"), [
    ({"model_type": "clip"}, "model_type is 'clip', and this version draws only with"),
    ({"architectures": ["CLIPModel"]}, "architectures is ['CLIPModel']"),
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu', and this version draws only with 'quick_gelu'"),
    ({"num_attention_heads": 5}, "hidden_size 64 is 12.8 for each of num_attention_heads 5"),
    ({"num_attention_heads": 32}, "hidden_size 64 is 2 for each of num_attention_heads 32"),
    ({"intermediate_size": 130}, "intermediate_size is 130, expected a multiple of 4"),
    ({"eos_token_id": [2, 7]}, "eos_token_id is [2, 7], expected a whole number from 0"),
    ({"layer_norm_eps": 0}, "layer_norm_eps is 0, expected a number above zero"),
    ({"text_config": {"hidden_size": 64}}, "text_config is {'hidden_size': 64}, a key that this"),
])
def test_what_is_not_implemented_is_refused_by_name(values, says):
    with pytest.raises(ExportError) as refusal:
        read(**values)
    assert str(refusal.value).startswith("config.json: ") and says in str(refusal.value)


def tensors(prefix=""):
    """name -> (dtype, array) of the tiny model."""
    random = np.random.default_rng(0)
    return {prefix + name: ("BF16", bf16(random.integers(-128, 128, spec.shape) / 256))
            for name, spec in clip.spec(read()).items()}


@pytest.mark.parametrize("prefix", ["text_model.", ""])
def test_linears_in_four_bits_and_all_else_exactly(tmp_path, prefix):
    """Of a model with a projection, under the names of transformers 4 and 5."""
    more = {"text_projection.weight": ("BF16", bf16(np.ones((32, 64)))),
            f"{prefix}embeddings.position_ids": ("I64", np.arange(20)[None])}
    save(tmp_path / WEIGHTS, tensors(prefix) | more)
    write_json(tmp_path / "text_encoder" / "config.json",
               TINY | {"architectures": ["CLIPTextModelWithProjection"]})
    dropped = open_part(PART, tmp_path).dropped
    assert any("before it is projected" in why for why in dropped) and len(dropped) == 2
    manifest = write_part(PART, tmp_path, tmp_path / "packed")
    site, source = PackedSite(tmp_path / "packed"), tensors()
    site.check_shards()
    assert {name.removeprefix("text_encoder.") for name in manifest["tensors"]} == source.keys()
    for name, (dtype, stored) in source.items():
        values, name = as_float(stored, dtype), f"text_encoder.{name}"
        entry, got = manifest["tensors"][name], site.weight(name)
        if len(entry["shape"]) == 1 or POSITIONS in name:
            assert entry["use"] == "vector"
            np.testing.assert_array_equal(got, values)
        else:
            assert entry["storage"] == f"affine{USUAL_BITS}" and entry["group"] == 64
            assert entry.get("use") == ("rows" if "token_embedding" in name else None)
            assert np.abs(got - values).max() < 1 / 25
    assert manifest["components"]["text_encoder"]["class"] == "CLIPTextModel"


@pytest.mark.parametrize(("change", "says"), [
    (lambda t: t.pop("encoder.layers.1.mlp.fc2.bias"),
     "1 tensors missing: encoder.layers.1.mlp.fc2.bias"),
    (lambda t: t.update({"encoder.layers.2.mlp.fc2.bias": ("F32", np.zeros(64))}),
     "1 tensors unknown: encoder.layers.2.mlp.fc2.bias"),
    (lambda t: t.update({POSITIONS: ("F32", np.zeros((77, 64)))}),
     f"{POSITIONS} is [77, 64], expected [20, 64]"),
])
def test_tensors_that_do_not_fit_are_named(tmp_path, change, says):
    save(tmp_path / WEIGHTS, tensors())
    edit(tmp_path / WEIGHTS, change)
    write_json(tmp_path / "text_encoder" / "config.json", TINY)
    with pytest.raises(ExportError) as refusal:
        write_part(PART, tmp_path, tmp_path / "packed")
    assert says in str(refusal.value)


def test_a_tokenizer_of_two_files_becomes_one_and_says_its_length(tmp_path):
    """Of the vocabulary only what no merge tells is kept."""
    write_tokenizer(tmp_path)
    tokenizer = read_tokenizer(tmp_path, chat=False)
    file = json.loads(tokenizer.file)
    assert len(file["model"]["vocab"]) == 2 * 256 + 2 and tokenizer.largest_id == 663
    assert tokenizer.pad_token_id == 663 and tokenizer.config["model_max_length"] == 77
    assert [(t["id"], t["normalized"]) for t in file["added_tokens"]] == [(662, True), (663, False)]


def change_json(name, change):
    def run(folder):
        path = folder / name
        values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        change(values)
        path.write_text(json.dumps(values), encoding="utf-8")

    return run


def put(text):
    return lambda folder: (folder / "merges.txt").write_text(text, encoding="utf-8")


CONFIG = "tokenizer_config.json"


@pytest.mark.parametrize(("change", "says"), [
    (lambda folder: (folder / "merges.txt").unlink(),
     "tokenizer.json: no such file; the model needs a fast tokenizer (tokenizer/tokenizer.json), "
     "or vocab.json and merges.txt beside it"),
    (change_json(CONFIG, lambda v: v.update(tokenizer_class="GPT2Tokenizer")),
     "tokenizer_class is 'GPT2Tokenizer'"),
    (put("#version: 0.2\ni n\ni n x\n"), "has the line 'i n x', expected two tokens"),
    (put("#version: 0.2\nq q\n"), "a merge makes 'qq', expected a token of model.vocab"),
    (lambda folder: (folder / "merges.txt").write_bytes(b"\xff"), "merges.txt: cannot be read"),
    (change_json(CONFIG, lambda v: v.update(eos_token="<end>")),
     "eos_token is '<end>', expected a token of vocab.json"),
    (change_json(CONFIG, lambda v: v.update(do_lower_case=False)), "do_lower_case is False"),
    (change_json("vocab.json", lambda v: v.update({"!": 1.5})), "a token id is not a whole number"),
])
def test_tokenizers_of_two_files_that_are_refused(tmp_path, change, says):
    write_tokenizer(tmp_path)
    change(tmp_path)
    with pytest.raises(ExportError) as refusal:
        read_tokenizer(tmp_path, chat=False)
    assert says in str(refusal.value)


def split(values):
    return values["pre_tokenizer"]["pretokenizers"][0]


@pytest.mark.parametrize(("change", "says"), [
    (lambda v: v.update(normalizer={"type": "Lowercase"}), "normalizer is {'type': 'Lowercase'}"),
    (lambda v: split(v).update(invert=False), "expected that of CLIPTokenizer"),
    (lambda v: split(v)["pattern"].update(Regex=r"\p{L}+"), "expected that of CLIPTokenizer"),
    (lambda v: v.update(post_processor=None), "post_processor adds [[], []] around a text"),
    (lambda v: v["model"].update(end_of_word_suffix=""), "model.end_of_word_suffix is ''"),
    (lambda v: v["model"].update(fuse_unk=True), "model.fuse_unk is True, expected False"),
])
def test_a_tokenizer_json_with_other_steps_than_the_class_s(tmp_path, change, says):
    write_tokenizer(tmp_path)
    write_json(tmp_path / "tokenizer.json", whole(tmp_path))
    read_tokenizer(tmp_path, chat=False)
    change_json("tokenizer.json", change)(tmp_path)
    with pytest.raises(ExportError) as refusal:
        read_tokenizer(tmp_path, chat=False)
    assert says in str(refusal.value)


def whole(folder):
    """tokenizer.json as the tokenizers library writes this tokenizer."""
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    return {
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
            {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "behavior": "Removed", "invert": True, "pattern": {
                "Regex": "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"}},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}]},
        "post_processor": {"type": "RobertaProcessing", "sep": ["<|endoftext|>", 663],
                           "cls": ["<|startoftext|>", 662], "trim_offsets": False,
                           "add_prefix_space": False},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<|endoftext|>",
                  "continuing_subword_prefix": "", "end_of_word_suffix": "</w>",
                  "fuse_unk": False, "vocab": vocabulary, "merges": lines[1:-1]},
    }
