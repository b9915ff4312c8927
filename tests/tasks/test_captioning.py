"""The captioning task: its loss, its evaluation, and a run that is cut and goes on bit for bit."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from vision_attn.data.batch import Captioned
from vision_attn.data.caption_config import SceneCaptionsConfig
from vision_attn.data.grammar import valid_words
from vision_attn.data.loader import Loader, share
from vision_attn.engine.config import TrainConfig
from vision_attn.engine.loop import fit
from vision_attn.engine.run import TIMING, Run
from vision_attn.language.scores import diversity, scores
from vision_attn.language.tokens import tokens
from vision_attn.models.caption_config import (
    CaptionerConfig,
    GlimpseDecoderConfig,
    LSTMDecoderConfig,
    RetinaConfig,
    TransformerDecoderConfig,
)
from vision_attn.models.config import ResNetConfig
from vision_attn.tape import Tape
from vision_attn.tasks.caption_config import CaptioningConfig

RESNET = ResNetConfig(
    depths=(1, 1, 1, 1), channels=(4, 4, 4, 8), stem="small", stem_stride=2, strides=(1, 2, 1, 1)
)
KINDS = {
    "soft": (LSTMDecoderConfig(dim=8, dropout=0.2), {"own_words": 0.5, "doubly_stochastic": 0.1}),
    "hard": (LSTMDecoderConfig(dim=8, look="hard"), {}),
    "gumbel": (LSTMDecoderConfig(dim=8, look="gumbel"), {}),
    "transformer": (TransformerDecoderConfig(dim=8, depth=1, heads=2), {"label_smoothing": 0.1}),
    "glimpse": (GlimpseDecoderConfig(dim=8), {}),
    "cells": (GlimpseDecoderConfig(dim=8, policy="categorical", grid=5), {}),
    "self_critical": (LSTMDecoderConfig(dim=8), {"self_critical": "greedy", "samples": 2}),
}
ALL = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISION_ATTN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def data(cache):
    return SceneCaptionsConfig(image_size=24, train=29, valid=13, test=5).build()


def make(data, kind="soft", **task):
    torch.manual_seed(3)
    decoder, settings = KINDS[kind]
    retina = RetinaConfig(size=6, scales=2, channels=(4,))
    encoder = retina if decoder.name == "glimpse" else RESNET
    model = CaptionerConfig(encoder=encoder, decoder=decoder).build(data.spec)
    config = CaptioningConfig(**({"longest": 9} | settings | task))
    built = config.build(model, data.spec)
    built.meet(data.train)
    return built


def test_the_loss_is_a_mean_over_captions_of_sums_over_words(data):
    task = make(data).eval()
    batch = data.train.__getitems__([(0, index) for index in range(3)])
    words = batch.words.clone()
    words[1, 2:] = 0  # an image with two captions only
    batch = Captioned(batch.image, words, (words != 0).sum(-1), [], [])
    with torch.no_grad():
        numbers, logits = task(batch), task.model(batch.image, words)
    losses = []
    for image in range(3):
        for caption in range(5 if image != 1 else 2):
            length = int(batch.lengths[image, caption])
            log_probs = logits[image, caption, :length].log_softmax(-1)
            losses.append(-log_probs.gather(1, words[image, caption, :length, None]).sum())
    torch.testing.assert_close(numbers["loss"], torch.stack(losses).mean())
    torch.testing.assert_close(
        numbers["word_loss"], torch.stack(losses).sum() / batch.lengths.sum(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("target", ["one", "share"])
def test_looks_of_real_captions_add_up_in_the_loss(data, target):
    task = make(data, own_words=0.0, doubly_stochastic=0.7, attention_target=target).train()
    task.model.decoder.drop.p = 0.0
    batch = data.train.__getitems__([(0, index) for index in range(3)])
    words = batch.words.clone()
    words[1, 2:] = 0  # an image with two captions only
    loss, tape = task(batch._replace(words=words))["loss"], Tape()
    log_probs = task.model(batch.image, words, tape).log_softmax(-1)
    looks = tape.looks[0].unflatten(0, (3, 5)).mean(2)
    total = 0.0
    for image, caption in ((i, c) for i in range(3) for c in range(5 if i != 1 else 2)):
        length = int(batch.lengths[image, caption])
        said = words[image, caption, :length, None]
        total -= log_probs[image, caption, :length].gather(1, said).sum()
        wanted = 1.0 if target == "one" else length / looks.shape[-1]
        seen = looks[image, caption, :length].sum(0)
        total += 0.7 * ((wanted - seen) ** 2).sum()
    torch.testing.assert_close(loss, total / 12)


@ALL
def test_padding_changes_nothing(data, kind):
    if kind == "self_critical":
        pytest.skip("learns from captions of its own")
    task = make(data, kind, expected_share=0.0).train()
    task.config = replace(task.config, own_words=0.0)
    task.model.decoder.drop.p = 0.0
    batch = data.train.__getitems__([(0, index) for index in range(3)])
    padded = torch.cat([batch.words, torch.zeros_like(batch.words)], -1)
    found = []
    for words in (batch.words, padded):
        task.load_state_dict(make(data, kind).state_dict())
        torch.manual_seed(7)
        found.append(task(batch._replace(words=words))["loss"])
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


@ALL
def test_every_kind_of_look_takes_a_step(data, kind):
    task = make(data, kind).train()
    task.at(1, 2)
    batch = data.train.__getitems__([(0, index) for index in range(4)])
    numbers = task(batch)
    numbers["loss"].backward()
    assert all(torch.isfinite(x) for x in numbers.values())
    expected = {
        "hard": "look_entropy",
        "cells": "look_entropy",
        "glimpse": "cut_off",
        "self_critical": "reward",
    }
    assert expected.get(kind, "word_loss") in numbers
    without = {name for name, x in task.named_parameters() if x.grad is None}
    assert without == set()


def test_captions_are_gone_through_several_times_while_learning_only(data):
    task, heard = make(data, "glimpse", rollouts=3), []
    batch = data.train.__getitems__([(0, index) for index in range(2)])
    task.model.register_forward_pre_hook(lambda model, given: heard.append(given[1]))
    for mode, times in ((task.train, 3), (task.eval, 1)):
        mode()
        task(batch)
        assert torch.equal(heard.pop(), batch.words.repeat_interleave(times, 1))


def test_what_changes_while_training_is_a_function_of_the_step(data):
    task = make(data, "gumbel", own_words=0.4, expected_share=0.25).train()
    task.at(0, 10)
    assert task._practice() == {"temperature": 1.0, "expected_share": 0.25, "own_words": 0.0}
    task.at(5, 10)
    assert task._practice() == {"temperature": 0.75, "expected_share": 0.25, "own_words": 0.2}
    assert task.eval()._practice() == {}


def test_the_eye_is_moved_less_by_chance_towards_the_end(data):
    task, fixed = make(data, "glimpse"), make(data, "glimpse")
    policy, stays = task.model.decoder.gaze.policy, fixed.model.decoder.gaze.policy.sigma
    policy.sigmas = 0.4, 0.1
    for step, sigma in ((0, 0.4), (5, 0.2), (10, 0.1)):
        task.at(step, 10)
        fixed.at(step, 10)
        assert policy.sigma == pytest.approx(sigma)
        assert fixed.model.decoder.gaze.policy.sigma == stays


@pytest.mark.parametrize("kind", ["soft", "glimpse"])
def test_evaluation_scores_free_running_captions(data, kind):
    task = make(data, kind, beams=2, penalty=0.5)
    with torch.no_grad():
        task.model.decoder.head.bias[2] += 1.0
    found = task.evaluate(share(data.valid, 5))
    task.eval()
    batch = data.valid.__getitems__([(0, index) for index in range(13)])
    captions = task.model.search(batch.image, beams=2, penalty=0.5, longest=9)
    words = [task.vocabulary.decode(own[0].words) for own in captions]
    truths = [[tokens(text) for text in texts] for texts in batch.texts]
    expected = scores(words, truths) | diversity(words, 46)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    true = [valid_words(own, scene) for own, scene in zip(words, batch.scenes, strict=True)]
    assert found["exact"] == sum(true) / 13
    assert found["images"] == 13
    assert found["words"] == pytest.approx(sum(map(len, words)) / 13)
    with torch.no_grad():
        loss = task(batch)["word_loss"].item()
    assert found["word_loss"] == pytest.approx(loss, rel=1e-5)


def test_evaluation_leaves_mode_and_weights_alone(data):
    task = make(data, "hard").train()
    before = {name: x.clone() for name, x in task.state_dict().items()}
    state = torch.get_rng_state()
    task.evaluate(share(data.valid, 5))
    assert task.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(x, before[name]) for name, x in task.state_dict().items())


def test_an_empty_split_is_refused(data):
    with pytest.raises(ValueError, match="at least one image"):
        make(data).evaluate([])


class Stopped(Loader):
    """A loader that stops its own run before a step."""

    step = -1

    def batches(self, start_step=0):
        for step, batch in enumerate(super().batches(start_step), start_step):
            if step == self.step:
                signal.raise_signal(signal.SIGTERM)
            yield batch


def train(data, folder: Path, kind: str, stop: int = -1, **changes):
    task = make(data, kind, **changes)
    settings = {"steps": 5, "batch_size": 6, "rate": 0.01, "evaluate_every": 3, "save_every": 2}
    config = TrainConfig(**settings, log_every=1, accumulate=2, ema=0.9, device="cpu")
    loader = Stopped(data.train, 6, seed=5)
    loader.step = stop
    run = Run.create(folder, {"kind": kind}, data.spec)
    fit(task, loader, share(data.valid, 5), config, run, 5)
    return run


@ALL
def test_a_run_that_is_cut_goes_on_bit_for_bit(data, kind, tmp_path, capsys):
    whole = train(data, tmp_path / "whole", kind)
    with pytest.raises(SystemExit):
        train(data, tmp_path / "cut", kind, stop=2)
    cut = train(data, tmp_path / "cut", kind)
    lines = [
        [{k: v for k, v in line.items() if k not in TIMING} for line in run.metrics()]
        for run in (whole, cut)
    ]
    assert lines[0] == lines[1]
    assert cut.best.read_bytes() == whole.best.read_bytes()
    states = [torch.load(run.last, weights_only=True)["task"] for run in (whole, cut)]
    assert all(torch.equal(x, states[1][name]) for name, x in states[0].items())
    assert "resumed" in capsys.readouterr().err


@pytest.mark.parametrize("monitor", ["cider_d", "bleu4", "exact"])
def test_what_is_best_is_the_number_asked_for(data, monitor, tmp_path):
    run = train(data, tmp_path / "run", "soft", monitor=monitor)
    scores = [line[name] for line in run.metrics() if (name := f"valid_{monitor}") in line]
    with safe_open(run.best, "pt") as file:
        kept = json.loads(file.metadata()["vision_attn"])
    assert len(scores) == 2
    assert kept["score"] == max(scores)
