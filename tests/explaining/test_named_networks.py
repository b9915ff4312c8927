import math

import huggingface_hub
import pytest
import timm
import torch
from tiny_runs import write_run

from vision_attn.explain.contract import Explainable
from vision_attn.explain.methods import METHODS
from vision_attn.explaining.networks import open_networks, probabilities, timm_spec
from vision_attn.models.vit import ViT
from vision_attn.spec import Spec

CPU = torch.device("cpu")


def open_one(name, **settings):
    (network,) = open_networks([str(name)], CPU, **settings)
    return network


def test_probabilities_sum_to_one_unless_several_labels_may_apply():
    logits = torch.tensor([[0.0, 2.0, -1.0]])
    one = Spec(image_size=(5, 7), names=("a", "b", "c"))
    several = Spec(image_size=(5, 7), names=("a", "b", "c"), several=True)
    total = sum(math.exp(x) for x in logits[0].tolist())
    assert probabilities(logits, one)[0].tolist() == pytest.approx(
        [math.exp(x) / total for x in logits[0].tolist()]
    )
    assert probabilities(logits, several)[0].tolist() == pytest.approx(
        [1 / (1 + math.exp(-x)) for x in logits[0].tolist()]
    )


def test_a_run_folder_is_named_by_its_folder(runs):
    network = open_one(runs["vit"])
    assert (network.name, network.grid, network.random) == ("vit", (6, 6), False)
    assert isinstance(network.model, ViT)
    assert not network.model.training
    assert network.spec.image_size == (24, 24)


def test_a_network_without_patches_that_attend_has_no_grid_and_refuses_by_name(runs):
    network = open_one(runs["resnet"])
    assert network.grid is None
    assert "rollout needs attention" in network.refusal(METHODS["rollout"])
    assert network.refusal(METHODS["cam"]) == ""


def test_untrained_networks_say_so_and_are_the_same_in_every_call():
    random = torch.get_rng_state()
    first, second = (open_one("timm:test_vit", random_weights=True) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), random)
    assert first.name == "test_vit_random_weights"
    assert first.random
    assert first.hash == second.hash
    assert isinstance(first.model, Explainable)
    assert first.grid == (10, 10)


def test_the_specification_is_what_timm_wants_of_its_images():
    spec = timm_spec(timm.create_model("test_resnet", num_classes=7))
    assert spec.image_size == (160, 160)
    assert spec.names == ("0", "1", "2", "3", "4", "5", "6")
    assert spec.interpolation == "bilinear"
    assert spec.crop == 0.95
    named = timm_spec(timm.create_model("test_resnet"))
    assert named.names[1] == "goldfish"
    assert len(named.names) == 1000
    assert timm_spec(timm.create_model("test_resnet", num_classes=0)).names[0] == "feature 0"


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_a_checkpoint_brings_its_own_number_of_classes(tmp_path, ending):
    from safetensors.torch import save_file

    path = tmp_path / f"mine.{ending}"
    state = timm.create_model("test_resnet", num_classes=3).state_dict()
    save_file(state, path) if ending == "safetensors" else torch.save({"state_dict": state}, path)
    network = open_one(f"timm:test_resnet@{path}")
    assert network.name == "test_resnet_mine"
    assert not network.random
    assert network.spec.names == ("0", "1", "2")
    found = dict(network.model.network.named_parameters())
    torch.testing.assert_close(found["fc.weight"], state["fc.weight"], rtol=0, atol=0)


def test_a_checkpoint_of_another_network_is_refused_in_one_line(tmp_path):
    path = tmp_path / "other.pt"
    torch.save(timm.create_model("test_vit", num_classes=3).state_dict(), path)
    with pytest.raises(ValueError, match=r"must hold weights of test_resnet, but \d+ .* \.\.\.$"):
        open_one(f"timm:test_resnet@{path}")


def test_weights_that_cannot_be_downloaded_are_an_error_and_never_random(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    monkeypatch.setattr(timm, "create_model", None)
    with pytest.raises(ValueError, match=r"test_vit could not be downloaded; .*--random-weights"):
        open_one("timm:test_vit")


def test_a_network_that_timm_has_no_weights_of_says_so():
    with pytest.raises(ValueError, match="timm has no weights of botnet50ts_256"):
        open_one("timm:botnet50ts_256")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:test_vitt", "did you mean timm:test_vit"),
        ("timm:test_vit.none_such", "timm cannot build test_vit.none_such"),
        ("nowhere", "nowhere is no run with weights"),
    ],
)
def test_unknown_networks_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        open_one(name)


def test_trained_networks_are_not_made_random(runs):
    with pytest.raises(ValueError, match="--random-weights is for timm:NAME without a checkpoint"):
        open_one(runs["vit"], random_weights=True)


def test_two_networks_see_the_same_crop_and_have_names_of_their_own(runs, tmp_path):
    other = write_run(tmp_path / "vit", "vit", seed=12)
    first, second = open_networks([str(runs["vit"]), str(other)], CPU)
    assert (first.name, second.name) == ("vit", "vit_2")
    assert first.hash != second.hash
    pair = open_networks(["timm:test_vit", "timm:test_resnet"], CPU, random_weights=True)
    assert pair[0].spec.crop == pair[1].spec.crop == 0.95


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("vit", "two different networks can be compared, got vit twice"),
        ("timm:test_vit", r"must have the same image_size, got \(24, 24\) and \(160, 160\)"),
    ],
)
def test_networks_that_cannot_see_one_picture_are_refused(runs, second, message):
    second = str(runs.get(second, second))
    with pytest.raises(ValueError, match=message):
        open_networks([str(runs["vit"]), second], CPU, random_weights="timm" in second)


def test_networks_of_other_classes_are_refused(tmp_path):
    path = tmp_path / "three.pt"
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), path)
    with pytest.raises(ValueError, match="the same names, got 1000 and 3"):
        open_networks(["timm:test_vit", f"timm:test_resnet@{path}"], CPU, random_weights=True)
