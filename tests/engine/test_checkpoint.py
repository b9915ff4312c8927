import os

import pytest
import torch
from safetensors.torch import save_file
from tiny_training import SPEC, Net, train

from vision_attn.engine.atomic import whole
from vision_attn.engine.checkpoint import load, load_weights, save, save_weights


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    save(path, {"step": 7})
    with pytest.raises(AttributeError):  # a function cannot be written, what is before it can
        save(path, {"step": 8, "weights": torch.zeros(5), "bad": lambda: None})
    assert load(path) == {"step": 7}


def test_file_appears_only_when_complete(tmp_path):
    path = tmp_path / "last.pt"
    with whole(path) as file:
        file.write(b"all")
        file.flush()
        assert not path.exists()
    assert os.listdir(tmp_path) == ["last.pt"]


@pytest.mark.parametrize("keep", [0, 3, 1000, -1])
def test_damaged_checkpoint_is_named_with_its_remedy(tmp_path, keep):
    train(tmp_path, steps=3)
    path = tmp_path / "last.pt"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"last\.pt cannot be read.*delete it"):
        train(tmp_path, steps=3)


def test_nothing_is_run_on_reading(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"step": Trap()}, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="cannot be read"):
        load(tmp_path / "last.pt")
    assert not (tmp_path / "sprung").exists()


def test_weights_carry_the_preprocessing(tmp_path):
    model = Net(norm=True).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "best.safetensors", model, SPEC, step=3, score=0.5)
    tensors, spec = load_weights(tmp_path / "best.safetensors")
    assert spec == SPEC
    fresh = Net(norm=True)
    fresh.load_state_dict(tensors)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name])


def test_foreign_or_damaged_weights_are_refused(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"no weights")
    for name in ("foreign", "damaged"):
        with pytest.raises(ValueError, match="do not tell their preprocessing"):
            load_weights(tmp_path / f"{name}.safetensors")
