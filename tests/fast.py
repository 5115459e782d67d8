"""The fast tier: what answers in under a minute, without a browser, a GPU or torch.

A plugin of pytest's as well: under it the packages that the tier does without cannot be imported,
even where they are installed, so that a test which needs one says so here.
"""

import sys

WITHOUT = ("torch", "diffusers", "transformers", "playwright", "wgpu", "onnx", "onnxruntime")
FOLDERS = ("tests/export", "tests/web")
FULL_ONLY = {  # files and tests of these folders that only the whole run has, and why
    "tests/export/test_consoles.py": "processes are ended at many places",
    "tests/export/test_damage.py": "torch writes its checkpoints",
    "tests/export/test_damaged_json.py::test_a_wrong_value_at_any_key":
        "a model is opened for a score of values at each key of nine files",
    "tests/export/test_environment.py": "environments are made and packages installed",
    "tests/export/test_files.py::test_the_same_lists_on_the_hub": "a hub is asked for each list",
    "tests/export/test_flux1_base.py": "diffusers writes its base",
    "tests/export/test_flux1_sources.py": "the module that writes its files needs torch",
    "tests/export/test_folders.py": "sites are built, killed, mounted over and built again",
    "tests/export/test_fuzz_files.py": "the module that writes its files needs torch",
    "tests/export/test_gguf.py": "torch writes its checkpoints",
    "tests/export/test_groups.py": "torch writes its checkpoints",
    "tests/export/test_hub.py": "a hub is served, and each build from it is a process",
    "tests/export/test_meaning.py::test_every_key_of_the_reference_s_own_classes_is_known":
        "diffusers' classes are read",
    "tests/export/test_mlx.py": "it stands on test_published.py",
    "tests/export/test_names.py": "torch writes its checkpoints",
    "tests/export/test_preview.py": "diffusers decodes beside it",
    "tests/export/test_preview_dc.py": "diffusers decodes beside it",
    "tests/export/test_publish.py": "processes upload, wait and upload again",
    "tests/export/test_published.py": "torch writes its checkpoints",
    "tests/export/test_published_sana.py": "torch writes its checkpoints",
    "tests/export/test_tokenizer.py::test_transformers_renders_the_same": "transformers renders",
    "tests/export/test_sana_build.py": "diffusers writes its checkpoint",
    "tests/export/test_two_builds.py": "processes race each other",
    "tests/web/test_clip.py": "diffusers and transformers encode beside it",
    "tests/web/test_gemma_tokenizer.py": "diffusers and transformers encode beside it",
    "tests/web/test_goldens.py": "torch, diffusers and transformers are asked again",
    "tests/web/test_t5.py": "diffusers and transformers encode beside it",
    "tests/web/test_tokenizer.py": "transformers encodes beside it",
}


def selection():
    """pytest's arguments for the tier."""
    left_out = [f"--deselect={name}" if "::" in name else f"--ignore={name}" for name in FULL_ONLY]
    return ["-p", "tests.fast", *FOLDERS, *left_out]


def pytest_configure():
    for name in WITHOUT:
        sys.modules[name] = None  # an import of it raises ImportError
