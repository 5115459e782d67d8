"""Lists of files as repositories have them, and what a build must read of each.

A row changes BASE: `less` is taken away, `more` comes, and of it `read` is read; or the sentence
that the list is refused with. An index in `more` is given as name -> shards that it names.
"""

import json
from dataclasses import dataclass, field

import numpy as np

from tests.export.tiny import save

DIT, TEXT, VAE = "transformer", "text_encoder", "vae"
DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model", "model"
DIT_FILE = f"{DIT}/{DIFFUSERS}.safetensors"
TEXT_FILE = f"{TEXT}/{TRANSFORMERS}.safetensors"
VAE_FILE = f"{VAE}/{DIFFUSERS}.safetensors"
MLX = "transformer-packed-mflux"
BASE = (
    "model_index.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json",
    f"{DIT}/config.json", DIT_FILE, f"{TEXT}/config.json", TEXT_FILE, f"{VAE}/config.json",
    VAE_FILE,
)
REMEDY = "convert with save_pretrained(safe_serialization=True), or name a revision that has"


@dataclass
class Row:
    less: tuple = ()
    more: tuple = ()
    read: tuple | str = ()
    indexes: dict = field(default_factory=dict)

    @property
    def names(self):
        return [*(name for name in BASE if name not in self.less), *self.more, *self.indexes]

    @property
    def needed(self):
        return sorted({name for name in BASE if name not in self.less}.union(self.read))

    def write(self, folder):
        """Real files of these names, small and whole; no two hold the same."""
        for name in self.names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name in self.indexes:
                placed = {f"t{i}": file for i, file in enumerate(self.indexes[name])}
                path.write_text(json.dumps({"weight_map": placed}))
            elif name == "model_index.json":
                path.write_text('{"_class_name": "Flux2KleinPipeline"}')
            elif name.endswith(".safetensors"):
                save(path, {f"t of {name}": ("F32", np.ones(2))})
            elif name.endswith((".gguf", ".pt")):
                path.write_bytes(b"GGUF\3\0\0\0" + bytes(16) + path.name.encode())
            else:
                path.write_text(json.dumps({"my name": name}))
        return folder


def beside(*more, less=()):
    """Files that are left alone."""
    return Row(less, more)


def instead(less, *more):
    """Files that are read in place of one."""
    return Row((less,), more, more)


def sharded(index, *shards, less=(), more=(), file=DIT_FILE):
    """An index and its shards in place of a file."""
    folder = file.split("/")[0]
    index, shards = f"{folder}/{index}", [f"{folder}/{shard}" for shard in shards]
    placed = {index: [shard.split("/")[1] for shard in shards]}
    return Row((file, *less), (*shards, *more), (index, *shards), placed)


def refused(says, *more, less=(), indexes=None):
    return Row(less, more, says, indexes or {})


def two(stem, end=".safetensors", of="-of-"):
    return [f"{stem}-0000{i}{of}00002{end}" for i in (1, 2)]


