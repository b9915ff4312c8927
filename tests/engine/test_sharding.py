"""Weights cut over two ranks (FSDP2): the numbers of one process, and bits that survive a stop."""

import os
import shutil
import signal
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import SPEC, Noise, in_process, make_config, make_task, metrics, train, weights
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from vision_attn.data.batch import Labelled
from vision_attn.engine import shards
from vision_attn.engine.checkpoint import load, load_weights
from vision_attn.engine.distributed import find, joined
from vision_attn.engine.lora import LowRank, merged
from vision_attn.engine.optim import build_optimizer
from vision_attn.engine.sharding import hollow, lent, shard, whole
from vision_attn.engine.shards import load_shards
from vision_attn.engine.start import prepare
from vision_attn.engine.tune_config import FullConfig, LoraConfig
from vision_attn.models.config import ViTConfig
from vision_attn.tasks.classification import Classification
from vision_attn.tasks.config import ClassificationConfig

SHORT = {
    "steps": 6,
    "evaluate_every": 3,
    "save_every": 3,
    "log_every": 2,
    "ema": 0.9,
    "accumulate": 2,
}
OPTIMIZERS = ("adamw", "sgd", "lion", "muon", "nadamw", "radamw", "adan", "lamb", "lars")
BATCH = Noise(29, seed=1).__getitems__([(0, index) for index in range(6)])


def train_cut(folder: Path, interrupt: bool = False, **changes) -> None:
    """Train with cut weights, dropout, batch norm, mixing, average and accumulation."""
    if interrupt:
        shards.save = lambda *_: signal.raise_signal(signal.SIGKILL)
    task = make_task(dropout=0.3, norm=True, mixup=0.4)
    train(folder, task, parallel="fsdp", **SHORT, **changes)


def plain(folder: Path, **changes) -> None:
    """Train what is the same on any number of ranks."""
    train(folder, **SHORT, **changes)


