"""Which files a build reads, of a folder and of a repository: one table, asked of both."""

import json

import pytest

from export.errors import ExportError
from export.families import choose as choosing
from export.families.flux2 import FLUX2
from export.source import files
from export.source.files import list_checkpoint, told
from export.source.safetensors import Checkpoint
from tests.export.file_lists import DIFFUSERS, DIT, ROWS, TEXT, VAE, Row
from tests.export.hub import hub_of

# Asks the hub for each repository named, and prints what became of it.
ASK = """
import json, sys
from export.errors import ExportError
from export.finding import find_model
for repository in sys.argv[1:]:
    try:
        folder, said = find_model(repository).folder, None
    except ExportError as error:
        said = str(error)
    print(json.dumps([repository, said]))
"""


def choose(listing, bits=None, only=None):
    return choosing.choose(listing, FLUX2, bits, only)


@pytest.mark.parametrize("case", ROWS)
def test_a_folder(tmp_path, case):
    row = ROWS[case]
    listing = list_checkpoint(row.write(tmp_path))
    if isinstance(row.read, tuple):
        chosen = choose(listing)
        assert sorted({*chosen.names, *told(listing)}) == row.needed
        for component in {DIT, TEXT, VAE}.intersection(name.split("/")[0] for name in chosen.names):
            read_what_was_chosen(tmp_path, component, chosen.names)
        return
    with pytest.raises(ExportError) as failure:
        choose(listing)
    assert row.read in str(failure.value) and str(tmp_path) in str(failure.value)


def read_what_was_chosen(folder, component, names):
    """The reader opens the very files that the list names."""
    weights = [name for name in names if name.startswith(f"{component}/")
               and name.endswith(".safetensors")]
    if weights:
        paths = {entry.path for entry in Checkpoint(folder / component).entries.values()}
        assert paths == {folder / name for name in weights}


def test_the_same_lists_on_the_hub(tmp_path):
    """Just these files are fetched; what is refused is refused before any weights are."""
    folders = {f"org/case{i}": row.write(tmp_path / f"{i}") for i, row in enumerate(ROWS.values())}
    with hub_of(tmp_path, tmp_path / "hf") as hub:
        hub.folders = folders
        result = hub.python("-c", ASK, *folders, HF_HUB_DISABLE_PROGRESS_BARS="1")
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [repository for repository, _ in answers] == list(folders)
    for (repository, said), (case, row) in zip(answers, ROWS.items(), strict=True):
        fetched = hub.fetched.get(repository, [])
        assert len(fetched) == len(set(fetched)), case
        if isinstance(row.read, tuple):
            looked_at = row.indexes if case == "an index left over beside a variant" else ()
            assert said is None and sorted({*fetched} - {*looked_at}) == row.needed, (case, said)
            continue
        if "not a file name in" not in row.read:  # the file that says so is here by then
            assert said.startswith(f"--model {repository}: "), (case, said)
        assert row.read in said, (case, said)
        told = {"model_index.json", "transformer/config.json", *row.indexes}
        assert {*fetched} <= told, case


def test_a_broken_single_file_gives_way_to_whole_shards(tmp_path):
    row = ROWS["single beside shards"]
    row.write(tmp_path)
    single = tmp_path / DIT / f"{DIFFUSERS}.safetensors"
    single.write_bytes(single.read_bytes()[:-4])
    names = choose(list_checkpoint(tmp_path)).names
    assert f"{DIT}/{DIFFUSERS}.safetensors" not in names
    assert [name for name in names if name.startswith(DIT)] == sorted(
        [f"{DIT}/config.json", *row.more, *row.indexes])
    assert {entry.path.name for entry in Checkpoint(tmp_path / DIT).entries.values()} == {
        name.split("/")[1] for name in row.more}
    (tmp_path / row.more[0]).unlink()
    with pytest.raises(ExportError, match="truncated"):
        Checkpoint(tmp_path / DIT)


def test_a_file_of_a_folder_may_be_named(tmp_path):
    row = Row(less=(f"{DIT}/{DIFFUSERS}.safetensors",), more=("a.gguf", "b.gguf", "c.safetensors"))
    listing = list_checkpoint(row.write(tmp_path))
    for name in row.more:
        chosen = choose(listing, only=name)
        assert [path.name for path in chosen.places["transformer"].files] == [name]
        assert not set(row.more) - {name} & set(chosen.names)
    with pytest.raises(ExportError, match="3 files|2 files"):
        choose(listing)


def test_a_file_that_its_folder_does_not_take_is_told(tmp_path):
    variant = f"{DIT}/{DIFFUSERS}.fp16.safetensors"
    listing = list_checkpoint(Row(more=(variant,)).write(tmp_path))
    assert choose(listing, only=f"{DIT}/{DIFFUSERS}.safetensors")
    with pytest.raises(ExportError, match="is not what its folder's names make the model"):
        choose(listing, only=variant)


@pytest.mark.parametrize(("bits", "encoder"), [
    (None, "text_encoder-mlx-4bit"), (4, "text_encoder-mlx-4bit"), (8, TEXT), (16, TEXT),
])
def test_the_encoder_that_has_the_bits(tmp_path, bits, encoder):
    mlx = tuple(f"text_encoder-mlx-4bit/{name}" for name in ("config.json", "model.safetensors"))
    chosen = choose(list_checkpoint(Row(more=mlx).write(tmp_path)), bits)
    read = {name.split("/")[0] for name in chosen.names if name.startswith("text_encoder")}
    assert read == {encoder}


def test_what_a_model_made_from_another_has_of_it(tmp_path):
    """All but the weights that it makes itself, and what was not there."""
    Row(more=("LICENSE", "notice.txt", "README.md", "tokenizer/vocab.json")).write(tmp_path)
    there = {path.name for path in tmp_path.iterdir()}
    copied = {path.relative_to(tmp_path).as_posix() for path in files.copied(tmp_path, FLUX2)}
    sure = {VAE, "tokenizer", "model_index.json", "LICENSE", "notice.txt"}
    assert copied == (sure | {"scheduler", "trefoil.json"}) & there and sure <= copied
