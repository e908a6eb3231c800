"""Written weights: against loops over chunks, and the variance at the start, measured through a deep network."""

import pytest
import torch
from torch import nn

from metabook.mapping import run
from metabook.nn import MLP, Linear, WeightGenerator
from metabook.nn.weight_generator import add

C = 4


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def normed(norm, v):
    return norm.weight * v / (v.square().mean() + 1e-6).sqrt()


def trunk(block, ask, memory):
    """Read from the parts, then think, for one chunk."""
    memory = [normed(block.before, m) for m in memory]
    x = ask + attend(block.attention, normed(block.before, ask), memory)
    inner = (block.up.weight @ normed(block.between, x) + block.up.bias).clamp(min=0)
    return x + block.down.weight @ inner + block.down.bias


def attend(attention, query, keys):
    """One query [D] and a list of vectors, which are keys and values, head by head."""
    heads, width = attention.heads, len(query) // attention.heads
    q, out = attention.query.weight @ query, []
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        scores = torch.stack([q[part] @ (attention.key.weight @ k)[part] / width**0.5 for k in keys])
        read = [(attention.value.weight @ k)[part] for k in keys]
        out.append(sum(s * r for s, r in zip(scores.softmax(0), read, strict=True)))
    return attention.out.weight @ torch.cat(out)


def write(generator, chunks, code, choice=None):
    """The tensors of one list of chunks from one code, chunk by chunk: name -> numbers in a row."""
    memory = [generator.piece(piece) for piece in code.chunk(generator.parts)]
    if choice is not None:
        for e, weights in enumerate(choice):
            memory.append(sum(a * v for a, v in zip(weights, generator.operations[e], strict=True)))
    keys = [m + place for m, place in zip(memory, generator.places, strict=True)]
    found, k = {}, 0
    for (name, shape), size in zip(chunks.shapes.items(), chunks.sizes, strict=True):
        numbers = []
        for _ in range(size):
            ask = chunks.embedding[k]
            h = normed(generator.norm, trunk(generator.block, ask, keys))
            weights = [1.0] if choice is None else choice[0]
            if choice is not None and not name.startswith("layers.0"):
                weights = choice[1] if name.startswith("layers.1") else choice.mean(0)
            made = sum(a * (h @ w + c) for a, w, c in zip(weights, generator.last, generator.bias, strict=True))
            numbers.append(generator.share**0.5 * chunks.scale[k] * made)
            k += 1
        found[name] = torch.cat(numbers)[: shape.numel()].view(shape)
    return found


@pytest.mark.parametrize("edges", [(), ("layers.0", "layers.1")], ids=["weights-only", "two-edges"])
def test_against_loops(edges):
    torch.manual_seed(0)
    net = MLP(2, 3, hidden=(5, 4))
    operations = 3 if edges else 1
    generator = WeightGenerator(
        net, C, edges=edges, operations=operations, parts=2, hidden=6, heads=2, chunk=4, share=0.3
    ).double()
    nn.init.normal_(generator.bias)
    code = torch.randn(2, C, dtype=torch.float64)
    choice = torch.rand(2, 2, 3, dtype=torch.float64).softmax(2) if edges else None
    written = generator(code, choice)
    for b in range(2):
        expected = write(generator, generator.rest, code[b], None if choice is None else choice[b])
        assert list(expected) == list(written) == [name for name, _ in net.named_parameters()]
        for name, value in expected.items():
            close(written[name][b], value)


def test_a_row_of_the_head_is_written_from_the_code_of_its_class():
    torch.manual_seed(0)
    net = MLP(2, 3, hidden=(5,))
    generator = WeightGenerator(net, C, head="layers.1", hidden=6, heads=2, chunk=4).double()
    code = torch.randn(2, 3, C, dtype=torch.float64)
    written = generator(code)
    for b in range(2):
        for name, value in write(generator, generator.rest, code[b].mean(0)).items():
            close(written[name][b], value)
        for n in range(3):
            for name, value in write(generator, generator.rows, code[b, n]).items():
                close(written[name][b, n], value)
    assert set(generator.rest.shapes) == {"layers.0.weight", "layers.0.bias"}


def deep():
    """Ten layers of 64 ReLU units whose first weights have variance 2 / fan-in, and no biases."""
    net = MLP(64, 64, hidden=(64,) * 9, bias=False)
    for layer in net.layers:
        nn.init.kaiming_normal_(layer.weight)
    return net


