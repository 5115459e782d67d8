"""The bootstrap, for real: a copy of export/environment.py makes a venv and installs a wheel.

The wheel is written here and pip reads it from a folder, so nothing is fetched.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from export import environment
from tests import __main__ as tests_command
from tests import fast
from tests.export.conftest import ROOT

RUN = """
import sys
from export import environment
environment.ensure(sys.argv, extras=("test",))
import trefoil_probe
print(sys.prefix, trefoil_probe.VERSION, sys.argv[1:])
"""


def write_wheel(folder, version):
    folder.mkdir(exist_ok=True)
    info = f"trefoil_probe-{version}.dist-info"
    files = {
        "trefoil_probe.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: trefoil-probe\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"trefoil_probe-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(name, text)


def write_project(folder, version):
    (folder / "export").mkdir(parents=True, exist_ok=True)
    for module in ("environment.py", "lock.py"):
        shutil.copy(ROOT / "export" / module, folder / "export")
    (folder / "run.py").write_text(RUN)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "x"\ndependencies = []\n'
        f'optional-dependencies.test = ["trefoil-probe=={version}"]\n'
    )


@pytest.fixture
def run(tmp_path):
    def start(python=None):
        """run.py under the interpreter that made the tests' own, which lacks the probe."""
        base = os.path.realpath(sys.executable)
        env = {"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull,
               "PIP_FIND_LINKS": str(tmp_path / "wheels")}
        return subprocess.run(
            [python or base, "run.py", "--a", "b c"], cwd=tmp_path / "project",
            env=env, capture_output=True, text=True, timeout=1200,
        )

    return start


def test_the_first_run_installs_and_an_update_follows(run, tmp_path):
    project, venv = tmp_path / "project", tmp_path / "project" / ".venv"
    write_project(project, "1.0")
    write_wheel(tmp_path / "wheels", "1.0")

    first = run()
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{venv} 1.0 ['--a', 'b c']\n"
    assert "trefoil: this Python lacks trefoil-probe==1.0; making" in first.stderr

    second = run()
    assert second.stdout == first.stdout and second.stderr == ""

    write_wheel(tmp_path / "wheels", "2.0")
    write_project(project, "2.0")
    third = run()
    assert third.stdout == f"{venv} 2.0 ['--a', 'b c']\n", third.stderr
    assert third.stderr == f"trefoil: installing into {venv}: trefoil-probe==2.0\n"

    inside = run(venv / "bin" / "python")
    assert inside.stdout == third.stdout and inside.stderr == ""

    write_project(project, "3.0")
    fourth = run()
    assert fourth.returncode == 1 and fourth.stdout == ""
    assert "trefoil: pip could not install trefoil-probe==3.0" in fourth.stderr


def test_this_interpreter_has_what_the_build_needs():
    assert environment.missing(environment.requirements()) == []
    assert environment.missing(["no-such-package==1.0"]) == ["no-such-package==1.0"]
    assert environment.missing(["numpy==0.1"], exact=False) == []
    assert environment.missing(["numpy==0.1"], exact=True) == ["numpy==0.1"]


def test_torch_stands_first_and_the_build_does_without():
    assert environment.requirements(("test",))[0].startswith("torch==")
    names = json.dumps(environment.requirements())
    assert not [heavy for heavy in ("torch", "diffusers", "transformers") if heavy in names]


def test_the_bootstrap_imports_the_standard_library_only():
    script = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "import export.environment, build\n"
        "parser, options = build.parse(['--serve'])\n"
        "assert options.serve == 8000\n"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True, capture_output=True)


def test_two_first_runs_at_once_share_one_environment(run, tmp_path):
    write_project(tmp_path / "project", "1.0")
    write_wheel(tmp_path / "wheels", "1.0")
    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(run) for _ in range(2)]
    results = [started.result() for started in runs]
    for result in results:
        assert result.returncode == 0 and " 1.0 ['--a', 'b c']\n" in result.stdout, result.stderr
    told = "".join(result.stderr for result in results)
    assert told.count("trefoil: this Python lacks") == told.count("trefoil: installing into") == 1
    assert not list((tmp_path / "project").glob("*.lock"))


def test_the_project_can_be_installed_as_its_metadata_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    backend = importlib.import_module(project["build-system"]["build-backend"])
    assert hasattr(backend, "build_editable")
    from setuptools import find_namespace_packages

    found = project["tool"]["setuptools"]["packages"]["find"]
    packages = find_namespace_packages(ROOT, **found)
    assert {"export", "export.layouts", "export.onnx", "train.garden"} <= {*packages}
    assert {name.split(".")[0] for name in packages} == {"export", "train"}


def test_conflict_marks_and_stray_blanks_are_found(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tests_command, "ROOT", tmp_path)
    (tmp_path / "notes.md").write_text("good\n")
    assert tests_command.check_blanks() == 0
    assert "this is no git checkout" in capfd.readouterr().err
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "notes.md"], cwd=tmp_path, check=True)
    assert tests_command.check_blanks() == 0
    for bad, told in (("blank \n", "trailing whitespace"), ("<<<<<<< HEAD\n", "conflict marker")):
        (tmp_path / "notes.md").write_text(bad)
        assert tests_command.check_blanks() != 0
        assert f"notes.md:1: {told}" in capfd.readouterr().out.replace("leftover ", "")


def test_a_javascript_test_that_fails_is_told(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tests_command, "ROOT", tmp_path)
    (tmp_path / "tests" / "web").mkdir(parents=True)
    file = tmp_path / "tests" / "web" / "sum.test.js"
    text = "require('node:test').test('sums', () => { if (1 + 1 !== %d) throw 5; });"
    file.write_text(text % 2)
    assert tests_command.check_javascript() == 0
    assert capfd.readouterr().out == ""
    file.write_text(text % 3)
    assert tests_command.check_javascript() != 0
    assert "sums" in capfd.readouterr().out


def test_the_fast_tier_needs_few_packages_and_names_what_it_leaves_out(monkeypatch):
    monkeypatch.setattr(tests_command.shutil, "which", lambda name: None)
    assert tests_command.missing_debian_packages("fast") == ["nodejs"]
    assert {"nodejs", "chromium", "npm"} <= {*tests_command.missing_debian_packages("full")}
    lines = environment.requirements(tests_command.EXTRAS["fast"])
    assert not {line.split("==")[0] for line in lines} & {*fast.WITHOUT}
    assert {*lines} < {*environment.requirements(tests_command.EXTRAS["full"])}
    for name in fast.FULL_ONLY:
        file, _, test = name.partition("::")
        assert f"def {test.partition('[')[0]}" in (ROOT / file).read_text(encoding="utf-8")


def test_the_fast_tier_cannot_import_what_it_does_without(tmp_path):
    (tmp_path / "test_heavy.py").write_text("import torch\n\n\ndef test_nothing():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.fast", tmp_path / "test_heavy.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "import of torch halted" in done.stdout


def test_ci_calls_the_readme_s_command():
    lines = (ROOT / ".ci" / "run").read_text().split("\n")
    assert lines[1:] == ['exec python3 -m tests "$@"', ""]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
