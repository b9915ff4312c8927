"""The command line: arguments in, numbers and exit codes out."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import vision_attn
from vision_attn.__main__ import COMMANDS, main
from vision_attn.commands.evaluate import Evaluated
from vision_attn.data.config import ScenesConfig
from vision_attn.data.loader import share
from vision_attn.tasks.config import ClassificationConfig
from vision_attn.trained import load_model

ROOT = Path(__file__).parents[1]
TINY = """\
run: {run}
data: {{name: scenes, image_size: 24, train: 7, valid: 13, test: 11}}
model: {{name: resnet, depths: [1, 1, 1, 1], channels: [2, 3, 5, 7], stem: small}}
train: {{steps: 1, batch_size: 5, device: cpu}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a tiny finished run."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(TINY.format(run=folder / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        import train
    train.main([str(folder / "tiny.yaml")])
    return folder / "run"


def test_evaluate_measures_the_best_weights_on_the_test_split(run, capsys):
    assert main(["evaluate", str(run), "--batch-size", "3", "--device", "cpu"]) == 0
    kept = json.loads((run / "evaluation-test.json").read_text())
    model, spec = load_model(run)
    data = ScenesConfig(image_size=24, train=7, valid=13, test=11).build()
    expected = ClassificationConfig().build(model, spec).evaluate(share(data.test, 11))
    assert {name: kept[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert kept["images"] == 11
    said = capsys.readouterr().out.splitlines()
    assert f"test accuracy = {kept['accuracy']:.6g}" in said
    assert said[-1] == f"report: {run / 'evaluation/test/report.md'}"
    assert (run / "evaluation/test/report.html").exists()


def test_evaluate_can_measure_the_validation_split_instead(run, capsys):
    assert main(["evaluate", str(run), "--split", "valid", "--device", "cpu"]) == 0
    assert "valid images = 13" in capsys.readouterr().out.splitlines()


def test_evaluate_refuses_data_prepared_in_another_way(run, capsys):
    assert main(["evaluate", str(run), "data.image_size=32"]) == 2
    assert "data must be prepared as in training" in capsys.readouterr().err


def test_compare_writes_a_report_that_says_how_to_make_it_again(run, tmp_path, capsys):
    chosen = ["--split", "valid", "--maps", "3", "--methods", "layer_cam"]
    assert main(["compare", str(run), "--out", str(tmp_path), *chosen, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"report: {tmp_path / 'report.md'}\n"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["command"] == f"vision-attn compare {run} --out {tmp_path} {' '.join(chosen)}"
    (measured,) = report["models"].values()
    assert measured["images"] == 13
    assert measured["maps"]["layer_cam"]["images"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "no/run"], "no/run/config.yaml: no such file\n"),
        (["evaluate", "RUN", "model.depht=3"], "command line: model.depht: unknown key"),
    ],
)
def test_what_the_user_can_mend_is_told_without_a_traceback(run, capsys, arguments, said):
    assert main([str(run) if x == "RUN" else x for x in arguments]) == 2
    assert capsys.readouterr().err.startswith(said)


WRONG = (
    [],
    ["explode"],
    ["evaluate", "r", "--batch-size", "0"],
    ["evaluate", "r", "--unknown", "x"],
    ["compare", "r", "--split", "valid", "--unknown"],
    ["export", "r", "--out", "x", "data.root=x"],
    ["caption", "r", "a.png", "--unknown", "b.png"],
)


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: vision-attn" in capsys.readouterr().err


@pytest.mark.parametrize("before", [[], ["a/*.png"]])
def test_words_may_follow_options(before, monkeypatch):
    told = []

    def evaluate(folder, *overrides, data, split, **options):
        told.append((overrides, data, split))
        return Evaluated("valid", {}, None)

    monkeypatch.setattr("vision_attn.commands.evaluate.evaluate", evaluate)
    assert main(["evaluate", "r", *before, "--split", "valid", "data.root=y", "b.png"]) == 0
    assert told == [(("data.root=y",), [*before, "b.png"], "valid")]


def test_every_command_explains_itself_without_importing_torch():
    code = "import sys; from vision_attn.__main__ import main\ntry: main(sys.argv[1:])\nfinally: "
    code += "assert 'torch' not in sys.modules"
    for add in COMMANDS:
        name = add.__name__.removeprefix("add_").replace("_", "-")
        done = subprocess.run(
            [sys.executable, "-c", code, name, "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert f"vision-attn {name}" in done.stdout


def test_public_names_are_found_where_tools_are_told_they_are():
    tree = ast.parse(Path(vision_attn.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    told = {
        alias.name: (node.module or "").removeprefix("vision_attn.")
        for node in imports
        if (node.module or "").startswith("vision_attn.")
        for alias in node.names
    }
    assert told == vision_attn.HOMES
    assert sorted(told) == sorted(vision_attn.__all__)
    for name in told:
        found = getattr(vision_attn, name)
        assert isinstance(found, dict) or found.__name__ == name
    assert set(told) <= set(dir(vision_attn))


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ViTT'"):
        vision_attn.ViTT


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, vision_attn; print({'torch', 'pydantic', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_bug_keeps_its_traceback(run, monkeypatch):
    def broken(*arguments, **settings):
        return int("no number")

    monkeypatch.setattr("vision_attn.commands.evaluate.evaluate", broken)
    with pytest.raises(ValueError, match="invalid literal"):
        main(["evaluate", str(run)])
