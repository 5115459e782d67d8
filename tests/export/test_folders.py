"""Where a site may go, what stays in its folder, and what is said where it may not."""

import ctypes
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from export.folder import disk, places
from tests.export.conftest import ROOT
from tests.export.tiny import CALL, Tiny
from tests.two_builds import contents


@pytest.fixture(params=["a file system", "a folder mounted twice", "a refused rename"])
def mounted(request, tmp_path, monkeypatch):
    """An empty folder that cannot be renamed. A real mount where that may be made; elsewhere, and

    for systems that do not list their mounts, the system's answer to a rename.
    """
    folder, other = tmp_path / "volume", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    how = {"a file system": ["-t", "tmpfs", "-o", "size=64m", "none"],
           "a folder mounted twice": ["--bind", other]}.get(request.param)
    made = how and not subprocess.run(["mount", *how, folder], capture_output=True).returncode
    if not made:
        rename = Path.rename

        def busy(self, target):
            if self == folder:
                raise OSError(errno.EBUSY, "Device or resource busy", str(self))
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", busy)
    yield folder
    if made:
        subprocess.run(["umount", "-l", folder], check=True)


def only_ours(folder):
    """What lies beside and in a site for its building."""
    beside = [path.name for path in folder.parent.glob(f".{folder.name}.*")]
    return sorted(beside + [path.name for path in folder.glob(".trefoil.*")])


def site_of(build, model, place):
    """The contents of the site of a model, built in a place of its own."""
    assert build("--model", model, "--out", place).status == 0
    return contents(place)


def test_a_mount_point_is_filled_and_filled_again(build, mlx, tmp_path, mounted):
    other = Tiny("binary").write(tmp_path / "binary", "mlx")
    for model in (mlx, other):
        wanted = site_of(build, model, tmp_path / f"wanted-{model.name}")
        result = build("--model", model, "--out", mounted)
        assert result.status == 0 and "written in" in result.stdout, result.stderr
        got = {name: data for name, data in contents(mounted).items()
               if not name.startswith(".trefoil.")}
        assert got == wanted
        assert len(only_ours(mounted)) == 1 and only_ours(mounted)[0].endswith("built")
        assert "nothing to do" in build("--model", model, "--out", mounted).stdout


def test_the_owner_s_files_stay_on_a_mount_point(build, mlx, tmp_path, mounted):
    (mounted / "lost+found").mkdir()
    assert build("--model", mlx, "--out", mounted).status == 0
    (mounted / "CNAME").write_text("pictures.example")
    assert build("--model", mlx, "--out", mounted, "--shard-mib", 0.01).status == 0
    assert (mounted / "CNAME").read_text() == "pictures.example"
    assert (mounted / "lost+found").is_dir()


def test_bind_mounts_are_known_too(tmp_path):
    """As root; elsewhere the list is read all the same."""
    (tmp_path / "one").mkdir()
    (tmp_path / "a b").mkdir()
    made = not subprocess.run(["mount", "--bind", tmp_path / "one", tmp_path / "a b"],
                              capture_output=True).returncode
    try:
        assert places.is_mounted(tmp_path / "a b") == made
        assert places.is_mounted(tmp_path) == made and not places.is_mounted(tmp_path / "one")
        assert Path("/") in places.mount_points()
    finally:
        if made:
            subprocess.run(["umount", "-l", tmp_path / "a b"], check=True)


