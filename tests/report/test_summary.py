import json

import pytest

from vision_attn.report.index import append
from vision_attn.report.summary import write_summary


def lines(model, method, numbers, **settings):
    return [
        {
            "model": model,
            "method": method,
            "image": f"{place}",
            "file": f"{model}/{method}/{settings['target']}/{place}.npz",
            "settings": settings,
            "scores": score,
        }
        for place, score in enumerate(numbers)
    ]


def keep(folder, found):
    """Append lines and make the files that they tell of."""
    for line in found:
        for name in (line["file"], f"{line['image']}.npz"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    append(folder, found)


def test_a_row_is_a_method_with_counts_intervals_and_settings(tmp_path):
    deletion = {"deletion": {"steps": 16, "batch_size": 64}}
    found = lines(
        "vit",
        "grad_cam",
        [{"deletion": 0.25, "pointing_game": 1.0}, {"deletion": 0.5, "pointing_game": 0.0}],
        target="label",
        image={"crop": 0.9},
        scores=deletion,
    )
    found += lines("vit", "random", [{"deletion": 0.75}], target="label", seed=3, scores=deletion)
    found += lines("vit", "saliency", [{}], target="label")
    keep(tmp_path, found)
    table, note = write_summary(tmp_path).read_text().strip().split("\n\n")
    head, rule, first, second = table.split("\n")
    assert head == (
        "| network | map | for | images | deletion AUC ↓ | pointing game ↑ | settings |"
    )
    assert rule.count("|") == head.count("|") == first.count("|") == second.count("|")
    assert first == (
        "| ViT | Grad-CAM | label | 2 | **0.375** (0.250-0.500) | **0.500** (0.095-0.905) | "
        "deletion AUC steps=16 |"
    )
    assert second == (
        "| ViT | *random* | label | 1 | 0.750 (0.750-0.750) |  | seed=3; deletion AUC steps=16 |"
    )
    assert "95 %" in note


def test_other_settings_make_a_row_of_their_own_and_the_latest_of_a_file_counts(tmp_path):
    keep(tmp_path, lines("vit", "rollout", [{"road": 0.5}], target="label"))
    keep(tmp_path, lines("vit", "rollout", [{"road": 0.25}], target="label"))
    keep(tmp_path, lines("vit", "rollout", [{"road": 1.0}], target="class 3"))
    rows = write_summary(tmp_path).read_text().split("\n")[2:4]
    assert [row.split(" | ")[2:5] for row in rows] == [
        ["label", "1", "**0.250** (0.250-0.250)"],
        ["class 3", "1", "**1.000** (0.207-1.000)"],
    ]


def test_a_score_of_fewer_images_says_of_how_many(tmp_path):
    numbers = [{"deletion": 0.5, "max_sensitivity": 0.25}, {"deletion": 0.5}, {"deletion": 0.5}]
    keep(tmp_path, lines("vit", "grad_cam", numbers, target="label"))
    (row,) = write_summary(tmp_path).read_text().split("\n")[2:3]
    assert row.startswith("| ViT | Grad-CAM | label | 3 | **0.500** (0.500-0.500) | **0.250** (")
    assert "0.250) of 1 |" in row


def test_a_folder_without_scores_is_refused(tmp_path):
    keep(tmp_path, lines("vit", "rollout", [{}], target="label"))
    with pytest.raises(ValueError, match="must hold scored maps, got none"):
        write_summary(tmp_path)
    assert json.loads((tmp_path / "index.jsonl").read_text())["scores"] == {}


def test_maps_that_are_gone_are_not_counted(tmp_path):
    found = lines("vit", "rollout", [{"road": 0.5}, {"road": 0.25}], target="label")
    keep(tmp_path, found)
    (tmp_path / found[0]["file"]).unlink()
    (row,) = write_summary(tmp_path).read_text().split("\n")[2:3]
    assert row.split(" | ")[2:5] == ["label", "1", "**0.250** (0.250-0.250)"]
