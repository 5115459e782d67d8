import torch

from train.garden import parallel


def meet(rank, workers, folder):
    """Each process holds the gradient rank + 1 and writes down what the average was."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.full((3,), rank + 1.0)
    parallel.average_gradients([parameter])
    agreed = parallel.agree(float(rank + 5))
    (folder / str(rank)).write_text(f"{parameter.grad.tolist()} {agreed}")


def test_processes_average_their_gradients_and_agree(tmp_path):
    parallel.run(meet, (tmp_path,), 2)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"[1.5, 1.5, 1.5] 5.0"}