def test_the_folder_that_one_stands_in(build, mlx, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    inode = os.stat(".").st_ino
    for arguments in ([], ["--shard-mib", 0.01]):
        assert build("--model", mlx, "--out", ".", *arguments).status == 0
        assert os.stat(".").st_ino == os.stat(tmp_path / "here").st_ino == inode
        assert "nothing to do" in build("--model", mlx, "--out", ".", *arguments).stdout
    monkeypatch.chdir(tmp_path)
    assert "nothing to do" in build("--model", mlx, "--out", "here", *arguments).stdout
    wanted = build("--model", mlx, "--out", "there", *arguments)
    assert wanted.status == 0 and contents("here") == contents("there")


def test_the_weights_of_the_folder_that_one_stands_in(build, mlx, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = build("--model", mlx, "--out", ".", "--weights-url", "https://w.example")
    assert result.status == 0, result.stderr
    assert list((tmp_path / "here-weights").glob("*.bin"))


@pytest.mark.parametrize("step", range(4))
def test_a_fill_that_is_killed_is_made_good(build, mlx, tmp_path, monkeypatch, step):
    """Stopped at any of its renames; before the first of a changed file the old site is whole."""
    from export.folder import filling

    out = tmp_path / "site"
    out.mkdir()
    other = Tiny("binary").write(tmp_path / "binary", "mlx")
    wanted = site_of(build, other, tmp_path / "wanted")
    monkeypatch.chdir(out)
    assert build("--model", mlx, "--out", out).status == 0
    old = contents(out)
    (out / "CNAME").write_text("mine")
    place, count = filling.place, []

    def stopping(source, target):
        if len(count) == step:
            raise SystemExit(9)
        count.append(target)
        place(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(filling, "place", stopping)
        assert build("--model", other, "--out", out).status == 9
    changed = {name for name, data in contents(out).items() if old.get(name, data) != data}
    assert not changed or step > 1, "the first files are those that the old site has not"
    assert not [name for name in old if not (out / name).exists()]
    assert build("--model", other, "--out", out).status == 0
    assert contents(out) == wanted | {"CNAME": b"mine"}


@pytest.mark.parametrize("where", ["site", "deeper/site"])
def test_a_site_in_its_model_s_folder_is_recognised(build, mlx, where):
    arguments = ["--model", mlx, "--out", mlx / where]
    assert build(*arguments).status == 0
    assert "nothing to do" in build(*arguments).stdout
    (mlx / "trefoil.json").write_text(json.dumps(CALL | {"num_inference_steps": 7}))
    assert "nothing to do" not in build(*arguments).stdout


def test_a_site_around_its_model(build, mlx, tmp_path):
    out = tmp_path / "site"
    assert build("--model", mlx, "--out", out).status == 0
    mlx.rename(out / "inside")
    before = contents(out / "inside")
    result = build("--model", out / "inside", "--out", out, "--shard-mib", 0.01)
    assert result.status == 0, result.stderr
    assert contents(out / "inside") == before


@pytest.mark.parametrize("target", ["there", "gone"])
def test_a_link_leads_to_the_site(build, mlx, tmp_path, target):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / target)
    for arguments in ([], ["--shard-mib", 0.01]):
        assert build("--model", mlx, "--out", tmp_path / "link", *arguments).status == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / target / "model" / "manifest.json").exists()


@pytest.mark.parametrize(("out", "told"), [
    ("/", "/: is not empty and was not written by build.py"),
    ("x" * 300, "the name is too long, so nothing was written there; a shorter one is needed"),
    (ROOT / "web" / "site", "lies within Trefoil's own"),
    ("loop/site", "oop"),
])
def test_what_cannot_be_is_refused_before_packing(build, mlx, tmp_path, monkeypatch, out, told):
    monkeypatch.setattr("export.build.pack_model", None)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    result = build("--model", mlx, "--out", tmp_path / out)
    assert result.status == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    assert told in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"loop", mlx.name}


@pytest.mark.parametrize("option", ["--model", "--out"])
def test_no_name_is_no_folder(build, mlx, option):
    result = build("--model", mlx, option, "")
    assert result.status == 2 and f"{option}: got no name at all" in result.stderr


def test_a_folder_without_a_model_is_not_looked_through(build, tmp_path, monkeypatch):
    monkeypatch.setattr("export.folder.fingerprint.os.walk", None)
    (tmp_path / "home" / "a" / "b").mkdir(parents=True)
    result = build("--model", tmp_path / "home", "--out", tmp_path / "site")
    assert result.status == 1 and len(result.stderr.splitlines()) == 1
    assert build("--model", "/", "--out", tmp_path / "site").status == 1


def test_a_rebuild_keeps_what_the_owner_put_there(build, mlx, tmp_path):
    out = tmp_path / "site"
    assert build("--model", mlx, "--out", out).status == 0
    theirs = {"CNAME": b"pictures.example", ".well-known/security.txt": b"x", "about.html": b"y",
              ".git/HEAD": b"ref: refs/heads/main", "model/mine.txt": b"z"}
    for name, data in theirs.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(data)
    (out / ".git" / "refs" / "tags").mkdir(parents=True)
    (out / "latest").symlink_to("about.html")
    (out / ".git").chmod(0o700)
    result = build("--model", mlx, "--out", out, "--shard-mib", 0.01)
    assert result.status == 0 and "edited" not in result.stderr, result.stderr
    assert build("--model", mlx, "--out", tmp_path / "plain", "--shard-mib", 0.01).status == 0
    got = contents(out)
    assert got == contents(tmp_path / "plain") | theirs | {"latest": b"y"}
    assert (out / ".git" / "refs" / "tags").is_dir() and (out / "latest").is_symlink()
    assert (out / ".git").stat().st_mode & 0o777 == 0o700
    assert "nothing to do" in build("--model", mlx, "--out", out, "--shard-mib", 0.01).stdout


