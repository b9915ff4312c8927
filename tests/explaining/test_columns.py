import pytest
import torch

from vision_attn.explain.methods import AGNOSTIC, BASELINES, METHODS
from vision_attn.explaining.columns import PARTIAL, check_names, lay_out
from vision_attn.explaining.networks import open_networks
from vision_attn.explaining.wanted import Want

ANSWER, SECOND = Want("predicted", rank=0), Want("predicted 2", "top2", rank=1)


@pytest.fixture(scope="module")
def networks(runs):
    return open_networks([str(folder) for folder in runs.values()], torch.device("cpu"))


def plan(networks, methods=None, wanted=(ANSWER,), scores=(), masks=""):
    columns, remarks = lay_out(networks, methods, wanted, scores, masks)
    return [(x.network.name, x.method, x.want.part) for x in columns], remarks


def test_by_default_networks_are_explained_by_what_is_defined_for_them(networks):
    columns, remarks = plan(networks)
    assert columns == [
        ("vit", "grad_cam", ""),
        ("vit", "rollout", ""),
        ("vit", "relevance", ""),
        ("resnet", "grad_cam", ""),
    ]
    assert remarks == []


def test_all_methods_but_those_that_are_undefined(networks):
    columns, remarks = plan(networks, ["all"])
    assert {method for name, method, _ in columns if name == "vit"} == METHODS.keys() - {
        "cam",
        "full_grad",
        "glimpses",
    }
    assert {method for name, method, _ in columns if name == "resnet"} == METHODS.keys() - (
        PARTIAL - {"cam", "full_grad"}
    )
    assert len(remarks) == len(PARTIAL) + 1  # glimpses are undefined for both
    assert all("; use " in remark for remark in remarks)


def test_a_map_that_is_the_same_for_every_class_is_made_once(networks):
    columns, _ = plan(networks[:1], ["relevance", "rollout"], (SECOND, ANSWER))
    assert columns == [
        ("vit", "relevance", "top2"),
        ("vit", "relevance", ""),
        ("vit", "rollout", ""),
    ]
    assert METHODS.keys() | BASELINES.keys() >= AGNOSTIC


def test_what_is_scored_is_scored_beside_maps_that_know_nothing(networks):
    columns, _ = plan(networks[1:], ["saliency"], scores=["deletion"])
    assert [method for _, method, _ in columns] == ["saliency", "random", "centre"]


def test_settings_say_all_that_a_map_depends_on(networks):
    (column,), _ = lay_out(networks[:1], ["rollout"], [ANSWER], [], "")
    assert column.settings["fusion"] == "mean"
    assert column.settings["target"] == "predicted"
    assert column.settings["image"]["image_size"] == (24, 24)
    assert not {"scores", "masks", "weights"} & column.settings.keys()
    scores = ["deletion", "pointing_game"]
    column = lay_out(networks[:1], ["rollout"], [ANSWER], scores, "1f")[0][0]
    assert column.settings["scores"]["deletion"]["steps"] == 16
    assert column.settings["scores"]["pointing_game"] == {"tolerance": 0.0}
    assert column.settings["masks"] == "1f"
    column = lay_out(networks[:1], ["rollout"], [ANSWER], ["max_sensitivity"], "")[0][0]
    assert column.settings["scores"]["max_sensitivity"].keys() == {
        "radius",
        "samples",
        "seed",
        "batch_size",
    }


def test_untrained_networks_say_so_in_every_setting():
    networks = open_networks(["timm:test_vit"], torch.device("cpu"), random_weights=True)
    columns, _ = lay_out(networks, None, [ANSWER], [], "")
    assert {column.settings["weights"] for column in columns} == {"random"}


def test_a_method_of_one_network_alone_is_taken_with_a_remark(networks):
    columns, remarks = plan(networks, ["rollout", "cam"])
    assert columns == [("vit", "rollout", ""), ("resnet", "cam", "")]
    assert [remark.partition(": ")[0] for remark in remarks] == [
        "cam is undefined for vit",
        "rollout is undefined for resnet",
    ]


@pytest.mark.parametrize(
    ("methods", "scores", "message"),
    [
        (["grad_camm"], [], "--methods: there is no grad_camm; did you mean grad_cam"),
        (["explode"], [], "there is no explode; choose from all, attention, rollout"),
        ([], [], "--methods must name explainers"),
        (None, ["deletions"], "--scores: there is no deletions; did you mean"),
    ],
)
def test_unknown_names_are_refused(methods, scores, message):
    with pytest.raises(ValueError, match=message):
        check_names(methods, scores)


@pytest.mark.parametrize(
    ("which", "methods", "scores", "message"),
    [
        (slice(0, 2), None, ["mask_iou"], "masks .* are needed for mask_iou; give --masks"),
        (slice(0, 2), ["rollout"], [], "rollout is undefined for resnet: .*; use grad_cam"),
        (slice(0, 1), ["grad_cam", "cam"], [], "cam is undefined for vit: .*; use grad_cam"),
    ],
)
def test_what_cannot_be_made_is_refused(networks, which, methods, scores, message):
    with pytest.raises(ValueError, match=message):
        plan(networks[which], methods, scores=scores)
