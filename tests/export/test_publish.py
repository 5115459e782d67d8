"""--publish: the real client against a hub on loopback, and what arrives there."""

import json
import re
import socket
import subprocess

import pytest
import yaml

from tests.export.hub import build_command, hub_of
from tests.export.hub_writes import TOKEN, Repository, writable_hub
from tests.export.test_build import files

BOTH = ("--publish", "me/space", "--weights-repo", "me/weights")
SHARD = re.compile(r"[0-9a-f]{64}\.bin")


@pytest.fixture
def hub():
    with writable_hub() as server:
        yield server


@pytest.fixture
def publish(hub, mlx, tmp_path):
    """publish(*options, **environment): build.py in its own process, with a token."""
    def run(*options, **environment):
        command = build_command("--model", mlx, "--out", tmp_path / "site", *options)
        return subprocess.run(
            command, capture_output=True, text=True,
            env={"HF_ENDPOINT": hub.url, "PATH": "/usr/bin:/bin", "HF_HOME": str(tmp_path / "hf"),
                 "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                 "HF_TOKEN": TOKEN, **environment},
        )

    return run


def fails(result, says):
    assert result.returncode == 1, result.stdout + result.stderr
    told = [line for line in result.stderr.splitlines() if line.startswith("build.py: ")]
    assert len(told) == 1 and told[0].startswith("build.py: --publish"), result.stderr
    assert says in told[0] and "Traceback" not in result.stderr, told[0]
    return told[0]


def card_of(repository):
    text = repository.files["README.md"].decode()
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])


