"""What a site tells its hosts: front matter, headers, limits; and a site apart from its weights."""

import base64
import hashlib
import json
import re
from fnmatch import fnmatchcase

import pytest
import yaml
from PIL import Image

from export.errors import ExportError
from export.finding import find_model
from export.opening import open_model
from export.packing.pack import plan_model
from export.site import headers, hosts
from export.site.code import digest_of, find_code
from tests.export.packed import PackedSite

HUB_URL = "https://huggingface.co/me/weights/resolve/" + "0" * 40


def front_matter(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])


def shell_of(folder):
    text = (folder / "sw.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("self.SHELL = ").partition(";\n\n")[0])


def rules_of(folder):
    """{path: {header: value}} of _headers."""
    rules, path = {}, None
    for line in (folder / "_headers").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            name, value = line.strip().split(": ", 1)
            rules[path][name] = value
        else:
            path = line
            rules[path] = {}
    return rules


@pytest.fixture
def site(build, mlx, tmp_path):
    """site(*options) builds the tiny model and returns the folder."""
    def make(*options):
        result = build("--model", mlx, "--out", tmp_path / "site", *options)
        assert result.status == 0, result.stderr
        return tmp_path / "site"

    return make


def test_the_front_matter_of_a_space(site, mlx):
    (mlx / "README.md").write_text("---\nlicense: other\nlicense_name: mine\n---\ntext\n")
    folder = site("--weights-url", HUB_URL)
    told = front_matter(folder)
    assert (told["sdk"], told["app_file"], told["header"]) == ("static", "index.html", "mini")
    assert told["title"] == "Tiny in your browser" and told["fullWidth"] is True
    assert {told["colorFrom"], told["colorTo"]} <= {"red", "yellow", "green", "blue", "indigo",
                                                    "purple", "pink", "gray"}
    assert 0 < len(told["short_description"]) <= 60
    assert told["license"] == "other" and "license_name" not in told
    assert told["models"] == ["me/weights"] and "webgpu" in told["tags"]
    thumbnail = folder / told["thumbnail"]
    assert thumbnail.stat().st_size <= 100_000
    with Image.open(thumbnail) as image:
        assert image.size == (1200, 630)


def test_a_licence_that_the_model_does_not_name_is_not_made_up(site):
    assert "license" not in front_matter(site())


def test_headers_keep_to_what_hosts_read_and_repeat_the_pages_policy(site):
    folder = site("--weights-url", HUB_URL)
    rules = rules_of(folder)
    lines = (folder / "_headers").read_text(encoding="utf-8").splitlines()
    assert len(rules) <= 100 and max(map(len, lines)) <= 2000
    assert "immutable" in rules["/model/*.bin"]["Cache-Control"]
    assert rules["/sw.js"] == {"Cache-Control": "no-cache"}
    assert "immutable" in rules[f"/{find_code(folder)}/*"]["Cache-Control"]
    assert rules["/*"]["X-Content-Type-Options"] == "nosniff"
    assert "Cache-Control" not in rules["/*"], "it would be joined to the shards' own"
    written = rules["/*"]["Content-Security-Policy"]
    for page in ("index.html", "bench.html"):
        html = (folder / page).read_text(encoding="utf-8")
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
        assert policy.replace(" 'wasm-unsafe-eval'", "") == headers.policy(HUB_URL)
    assert written == policy and "frame-ancestors" not in written
    connect = re.search(r"connect-src ([^;]*);", written)[1].split()
    assert connect == ["'self'", "https://huggingface.co", "https://*.hf.co",
                       "https://*.xethub.hf.co", "https://*.huggingface.co"]


def test_what_a_deployment_replaces_is_not_cached_and_the_code_for_ever(site):
    folder = site()
    rules = {path: headers["Cache-Control"] for path, headers in rules_of(folder).items()
             if "Cache-Control" in headers}
    for name in ["sw.js", *shell_of(folder)["files"]]:
        [told] = [value for path, value in rules.items() if fnmatchcase(f"/{name}", path)]
        assert ("immutable" in told) == name.startswith(find_code(folder)), name


def test_the_code_lies_in_a_folder_that_is_named_by_its_content(site):
    folder = site()
    code = find_code(folder)
    assert code == f"code-{digest_of(folder / code)[:16]}"
    for page in ("index.html", "bench.html"):
        html = (folder / page).read_text(encoding="utf-8")
        own = re.findall(r'(?:src|href)="([^"]+\.(?:js|css|svg|png))"', html)
        assert len(own) > 5 and {name.split("/")[0] for name in own} == {"start.js", code}
        assert all((folder / name).is_file() for name in own)
    (folder / code / "studio" / "main.js").write_text("")
    assert digest_of(folder / code)[:16] not in code


def test_the_shell_is_the_site_without_its_weights(site):
    folder = site()
    shell = shell_of(folder)
    apart = {"sw.js", "README.md", "THIRD_PARTY.md", "_headers", ".nojekyll", "thumbnail.jpg",
             "trefoil.d.ts"}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    left = {name for name in there - shell["files"].keys() if not name.endswith(".bin")}
    assert {name for name in left - apart if not name.endswith(("LICENSE", "NOTICE"))} == set()
    assert shell["code"] == find_code(folder)
    for name, integrity in shell["files"].items():
        digest = hashlib.sha256((folder / name).read_bytes()).digest()
        assert integrity in ("sha256-" + base64.b64encode(digest).decode(),
                             "" if name.endswith(".html") else None), name


def test_the_web_manifest_names_icons_of_their_size(site):
    folder = site()
    manifest = json.loads((folder / "manifest.webmanifest").read_text(encoding="utf-8"))
    assert manifest["name"] == "Tiny in your browser" and manifest["display"] == "standalone"
    assert not manifest["start_url"].startswith("/")
    sizes = {icon["sizes"]: icon.get("purpose") for icon in manifest["icons"]}
    assert {"any", "192x192", "512x512"} == set(sizes) and "maskable" in sizes.values()
    for icon in manifest["icons"]:
        if icon["type"] == "image/png":
            with Image.open(folder / icon["src"]) as image:
                assert f"{image.width}x{image.height}" == icon["sizes"]


@pytest.mark.parametrize("url", ["https://weights.example/a/b", "http://127.0.0.1:8001/"])
def test_weights_elsewhere_lie_beside_a_site_that_does_not_carry_them(site, url):
    folder = site("--weights-url", url)
    apart = folder.with_name("site-weights")
    manifest = json.loads((folder / "model" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest.pop("weights_url") == url.rstrip("/") + "/"
    assert not list(folder.rglob("*.bin")) and (folder / "model" / "tokenizer.json").exists()
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert f"connect-src 'self' {url.split('/')[0]}//{url.split('/')[2]};" in page
    packed = PackedSite(apart)
    packed.check_shards()
    assert packed.manifest == manifest
    assert (apart / "tokenizer.json").read_bytes() == (
        folder / "model" / "tokenizer.json").read_bytes()
    card = front_matter(apart)
    assert card["pipeline_tag"] == "text-to-image" and "base_model" not in card
    assert json.loads((apart / "config.json").read_text())["variant"] == "ternary"


def test_a_lost_folder_of_weights_is_built_again(build, mlx, tmp_path):
    arguments = ["--model", mlx, "--out", tmp_path / "site", "--weights-url", "https://w.example"]
    assert build(*arguments).status == 0
    assert "nothing to do" in build(*arguments).stdout
    shard = next((tmp_path / "site-weights").glob("*.bin"))
    shard.unlink()
    assert "nothing to do" not in build(*arguments).stdout
    assert shard.exists()


def test_a_foreign_folder_in_the_weights_place_is_left_alone(build, mlx, tmp_path):
    foreign = tmp_path / "site-weights"
    foreign.mkdir()
    (foreign / "diary.txt").write_text("x")
    result = build("--model", mlx, "--out", tmp_path / "site", "--weights-url", "https://w.example")
    assert result.status == 1 and "site-weights" in result.stderr
    assert not (tmp_path / "site").exists() and (foreign / "diary.txt").read_text() == "x"


@pytest.mark.parametrize(("host", "sizes", "told"), [
    ("cloudflare-pages", {"a.bin": 25 * 2**20 + 1}, "a.bin has 26,214,401 bytes"),
    ("cloudflare-pages", dict.fromkeys(map(str, range(20_001)), 1), "has 20,001 files"),
    ("github-pages", {"a": 90_000_000} | {str(i): 90_000_000 for i in range(10)},
     "takes 990,000,000 bytes, the host at most 900,000,000"),
    ("hf", {"onnx/a": 900_000_000, "onnx/b": 1_073_741_825}, "onnx/b has 1,073,741,825 bytes"),
    ("hf", {"a": 1_000_000_000, "b": 1}, "1,000,000,001 bytes, the host at most 1,000,000,000"),
])
def test_what_a_host_would_refuse_is_refused_with_the_number(host, sizes, told):
    with pytest.raises(ExportError, match=re.escape(told)):
        hosts.check(host, sizes)
    sizes.pop(next(reversed(sizes)))
    hosts.check(host, sizes)


def test_a_folder_takes_files_of_any_size():
    hosts.check("generic", {"onnx/transformer/model.onnx_data": 2_000_000_000, "big": 2**40})


@pytest.mark.parametrize("dry", [True, False])
def test_a_site_beyond_the_host_is_refused_before_anything_is_packed(
    build, mlx, tmp_path, monkeypatch, dry
):
    limits = hosts.Host(64, 1024, most_bytes=100_000)
    monkeypatch.setitem(hosts.HOSTS, "hf", limits)
    monkeypatch.setattr("export.build.pack_model", None)
    arguments = ["--model", mlx, "--out", tmp_path / "site", "--host", "hf"]
    result = build(*arguments, *(["--dry-run"] if dry else []))
    assert result.status == 1 and "the host at most 100,000; keep the weights" in result.stderr
    assert not list(tmp_path.glob("*site*"))


@pytest.mark.parametrize("mib", [0.01, 0.125, 64])
def test_the_planned_shards_are_the_written_ones(build, mlx, tmp_path, mib):
    arguments = ["--model", mlx, "--shard-mib", mib]
    assert build(*arguments, "--out", tmp_path / "site").status == 0
    written = PackedSite(tmp_path / "site").manifest["shards"]
    model = open_model(find_model(str(mlx)))
    plan_model(model, lambda *done: None)
    planned = model.shard_sizes(hosts.shard_bytes("generic", mib))
    assert sorted(planned) == sorted(shard["bytes"] for shard in written)
    told = build(*arguments, "--dry-run").stdout
    row = next(line for line in told.splitlines() if line.startswith("weights, in model/"))
    assert row.split()[3:5] == [f"{len(written):,}", f"{sum(s['bytes'] for s in written):,}"]
