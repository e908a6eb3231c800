"""Scales, shifts and contexts: by hand, for all tasks and for each, and in the networks they are put into."""

import pytest
import torch

from metabook.mapping import run
from metabook.nn import MLP, AppendContext, Chain, ContextFilm, Conv4, Film, Linear, add_film, insert_film


def test_film_by_hand():
    """(2, 3) with scales (0.5, -1) and shifts (1, 4): 2 * 1.5 + 1 = 4 and 3 * 0 + 4 = 4."""
    film, h = Film(2), torch.tensor([[[2.0, 3.0]]])
    assert torch.equal(film(h), h)
    own = {"scale": torch.tensor([[0.5, -1.0]]), "shift": torch.tensor([[1.0, 4.0]])}
    assert run(Chain(film), h, {f"0.{k}": v for k, v in own.items()}).tolist() == [[[4.0, 4.0]]]


def test_film_of_images_is_per_channel():
    h = torch.randn(2, 3, 4, 5, 6)
    scale, shift = torch.randn(2, 4), torch.randn(2, 4)
    out = run(Chain(Film(4)), h, {"0.scale": scale, "0.shift": shift})
    for b in range(2):
        for c in range(4):
            torch.testing.assert_close(out[b, :, c], h[b, :, c] * (1 + scale[b, c]) + shift[b, c])


def test_append_context_by_hand():
    x = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    net = Chain(AppendContext(2))
    assert net(x)[1].tolist() == [[3.0, 0.0, 0.0], [4.0, 0.0, 0.0]]
    own = run(net, x, {"0.context": torch.tensor([[5.0, 6.0], [7.0, 8.0]])})
    assert own[1].tolist() == [[3.0, 7.0, 8.0], [4.0, 7.0, 8.0]]


def test_context_film_is_film_with_scale_and_shift_linear_in_the_context():
    layer, h, context = ContextFilm(3, 4), torch.randn(2, 5, 4), torch.randn(2, 3)
    out = run(Chain(layer), h, {"0.context": context})
    both = context @ layer.film.weight.T + layer.film.bias
    torch.testing.assert_close(out, h * (1 + both[:, None, :4]) + both[:, None, 4:])


NETS = {"MLP": (MLP(2, 3, hidden=(4, 5)), (2,)), "Conv4": (Conv4(1, 3, width=4, size=16), (1, 16, 16))}


@pytest.mark.parametrize(("net", "shape"), NETS.values(), ids=NETS)
def test_added_film_changes_nothing_until_it_is_told_to(net, shape):
    x = torch.randn(2, 3, *shape)
    before = net(x)
    names = set(dict(net.named_parameters()))
    assert torch.equal(add_film(net)(x), before)
    films = [m for m in net.modules() if isinstance(m, Film)]
    assert len(films) == len(names) // (4 if len(shape) > 1 else 2) - (len(shape) == 1)  # every hidden layer or block
    shift = next(n for n, _ in net.named_buffers() if n.endswith("shift"))
    changed = run(net, x, {shift: torch.ones(2, len(net.get_buffer(shift)))})
    assert not torch.allclose(changed, before)


def test_film_stands_before_the_activation():
    """A shift of -100 silences a hidden layer: what is left is the bias behind it."""
    net = add_film(MLP(2, 3, hidden=(4,)))
    out = run(net, torch.randn(2, 5, 2), {"layers.0.1.shift": torch.full((2, 4), -100.0)})
    torch.testing.assert_close(out, net.layers[1].bias.expand(2, 5, 3))


def test_insert_puts_it_into_the_block_that_is_named():
    net = insert_film(Conv4(1, 3, width=4, size=16), 2, ContextFilm(5, 4))
    places = [i for i, m in enumerate(net.features) if isinstance(m, (torch.nn.ReLU, ContextFilm))]
    assert [type(net.features[i]).__name__ for i in places] == ["ReLU", "ReLU", "ContextFilm", "ReLU", "ReLU"]
    assert places[3] == places[2] + 1


def test_chain_takes_tasks():
    assert run(Chain(Linear(2, 3)), torch.randn(4, 5, 2), {"0.bias": torch.randn(4, 3)}).shape == (4, 5, 3)


def test_sizes_below_one_are_refused():
    for make in (lambda: Film(0), lambda: AppendContext(0), lambda: ContextFilm(0, 2), lambda: ContextFilm(2, 0)):
        with pytest.raises(ValueError, match="0 given; at least 1 is needed"):
            make()
