"""`vision-attn caption` on runs of captioners, from recipe to figure."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from caption_recipes import KINDS
from PIL import Image

from vision_attn.__main__ import main
from vision_attn.commands.starting import open_start, start_from
from vision_attn.data.decode import decode
from vision_attn.data.transforms import evaluate_batch
from vision_attn.explain import METHODS, Word
from vision_attn.models.captioner import Captioner
from vision_attn.recipe import read
from vision_attn.trained import load_model

SENTENCES = """\
run: run
data: {name: reversal, letters: 3, shortest: 2, longest: 5, train: 11, valid: 5, test: 4}
model: {name: captioner, encoder: {name: tokens, dim: 8}, decoder: {name: lstm, dim: 8}}
task: {name: captioning, longest: 7}
train: {steps: 1, batch_size: 5, device: cpu}
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("one", "two"):
        colours = np.random.default_rng(len(name)).integers(0, 255, (31, 40, 3), np.uint8)
        Image.fromarray(colours).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_caption_writes_lines_figures_and_looks(captioners, pictures, kind, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--out", str(out), "--beams", "3", "--best", "2", "--longest", "5"]
    options += ["--device", "cpu"]
    first, *others = (str(pictures / f"{name}.png") for name in ("one", "two", "broken"))
    assert main(["caption", str(captioners / kind), first, *options, *others]) == 0
    told = capsys.readouterr()
    assert "broken.png: " in told.err
    lines = [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == ["one", "two"]
    for line in lines:
        assert len(line["captions"]) == 2
        best = line["captions"][0]
        assert f"{line['image']}: {best['text']} ({best['log_prob']:.2f})" in told.out
        assert len(best["looks"]) == len(best["words"]) <= 5
        assert all(-1 <= x <= 1 for look in best["looks"] for x in look)
        with Image.open(out / f"{line['image']}.png") as figure:
            assert figure.width > 300
        with np.load(out / f"{line['image']}.npz") as looks:
            assert len(looks["0/words"]) == len(best["words"])
            part = "0/centres" if kind == "glimpse" else "0/weights"
            assert len(looks[part]) == len(best["words"])
            assert ("0/places" in looks) == (kind == "hard")
    (problem,) = (out / "problems.jsonl").read_text().splitlines()
    assert json.loads(problem)["path"].endswith("broken.png")


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ([], {}),
        (["--penalty", "0", "--longest", "4"], {"penalty": 0.0, "longest": 4}),
        (["--beams", "2"], {"beams": 2}),
        (["--best", "4"], {"best": 4, "beams": 4}),
    ],
)
def test_captions_are_found_as_in_evaluations(captioners, pictures, options, settings, monkeypatch):
    heeded = {"best": 1, "beams": 3, "penalty": 2.5, "longest": 7} | settings
    model, spec = load_model(captioners / "soft")
    pixels = decode((pictures / "one.png").read_bytes(), 3, 24)
    expected = model.search(evaluate_batch([pixels], spec), **heeded)[0]
    search, seen = Captioner.search, []
    monkeypatch.setattr(Captioner, "search", lambda *x, **y: seen.append(y) or search(*x, **y))
    main(["caption", str(captioners / "soft"), str(pictures / "one.png"), *options])
    assert seen == [heeded]
    (line,) = (captioners / "soft" / "captions" / "captions.jsonl").read_text().splitlines()
    for own, found in zip(expected, json.loads(line)["captions"], strict=True):
        assert found["words"] == [spec.names[x] for x in own.words]
        assert found["log_prob"] == pytest.approx(own.log_prob, abs=1e-3)
        assert found["score"] == pytest.approx(own.score, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "frozen"), [("soft", False), ("soft", True), ("transformer", False)]
)
@pytest.mark.parametrize("method", ["saliency", "grad_cam", "occlusion"])
def test_a_word_of_a_caption_can_be_explained(captioners, kind, frozen, method):
    captioner, _ = load_model(captioners / kind)
    captioner.encoder.frozen = frozen
    images = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    (caption,) = captioner.search(images, beams=1, longest=4)[0]
    words = torch.tensor([caption.words])
    place = 1
    word = Word(captioner, words[0], place, captioner.encoder.network)
    found = METHODS[method](word, images, words[:, place])
    assert found.shape == (1, 24, 24)
    assert found.isfinite().all()
    logits = captioner.eval()(images, words[:, None])[0, 0, place]
    torch.testing.assert_close(word(images)[0], logits)
    if method == "saliency":
        leaf = images.clone().requires_grad_()
        captioner(leaf, words[:, None])[0, 0, place, words[0, place]].backward()
        torch.testing.assert_close(found, leaf.grad.abs().amax(1))


def test_captions_can_be_drawn(captioners, pictures, tmp_path):
    texts, lengths = [], []
    for seed in ("3", "3", "4"):
        out = tmp_path / f"out{len(texts)}"
        options = ["--draw", "--best", "5", "--top-k", "7", "--seed", seed, "--out", str(out)]
        assert main(["caption", str(captioners / "soft"), str(pictures / "one.png"), *options]) == 0
        line = json.loads((out / "captions.jsonl").read_text())
        texts.append([own["text"] for own in line["captions"]])
        lengths += [len(own["words"]) for own in line["captions"]]
    assert texts[0] == texts[1] != texts[2]
    assert len(set(texts[0])) > 1
    assert max(lengths) == 7  # as in the run's evaluations