def test_site_and_weights_arrive_and_the_site_names_the_weights_commit(hub, publish, tmp_path, mlx):
    (mlx / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (mlx / "LICENSE").write_text("the model's licence")
    result = publish(*BOTH, "--shard-mib", 0.125)
    assert result.returncode == 0, result.stderr
    space = hub.repositories["spaces", "me/space"]
    weights = hub.repositories["models", "me/weights"]
    assert (space.sdk, space.private, weights.private) == ("static", False, False)
    order = [entry[:2] for entry in hub.log if entry[0] == "commit"]
    assert order == [("commit", "models"), ("commit", "spaces")]
    assert space.files == files(tmp_path / "site")
    assert weights.files == files(tmp_path / "site-weights")
    manifest = json.loads(space.files["model/manifest.json"])
    assert manifest["weights_url"] == f"{hub.url}/me/weights/resolve/{weights.head}/"
    assert weights.head in result.stdout and f"{hub.url}/spaces/me/space" in result.stdout
    listed = {shard["file"] for shard in manifest["shards"]}
    assert listed == {path for path in weights.files if SHARD.fullmatch(path)}
    assert not [path for path in space.files if path.endswith(".bin")]
    assert f"connect-src 'self' {hub.url};" in space.files["index.html"].decode()
    assert weights.files["LICENSE"] == b"the model's licence"
    assert json.loads(weights.files["config.json"])["family"] == "flux2"
    card = card_of(weights)
    assert (card["pipeline_tag"], card["license"]) == ("text-to-image", "apache-2.0")
    front = card_of(space)
    assert front["models"] == ["me/weights"]
    thumbnail = front["thumbnail"].removeprefix(f"{hub.url}/spaces/me/space/resolve/main/")
    assert space.files[thumbnail][:3] == b"\xff\xd8\xff"


def test_a_downloaded_model_s_licence_is_on_what_is_published(hub, publish, tmp_path, mlx):
    (mlx / "README.md").write_text("---\nlicense: other\nlicense_name: tiny\n---\n")
    (mlx / "LICENCE").write_text("the model's licence")
    with hub_of(mlx, tmp_path / "hf") as source:
        assert source.build("--model", "org/tiny", "--dry-run").returncode == 0
    cached = tmp_path / "hf" / "hub" / "models--org--tiny"
    result = publish(*BOTH, "--model", cached)
    assert result.returncode == 0, result.stderr
    weights = hub.repositories["models", "me/weights"]
    space = hub.repositories["spaces", "me/space"]
    assert card_of(weights)["license"] == card_of(space)["license"] == "other"
    assert card_of(weights)["license_name"] == "tiny"
    assert card_of(weights)["base_model"] == "org/tiny"
    assert card_of(space)["models"] == ["me/weights", "org/tiny"]
    assert weights.files["LICENCE"] == b"the model's licence"
    again = publish(*BOTH, "--model", cached, "--shard-mib", 0.125)
    assert again.returncode == 0, f"its licence is in nobody's way: {again.stderr}"


def test_a_second_run_uploads_nothing_and_a_change_uploads_itself(hub, publish, mlx, tmp_path):
    assert publish(*BOTH).returncode == 0
    head = hub.repositories["models", "me/weights"].head
    hub.log.clear()
    again = publish(*BOTH)
    assert again.returncode == 0 and "nothing to do" in again.stdout and head in again.stdout
    assert hub.log == []
    call = json.loads((mlx / "trefoil.json").read_text())
    (mlx / "trefoil.json").write_text(json.dumps(call | {"prompts": ["an oak"]}))
    assert publish(*BOTH).returncode == 0
    changed = {kind: {path for _, path in paths} for what, kind, paths in hub.log}
    assert {what for what, *_ in hub.log} == {"commit"}
    assert changed["models"] == {"manifest.json"}
    assert changed["spaces"] == {"index.html", "model/manifest.json", "sw.js"}
    manifest = json.loads((tmp_path / "site" / "model" / "manifest.json").read_text())
    assert hub.repositories["models", "me/weights"].head in manifest["weights_url"]


def test_a_space_may_carry_its_weights_and_loses_those_of_an_earlier_site(hub, publish):
    assert publish("--publish", "me/space", "--private").returncode == 0
    space = hub.repositories["spaces", "me/space"]
    before = {path for path in space.files if path.endswith(".bin")}
    assert space.private and before and len(hub.repositories) == 1
    assert "weights_url" not in json.loads(space.files["model/manifest.json"])
    space.files["notes.txt"] = b"the owner's own"
    space.files["code-0123456789abcdef/trefoil.js"] = b"an earlier version's"
    assert publish("--publish", "me/space", "--shard-mib", 0.125).returncode == 0
    manifest = json.loads(space.files["model/manifest.json"])
    after = {f"model/{shard['file']}" for shard in manifest["shards"]}
    assert {path for path in space.files if path.endswith(".bin")} == after != before
    assert space.files["notes.txt"] == b"the owner's own"
    [code] = {path.split("/")[0] for path in space.files if path.startswith("code-")}
    assert code in space.files["trefoil.js"].decode()


def test_a_dry_run_tells_everything_and_asks_nobody(hub, publish, tmp_path):
    result = publish(*BOTH, "--private", "--dry-run", "--shard-mib", 0.125, HF_TOKEN="",
                     HF_ENDPOINT=closed_port())
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "site").exists() and hub.log == []
    assert "me/weights (model, private)" in result.stdout
    assert "spaces/me/space (static Space, private)" in result.stdout
    assert "me/weights/resolve/<commit, known after the upload>/" in result.stdout
    assert publish(*BOTH, "--shard-mib", 0.125).returncode == 0
    sizes = re.findall(r"([\d,]+)  <sha256>\.bin", result.stdout)
    space = hub.repositories["spaces", "me/space"].files
    shards = [shard["bytes"] for shard in json.loads(space["model/manifest.json"])["shards"]]
    assert sorted(int(size.replace(",", "")) for size in sizes) == sorted(shards)
    listed = result.stdout[result.stdout.index("static Space"):]
    for path, content in space.items():
        if path not in ("README.md", "model/manifest.json", "sw.js", "_headers", "index.html",
                        "bench.html"):
            assert re.search(rf" {len(content):,}  {re.escape(path)}$", listed, re.M), path
        assert f"  {path}\n" in listed


