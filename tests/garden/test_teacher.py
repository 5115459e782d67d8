"""The full-precision folder: what diffusers reads from it is what was trained."""

import torch

from train.garden import architecture, autoencoder, teacher
from train.garden.checkpoint import save
from train.garden.networks import Networks
from train.garden.packed import draw_prompt, load_pipeline
from train.garden.tokenizer import save_tokenizer


def write_work(work):
    """Checkpoints of untrained networks; the distilled transformer differs from the flow's."""
    torch.manual_seed(0)
    weights = {name: p.detach() for name, p in Networks().parameters().items()}
    distilled = {name: p * .5 for name, p in weights.items() if name.startswith("transformer.")}
    channels = architecture.LATENT_CHANNELS
    save(work, "flow", {"average": weights})
    save(work, "distil", {"average": distilled})
    save(work, "autoencoder", {"model": architecture.autoencoder().state_dict()})
    save(work, "statistics", {"mean": torch.full((channels,), .5),
                              "variance": torch.full((channels,), 2.0)})
    save_tokenizer(work / "tokenizer")
    return weights | distilled


def test_the_folder_holds_the_trained_weights(tmp_path):
    torch.set_num_threads(1)
    weights = write_work(tmp_path / "work")
    teacher.write(tmp_path / "work", tmp_path / "teacher")
    pipeline, arguments = load_pipeline(tmp_path / "teacher")
    read = ({f"transformer.{name}": p for name, p in pipeline.transformer.named_parameters()}
            | {f"text_encoder.{name}": p
               for name, p in pipeline.text_encoder.model.named_parameters()})
    assert set(read) == set(weights)
    for name, weight in weights.items():
        assert torch.equal(read[name], weight.bfloat16().float()), name
    stored = autoencoder.trained(tmp_path / "work").decoder.conv_in.weight
    assert torch.equal(pipeline.vae.decoder.conv_in.weight, stored)
    assert torch.equal(pipeline.vae.bn.running_var, torch.full((64,), 2.0))
    assert arguments["num_inference_steps"] == 4
    assert draw_prompt(pipeline, arguments, "a bonsai", 0).shape == (128, 128, 3)
