"""One teacher and one uninterrupted run, which most tests look at."""

import pytest
import torch

from tests.ternarize.teacher import finish, start, write_prompts, write_teacher


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Sums in one order, so that equal runs are equal bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher")


@pytest.fixture(scope="session")
def prompts(tmp_path_factory):
    return write_prompts(tmp_path_factory.mktemp("prompts") / "prompts.txt")


@pytest.fixture(scope="session")
def whole(teacher, prompts, tmp_path_factory):
    """(finished Run, its folder) of all stages, ternary, never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "student"
    return finish(*start(teacher, prompts, out)), out
