import pytest

from train.garden import students
from train.ternarize.__main__ import parse
from train.ternarize.command import read_settings


@pytest.mark.parametrize("name", students.STUDENTS)
def test_every_student_is_a_run_the_ternariser_accepts(name, tmp_path):
    _, options = parse(students.command(name, tmp_path, "teacher"))
    settings = read_settings(options)
    settings.check(1)
    assert options.out == tmp_path / "students" / name
    assert options.trajectories == tmp_path / "drawn"
    assert settings.bits == name.split("-")[0]
    whole = name in ("ternary", "binary")
    assert ("reconstruct" in settings.skip) == (not whole and not name.endswith("reconstruct"))
    assert ("train" in settings.skip) == (not whole and not name.endswith("short"))
    assert (settings.scales == "absmean") == ("absmean" in name)
