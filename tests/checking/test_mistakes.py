"""Every mistake in a recipe is told at once, where it is and what was meant, before torch."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from recipe_text import GOOD, mistakes, write

from vision_attn.checking.mistakes import RecipeError
from vision_attn.models.config import ResNetConfig
from vision_attn.recipe import read

ROOT = Path(__file__).parents[2]

SETS = (
    "scenes, folder, tar, csv, csv_multilabel, webdataset, datasets, mnist, fashion_mnist, "
    "cifar10, cifar100, canvas, scene_captions, flickr8k, karpathy, coco_captions, caption_csv, "
    "reversal or dates"
)
LISTED = "block, depths, channels, stem, stem_stride, strides, downsample, drop_path, dropout"
ONE_LINE = {  # overrides of GOOD, and the one line about them
    "model.depht=6": "command line: model.depht: unknown key; did you mean depth? (got 6)",
    "model.steps=6": "command line: model.steps: unknown key; did you mean train.steps? (got 6)",
    "model.init=runs/a": (
        'command line: model.init: unknown key; did you mean init? (got "runs/a")'
    ),
    "engine.parallel=ddp": (
        'command line: engine: unknown key; did you mean train.parallel? (got {"parallel": "ddp"})'
    ),
    "data.augment.flp=true": (
        "command line: data.augment.flp: unknown key; did you mean flip? (got true)"
    ),
    "data.nmae=a": 'command line: data.nmae: unknown key; did you mean name? (got "a")',
    "modle.depth=6": ('command line: modle: unknown key; did you mean model? (got {"depth": 6})'),
    "zzz=6": (
        "command line: zzz: unknown key; keys are run, seed, init, data, model, task, tune, train "
        "(got 6)"
    ),
    "model.depth=six": ('command line: model.depth: must be a whole number or null (got "six")'),
    "model.depth=6.5": "command line: model.depth: must be a whole number or null (got 6.5)",
    "model.depth=true": "command line: model.depth: must be a whole number or null (got true)",
    "model.qk_norm=1": "command line: model.qk_norm: must be true or false (got 1)",
    "model.qk_norm=no": 'command line: model.qk_norm: must be true or false (got "no")',
    "train.rate=fast": 'command line: train.rate: must be a number (got "fast")',
    "train.rate=.nan": "command line: train.rate: must be a number (got NaN)",
    "train.clip=none": 'command line: train.clip: must be a number or null (got "none")',
    "train.rate=-1": "command line: train.rate: must be positive, got -1.0",
    "seed=-1": "command line: seed: must be greater than or equal to 0 (got -1)",
    "run=3": "command line: run: must be a valid string (got 3)",
    "model.pool=meen": (
        "command line: model.pool: must be cls, mean, attention or sequence; did you mean mean? "
        '(got "meen")'
    ),
    "model.name=vti": (
        "command line: model.name: must be vit, resnet, captioner or glimpse; did you mean vit? "
        '(got "vti")'
    ),
    "model.name=3": "command line: model.name: must be vit, resnet, captioner or glimpse (got 3)",
    "model={depth: 3}": (
        "command line: model.name: missing; choose vit, resnet, captioner or glimpse"
    ),
    "task.name=captions": (
        "command line: task.name: must be classification, multilabel, captioning or glimpse; "
        'did you mean captioning? (got "captions")'
    ),
    "model=3": "command line: model: must be a section of settings (got 3)",
    "train=null": "command line: train: must be a section of settings (got null)",
    "data.augment=true": "command line: data.augment: must be a section of settings (got true)",
    "model.depth.more=3": "command line: model.depth.more: model.depth is a value, not a section",
    "model.depth": "command line: expected section.field=value, got 'model.depth'",
    "model..depth=3": "command line: expected section.field=value, got 'model..depth=3'",
    "--fast": "command line: expected section.field=value, got '--fast'",
    "train.rate=[": (
        "command line: train.rate: not YAML: expected the node content, but found '<stream end>'"
    ),
    "model.heads=5": "command line: model.heads: must divide dim, got dim=384 and heads=5",
    "model.patch_size=5": (
        "command line: model.patch_size: must divide data.image_size, got 5 and 28 pixels"
    ),
    "data.image_size=30": (
        "r.yaml:7: model.patch_size: must divide data.image_size, got 7 and 30 pixels"
    ),
    "data={name: tar}": "command line: data.file: missing; give text",
    "data={name: folder, root: no/where, image_size: 28}": (
        'command line: data.root: no such file or folder (got "no/where")'
    ),
    "data={name: mnist, root: no/where}": (
        "command line: data.root: no such file or folder; data.download=true fetches the set "
        '(got "no/where")'
    ),
    "data={name: mnist, root: no/where, augment: {shift: 28}, download: true}": (
        "command line: data.augment.shift: must be smaller than the image, got 28 for image_size=28"
    ),
    "data.augment.shift=-1": "command line: data.augment.shift: must be 0 or more pixels, got -1",
    "model.dim=50": "r.yaml:4: model: heads must divide dim, got dim=50 and heads=6",
    "task={name: classification, mixup: -1}": (
        "command line: task: mixup and cutmix must be 0 or more, got -1.0, 0.0"
    ),
    "init=none/here.pth": ('command line: init: no such file or run folder (got "none/here.pth")'),
}


@pytest.mark.parametrize("override", ONE_LINE)
def test_a_mistake_is_one_line(tmp_path, override):
    assert mistakes(tmp_path, GOOD, override) == [ONE_LINE[override]]


def test_one_section_tells_all_the_rules_it_breaks(tmp_path):
    assert mistakes(tmp_path, GOOD, "model.dropout=1.0", "model.registers=-1") == [
        "command line: model.dropout: must be in [0, 1), got 1.0",
        "command line: model.registers: must be 0 or more, got -1",
    ]


def test_a_wrong_type_hides_no_other_rule_of_its_section(tmp_path):
    assert mistakes(tmp_path, GOOD, "model.dim=x", "model.heads=7", "model.dropout=2.0") == [
        'command line: model.dim: must be a whole number or null (got "x")',
        "command line: model.dropout: must be in [0, 1), got 2.0",
    ]
    assert mistakes(tmp_path, GOOD, "data.augment.flip=2", "data.augment.shift=-1") == [
        "command line: data.augment.flip: must be true or false (got 2)",
        "command line: data.augment.shift: must be 0 or more pixels, got -1",
    ]
    assert mistakes(tmp_path, GOOD, "model.dim=x", "model.dropout=2.0", "init=no.pth") == [
        'command line: model.dim: must be a whole number or null (got "x")',
        "command line: model.dropout: must be in [0, 1), got 2.0",
        'command line: init: no such file or run folder (got "no.pth")',
    ]


REMEDY = "; model={name: resnet} replaces the whole section"


def test_switching_the_model_reports_settings_of_the_old_one(tmp_path):
    assert mistakes(tmp_path, GOOD, "model.name=resnet") == [
        "r.yaml:6: model.depth: unknown key; did you mean depths? (got 4)" + REMEDY,
        f"r.yaml:7: model.patch_size: unknown key; keys are name, {LISTED} (got 7)" + REMEDY,
    ]
    recipe = read(write(tmp_path, GOOD), "model={name: resnet, stem: small}")
    assert recipe.model == ResNetConfig(stem="small")


def test_all_mistakes_come_at_once_in_the_order_of_the_file(tmp_path):
    text = """\
