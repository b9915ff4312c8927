"""`vision-attn evaluate` and `compare` on runs of captioners."""

import json

import pytest
from caption_recipes import KINDS

from vision_attn.__main__ import main


@pytest.mark.parametrize("kind", KINDS)
def test_evaluate_scores_a_run_of_captions(captioners, kind, capsys):
    assert main(["evaluate", str(captioners / kind), "--device", "cpu"]) == 0
    numbers = json.loads((captioners / kind / "evaluation-test.json").read_text())
    assert numbers["images"] == 4
    assert {"bleu4", "cider_d", "rouge_l", "exact", "word_loss"} <= set(numbers)
    for row in ("constant", "retrieval", "human"):
        assert 0 <= numbers[f"{row}_cider_d"] <= 10
        assert numbers[f"{row}_meteor"] == numbers["meteor"] == 0.25
    told = capsys.readouterr().out
    assert f"test cider_d = {numbers['cider_d']:.6g}" in told
    report = captioners / kind / "evaluation" / "test" / "report.md"
    assert f"report: {report}" in told
    text = report.read_text()
    assert "| BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | METEOR | METEOR, exact and stem |" in text
    for row in (f"| {kind} |", "| *one caption for all* |", "| *nearest by colour* |"):
        assert row in text
    assert "The look of a word is the one before it is said" in " ".join(text.split())


def test_captioners_are_put_side_by_side(captioners, tmp_path, capsys, monkeypatch):
    both = [str(captioners / kind) for kind in ("soft", "glimpse")]
    arguments = ["compare", *both, "--out", str(tmp_path)]
    assert main(arguments) == 0
    report = (tmp_path / "report.md").read_text()
    assert "| soft | 1 |" in report
    assert "| *another person* |" in report
    monkeypatch.setattr("vision_attn.commands.compare.measure", None)  # found beside the weights
    (tmp_path / "report.md").unlink()
    assert main(arguments) == 0
    assert (tmp_path / "report.md").read_text() == report


def test_another_search_is_not_kept_as_the_run_s_own(captioners):
    run = captioners / "transformer"
    assert main(["evaluate", str(run)]) == 0
    kept = (run / "evaluation-test.json").read_bytes()
    report = run / "evaluation" / "test" / "report.md"
    told = report.read_text()
    for word in ("task={name: captioning, longest: 2}", "task.longest=2"):
        assert main(["evaluate", str(run), word]) == 0
        assert (run / "evaluation-test.json").read_bytes() == kept
    assert report.read_text() != told
    assert "task.longest=2" in report.read_text()