def mean_square(net, phi):
    x = torch.randn(len(next(iter(phi.values()))), 50, 64, generator=torch.Generator().manual_seed(3))
    return run(net, x, phi).square().mean((1, 2))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_variance_is_kept_through_ten_layers(share):
    """The mean square after ten layers beside that of the plain start: between 0.75 and 1/0.75 for each layer.

    It is the geometric mean over 10 generators. Without the embedding in the residual it was 0.6 at share 1: rows of
    a matrix were alike. Without the scale it is 32 (the test below).
    """
    ratios = []
    for seed in range(10):
        torch.manual_seed(seed)
        net = deep()
        plain = mean_square(net, {k: p.detach()[None] for k, p in net.named_parameters()})
        generator = WeightGenerator(net, C, share=share)
        with torch.no_grad():
            phi = add({k: p[None] for k, p in net.named_parameters()}, generator(torch.randn(1, C)))
            ratios.append((mean_square(net, phi) / plain).log())
    assert 0.75 < (torch.stack(ratios).mean() / 10).exp() < 1 / 0.75


def test_without_the_scale_it_explodes():
    """Numbers of variance 1 in place of 2 / 64 multiply the mean square by 32 in every layer."""
    torch.manual_seed(0)
    net = deep()
    plain = mean_square(net, {k: p.detach()[None] for k, p in net.named_parameters()})
    generator = WeightGenerator(net, C, share=1.0)
    generator.rest.scale.fill_(1)
    with torch.no_grad():
        assert mean_square(net, generator(torch.randn(1, C))) > 1e10 * plain


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_variance_of_each_tensor_is_split_as_share_says(share):
    """Over 200 draws of the last layers: var(g) = share * var(theta at first), to five standard errors."""
    torch.manual_seed(0)
    net = MLP(100, 50, hidden=(200,))
    before = {k: p.detach().square().mean() for k, p in net.named_parameters()}
    generator = WeightGenerator(net, C, share=share)
    draws = []
    with torch.no_grad():
        for _ in range(200):
            generator.last.normal_(std=generator.last.shape[1] ** -0.5)
            draws.append({k: g.square().mean() for k, g in generator(torch.randn(1, C)).items()})
        for name, p in net.named_parameters():
            floor = max(before[name], 0.1**2)  # biases of 200 inputs start smaller than what can be written for them
            values = torch.stack([d[name] for d in draws]) / floor
            assert abs(values.mean() - share) <= 5 * values.std() / 200**0.5 + 1e-7, name
            close(p.square().mean(), (1 - share) * before[name], 1e-6)


def test_silent_it_writes_zeros_and_frozen_weights_are_left_alone():
    torch.manual_seed(0)
    net = MLP(2, 1, hidden=(3,))
    net.layers[0].weight.requires_grad_(False)
    frozen = net.layers[0].weight.clone()
    generator = WeightGenerator(net, C)
    nn.init.normal_(generator.bias)  # as after training; it is 0 at first
    assert "layers.0.weight" not in generator(torch.randn(2, C))
    assert torch.equal(net.layers[0].weight, frozen)
    assert all((g == 0).all() for g in generator.silence()(torch.randn(2, C)).values())


def test_only_the_tensors_named_are_written_and_make_room():
    torch.manual_seed(0)
    net = MLP(2, 3, hidden=(5,))
    before = {k: p.detach().clone() for k, p in net.named_parameters()}
    generator = WeightGenerator(net, C, only="layers.1", share=0.75)
    written = generator(torch.randn(2, C))
    assert set(written) == {"layers.1.weight", "layers.1.bias"}
    phi = add({k: p[None] for k, p in net.named_parameters()}, written)
    for name, p in net.named_parameters():
        close(p, before[name] * (0.5 if name in written else 1), 1e-6)
        assert (phi[name].shape[0] == 2) == (name in written)
        assert name in written or torch.equal(phi[name][0], p)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": 3}, "parts: 3 given; their number must divide the code, 4"),
        ({"share": 1.5}, "share: 1.5 given; 0 to 1 is allowed"),
        ({"heads": 5}, "heads: 5 given; their number must divide the width"),
        ({"chunk": 0}, "chunk: 0 given; at least 1"),
        ({"operations": 0}, "operations: 0 given; at least 1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        WeightGenerator(MLP(2, 1), C, **options)


def test_nothing_to_write_is_named():
    with pytest.raises(ValueError, match=r"net: no parameter called \.\.\. requires a gradient"):
        WeightGenerator(Linear(1, 1).requires_grad_(False), C)
