"""A change of low rank: nothing at first, then exactly what is merged into the weight."""

import signal

import pytest
import torch
from tiny_training import SPEC as NOISE
from tiny_training import Noise, in_process, metrics, train, weights
from torch import Tensor, nn

from vision_attn.attention.score import Additive, Dot, General, Location, MultiHead
from vision_attn.data.loader import share
from vision_attn.engine.checkpoint import load_weights
from vision_attn.engine.lora import LowRank, merged
from vision_attn.engine.tune_config import LoraConfig
from vision_attn.engine.tuning import add_changes
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.spec import Spec
from vision_attn.tasks.classification import Classification
from vision_attn.tasks.config import ClassificationConfig

SPEC = Spec(image_size=(10, 15), names=("a", "b", "c"), channels=2, mean=(0, 0), std=(1, 1))
VIT = ViTConfig(dim=12, depth=3, heads=2, patch_size=5)


def moved(model: nn.Module) -> nn.Module:
    """Give the changes values, as training would."""
    for part in model.modules():
        if isinstance(part, LowRank):
            nn.init.normal_(part.up)
    return model


def test_a_change_is_a_product_of_thin_matrices():
    torch.manual_seed(0)
    linear = nn.Linear(7, 5).double()
    changed = LowRank(linear, rank=3, scale=0.5)
    inputs = torch.randn(11, 2, 7, dtype=torch.float64)
    assert torch.equal(changed(inputs), linear(inputs))
    moved(changed)
    product = torch.einsum("or,ri->oi", changed.up, changed.down)
    expected = inputs @ (linear.weight + 0.5 * product).T + linear.bias
    torch.testing.assert_close(changed(inputs), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_merged_weights_are_those_of_a_plain_network(dtype, error):
    torch.manual_seed(0)
    plain, model = VIT.build(SPEC), VIT.build(SPEC)
    before = {name: x.clone() for name, x in model.state_dict().items()}
    LoraConfig(rank=3, alpha=2.0).apply(model)
    moved(model).to(dtype).eval()
    plain.to(dtype).eval().load_state_dict(merged(model))
    images = torch.randn(5, 2, 10, 15, dtype=dtype)
    torch.testing.assert_close(plain(images), model(images), rtol=error, atol=error)
    names = [name for name, x in plain.state_dict().items() if not torch.equal(x, before[name])]
    parts = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert names == [f"blocks.{block}.{part}.weight" for block in range(3) for part in parts]


def test_a_change_is_scaled_by_alpha_over_rank():
    model = VIT.build(SPEC)
    name = "blocks.1.mlp.fc1"
    before = model.get_submodule(name).weight.double()
    LoraConfig(rank=3, alpha=2.0).apply(model)
    part = moved(model).get_submodule(name)
    expected = before + 2 / 3 * part.up.double() @ part.down.double()
    torch.testing.assert_close(merged(model)[f"{name}.weight"].double(), expected)


def test_merging_leaves_the_model_alone_and_needs_no_changes():
    model = VIT.build(SPEC)
    LoraConfig(rank=2).apply(model)
    before = {name: x.clone() for name, x in moved(model).state_dict().items()}
    merged(model)
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    plain = VIT.build(SPEC)
    assert merged(plain).keys() == plain.state_dict().keys()


SCORES = {
    "additive": lambda: Additive(7, 11, dim=13),
    "general": lambda: General(7, 11),
    "location": lambda: Location(7, 5),
    "heads of additive": lambda: MultiHead(Additive, 6, 11, heads=3),
    "heads of dot": lambda: MultiHead(Dot, 6, 11, heads=3),
}


def changed_score(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """Give a score with changes beside all of its linear layers, queries and keys."""
    torch.manual_seed(3)
    score = SCORES[name]().double().requires_grad_(False)
    width = score.heads * 2 if isinstance(score, MultiHead) else 7
    query, keys = torch.randn(2, 3, width).double(), torch.randn(2, 5, 11).double()
    linear = sum(isinstance(part, nn.Linear) for part in score.modules())
    add_changes(score, LoraConfig(rank=2, targets=("*",)))
    assert sum(isinstance(part, LowRank) for part in score.modules()) == linear > 0
    return score, query, keys


@pytest.mark.parametrize("name", SCORES)
def test_every_change_beside_a_score_learns(name):
    score, query, keys = changed_score(name)
    changes = {name: x for name, x in score.named_parameters() if x.requires_grad}
    optimizer = torch.optim.SGD(changes.values(), 0.01)
    for _ in range(2):
        optimizer.zero_grad()
        (score(query, keys).softmax(-1) @ torch.arange(5.0).double()).sum().backward()
        optimizer.step()
    assert [name for name, x in changes.items() if x.grad.abs().max() < 1e-6] == []


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("name", SCORES)
def test_a_changed_score_is_worth_its_merged_weights(name, learning):
    score, query, keys = changed_score(name)
    plain = SCORES[name]().double()
    plain.load_state_dict(merged(moved(score)))
    with torch.set_grad_enabled(learning):
        torch.testing.assert_close(score(query, keys), plain(query, keys), rtol=1e-9, atol=1e-9)


def test_only_changes_and_the_head_are_trained():
    model = VIT.build(SPEC)
    (said,) = LoraConfig(rank=2, targets=("blocks.[02].attn.qkv",)).apply(model)
    trained = [name for name, x in model.named_parameters() if x.requires_grad]
    thin = [f"blocks.{block}.attn.qkv.{half}" for block in (0, 2) for half in ("down", "up")]
    assert trained == [*thin, "head.weight", "head.bias"]
    count = 2 * (2 * 12 + 36 * 2) + 12 * 3 + 3
    total = sum(x.numel() for x in model.parameters())
    assert said == f"trained: {count:,} of {total:,} parameters"


def test_targets_that_fit_no_linear_layer_are_named():
    with pytest.raises(
        ValueError, match=r"tune\.targets must fit names such as .*, got norm, which"
    ):
        LoraConfig(targets=("blocks.*.mlp", "norm")).apply(VIT.build(SPEC))


def test_a_network_without_linear_layers_is_refused():
    with pytest.raises(ValueError, match="lora changes linear layers other than"):
        LoraConfig().apply(ResNetConfig(depths=(1,) * 4, channels=(2, 3, 5, 7)).build(SPEC))


def fitted(folder, dropout: float = 0.1, **changes) -> Classification:
    """Train the changes of a network whose patches are single pixels."""
    torch.manual_seed(2)
    model = ViTConfig(dim=6, depth=1, heads=1, patch_size=1, dropout=dropout).build(NOISE)
    LoraConfig(rank=2).apply(model)
    task = ClassificationConfig(class_weights=(0.5, 1.0, 2.0)).build(model, NOISE)
    return train(folder, task, **({"ema": 0.9, "rate": 0.05} | changes))


def test_the_kept_weights_are_plain_and_worth_the_same(tmp_path):
    task = fitted(tmp_path, steps=10)
    tensors, spec = load_weights(tmp_path / "best.safetensors")
    plain = task.model.config.build(spec)
    plain.load_state_dict(tensors)
    numbers = ClassificationConfig().build(plain, spec).evaluate(share(Noise(17, seed=7_919), 4))
    line = max(metrics(tmp_path), key=lambda line: line.get("valid_accuracy", 0))
    for name in ("accuracy", "loss"):
        assert numbers[name] == pytest.approx(line[f"valid_{name}"], rel=1e-5)


def test_the_weights_below_keep_their_bits(tmp_path):
    for name, steps in (("short", 1), ("long", 9)):
        fitted(tmp_path / name, steps=steps, warmup=0)
    short, long = weights(tmp_path / "short"), weights(tmp_path / "long")
    for name in (name for name in short if name.startswith((".task", ".average"))):
        learns = any(part in name for part in (".up", ".down", ".head."))
        assert torch.equal(short[name], long[name]) != learns, name


@pytest.mark.parametrize("step", [2, 7])
def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path, step):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert in_process(fitted, whole) == 0
    assert in_process(fitted, cut, kill=(signal.SIGKILL, step)) == -signal.SIGKILL
    assert in_process(fitted, cut) == 0
    expected = weights(whole)
    assert all(torch.equal(x, expected[name]) for name, x in weights(cut).items())
    for file in ("best.safetensors", "config.yaml"):
        assert (cut / file).read_bytes() == (whole / file).read_bytes()
    assert metrics(cut) == metrics(whole)


def test_two_ranks_give_the_result_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert in_process(fitted, one, dropout=0.0) == 0
    assert in_process(fitted, two, dropout=0.0, world=2) == 0
    expected = weights(one)
    for name, tensor in weights(two).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