@pytest.mark.parametrize("kind", ["hard", "glimpse"])
def test_looks_are_drawn_with_the_words(captioners, pictures, kind, tmp_path):
    part = "0/places" if kind == "hard" else "0/centres"
    drawn = []
    for seed in ("3", "3", "4"):
        out = tmp_path / f"out{len(drawn)}"
        options = ["--draw", "--top-k", "1", "--seed", seed, "--out", str(out)]
        assert main(["caption", str(captioners / kind), str(pictures / "one.png"), *options]) == 0
        with np.load(out / "one.npz") as looks:
            drawn.append(looks[part])
            likeliest = looks["0/weights"].argmax(-1) if kind == "hard" else None
        line = json.loads((out / "captions.jsonl").read_text())
        spots = np.array(line["captions"][0]["looks"])
        if kind == "hard":
            columns, rows = drawn[-1][:, 0] % 3, drawn[-1][:, 0] // 3
            expected = (2 * np.stack([columns, rows], 1) + 1) / 3 - 1
        else:
            expected = drawn[-1]
        np.testing.assert_allclose(spots, expected, atol=1e-4)
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert likeliest is None or (drawn[2] != likeliest).any()


def test_captions_lie_in_the_run_unless_another_folder_is_named(captioners, pictures, capsys):
    assert main(["caption", str(captioners / "soft"), str(pictures / "one.png")]) == 0
    told = capsys.readouterr().out
    assert f"captions: {captioners / 'soft' / 'captions' / 'captions.jsonl'}" in told
    assert (captioners / "soft" / "captions" / "one.png").exists()


def test_sentences_are_drawn_as_alignments(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    import train

    (tmp_path / "sentences.yaml").write_text(SENTENCES)
    train.main(["sentences.yaml"])
    options = ["--out", "out", "--limit", "2", "--longest", "6"]
    assert main(["caption", "run", "sentences.yaml", *options]) == 0
    with Image.open("out/test-00000.png") as figure:
        assert figure.width > 100
    with Image.open("out/distance.png") as figure:
        assert figure.width > 300
    assert not Path("out/report.html").exists()
    assert main(["evaluate", "run", "--out", "there"]) == 2
    assert "reports, and sentences have none, got there; leave it" in capsys.readouterr().err
    assert main(["evaluate", "run", "--mistakes", "3"]) == 2
    assert "says captions, got --mistakes 3; leave them out" in capsys.readouterr().err
    assert main(["evaluate", "run"]) == 0
    assert 0 <= json.loads(Path("run/evaluation-test.json").read_text())["exact"] <= 1


def test_a_recipe_is_a_source_of_images(captioners, tmp_path):
    out = tmp_path / "out"
    recipe, options = str(captioners / "soft.yaml"), ["--out", str(out), "--limit", "3"]
    assert main(["caption", str(captioners / "hard"), recipe, *options]) == 0
    assert len((out / "captions.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["caption", "labels", "soft.yaml", "--out", "x"], "tells labels; vision-attn explain"),
        (["explain", "soft", "soft.yaml", "--out", "x"], "says captions; vision-attn caption"),
        (["compare", "soft", "labels", "--out", "x"], "compared with each other, got labels"),
        (["compare", "soft", "--out", "x", "--maps", "3"], "--maps and --started are for networks"),
        (
            ["caption", "soft", "soft.yaml", "--out", "x", "--top-k", "3"],
            "--top-k: only for --draw",
        ),
        (
            ["caption", "soft", "soft.yaml", "--out", "x", "--draw", "--beams", "2"],
            "not for --draw",
        ),
        (
            ["caption", "soft", "soft.yaml", "--out", "x", "--beams", "1", "--penalty", "1"],
            "a length penalty ranks beams, got penalty=1.0 with one beam; give more",
        ),
        (["caption", "soft", "no.png", "--out", "x"], "no such file"),
        (["evaluate", "soft", "--mistakes", "48"], "says captions, got --mistakes 48; leave them"),
        (["evaluate", "soft", "--methods", "raw"], "says captions, got --methods raw; leave them"),
        (["evaluate", "soft", "some/folder"], "says captions, got some/folder; leave them out"),
        (["evaluate", "soft", "seed=3"], "settings of data and task alone, got seed=3; leave it"),
        (["evaluate", "labels", "train.batch_size=3"], "of data alone, got train.batch_size=3"),
        (["evaluate", "labels", "soft.yaml", "task.longest=3"], "of data alone, got task.longest"),
    ],
)
def test_runs_of_another_kind_are_refused(captioners, arguments, said, capsys, monkeypatch):
    monkeypatch.chdir(captioners)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_an_encoder_starts_from_a_network_that_tells_labels(captioners):
    recipe = read(captioners / "soft.yaml")
    earlier, spec = load_model(captioners / "soft")
    torch.manual_seed(9)
    model = recipe.model.build(spec)
    said = start_from(model, open_start(str(captioners / "labels")))
    assert sorted(said) == [
        f"fc.{x}: left out, a captioner has no head for labels" for x in ("bias", "weight")
    ]
    labels, _ = load_model(captioners / "labels")
    assert isinstance(model, Captioner)
    for name, value in model.encoder.network.state_dict().items():
        assert torch.equal(value, labels.state_dict()[name])
    assert start_from(model, open_start(str(captioners / "soft"))) == []
    assert all(torch.equal(x, earlier.state_dict()[name]) for name, x in model.state_dict().items())


def test_a_retina_has_nothing_to_start_from(captioners):
    model, _ = load_model(captioners / "glimpse")
    with pytest.raises(ValueError, match="a retina has no weights to start from"):
        start_from(model, open_start(str(captioners / "labels")))
