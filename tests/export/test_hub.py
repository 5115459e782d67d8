"""--model ORG/NAME: the real client against a hub on loopback."""

import resource
import socket

import pytest

from tests.export.hub import COMMIT, hub_of
from tests.export.packed import PackedSite
from tests.export.test_site import front_matter

WEIGHTS = "transformer-packed-mflux/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub(mlx, tmp_path):
    for name in ("vocab.json", "tokenizer.json"):
        (mlx / "text_encoder-mlx-4bit" / name).write_text("{}")
    (mlx / "assets").mkdir()
    (mlx / "assets" / "picture.png").write_bytes(b"x")
    (mlx / "LICENSE").write_text("the model's licence")
    (mlx / "NOTICE.md").write_text("the model's notice")
    with hub_of(mlx, tmp_path / "hf") as server:
        yield server


CARD = """\
---
license: other
license_name: tiny-licence
license_link: LICENCE.md
base_model: org/teacher
base_model_relation: quantized
---
# Tiny
"""


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


def fails(result, site, says):
    assert result.returncode == 1, result.stderr
    told = [line for line in result.stderr.splitlines() if line.startswith("build.py: ")]
    assert len(told) == 1 and told[0].startswith(f"build.py: --model {says}"), result.stderr
    assert "Traceback" not in result.stderr and not site.exists()


@pytest.mark.parametrize("revision", ["", "@v1"])
def test_a_repository_is_downloaded_and_built(hub, site, revision):
    result = hub.build("--model", f"org/tiny{revision}", "--out", site)
    assert result.returncode == 0, result.stderr
    manifest = PackedSite(site).manifest
    assert manifest["name"] == "tiny"
    assert manifest["source"]["repository"] == "org/tiny"
    assert manifest["source"]["revision"] == COMMIT
    assert "\nmodels: [org/tiny]\n---\n" in (site / "README.md").read_text()
    copied = {path.read_text() for path in site.rglob("*") if path.name.startswith(
        ("LICENSE", "NOTICE"))}
    assert {"the model's licence", "the model's notice"} <= copied
    assert WEIGHTS in hub.asked and len(hub.asked) == len(set(hub.asked))
    assert not {"assets/picture.png", "text_encoder-mlx-4bit/vocab.json"} & set(hub.asked)


@pytest.mark.parametrize("encode", [
    str.encode, lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()])
def test_the_licence_of_a_downloaded_model_is_on_both_cards(hub, mlx, site, encode):
    (mlx / "README.md").write_bytes(encode(CARD))
    (mlx / "LICENCE.md").write_text("the model's own licence")
    result = hub.build("--model", "org/tiny", "--out", site, "--weights-url", "https://w.example")
    assert result.returncode == 0, result.stderr
    weights = site.with_name("site-weights")
    assert (weights / "LICENCE.md").read_text() == "the model's own licence"
    card = front_matter(weights)
    assert (card["license"], card["license_name"]) == ("other", "tiny-licence")
    assert card["license_link"] == f"https://huggingface.co/org/tiny/blob/{COMMIT}/LICENCE.md"
    assert card["base_model"] == "org/tiny"
    assert front_matter(site)["license"] == "other"
    assert "README.md" in hub.asked and "LICENCE.md" in hub.asked


def test_a_downloaded_model_without_a_licence_has_its_base_model_s(hub, mlx, site, tmp_path):
    (mlx / "README.md").write_text("---\nbase_model: org/teacher\n---\n")
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    (teacher / "README.md").write_text("---\nlicense: [apache-2.0]\n---\n")
    hub.folders["org/teacher"] = teacher
    assert hub.build("--model", "org/tiny", "--out", site).returncode == 0
    assert front_matter(site)["license"] == ["apache-2.0"]
    del hub.folders["org/teacher"]
    (tmp_path / "hf").rename(tmp_path / "old")
    again = site.with_name("again")
    assert hub.build("--model", "org/tiny", "--out", again).returncode == 0
    assert "license" not in front_matter(again), "none is made up where nobody answers"


def test_the_parts_that_a_repository_lacks_come_from_its_base(hub, mlx, site, tmp_path):
    """Only those are fetched, and nothing before it is known that all of them are there."""
    (tmp_path / "denoiser").mkdir()
    (mlx / "transformer-packed-mflux").rename(tmp_path / "denoiser" / "transformer-packed-mflux")
    hub.folders["org/denoiser"] = tmp_path / "denoiser"
    result = hub.build("--model", "org/denoiser", "--base", "org/tiny@v1", "--out", site)
    assert result.returncode == 0, result.stderr
    manifest = PackedSite(site).manifest
    assert (manifest["name"], manifest["source"]["repository"]) == ("denoiser", "org/denoiser")
    assert manifest["source"]["base_repository"] == "org/tiny"
    assert manifest["source"]["base_revision"] == COMMIT
    assert WEIGHTS in hub.fetched["org/denoiser"]
    assert "NOTICE.md" in hub.fetched["org/tiny"] and (site / "model" / "NOTICE.md").exists()
    assert "\nmodels: [org/denoiser, org/tiny]\n---\n" in (site / "README.md").read_text()
    (mlx / "vae").rename(tmp_path / "vae")
    (tmp_path / "hf").rename(tmp_path / "old")
    hub.asked.clear()
    result = hub.build("--model", "org/denoiser", "--base", "org/tiny", "--out", tmp_path / "other")
    assert result.returncode == 1 and "--base org/tiny: vae/config.json: no such file" in (
        result.stderr)
    assert hub.asked == ["model_index.json"]


