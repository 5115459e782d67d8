"""Garden at 256: tokenizer, training stages and the teacher's folder, on the real networks."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from export.prompts.tokenizer import read_tokenizer
from train.garden import loop
from train.garden.autoencoder import to_pixels
from train.garden.checkpoint import load_latest, save
from train.garden.dataset import draw_range
from train.garden.flow import flow_loss
from train.garden.large.draw import draw
from train.garden.packed import draw_prompts, load_pipeline
from train.garden.prompts import EXAMPLES, evaluation_prompts
from train.garden.sana import architecture, autoencoder, distil, flow, teacher
from train.garden.sana.networks import Networks
from train.garden.sana.tokenizer import save_tokenizer, tokenize


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setattr(loop, "average_gradients", lambda parameters: None)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with a tokenizer and checkpoints of untrained networks."""
    work = tmp_path_factory.mktemp("work")
    save_tokenizer(work / "tokenizer", 2000)
    torch.manual_seed(0)
    flow_weights = {name: p.detach() for name, p in Networks().parameters().items()}
    guided = {name: p.detach() * .5 for name, p in Networks(guided=True).parameters().items()
              if name.startswith("transformer.")}
    flow_weights["transformer.proj_out.weight"] = .1 * torch.randn(32, 256)
    save(work, "flow", {"average": flow_weights})
    save(work, "distil", {"average": guided})
    save(work, "autoencoder", {"average": autoencoder.start()[0].state_dict(), "step": 7})
    np.save(work / "scenes.npy", draw_range(0, 3, draw))
    autoencoder.encode_all(work, 5, 3)
    return work


def samples(seed):
    rng = np.random.default_rng(seed)
    latents, noise = (torch.from_numpy(rng.standard_normal((2, 64, 32), np.float32))
                      for _ in range(2))
    ids = torch.from_numpy(rng.integers(5, 800, (2, 40)))
    return latents, ids, torch.ones_like(ids), torch.tensor([.9, .6]), noise


def test_prompts_are_tokens_of_the_page_too(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    texts = [*EXAMPLES, *(prompt.text for prompt in evaluation_prompts(40)), "盆栽 é 🌳", ""]
    ids, mask = tokenize(tokenizer, texts)
    assert ids.shape == (len(texts), architecture.TEXT_TOKENS) and (ids[:, 0] == 2).all()
    assert mask.sum(1).max() < 40 and mask[-1].sum() == 1
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == EXAMPLES[0]
    page = read_tokenizer(folder / "tokenizer", chat=False, pads_right=True)
    for row, real, text in zip(ids, mask.sum(1), texts, strict=True):
        assert page.encoder.encode(text.lower().strip())[0] == row[:real].tolist()


def stage_of(name, work, pictures):
    """A fresh Run of a training stage, and its loss at a step."""
    if name == "autoencoder":
        model, run = autoencoder.start()
        return run, lambda step: autoencoder.loss_at(model, pictures, step)
    if name == "flow":
        networks, run = flow.start()
        return run, lambda step: flow_loss(networks, *samples(step))
    trained, student, run = distil.start(work)

    def loss_at(step):
        latents, ids, mask, _, noise = samples(step)
        return distil.distil_loss(trained, student, latents, ids, mask, noise,
                                  (ids[:1], mask[:1]), np.random.default_rng(step))
    return run, loss_at


@pytest.mark.parametrize("name", ["autoencoder", "flow", "distil"])
def test_a_resumed_stage_continues_as_if_never_stopped(name, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(autoencoder, "CROPS", (64, 1))
    pictures = draw_range(0, 2, draw)

    def advance(run, loss_at):
        run.fill(run.masters)
        loss_at(run.step).backward()
        run.update(.7)

    run, loss_at = stage_of(name, folder, pictures)
    advance(run, loss_at)
    save(tmp_path, name, run.state())
    advance(run, loss_at)
    resumed, loss_at = stage_of(name, folder, pictures)
    resumed.restore(load_latest(tmp_path, name))
    advance(resumed, loss_at)
    assert resumed.step == 2
    for key, master in run.masters.items():
        assert torch.equal(master, resumed.masters[key]), key
        assert torch.equal(run.average[key], resumed.average[key]), key


def test_folded_deviations_change_no_picture():
    torch.manual_seed(0)
    model = architecture.autoencoder().eval()
    pixels, deviation = torch.rand(1, 3, 64, 64), torch.linspace(.5, 2, 32)
    with torch.no_grad():
        latents = model.encoder(pixels)
        rebuilt = model.decoder(latents)
        autoencoder.fold(model, deviation)
        folded = model.encoder(pixels)
        torch.testing.assert_close(folded * deviation[:, None, None], latents)
        torch.testing.assert_close(model.decoder(folded), rebuilt)


def test_latents_are_of_unit_deviation_and_go_with_their_autoencoder(folder, capsys):
    samples = flow.samples_of(folder)
    latents = samples.latents.tokens(np.arange(5))
    torch.testing.assert_close(latents.std((0, 1), correction=0), torch.ones(32), rtol=1e-2, atol=0)
    pixels = to_pixels(draw_range(0, 5, draw))      # three that are kept, two that are drawn again
    with torch.no_grad():
        own = autoencoder.encoded(folder).encoder(pixels).flatten(2).mT
    assert (own - latents).std() < .03
    autoencoder.encode_all(folder, 5)               # of the same checkpoint
    assert capsys.readouterr().out == ""


class Straight:
    """A flow from noise to one picture: its velocity leads straight from any point to `target`."""

    def __init__(self, target):
        self.target = target

    def encode(self, ids, mask):
        return self

    def expand(self, count):
        return self

    def velocity(self, noisy, sigmas, context, guidance=None):
        return (noisy - self.target) / sigmas[:, None, None]


def test_a_straight_flow_is_its_own_student():
    target = torch.randn(2, 64, 32, generator=torch.Generator().manual_seed(0))
    _, ids, mask, _, noise = samples(0)
    straight = Straight(target)
    state = distil.noised(target, noise, torch.tensor([distil.MOST, .6]))
    torch.testing.assert_close(distil.clean(straight, state, torch.tensor([distil.MOST, .6]), None),
                               target, atol=1e-5, rtol=0)
    loss = distil.distil_loss(straight, straight, target, ids, mask, noise, (ids[:1], mask[:1]),
                              np.random.default_rng(0))
    assert loss < 1e-9


def test_a_student_begins_as_the_flow(folder):
    trained, student, run = distil.start(folder)
    latents, ids, mask, sigmas, _ = samples(0)
    with torch.no_grad():
        context = trained.encode(ids, mask)
        plain = trained.velocity(latents, sigmas, context)
        told = student.velocity(latents, sigmas, context, torch.tensor([2., 4.]))
    assert plain.std() > .1
    torch.testing.assert_close(plain, told)


def test_the_folder_draws_by_the_sampler_that_was_taught(folder, tmp_path):
    teacher.write(folder, tmp_path)
    pipeline, arguments = load_pipeline(tmp_path)
    stored = load_latest(folder, "distil")["average"]
    name = "transformer_blocks.3.attn2.to_q.weight"
    read = dict(pipeline.transformer.named_parameters())[name]
    assert torch.equal(read, stored[f"transformer.{name}"].bfloat16().float())
    together = draw_prompts(pipeline, arguments, EXAMPLES[:2], [0, 1])
    assert together.shape == (2, 256, 256, 3) and together[0].std() > 0
    assert np.abs(together[1].astype(int)
                  - draw_prompts(pipeline, arguments, EXAMPLES[1:2], [1])[0]).max() <= 1