modle: 1
data: {name: scenes, image_size: 30}
model:
  name: vit
  heads: 5
  heads: 7
  registres: 2
  patch_size: 7
train:
  rate: fast
  tensorboard: yes
init: nowhere.safetensors
"""
    assert mistakes(tmp_path, text, "seed") == [
        "command line: expected section.field=value, got 'seed'",
        "r.yaml:1: modle: unknown key; did you mean model? (got 1)",
        "r.yaml:6: model.heads: given twice, first at r.yaml:5",
        "r.yaml:6: model.heads: must divide dim, got dim=384 and heads=7",
        "r.yaml:7: model.registres: unknown key; did you mean registers? (got 2)",
        'r.yaml:10: train.rate: must be a number (got "fast")',
        'r.yaml:11: train.tensorboard: must be true or false (got "yes")',
        'r.yaml:12: init: no such file or run folder (got "nowhere.safetensors")',
    ]


def test_a_wrong_setting_does_not_bring_mistakes_about_defaults(tmp_path):
    # Without the patch size of the recipe the default of 4 would not divide 30 pixels.
    assert mistakes(tmp_path, GOOD, "data.image_size=30", "model.patch_size=x") == [
        'command line: model.patch_size: must be a whole number or null (got "x")'
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "r.yaml: a recipe has the sections data, model, task and train"),
        ("- 1", "r.yaml: a recipe has the sections data, model, task and train"),
        (
            "data:\n\tname: x",
            "r.yaml:2: not YAML: found character '\\t' that cannot start any token",
        ),
        ("data: [1\nb: }", "r.yaml:2: not YAML: expected ',' or ']', but got ':'"),
        ("data: &a [*a]", "r.yaml: not YAML: unreadable, or nested without end"),
        ("model: {name: vit}", f"r.yaml: data.name: missing; choose {SETS}"),
    ],
)
def test_a_text_that_is_no_recipe_is_one_line(tmp_path, text, line):
    assert mistakes(tmp_path, text) == [line]


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    write(tmp_path, GOOD)
    for path, message in (
        ("s.yaml", "s.yaml: no such file; did you mean r.yaml?"),
        ("", "a folder, not a recipe"),
        ("b.yaml", "b.yaml: unreadable: not UTF-8 text"),
    ):
        (tmp_path / "b.yaml").write_bytes(b"\xff\xfe")
        with pytest.raises(RecipeError) as caught:
            read(tmp_path / path)
        assert str(caught.value).replace(f"{tmp_path}/", "").endswith(message)
        (tmp_path / "b.yaml").unlink()


def test_mistakes_are_told_before_torch_is_imported(tmp_path):
    code = (
        "import sys; sys.argv[0] = 'train.py'; from train import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, str(write(tmp_path, GOOD)), "model.depht=6"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 2
    assert done.stderr == f"{ONE_LINE['model.depht=6']}\n"
    assert done.stdout == "False False\n"
    # CPU time, for a busy machine must not fail the test.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
