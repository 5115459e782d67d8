"""Every family and text encoder by two processes over gloo, against one process."""

import json

import pytest

from export.source.configuration import read_json
from tests.ternarize import encoders
from tests.ternarize.families import TEACHERS
from tests.ternarize.teacher import SMALL, finish, start
from tests.ternarize.test_processes import WORDS, compare, torchrun

FAMILIES = ("dev", "sana-dpm", "sprint")
# Small rates: rounding differences of the sums must not turn into other codes at once.
OF_ENCODERS = ["--rate", "2e-5", "--dense-rate", "1e-4", "--reconstruct-rate", "2e-5",
               "--train-steps", "4", "--finish-steps", "2", "--micro-batch", "4"]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """name -> the folder of each family's and each encoder's teacher."""
    folder = tmp_path_factory.mktemp("teachers")
    return ({name: TEACHERS[name].write(folder / name) for name in FAMILIES}
            | {name: make(folder / name) for name, make in encoders.MODELS.items()})


@pytest.fixture(scope="module")
def by_two(teachers, prompts, tmp_path_factory):
    """The folder in which two processes have left each student under its name."""
    out = tmp_path_factory.mktemp("two")
    runs = [encoders.words(teacher, prompts, out / name, *OF_ENCODERS)
            if name in encoders.MODELS else
            ["--model", teacher, "--prompts", prompts, "--bits", "ternary", *SMALL, *WORDS,
             "--out", out / name] for name, teacher in teachers.items()]
    listing = out / "runs.json"
    listing.write_text(json.dumps([[str(word) for word in words] for words in runs]))
    result = torchrun(listing, module="tests.ternarize.several")
    assert result.returncode == 0, result.stderr[-2000:]
    return out


@pytest.mark.parametrize("name", [*FAMILIES, *encoders.MODELS])
def test_two_processes_have_the_loss_of_one(name, teachers, by_two, prompts, tmp_path):
    encoder = name in encoders.MODELS
    begin, end = (encoders.start, encoders.finish) if encoder else (start, finish)
    words = OF_ENCODERS if encoder else WORDS
    end(*begin(teachers[name], prompts, tmp_path / "one", *words, "--micro-batch", 8))
    compare(*(read_json(out / "report" / "report.json")
              for out in (by_two / name, tmp_path / "one")))