def test_a_connection_that_breaks_off_is_taken_up_again(hub, publish):
    hub.refusal = ("/api/models/me/weights/commit", 500, "")
    fails(publish(*BOTH), "the hub has a problem")
    stored = [entry for entry in hub.log if entry[0] == "put"]
    assert stored and not hub.repositories["models", "me/weights"].files
    hub.log.clear()
    hub.refusal = ("/api/spaces/me/space/commit", 500, "")
    fails(publish(*BOTH), "--publish me/space: the hub has a problem")
    hub.refusal = None
    result = publish(*BOTH)
    assert result.returncode == 0 and "nothing to do" in result.stdout, "packed anew"
    assert [entry for entry in hub.log if entry[0] == "put"] == []
    assert [entry[1] for entry in hub.log if entry[0] == "commit"] == ["models", "spaces"]


def test_a_cut_upload_is_repeated(hub, publish, tmp_path, build, mlx):
    assert build("--model", mlx, "--out", tmp_path / "other").status == 0
    shards = list((tmp_path / "other" / "model").glob("*.bin"))
    largest = max(shards, key=lambda path: path.stat().st_size)
    hub.cuts = [largest.stem]
    assert publish(*BOTH).returncode == 0
    assert hub.cuts == []
    assert largest.name in hub.repositories["models", "me/weights"].files


@pytest.mark.parametrize(("refusal", "says"), [
    (("/api/repos/create", 403, "no right"), "the token may not write there"),
    (("/api/repos/create", 400, "bad name"), "the hub refuses this (answer 400"),
    (("/api/models/me/weights/commit", 412, "moved"), "somebody else has changed it meanwhile"),
    (("/api/models/me/weights/preupload", 404, ""), "no such repository for this token"),
])
def test_refusals_are_told_in_a_sentence(hub, publish, refusal, says):
    hub.refusal = refusal
    told = fails(publish(*BOTH), says)
    assert "--publish me/weights: " in told and refusal[2] in told


def test_repositories_that_hold_something_else_are_left_alone(hub, publish):
    model = Repository("models", files={"model.safetensors": b"x", "README.md": b"mine"})
    hub.repositories["models", "me/weights"] = model
    fails(publish(*BOTH), "holds something else (model.safetensors); name another")
    del hub.repositories["models", "me/weights"]
    app = Repository("spaces", "gradio", files={"app.py": b"x"})
    hub.repositories["spaces", "me/space"] = app
    fails(publish(*BOTH), "of the kind gradio, expected static")
    app.sdk = "static"
    fails(publish(*BOTH), "holds something else (app.py); name another")
    assert hub.log == [] and app.files == {"app.py": b"x"}
    app.files = {".gitattributes": b"", "README.md": b"", "index.html": b"", "style.css": b""}
    assert publish(*BOTH).returncode == 0, "what a new static Space holds is in nobody's way"


def test_tokens(hub, publish, tmp_path):
    fails(publish(*BOTH, HF_TOKEN=""), "there is no Hugging Face token; set HF_TOKEN")
    assert not (tmp_path / "site").exists(), "found before the work"
    fails(publish(*BOTH, HF_TOKEN="hf_reader"), "the hub does not know the token")
    fails(publish("--publish", "you/space"), "the token may not write there")
    assert hub.log == []


def test_no_network(publish, tmp_path):
    fails(publish(*BOTH, HF_ENDPOINT=closed_port()), "run again, what has arrived is not uploaded")
    assert (tmp_path / "site" / "index.html").exists()


@pytest.mark.parametrize("arguments", [
    ["--publish", "space"], ["--publish", "me/space", "--weights-repo", "a/b/c"],
    ["--weights-repo", "me/weights"], ["--private"],
    ["--publish", "me/space", "--weights-repo", "me/w", "--weights-url", "https://w.example"],
    ["--publish", "me/space", "--host", "github-pages"],
])
def test_usage(build, arguments):
    result = build(*arguments)
    assert result.status == 2 and "build.py: error: " in result.stderr


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