def saved(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of a last.pt and of the folder that it names, put together."""
    parts = defaultdict[str, list[Tensor]](list)
    for file in sorted((folder / load(folder / "last.pt")["shards"]).iterdir()):
        for name, part in load_file(file).items():
            parts[name.removeprefix("state")].append(part)
    return {name: torch.cat(rows) for name, rows in parts.items()} | weights(folder)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    assert in_process(train_cut, folder, world=2) == 0
    return folder


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    assert in_process(plain, folder, parallel="fsdp", world=2) == 0
    return folder


@pytest.fixture(scope="module")
def one_process(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    assert in_process(plain, folder) == 0
    return folder


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)


def test_two_ranks_that_cut_the_weights_give_the_result_of_one(two_ranks, one_process):
    assert_close(saved(two_ranks), weights(one_process))
    kept, expected = (load_weights(x / "best.safetensors") for x in (two_ranks, one_process))
    assert kept[1] == expected[1] == SPEC
    assert_close(kept[0], expected[0])
    for line, other in zip(metrics(two_ranks), metrics(one_process), strict=True):
        assert line == pytest.approx(other, rel=1e-5, abs=1e-6)


def test_each_rank_writes_its_part_only(two_ranks):
    state = load(two_ranks / "last.pt")
    files = sorted((two_ranks / state["shards"]).iterdir())
    sizes = [file.stat().st_size for file in files]
    assert len(files) == 2
    assert sizes[0] == pytest.approx(sizes[1], rel=0.2)
    assert not [name for name in weights(two_ranks) if name.startswith(".task")]


def test_a_run_killed_in_a_step_and_in_a_save_ends_with_the_bits_of_one_that_was_not(
    tmp_path, reference
):
    assert in_process(train_cut, tmp_path, kill=(signal.SIGKILL, 4), world=2) == -signal.SIGKILL
    before = saved(tmp_path)
    assert in_process(train_cut, tmp_path, interrupt=True, world=2) == -signal.SIGKILL
    assert all(torch.equal(x, before[name]) for name, x in saved(tmp_path).items())
    assert len(list(tmp_path.glob("last.shards.*"))) == 2
    assert in_process(train_cut, tmp_path, world=2) == 0
    found, expected = saved(tmp_path), saved(reference)
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name
    assert metrics(tmp_path) == metrics(reference)
    for file in ("best.safetensors", "config.yaml"):
        assert (tmp_path / file).read_bytes() == (reference / file).read_bytes()
    assert len(list(tmp_path.glob("last.shards.*"))) == 1


def alone(folder: Path, **changes) -> None:
    """Train as the only process that torchrun started."""
    place = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    os.environ.update(place)
    plain(folder, **changes)


def test_other_numbers_of_ranks_go_on(tmp_path, one_process):
    cut = {"parallel": "fsdp"}
    stops = {"kill": (signal.SIGTERM, 2)}, {"kill": (signal.SIGTERM, 4)}
    assert in_process(plain, tmp_path, **cut, **stops[0], world=2) == 128 + signal.SIGTERM
    assert in_process(alone, tmp_path, **cut, **stops[1]) == 128 + signal.SIGTERM
    assert in_process(plain, tmp_path, **cut, world=3) == 0
    assert_close(saved(tmp_path), weights(one_process))


def test_damaged_shards_are_named(tmp_path, two_ranks):
    copy = shutil.copytree(two_ranks, tmp_path / "copy")
    for file in copy.glob("last.shards.*/*"):
        file.write_bytes(file.read_bytes()[:100])
    assert in_process(refuse_damaged, copy, world=2) == 0


def refuse_damaged(folder: Path) -> None:
    with joined("cpu") as place:
        training = prepare(make_task(), make_config(parallel="fsdp", ema=0.9), place)
        with pytest.raises(ValueError, match=r"checkpoint .*last\.shards\.. cannot be read"):
            load_shards(folder / "last.pt", training)


def each_optimizer_steps_alike() -> None:
    with joined("cpu") as place:
        mine = Labelled(*(x[place.rank :: place.world] for x in BATCH))
        for optimizer in OPTIMIZERS:
            config = make_config(optimizer=optimizer, parallel="fsdp")
            reference, task = make_task(), make_task()
            shard(task, place)
            for module, batch in ((reference, BATCH), (task, mine)):
                stepper = build_optimizer(module, config)
                for _ in range(2):
                    module(batch)["loss"].backward()
                    clip_grad_norm_(module.parameters(), 0.1)
                    stepper.step()
                    stepper.zero_grad()
            for found, expected in zip(task.parameters(), reference.parameters(), strict=True):
                torch.testing.assert_close(
                    whole(found), expected, rtol=1e-3, atol=1e-5, msg=optimizer
                )


def test_every_optimizer_steps_as_on_whole_weights():
    assert in_process(each_optimizer_steps_alike, world=2) == 0


def each_vit_learns_alike() -> None:
    with joined("cpu") as place:
        images = torch.randn(6, 2, 6, 8, generator=torch.Generator().manual_seed(1))
        batch = Labelled(images, BATCH.labels)
        mine = Labelled(*(x[place.rank :: place.world] for x in batch))
        for tuning in (FullConfig(), LoraConfig(rank=3)):
            reference, task = make_vit(tuning), make_vit(tuning)
            task.model.set_grad_checkpointing(True)
            twin = hollow(task)
            shard(task, place)
            reference(batch)["loss"].backward()
            task(mine)["loss"].backward()
            for found, expected in zip(task.parameters(), reference.parameters(), strict=True):
                assert (found.grad is None) == (expected.grad is None)
                if expected.grad is not None:
                    torch.testing.assert_close(whole(found.grad), expected.grad)
            with lent(task, twin) as judged:
                kept, expected = merged(judged.model), merged(reference.model)
                assert kept.keys() == expected.keys()
                assert all(torch.equal(kept[name], expected[name]) for name in expected)
            assert all(x.untyped_storage().size() <= 4 for x in twin.parameters())


def make_vit(tuning: FullConfig | LoraConfig) -> Classification:
    torch.manual_seed(0)
    spec = replace(SPEC, image_size=(6, 8))
    model = ViTConfig(dim=20, depth=2, heads=5, patch_size=2).build(spec)
    tuning.apply(model)
    for part in model.modules():
        if isinstance(part, LowRank):
            torch.nn.init.normal_(part.up, std=0.1)
    return Classification(ClassificationConfig(), model, spec)


def test_a_vit_has_the_same_gradients_with_lora_and_checkpointing():
    assert in_process(each_vit_learns_alike, world=2) == 0


def test_without_torchrun_it_is_refused():
    with pytest.raises(ValueError, match=r"parallel=fsdp .* torchrun --nproc-per-node=N"):
        prepare(make_task(), make_config(parallel="fsdp"), find("cpu"))


@pytest.mark.parametrize("setting", ["channels_last", "compile"])
def test_what_cut_weights_cannot_do_is_refused(setting):
    with pytest.raises(ValueError, match=f"parallel=fsdp .*{setting}=true"):
        make_config(parallel="fsdp", **{setting: True})
