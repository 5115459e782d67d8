"""--model ORG/NAME: the real client against a hub on loopback."""

import resource
import socket

import pytest

from tests.export.hub import COMMIT, hub_of
from tests.export.packed import PackedSite

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
        ("LICENSE", "NOTICE"))}  # fmt: skip
    assert {"the model's licence", "the model's notice"} <= copied
    assert WEIGHTS in hub.asked and len(hub.asked) == len(set(hub.asked))
    assert not {"assets/picture.png", "text_encoder-mlx-4bit/vocab.json"} & set(hub.asked)


def test_a_connection_that_breaks_off_is_taken_up_again(hub, site):
    hub.cuts = [WEIGHTS]
    assert hub.build("--model", "org/tiny", "--out", site).returncode == 0
    assert hub.asked.count(WEIGHTS) == 2


def test_a_download_that_failed_keeps_what_is_complete(hub, site):
    hub.refused = WEIGHTS
    fails(hub.build("--model", "org/tiny", "--out", site), site,
          "org/tiny: the repository could not be downloaded")  # fmt: skip
    hub.refused = None
    hub.asked.clear()
    assert hub.build("--model", "org/tiny", "--out", site).returncode == 0
    assert hub.asked == [WEIGHTS]


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
                       HF_HUB_OFFLINE=offline)  # fmt: skip
    fails(result, site, "org/tiny: the repository is not in the cache")


def test_the_token_comes_from_the_environment(hub, site):
    assert hub.build("--model", "org/tiny", "--dry-run", HF_TOKEN="hf_me").returncode == 0
    assert hub.tokens == {"Bearer hf_me"}


@pytest.mark.parametrize(("model", "refusal", "says"), [
    ("org/tiny@v9", None, "org/tiny@v9: the repository has no such revision"),
    ("org/none", None, "org/none: the repository does not exist"),
    ("org/tiny", "GatedRepo", "org/tiny: the repository asks for its terms to be accepted"),
])  # fmt: skip
def test_repositories_that_cannot_be_had(hub, site, model, refusal, says):
    hub.refusal = refusal
    fails(hub.build("--model", model, "--out", site), site, says)


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
