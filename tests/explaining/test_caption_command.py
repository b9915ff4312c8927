"""`vision-attn caption` and `evaluate` on runs of captioners, from recipe to figure."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vision_attn.__main__ import main
from vision_attn.commands.starting import open_start, start_from
from vision_attn.data.decode import decode
from vision_attn.data.transforms import evaluate_batch
from vision_attn.explain import METHODS, Word
from vision_attn.models.captioner import Captioner
from vision_attn.recipe import read
from vision_attn.trained import load_model

ENCODER = "{name: resnet, depths: [1, 1, 1, 1], channels: [2, 3, 5, 7], stem: small}"
KINDS = {
    "soft": (ENCODER, "{name: lstm, dim: 8}"),
    "hard": (ENCODER, "{name: lstm, dim: 8, look: hard}"),
    "transformer": (ENCODER, "{name: transformer, dim: 8, depth: 1, heads: 2}"),
    "glimpse": ("{name: retina, size: 6, scales: 2, channels: [4]}", "{name: glimpse, dim: 8}"),
}
RECIPE = """\
run: {run}
data: {{name: scene_captions, image_size: 24, train: 7, valid: 5, test: 4}}
model: {{name: captioner, encoder: {encoder}, decoder: {decoder}}}
task: {{name: captioning, beams: 3, penalty: 2.5, longest: 7}}
train: {{steps: 1, batch_size: 5, device: cpu}}
"""
SENTENCES = """\
run: run
data: {name: reversal, letters: 3, shortest: 2, longest: 5, train: 11, valid: 5, test: 4}
model: {name: captioner, encoder: {name: tokens, dim: 8}, decoder: {name: lstm, dim: 8}}
task: {name: captioning, longest: 7}
train: {steps: 1, batch_size: 5, device: cpu}
"""
LABELS = """\
run: {run}
data: {{name: scenes, image_size: 24, train: 7, valid: 5, test: 4}}
model: {encoder}
train: {{steps: 1, batch_size: 5, device: cpu}}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Tiny finished runs of every kind, and one of a network that tells labels."""
    folder = tmp_path_factory.mktemp("captioners")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISION_ATTN_CACHE", str(folder / "cache"))
        # Java would take longer than all the rest.
        program = nullcontext(lambda candidates, references: len(candidates) / 16)
        patch.setattr("vision_attn.commands.evaluate.meteor_program", lambda: program)
        patch.syspath_prepend(Path(__file__).parents[2])
        import train

        for kind, (encoder, decoder) in KINDS.items():
            text = RECIPE.format(run=folder / kind, encoder=encoder, decoder=decoder)
            (folder / f"{kind}.yaml").write_text(text)
            train.main([str(folder / f"{kind}.yaml")])
        (folder / "labels.yaml").write_text(LABELS.format(run=folder / "labels", encoder=ENCODER))
        train.main([str(folder / "labels.yaml")])
        yield folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("one", "two"):
        colours = np.random.default_rng(len(name)).integers(0, 255, (31, 40, 3), np.uint8)
        Image.fromarray(colours).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_caption_writes_lines_figures_and_looks(runs, pictures, kind, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--out", str(out), "--beams", "3", "--best", "2", "--longest", "5"]
    assert main(["caption", str(runs / kind), str(pictures), *options, "--device", "cpu"]) == 0
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
def test_captions_are_found_as_in_evaluations(runs, pictures, options, settings, monkeypatch):
    heeded = {"best": 1, "beams": 3, "penalty": 2.5, "longest": 7} | settings
    model, spec = load_model(runs / "soft")
    pixels = decode((pictures / "one.png").read_bytes(), 3, 24)
    expected = model.search(evaluate_batch([pixels], spec), **heeded)[0]
    search, seen = Captioner.search, []
    monkeypatch.setattr(Captioner, "search", lambda *x, **y: seen.append(y) or search(*x, **y))
    main(["caption", str(runs / "soft"), str(pictures / "one.png"), *options])
    assert seen == [heeded]
    (line,) = (runs / "soft" / "captions" / "captions.jsonl").read_text().splitlines()
    for own, found in zip(expected, json.loads(line)["captions"], strict=True):
        assert found["words"] == [spec.names[x] for x in own.words]
        assert found["score"] == pytest.approx(own.score, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "frozen"), [("soft", False), ("soft", True), ("transformer", False)]
)
@pytest.mark.parametrize("method", ["saliency", "grad_cam", "occlusion"])
def test_a_word_of_a_caption_can_be_explained(runs, kind, frozen, method):
    captioner, _ = load_model(runs / kind)
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


def test_captions_can_be_drawn(runs, pictures, tmp_path):
    texts = []
    for seed in ("3", "3", "4"):
        out = tmp_path / f"out{len(texts)}"
        options = ["--draw", "--best", "5", "--top-k", "7", "--seed", seed, "--out", str(out)]
        assert main(["caption", str(runs / "soft"), str(pictures / "one.png"), *options]) == 0
        line = json.loads((out / "captions.jsonl").read_text())
        texts.append([own["text"] for own in line["captions"]])
    assert texts[0] == texts[1] != texts[2]
    assert len(set(texts[0])) > 1


@pytest.mark.parametrize("kind", ["hard", "glimpse"])
def test_looks_are_drawn_with_the_words(runs, pictures, kind, tmp_path):
    part = "0/places" if kind == "hard" else "0/centres"
    drawn = []
    for seed in ("3", "3", "4"):
        out = tmp_path / f"out{len(drawn)}"
        options = ["--draw", "--top-k", "1", "--seed", seed, "--out", str(out)]
        assert main(["caption", str(runs / kind), str(pictures / "one.png"), *options]) == 0
        with np.load(out / "one.npz") as looks:
            drawn.append(looks[part])
            likeliest = looks["0/weights"].argmax(-1) if kind == "hard" else None
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert likeliest is None or (drawn[2] != likeliest).any()


def test_captions_lie_in_the_run_unless_another_folder_is_named(runs, pictures, capsys):
    assert main(["caption", str(runs / "soft"), str(pictures / "one.png")]) == 0
    told = capsys.readouterr().out
    assert f"captions: {runs / 'soft' / 'captions' / 'captions.jsonl'}" in told
    assert (runs / "soft" / "captions" / "one.png").exists()


def test_captioners_are_put_side_by_side(runs, tmp_path, capsys, monkeypatch):
    arguments = ["compare", str(runs / "soft"), str(runs / "glimpse"), "--out", str(tmp_path)]
    assert main(arguments) == 0
    report = (tmp_path / "report.md").read_text()
    assert "| soft | 1 |" in report
    assert "| *another person* |" in report
    monkeypatch.setattr("vision_attn.commands.compare.measure", None)  # found beside the weights
    (tmp_path / "report.md").unlink()
    assert main(arguments) == 0
    assert (tmp_path / "report.md").read_text() == report


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


def test_a_recipe_is_a_source_of_images(runs, tmp_path):
    out = tmp_path / "out"
    recipe = str(runs / "soft.yaml")
    assert main(["caption", str(runs / "hard"), recipe, "--out", str(out), "--limit", "3"]) == 0
    assert len((out / "captions.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_evaluate_scores_a_run_of_captions(runs, kind, capsys):
    assert main(["evaluate", str(runs / kind), "--device", "cpu"]) == 0
    numbers = json.loads((runs / kind / "evaluation-test.json").read_text())
    assert numbers["images"] == 4
    assert {"bleu4", "cider_d", "rouge_l", "exact", "word_loss"} <= set(numbers)
    for row in ("constant", "retrieval", "human"):
        assert 0 <= numbers[f"{row}_cider_d"] <= 10
        assert numbers[f"{row}_meteor"] == numbers["meteor"] == 0.25
    told = capsys.readouterr().out
    assert f"test cider_d = {numbers['cider_d']:.6g}" in told
    report = runs / kind / "evaluation" / "test" / "report.md"
    assert f"report: {report}" in told
    text = report.read_text()
    assert "| BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | METEOR | METEOR, exact and stem |" in text
    for row in (f"| {kind} |", "| *one caption for all* |", "| *nearest by colour* |"):
        assert row in text
    assert "The look of a word is the one before it is said" in " ".join(text.split())


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
        (["caption", "soft", "no.png", "--out", "x"], "no such file"),
        (["evaluate", "soft", "--mistakes", "48"], "says captions, got --mistakes 48; leave them"),
        (["evaluate", "soft", "--methods", "raw"], "says captions, got --methods raw; leave them"),
        (["evaluate", "soft", "some/folder"], "says captions, got some/folder; leave them out"),
        (["evaluate", "soft", "seed=3"], "settings of data and task alone, got seed=3; leave it"),
        (["evaluate", "labels", "train.batch_size=3"], "of data alone, got train.batch_size=3"),
        (["evaluate", "labels", "soft.yaml", "task.longest=3"], "of data alone, got task.longest"),
    ],
)
def test_runs_of_another_kind_are_refused(runs, arguments, said, capsys, monkeypatch):
    monkeypatch.chdir(runs)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_an_encoder_starts_from_a_network_that_tells_labels(runs):
    recipe = read(runs / "soft.yaml")
    earlier, spec = load_model(runs / "soft")
    torch.manual_seed(9)
    model = recipe.model.build(spec)
    said = start_from(model, open_start(str(runs / "labels")))
    assert sorted(said) == [
        f"fc.{x}: left out, a captioner has no head for labels" for x in ("bias", "weight")
    ]
    labels, _ = load_model(runs / "labels")
    assert isinstance(model, Captioner)
    for name, value in model.encoder.network.state_dict().items():
        assert torch.equal(value, labels.state_dict()[name])
    assert start_from(model, open_start(str(runs / "soft"))) == []
    assert all(torch.equal(x, earlier.state_dict()[name]) for name, x in model.state_dict().items())


def test_a_retina_has_nothing_to_start_from(runs):
    model, _ = load_model(runs / "glimpse")
    with pytest.raises(ValueError, match="a retina has no weights to start from"):
        start_from(model, open_start(str(runs / "labels")))
