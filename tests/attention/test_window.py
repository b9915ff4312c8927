"""Windows against loops over batch, query and cell in float64."""

import math

import pytest
import torch

from vision_attn.attention.window import Everywhere, Monotonic, Places, Predictive

ROWS, COLUMNS, DIM = 3, 5, 7


def inputs(keys=ROWS * COLUMNS, queries=4):
    generator = torch.Generator().manual_seed(11)
    make = {"generator": generator, "dtype": torch.float64}
    return torch.randn(2, 1, queries, keys, **make), torch.randn(2, queries, DIM, **make)


def looped(scores, centres, reach, grid, sigma=None, hidden=None):
    """Softmax over the cells in reach, then the Gaussian, cell by cell."""
    rows, columns = grid
    weights = torch.zeros_like(scores)
    for b, q in torch.cartesian_prod(torch.arange(len(scores)), torch.arange(scores.shape[2])):
        x, y = centres[b][q]
        total, own = 0.0, {}
        for row in range(rows):
            for column in range(columns):
                key = row * columns + column
                across, down = column + 0.5 - x, row + 0.5 - y
                seen = abs(across) <= reach and abs(down) <= reach
                if seen and not (hidden is not None and hidden[b, key]):
                    share = math.exp(scores[b, 0, q, key])
                    total += share
                    square = across**2 + down**2
                    own[key] = share * (math.exp(-square / (2 * sigma**2)) if sigma else 1)
        for key, share in own.items():
            weights[b, 0, q, key] = share / total
    return weights


def test_everywhere_is_a_softmax():
    scores, query = inputs()
    weights = Everywhere()(query, Places((ROWS, COLUMNS)), 0).weigh(scores)
    torch.testing.assert_close(weights, scores.exp() / scores.exp().sum(-1, keepdim=True))


def test_padding_gets_no_weight():
    scores, query = inputs(keys=COLUMNS)
    hidden = torch.tensor([[False] * 5, [False, False, False, True, True]])
    for window in (Everywhere(), Monotonic(2), Predictive(DIM, 2).double()):
        weights = window(query, Places((1, COLUMNS), hidden), 1).weigh(scores)
        assert (weights[1, ..., 3:] == 0).all()
        assert (weights[1, ..., :3].sum(-1) > 0).all()
        alone = window(query[1:], Places((1, 3)), 1).weigh(scores[1:, ..., :3])
        torch.testing.assert_close(weights[1:, ..., :3], alone)


@pytest.mark.parametrize("word", [0, 2, 6, 13, 14, 99])
@pytest.mark.parametrize(("reach", "pace"), [(1, 1.0), (2, 1.5)])
def test_monotonic_moves_in_reading_order(word, reach, pace):
    scores, query = inputs()
    weights = Monotonic(reach, pace)(query, Places((ROWS, COLUMNS)), word).weigh(scores)
    row, column = divmod(min(int(word * pace), ROWS * COLUMNS - 1), COLUMNS)
    centres = [[(column + 0.5, row + 0.5)] * 4] * 2
    torch.testing.assert_close(weights, looped(scores, centres, reach, (ROWS, COLUMNS)))


def test_places_are_counted_exactly_in_half_precision():
    torch.manual_seed(13)
    query = torch.randn(2, 4, DIM).bfloat16()
    view = Monotonic(1)(query, Places((1, 300)), 271)
    assert view.hidden.logical_not().nonzero()[:, 2].tolist() == [270, 271, 272]
    view = Monotonic(1)(query, Places((28, 28)), 28 * 17 + 21)
    assert (~view.hidden[0, 0]).view(28, 28).nonzero().float().mean(0).tolist() == [17, 21]

    window, scores = Predictive(DIM, 2).bfloat16(), torch.randn(2, 1, 4, 300)
    centre = window.centres(query, Places((1, 300)))
    shares = window.centre(window.hidden(query).tanh()).double().sigmoid()
    torch.testing.assert_close(centre, (shares * torch.tensor([300, 1])).float())
    assert window(query, Places((1, 300)), 0).weigh(scores.bfloat16()).dtype == torch.bfloat16


def test_monotonic_on_a_sequence_sees_position_t():
    scores, query = inputs(keys=COLUMNS)
    weights = Monotonic(1)(query, Places((1, COLUMNS)), 2).weigh(scores)
    assert ((weights > 0) == torch.tensor([False, True, True, True, False])).all()


@pytest.mark.parametrize("reach", [1, 2])
def test_predictive_equals_a_loop(reach):
    torch.manual_seed(13)
    window = Predictive(DIM, reach).double().requires_grad_(False)
    window.centre.weight *= 5
    scores, query = inputs()
    weights = window(query, Places((ROWS, COLUMNS)), 3).weigh(scores)
    centres = [
        [
            [
                extent / (1 + math.exp(-float(row @ torch.tanh(window.hidden.weight @ s))))
                for extent, row in zip((COLUMNS, ROWS), window.centre.weight, strict=True)
            ]
            for s in queries
        ]
        for queries in query
    ]
    expected = looped(scores, centres, reach, (ROWS, COLUMNS), sigma=reach / 2)
    torch.testing.assert_close(weights, expected)
    assert (weights.sum(-1) < 1).all()  # the Gaussian is not made up for
    assert (weights.sum(-1) > 0).all()  # some cell is always in reach


def test_the_centre_learns_through_the_gaussian():
    torch.manual_seed(13)
    window = Predictive(DIM, 2).double()
    scores, query = inputs()
    values = torch.randn(2, 1, ROWS * COLUMNS, 3, dtype=torch.float64)
    places = Places((ROWS, COLUMNS))

    def loss(weight):
        with torch.no_grad():
            window.centre.weight.copy_(weight)
        return (window(query, places, 0).weigh(scores) @ values).sin().sum()

    weight = window.centre.weight.detach().clone()
    (gradient,) = torch.autograd.grad(loss(weight), window.centre.weight)
    step = torch.zeros_like(weight)
    step[1, 3] = 1e-6
    numeric = (loss(weight + step) - loss(weight - step)) / 2e-6
    torch.testing.assert_close(gradient[1, 3], numeric.detach(), rtol=1e-5, atol=1e-7)
    assert gradient.abs().max() > 1e-3