def test_a_moved_site_is_known_by_its_own_lists(build, mlx, tmp_path):
    """Without its record: files of ours go, others stay."""
    out = tmp_path / "moved"
    assert build("--model", mlx, "--out", tmp_path / "site").status == 0
    (tmp_path / "site").rename(out)
    (out / "CNAME").write_text("mine")
    assert build("--model", mlx, "--out", out, "--shard-mib", 0.01).status == 0
    assert build("--model", mlx, "--out", tmp_path / "plain", "--shard-mib", 0.01).status == 0
    assert contents(out) == contents(tmp_path / "plain") | {"CNAME": b"mine"}


def test_an_edited_file_is_put_aside_and_told(build, mlx, tmp_path):
    out = tmp_path / "site"
    assert build("--model", mlx, "--out", out).status == 0
    plain = contents(out)
    for text in ("first", "second"):
        (out / "README.md").write_text(f"my {text} words")
        result = build("--model", mlx, "--out", out)
        assert result.status == 0 and contents(out) == plain
        assert "README.md was not as the last build left it" in result.stderr
    edited = contents(tmp_path / "site-edited")
    assert edited == {"README.md": b"my first words", "README.md.1": b"my second words"}


def test_a_file_in_the_way_of_a_new_one_is_put_aside(build, mlx, tmp_path):
    out = tmp_path / "site"
    (mlx / "LICENSE").unlink(missing_ok=True)
    assert build("--model", mlx, "--out", out).status == 0
    (out / "model" / "LICENSE").write_text("the owner's")
    (out / "onnx").write_text("a file where a folder may come")
    (mlx / "LICENSE").write_text("the model's")
    result = build("--model", mlx, "--out", out)
    assert result.status == 0
    assert (out / "model" / "LICENSE").read_text() == "the model's"
    assert (tmp_path / "site-edited" / "model" / "LICENSE").read_text() == "the owner's"
    assert (out / "onnx").read_text() == "a file where a folder may come"


@pytest.mark.parametrize("harm", ["a flipped byte", "kept times", "shorter", "gone", "a page"])
def test_a_damaged_site_is_built_again(build, mlx, tmp_path, harm):
    out = tmp_path / "site"
    assert build("--model", mlx, "--out", out).status == 0
    plain = contents(out)
    path = out / "index.html" if harm == "a page" else max(
        (out / "model").glob("*.bin"), key=lambda path: path.stat().st_size)
    before, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data[:-1] if harm == "shorter" else data)
    if harm == "kept times":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if harm == "gone":
        path.unlink()
    result = build("--model", mlx, "--out", out)
    assert result.status == 0 and "nothing to do" not in result.stdout
    assert contents(out) == plain
    assert "nothing to do" in build("--model", mlx, "--out", out).stdout


def test_a_touched_site_is_not_built_again(build, mlx, tmp_path):
    out = tmp_path / "site"
    assert build("--model", mlx, "--out", out).status == 0
    for path in out.rglob("*"):
        os.utime(path, (1, 1))
    assert "nothing to do" in build("--model", mlx, "--out", out).stdout


def test_a_full_disk(build, tmp_path):
    """A real small one as root; elsewhere one that the system says to be full."""
    garden = ROOT / "models" / "garden-ternary"
    (tmp_path / "small").mkdir()
    real = not subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", tmp_path / "small"],
                              capture_output=True).returncode
    out = tmp_path / "small" / "site" if real else Path("/dev/full/site")
    try:
        result = build("--model", garden, "--out", out)
        assert result.status == 1, result.stdout
        line = result.stderr.splitlines()[-1]
        if real:
            assert "the disk is full, so nothing was written there; free some space there" in line
            assert str(out) in line and "trefoil/web" not in line
            assert not list((tmp_path / "small").iterdir())
    finally:
        if real:
            subprocess.run(["umount", "-l", tmp_path / "small"], check=True)


def test_a_disk_that_is_hopeless_is_refused_before_packing(build, mlx, tmp_path, monkeypatch):
    monkeypatch.setattr("export.build.pack_model", None)
    monkeypatch.setattr("export.build.least_bytes", lambda model: 1 << 60)
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 1 and "the site takes at least 1,152,921,504,606,846,976" in (
        result.stderr)
    assert not list(tmp_path.glob("*site*"))