ROWS = {
    "plain": Row(),
    # Variants beside the file, in each component.
    "fp16 of the transformer": beside(f"{DIT}/{DIFFUSERS}.fp16.safetensors"),
    "fp16 of the encoder": beside(f"{TEXT}/model.fp16.safetensors"),
    "fp16 of the vae": beside(f"{VAE}/{DIFFUSERS}.fp16.safetensors"),
    "bf16, fp32, non_ema": beside(*(f"{VAE}/{DIFFUSERS}.{v}.safetensors"
                                    for v in ("bf16", "fp32", "non_ema", "my_own"))),
    "sharded variant beside": Row((), (f"{DIT}/{DIFFUSERS}.fp16-00001-of-00001.safetensors",), (), {
        f"{DIT}/{DIFFUSERS}.safetensors.index.fp16.json":
        [f"{DIFFUSERS}.fp16-00001-of-00001.safetensors"]}),
    # A variant alone.
    "fp16 alone": instead(DIT_FILE, f"{DIT}/{DIFFUSERS}.fp16.safetensors"),
    "bf16 encoder alone": instead(TEXT_FILE, f"{TEXT}/model.bf16.safetensors"),
    "non_ema alone": instead(VAE_FILE, f"{VAE}/{DIFFUSERS}.non_ema.safetensors"),
    "fp16 and non_ema": Row((VAE_FILE,), (
        f"{VAE}/{DIFFUSERS}.fp16.safetensors", f"{VAE}/{DIFFUSERS}.non_ema.safetensors"),
        (f"{VAE}/{DIFFUSERS}.fp16.safetensors",)),
    "fp16 and bf16": refused(
        f"2 safetensors files or indexes ({DIFFUSERS}.bf16.safetensors, "
        f"{DIFFUSERS}.fp16.safetensors), expected one",
        f"{VAE}/{DIFFUSERS}.fp16.safetensors", f"{VAE}/{DIFFUSERS}.bf16.safetensors",
        less=(VAE_FILE,)),
    # Strangers.
    "lora beside": beside(f"{DIT}/pytorch_lora_weights.safetensors",
                          "pytorch_lora_weights.safetensors", f"{TEXT}/adapter_model.safetensors"),
    "macOS": beside(f"{DIT}/._{DIFFUSERS}.safetensors", "._model_index.json", f"{VAE}/.DS_Store",
                    f"__MACOSX/{DIT}/{DIFFUSERS}.safetensors"),
    "copies": beside(f"{DIT}/{DIFFUSERS} (1).safetensors", f"{TEXT}/model copy.safetensors",
                     f"{VAE}/{DIFFUSERS} - Copy.safetensors"),
    "fp8 beside": beside(f"{DIT}/{DIFFUSERS}-fp8.safetensors", f"{DIT}/klein-fp8.safetensors",
                         f"{TEXT}/qwen_3_4b_fp8.safetensors"),
    "native beside": beside("flux-2-klein-4b.safetensors", "ae.safetensors",
                            f"{DIT}/flux-2-klein-4b.safetensors", f"{VAE}/ae.safetensors"),
    "consolidated": beside(f"{TEXT}/consolidated.safetensors", f"{TEXT}/tekken.json"),
    "other formats": beside(f"{DIT}/{DIFFUSERS}.bin", f"{TEXT}/pytorch_model.bin",
                            f"{TEXT}/flax_model.msgpack", f"{TEXT}/tf_model.h5", "model.onnx"),
    "other files": beside("assets/x.png", ".gitattributes", "notes.txt", f"{TEXT}/vocab.json",
                          "tokenizer/vocab.json", "tokenizer/merges.txt", "a/b/c/d.safetensors",
                          f"{DIT}/deep/{DIFFUSERS}.safetensors", "日本語.txt", "a [1] b*?.json"),
    "a copy alone": instead(TEXT_FILE, f"{TEXT}/model (1).safetensors"),
    "fp8 beside another name": Row((DIT_FILE,), (
        f"{DIT}/klein.safetensors", f"{DIT}/klein-fp8.safetensors",
        f"{DIT}/klein (1).safetensors", f"{DIT}/klein.fp16.safetensors"),
        (f"{DIT}/klein.safetensors",)),
    "two other names": refused("2 safetensors files or indexes (one.safetensors, two.safetensors)",
                               f"{DIT}/one.safetensors", f"{DIT}/two.safetensors",
                               less=(DIT_FILE,)),
    "only a lora": refused("transformer/ holds only a LoRA (pytorch_lora_weights.safetensors)",
                           f"{DIT}/pytorch_lora_weights.safetensors", less=(DIT_FILE,)),
    "only a lora at the top": refused(
        "it holds only a LoRA (pytorch_lora_weights.safetensors)",
        "pytorch_lora_weights.safetensors", less=(DIT_FILE, f"{DIT}/config.json")),
    "both libraries' names": beside(f"{DIT}/model.safetensors", f"{TEXT}/{DIFFUSERS}.safetensors"),
    # An index says which files belong.
    "shards": sharded(f"{DIFFUSERS}.safetensors.index.json", *two(DIFFUSERS)),
    "encoder's shards": sharded("model.safetensors.index.json", *two("model"), file=TEXT_FILE),
    "fp16 shards, old": sharded("model.safetensors.index.fp16.json",
                                *two("model", ".fp16.safetensors"), file=TEXT_FILE),
    "fp16 shards, index named otherwise": sharded(
        "model.fp16.safetensors.index.json", *two("model", ".fp16.safetensors"), file=TEXT_FILE),
    "fp16 shards, new": sharded("model.safetensors.index.fp16.json", *two("model.fp16"),
                                file=TEXT_FILE),
    "any names": sharded(f"{DIFFUSERS}.safetensors.index.json", "part_1.safetensors",
                         "blocks.safetensors", "x.bf16.safetensors"),
    "-OF-": sharded(f"{DIFFUSERS}.safetensors.index.json", *two(DIFFUSERS, of="-OF-")),
    "six digits": sharded("model.safetensors.index.json", "model-000001-of-000001.safetensors",
                          file=TEXT_FILE),
    "a lora's name in the index": sharded(f"{DIFFUSERS}.safetensors.index.json",
                                          "adapter_model-1.safetensors"),
    "a second split": sharded(
        f"{DIFFUSERS}.safetensors.index.json", *two(DIFFUSERS),
        more=tuple(f"{DIT}/{DIFFUSERS}-0000{i}-of-00003.safetensors" for i in (1, 2, 3))),
    "a variant beside shards": sharded(f"{DIFFUSERS}.safetensors.index.json", *two(DIFFUSERS),
                                       more=(f"{DIT}/{DIFFUSERS}.fp16.safetensors",)),
    "a lora beside shards": sharded(f"{DIFFUSERS}.safetensors.index.json", *two(DIFFUSERS),
                                    more=(f"{DIT}/pytorch_lora_weights.safetensors",)),
    "a .bin index beside": sharded(
        f"{DIFFUSERS}.safetensors.index.json", *two(DIFFUSERS),
        more=(f"{DIT}/{DIFFUSERS}.bin.index.json", f"{DIT}/{DIFFUSERS}-00001-of-00001.bin")),
    "single beside shards": Row((), tuple(f"{DIT}/{name}" for name in two(DIFFUSERS)), (), {
        f"{DIT}/{DIFFUSERS}.safetensors.index.json": two(DIFFUSERS)}),
    "fp32 and fp16 shards": Row(
        (DIT_FILE,),
        tuple(f"{DIT}/{name}" for name in (*two(DIFFUSERS), *two(f"{DIFFUSERS}.fp16"))),
        (f"{DIT}/{DIFFUSERS}.safetensors.index.json", *(f"{DIT}/{n}" for n in two(DIFFUSERS))),
        {f"{DIT}/{DIFFUSERS}.safetensors.index.json": two(DIFFUSERS),
         f"{DIT}/{DIFFUSERS}.safetensors.index.fp16.json": two(f"{DIFFUSERS}.fp16")}),
    "an index left over beside a variant": Row(
        (DIT_FILE,), (f"{DIT}/{DIFFUSERS}.fp16.safetensors",),
        (f"{DIT}/{DIFFUSERS}.fp16.safetensors",),
        {f"{DIT}/{DIFFUSERS}.safetensors.index.json": two(DIFFUSERS)}),
    "two indexes of variants": refused(
        "2 safetensors files or indexes", *(f"{DIT}/{n}" for v in ("fp16", "bf16")
                                            for n in two(f"{DIFFUSERS}.{v}")),
        less=(DIT_FILE,),
        indexes={f"{DIT}/{DIFFUSERS}.safetensors.index.{v}.json": two(f"{DIFFUSERS}.{v}")
                 for v in ("fp16", "bf16")}),
    "shards without their index": refused(
        f"2 shards without their index ({DIFFUSERS}-00001-of-00002.safetensors, "
        f"{DIFFUSERS}-00002-of-00002.safetensors); fetch {DIFFUSERS}.safetensors.index.json",
        *(f"{DIT}/{name}" for name in two(DIFFUSERS)), less=(DIT_FILE,)),
    "a shard is missing": refused(
        f"{DIFFUSERS}-00002-of-00002.safetensors: missing, though "
        f"{DIFFUSERS}.safetensors.index.json names it",
        f"{DIT}/{two(DIFFUSERS)[0]}", less=(DIT_FILE,),
        indexes={f"{DIT}/{DIFFUSERS}.safetensors.index.json": two(DIFFUSERS)}),
    "all shards are missing": refused(
        "missing, though model.safetensors.index.json names it", less=(TEXT_FILE,),
        indexes={f"{TEXT}/model.safetensors.index.json": two("model")}),
    "an index that climbs": refused(
        "'../x.safetensors' is not a file name in the same folder", less=(TEXT_FILE,),
        indexes={f"{TEXT}/model.safetensors.index.json": ["../x.safetensors"]}),
    # Other formats alone, and what is absent.
    "vae in .bin": refused(f"vae: holds only PyTorch .bin weights ({DIFFUSERS}.bin), expected "
                           f"safetensors; {REMEDY}", f"{VAE}/{DIFFUSERS}.bin", less=(VAE_FILE,)),
    "encoder in .bin": refused(
        "text_encoder/ holds only PyTorch .bin weights (pytorch_model-00001-of-00001.bin, "
        f"pytorch_model.bin.index.json), expected safetensors; {REMEDY}",
        f"{TEXT}/pytorch_model-00001-of-00001.bin", f"{TEXT}/pytorch_model.bin.index.json",
        less=(TEXT_FILE,)),
    "transformer in .bin": refused(
        f"transformer/ holds only PyTorch .bin weights ({DIFFUSERS}.bin)",
        f"{DIT}/{DIFFUSERS}.bin", less=(DIT_FILE,)),
    "transformer as something else": refused("transformer/ holds config.json, x.txt, y.npz",
                                             f"{DIT}/x.txt", f"{DIT}/y.npz", less=(DIT_FILE,)),
    "encoder in GGUF": refused("text_encoder/ holds only GGUF (qwen.gguf), which is read for the "
                               "transformer alone", f"{TEXT}/qwen.gguf", less=(TEXT_FILE,)),
    "encoder in GGUF at the top": refused(
        "a text encoder in GGUF (Qwen3-4B-Q4_K_M.gguf) is not read", "Qwen3-4B-Q4_K_M.gguf",
        less=(TEXT_FILE, f"{TEXT}/config.json")),
    "no encoder": refused("no text encoder, expected the folder text_encoder",
                          less=(TEXT_FILE, f"{TEXT}/config.json")),
    "no transformer": refused("it holds model_index.json, text_encoder/, tokenizer/, vae/",
                              less=(DIT_FILE, f"{DIT}/config.json")),
    "no vae": refused("vae/config.json: no such file, vae/ is not there",
                      less=(VAE_FILE, f"{VAE}/config.json")),
    "vae without weights": refused("vae: no .safetensors file; the folder holds config.json",
                                   less=(VAE_FILE,)),
    "vae without configuration": refused(
        f"vae/config.json: no such file, vae/ holds {DIFFUSERS}.safetensors",
        less=(f"{VAE}/config.json",)),
    "encoder without configuration": refused("text_encoder/config.json: no such file",
                                             less=(f"{TEXT}/config.json",)),
    "no model_index": refused("model_index.json: no such file", less=("model_index.json",)),
    "no tokenizer": refused("tokenizer/tokenizer.json: no such file, tokenizer/ is not there; the "
                            "model needs a fast tokenizer",
                            less=("tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json")),
    "a slow tokenizer": refused(
        "tokenizer/ holds merges.txt, tokenizer_config.json, vocab.json; the model needs a fast "
        "tokenizer (tokenizer/tokenizer.json); write it with AutoTokenizer",
        "tokenizer/vocab.json", "tokenizer/merges.txt", less=("tokenizer/tokenizer.json",)),
    "no chat template": refused("neither tokenizer_config.json nor chat_template.jinja is there",
                                less=("tokenizer/tokenizer_config.json",)),
    # Where the parts lie.
    "tokenizer with the encoder": Row(
        ("tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"),
        (f"{TEXT}/tokenizer.json", f"{TEXT}/chat_template.jinja", f"{TEXT}/merges.txt"),
        (f"{TEXT}/tokenizer.json", f"{TEXT}/chat_template.jinja")),
    "tokenizer inside the encoder": Row(
        ("tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"),
        (f"{TEXT}/tokenizer/tokenizer.json", f"{TEXT}/tokenizer/tokenizer_config.json"),
        (f"{TEXT}/tokenizer/tokenizer.json", f"{TEXT}/tokenizer/tokenizer_config.json")),
    "all that is read": Row((), (
        more := ("trefoil.json", "scheduler/scheduler_config.json", "tokenizer/chat_template.jinja",
                 "tokenizer/special_tokens_map.json", "tokenizer/added_tokens.json",
                 f"{DIT}/quantization_config.json")), more),
    "licences and the card": Row((), (
        more := ("README.md", "LICENSE", "LICENCE.txt", "license.md", "Notice", "COPYING",
                 "COPYING.LESSER", "LICENSE-MODEL.pdf")), more),
    "MLX before diffusers": Row(
        (DIT_FILE, f"{DIT}/config.json"),
        (DIT_FILE, f"{DIT}/config.json", f"{MLX}/config.json", f"{MLX}/{DIFFUSERS}.safetensors",
         f"{MLX}/{DIFFUSERS}.fp16.safetensors"),
        (f"{MLX}/config.json", f"{MLX}/{DIFFUSERS}.safetensors")),
    "GGUF": Row((DIT_FILE,), ("klein-Q2_0.gguf",), ("klein-Q2_0.gguf",)),
    "GGUF without model_index": Row((DIT_FILE, f"{DIT}/config.json", "model_index.json"),
                                    ("klein-Q2_0.gguf",), ("klein-Q2_0.gguf",)),
    "GGUF with its encoder": Row((DIT_FILE,), ("klein-Q2_0.gguf", "Qwen3-4B-Q8_0.gguf"),
                                 ("klein-Q2_0.gguf",)),
    "GGUF and a rounded one": Row((DIT_FILE,), ("klein-Q2_0.gguf", "klein-Q4_K_M.gguf"),
                                  ("klein-Q2_0.gguf",)),
    "two GGUF": refused("2 files hold a transformer (a.gguf, b.gguf), expected one", "a.gguf",
                        "b.gguf", less=(DIT_FILE,)),
    "native": Row((DIT_FILE, f"{DIT}/config.json", "model_index.json"),
                  ("flux-2-klein-4b.safetensors", "ae.safetensors", "lora_x.safetensors",
                   "flux-2-klein-4b-fp8.safetensors", "qwen_3_4b.safetensors",
                   "gemma-2-2b-it.safetensors"),
                  ("flux-2-klein-4b.safetensors",)),
    "native shards": Row(
        (DIT_FILE, f"{DIT}/config.json", "model_index.json"), tuple(two("flux")),
        (*two("flux"), "flux.safetensors.index.json"),
        {"flux.safetensors.index.json": two("flux")}),
    "only a vae at the top": refused("no transformer, expected", "ae.safetensors",
                                     less=(DIT_FILE, f"{DIT}/config.json")),
    "two natives": refused(
        "2 safetensors files or indexes (a.safetensors, b.safetensors), expected one; keep the one "
        "that is the model, or name it: --model .../FILE",
        "a.safetensors", "b.safetensors", less=(DIT_FILE,)),
}