@pytest.mark.parametrize("address", ["{url}/org/tiny", "{url}/org/tiny/tree/v1",
                                     "{url}/org/tiny/blob/main/README.md"])
def test_the_address_of_a_repository(hub, address):
    model = address.format(url=f"http://127.0.0.1:{hub.server_port}")
    result = hub.build("--model", model, "--dry-run")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("tiny: ")


def test_a_pipeline_of_another_kind_is_refused_before_its_weights_are_fetched(hub, mlx, site):
    (mlx / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    result = hub.build("--model", "org/tiny", "--out", site)
    assert result.returncode == 1 and "'StableDiffusionXLPipeline'" in result.stderr
    assert hub.asked == ["model_index.json"]


def test_a_connection_that_breaks_off_is_taken_up_again(hub, site):
    hub.cuts = [WEIGHTS]
    assert hub.build("--model", "org/tiny", "--out", site).returncode == 0
    assert hub.asked.count(WEIGHTS) == 2


def test_a_download_that_failed_keeps_what_is_complete(hub, site):
    hub.refused = WEIGHTS
    fails(hub.build("--model", "org/tiny", "--out", site), site,
          "org/tiny: the repository could not be downloaded")
    hub.refused = None
    complete = hub.complete()  # what else was on its way then, the client may have left
    assert complete and WEIGHTS not in complete
    hub.asked.clear()
    assert hub.build("--model", "org/tiny", "--out", site).returncode == 0
    assert WEIGHTS in hub.asked and not complete & set(hub.asked)


@pytest.mark.parametrize("environment", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "nowhere"}])
def test_what_was_downloaded_is_built_without_a_network(hub, site, environment):
    assert hub.build("--model", "org/tiny", "--dry-run").returncode == 0
    if "HF_ENDPOINT" in environment:
        environment = {"HF_ENDPOINT": closed_port()}
    result = hub.build("--model", "org/tiny", "--out", site, **environment)
    assert result.returncode == 0, result.stderr
    assert PackedSite(site).manifest["source"]["revision"] == COMMIT


@pytest.mark.parametrize("offline", ["", "1"])
def test_no_network_and_nothing_downloaded(hub, site, offline):
    result = hub.build("--model", "org/tiny", "--out", site, HF_ENDPOINT=closed_port(),
                       HF_HUB_OFFLINE=offline)
    fails(result, site, "org/tiny: the repository is not in the cache")


def test_the_token_comes_from_the_environment(hub, site):
    assert hub.build("--model", "org/tiny", "--dry-run", HF_TOKEN="hf_me").returncode == 0
    assert hub.tokens == {"Bearer hf_me"}


@pytest.mark.parametrize(("model", "refusal", "says"), [
    ("org/tiny@v9", None, "org/tiny@v9: the repository has no such revision"),
    ("org/none", None, "org/none: the repository does not exist"),
    ("org/tiny", "GatedRepo", "org/tiny: the repository asks for its terms to be accepted"),
])
def test_repositories_that_cannot_be_had(hub, site, model, refusal, says):
    hub.refusal = refusal
    fails(hub.build("--model", model, "--out", site), site, says)


@pytest.mark.parametrize("token", [{}, {"HF_TOKEN": "hf_me"}])
def test_a_gated_repository_names_the_page_where_its_terms_are(hub, site, token):
    """The hub tells what is in it, and refuses the files, until its terms are accepted."""
    hub.gated = {"org/tiny"}
    fails(hub.build("--model", "org/tiny", "--out", site, **token), site,
          "org/tiny: the repository asks for its terms to be accepted: accept them on "
          "https://huggingface.co/org/tiny, then run `hf auth login`")
    assert hub.asked == []


def test_a_token_that_may_not_read(hub, site):
    hub.refusal = "other"
    fails(hub.build("--model", "org/tiny", "--out", site), site,
          "org/tiny: the repository is not to be read with this token: ")


def test_a_full_disk(hub, site):
    """A limit on the size of files fails the write as a full disk does."""
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    result = hub.build("--model", "org/tiny", "--out", site, before=small_files)
    fails(result, site, "org/tiny: the repository could not be written to the cache")


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