@pytest.mark.parametrize(("number", "told"), [
    (errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only"),
    (errno.EACCES, "permission denied"), (errno.ENAMETOOLONG, "name is too long"),
])
def test_what_the_system_says_is_said_of_the_right_file(tmp_path, number, told):
    target, source = tmp_path / "site", tmp_path / "model" / "LICENSE"
    inside = tmp_path / ".site.partial-01234567" / "index.html"
    for names in ((str(inside),), (str(source), None, str(inside)), ()):
        said = disk.explain(OSError(number, "text", *names), target)
        assert said.startswith(f"{target}: ") and told in said and "--out" in said
        assert ("free" in said) == (number in (errno.ENOSPC, errno.EDQUOT))
    if number == errno.EACCES:
        said = disk.explain(OSError(number, "Permission denied", str(source)), target)
        assert said == (f"{source}: cannot be read (Permission denied), and the site needs it; "
                        "make it readable, and run again")


def without_root_s_rights(command):
    """Runs a command for which permissions count, whoever runs the tests."""

    def drop():
        if sys.platform == "linux":
            prctl = ctypes.CDLL(None).prctl
            for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
                prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; others do not have them anyway

    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=drop)


@pytest.mark.parametrize("what", ["LICENSE", "the parent", "the folder"])
def test_permissions(mlx, tmp_path, what):
    place = tmp_path / "place"
    (place / "site").mkdir(parents=True)
    closed = {"LICENSE": mlx / "LICENSE", "the parent": place, "the folder": place / "site"}[what]
    (mlx / "LICENSE").write_text("x")
    out = place / "new" if what == "the parent" else place / "site"
    command = [sys.executable, "build.py", "--model", mlx, "--out", out]
    mode = closed.stat().st_mode
    closed.chmod(mode & 0o555 if what == "the parent" else 0)
    result = without_root_s_rights(command)
    closed.chmod(mode)
    lines = result.stderr.splitlines()
    assert result.returncode == 1 and len(lines) == 1, result.stderr
    assert "ermission denied" in lines[0] and "space" not in lines[0]
    assert (f"{closed}: cannot be read" in lines[0]) == (what == "LICENSE")
    assert str(closed) in lines[0] and not list(place.glob(".*"))
    assert without_root_s_rights(command).returncode == 0


def test_a_site_that_cannot_be_written_may_be_the_right_one(mlx, tmp_path):
    place = tmp_path / "place"
    command = [sys.executable, "build.py", "--model", mlx, "--out", place / "site"]
    assert without_root_s_rights(command).returncode == 0
    before = contents(place)
    for closed in (place / "site", place):
        closed.chmod(0o555)
    again = without_root_s_rights(command)
    other = without_root_s_rights([*command, "--shard-mib", "0.01"])
    for closed in (place, place / "site"):
        closed.chmod(0o755)
    assert again.returncode == 0 and "nothing to do" in again.stdout, again.stderr
    assert other.returncode == 1 and "permission denied" in other.stderr
    assert len(other.stderr.splitlines()) == 1 and contents(place) == before


def test_a_folder_whose_parent_cannot_be_written_is_filled(mlx, tmp_path):
    place = tmp_path / "place"
    (place / "site").mkdir(parents=True)
    place.chmod(0o555)
    command = [sys.executable, "build.py", "--model", mlx, "--out", place / "site"]
    for told in ("written in", "nothing to do"):
        result = without_root_s_rights(command)
        assert result.returncode == 0 and told in result.stdout, result.stderr
    place.chmod(0o755)
    assert only_ours(place / "site") == [".trefoil.built"]


@pytest.mark.parametrize("dry", [True, False])
def test_a_full_folder_for_temporary_files(mlx, tmp_path, dry):
    """Where none can be written at all; only the dry run needs one."""
    arguments = ["--dry-run"] if dry else ["--out", tmp_path / "site", "--host", "hf"]
    code = ("import sys, tempfile, build\n"
            "def none(): raise FileNotFoundError(2, 'No usable temporary directory found')\n"
            "tempfile.gettempdir = none\n"
            "sys.exit(build.main(sys.argv[1:]))")
    result = subprocess.run([sys.executable, "-c", code, "--model", mlx, *arguments], cwd=ROOT,
                            capture_output=True, text=True)
    assert result.returncode == int(dry), result.stderr
    assert ("set TMPDIR to another folder" in result.stderr) == dry
    assert "Traceback" not in result.stderr
