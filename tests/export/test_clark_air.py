"""Clark Air by its repositories' names: where its parts come from, what is refused unfetched."""

import json

import pytest

import export.finding
from export.errors import ExportError
from export.families.sana import BASE
from export.finding import find_model
from export.source.find import Found, Source
from export.source.listing import list_repository

PACKED, GEMLITE = "clark-labs/clark-air-sana-1.6b-1.58bit", (
    "clark-labs/clark-air-sana-1.6b-gemlite-2bit")
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
INDEX = "text_encoder/model.safetensors.index.json"
SHARDS = [f"text_encoder/model-0000{i}-of-00002.safetensors" for i in (1, 2)]
TAKEN = [  # of the base
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", INDEX,
    *SHARDS, "tokenizer/special_tokens_map.json", "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
]
REPOSITORIES = {
    PACKED: ["README.md", "clark-air-sana-1.6b-packed.safetensors", "transformer/config.json",
             TRANSFORMER],
    GEMLITE: ["README.md", "clark_air_sana_gemlite_comfy.safetensors"],
    BASE.repository: [*TAKEN, "README.md", "tokenizer/tokenizer.model", "transformer/config.json",
                      TRANSFORMER],
}
JSON = {
    "model_index.json": {
        "_class_name": "SanaPipeline", "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "text_encoder": ["transformers", "Gemma2Model"], "tokenizer": ["transformers", "x"],
        "transformer": ["diffusers", "SanaTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderDC"],
    },
    "transformer/config.json": {"_class_name": "SanaTransformer2DModel"},
    INDEX: {"weight_map": {"a": SHARDS[0].split("/")[1], "b": SHARDS[1].split("/")[1]}},
}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """What happens, in order: (repository, files) fetched."""
    fetched = []

    def looked_for(text, option="--model"):
        repository, _, file = text.partition(" ")
        folder = tmp_path / repository.replace("/", "--")

        def fetch(names):
            fetched.append((repository, sorted(names)))
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(json.dumps(JSON.get(name, {})))
            return folder

        listing = list_repository(f"{option} {repository}", REPOSITORIES[repository], fetch)
        return Found(listing, file or None, False, lambda names: Source(fetch(names), repository))

    monkeypatch.setattr(export.finding, "find", looked_for)
    return fetched


def weights_of(fetched):
    return [(repository, names) for repository, names in fetched
            if any(name.endswith(".safetensors") for name in names)]


def test_the_folder_takes_all_but_its_denoiser_from_its_base(hub, capsys):
    source = find_model(PACKED)
    assert (f"--model {PACKED} has no model_index.json, text_encoder, vae, tokenizer; from "
            f"{BASE.repository}, which it was made from (--base names another)") in (
        capsys.readouterr().err)
    assert weights_of(hub) == [(PACKED, ["transformer/config.json", TRANSFORMER]),
                               (BASE.repository, sorted(TAKEN))]
    assert source.name == PACKED and source.base.name == BASE.repository and source.made_from_base


def test_the_base_is_named_before_anything_but_configurations_is_fetched(hub, monkeypatch):
    said = []
    monkeypatch.setattr(export.finding, "tell", lambda line: said.append((line, weights_of(hub))))
    find_model(PACKED)
    assert len(said) == 1 and said[0][1] == []


def test_the_gemlite_file_has_the_base_s_configuration_too(hub):
    find_model(GEMLITE)
    assert weights_of(hub) == [
        (GEMLITE, ["clark_air_sana_gemlite_comfy.safetensors"]),
        (BASE.repository, sorted([*TAKEN, "transformer/config.json"])),
    ]


def test_another_base_is_asked_alone(hub, monkeypatch, capsys):
    monkeypatch.setitem(REPOSITORIES, "me/mine", REPOSITORIES[BASE.repository])
    source = find_model(PACKED, base="me/mine")
    assert {repository for repository, _ in hub} == {PACKED, "me/mine"}
    assert source.base.name == "me/mine" and "has no" not in capsys.readouterr().err


def test_the_packed_file_is_refused_before_it_is_fetched(hub, monkeypatch):
    packed = "clark-air-sana-1.6b-packed.safetensors"
    with pytest.raises(ExportError) as error:
        find_model(f"{PACKED} {packed}")
    assert str(error.value).startswith(f"--model {PACKED}: {packed}: the layout of this file is ")
    assert "the folder transformer/ beside it: --model " + PACKED in str(error.value)
    monkeypatch.setitem(REPOSITORIES, PACKED, ["README.md", packed])
    with pytest.raises(ExportError, match="the layout of this file is not published"):
        find_model(PACKED)
    assert not weights_of(hub)
