"""A transformer of FLUX.1's alone: what it lacks comes from --base, or from dev or schnell."""

import pytest

import export.finding
from export.errors import ExportError
from export.families.flux1 import FLUX1
from export.finding import find_model
from export.opening import open_model
from export.site.cards import licence_lines
from export.source.find import find
from tests.export.hub import hub_of
from tests.export.test_flux1_sources import check
from tests.export.tiny import Tiny
from tests.export.tiny_flux1 import TinyFlux1
from tests.flux1_checkpoints import make_flux1

GATE = "the repository asks for its terms to be accepted: accept them on https://huggingface.co/"
WHOLE = ("--text-encoder-bits", 16)  # its encoders are too narrow for groups of 64
LICENCE = "flux-1-dev-non-commercial-license"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder of a whole pipeline without guidance, with the card of dev's licence."""
    folder = make_flux1(tmp_path_factory.mktemp("base") / "base", "own")
    (folder / "README.md").write_text(
        f"---\nlicense: other\nlicense_name: {LICENCE}\nlicense_link: LICENSE.md\n---\n")
    return folder


def tiny_of(**own):
    """A transformer that the base's other parts, and its configuration, belong to."""
    return TinyFlux1(width=256, single=1, **own)


@pytest.mark.parametrize("layout", ["native", "gguf", "mlx-packed"])
def test_a_transformer_alone(base, tmp_path, layout):
    """Exactly its weights, the base's other parts, and the base's licence on its cards."""
    tiny = tiny_of(levels=2 if layout == "mlx-packed" else 3)
    path = {"native": lambda: tiny.write_native(tmp_path / "mine.safetensors"),
            "gguf": lambda: tiny.write_gguf(tmp_path / "mine.gguf", "Q2_0", "F16"),
            "mlx-packed": lambda: tiny.write_packed(tmp_path / "mine")}[layout]()
    model = open_model(find_model(str(path), 16, str(base)), 16)
    assert model.family is FLUX1 and model.name == "mine"
    assert model.components["transformer"].layout.name == layout
    check(model.components["transformer"], tiny)
    for name in ("text_encoder", "text_encoder_2", "autoencoder"):
        assert base in model.components[name].layout.checkpoint.folder.parents, name
    assert f"license_name: {LICENCE}" in licence_lines(model.source)


@pytest.mark.parametrize(("guidance", "repository"), [
    (False, "black-forest-labs/FLUX.1-schnell"), (True, "black-forest-labs/FLUX.1-dev"),
])
@pytest.mark.parametrize("layout", ["native", "diffusers", "gguf"])
def test_the_tensors_tell_the_base_which_is_named_before_it_is_asked_for(
        build, tmp_path, monkeypatch, capsys, guidance, repository, layout):
    tiny = tiny_of(guidance=guidance)
    model = {"native": lambda: tiny.write_native(tmp_path / "mine.safetensors"),
             "diffusers": lambda: tiny.write_diffusers(tmp_path / "mine"),
             "gguf": lambda: tiny.write_gguf(tmp_path / "mine.gguf", "PQ2_0")}[layout]()
    said = []

    def looked_for(name, option="--model"):
        if option == "--model":
            return find(name, option)
        said.append(capsys.readouterr().err)
        raise ExportError(f"{option} {name}: nobody answers")

    monkeypatch.setattr(export.finding, "find", looked_for)
    result = build("--model", model, "--out", tmp_path / "site")
    assert result.status == 1 and f"--base {repository}: nobody answers" in result.stderr
    assert len(said) == 1 and f"tokenizer_2; from {repository}, as of all models" in said[0]


def test_a_gated_base(base, tmp_path):
    """Its page is named where its terms are accepted; nothing of it was had."""
    path = tiny_of().write_native(tmp_path / "mine.safetensors")
    with hub_of(base, tmp_path / "hf") as hub:
        hub.gated = {"org/tiny"}
        result = hub.build("--model", path, "--base", "org/tiny", "--out", tmp_path / "site")
        assert hub.asked == []
    assert result.returncode == 1
    assert f"--base org/tiny: {GATE}org/tiny, then run `hf auth login`" in result.stderr


def test_bases_that_the_transformer_does_not_belong_to(build, base, tmp_path):
    path = tiny_of(guidance=True).write_native(tmp_path / "mine.safetensors")
    klein = Tiny().write(tmp_path / "klein", "unpacked")
    for other, says in ((base, "time_text_embed.guidance_embedder"),
                        (klein, "is of the family flux2, and the tensors of")):
        result = build("--model", path, "--base", other, *WHOLE, "--dry-run")
        assert result.status == 1 and says in result.stderr, result.stderr
