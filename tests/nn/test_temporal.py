"""Causal layers: numbers by hand, what each position sees, and continuing a sequence against running through it."""

import math

import pytest
import torch

from metabook.nn import AttentionBlock, CausalChain, DenseBlock, tc_block

B, T, C, Q = 2, 11, 3, 4
LAYERS = {
    "dense": lambda: DenseBlock(C, 2, 1),
    "dense, dilation 3": lambda: DenseBlock(C, 2, 3),
    "attention": lambda: AttentionBlock(C, 5, 2),
    "tc": lambda: tc_block(C, 6, 2),
    "mixed": lambda: CausalChain(AttentionBlock(C, 2, 2), tc_block(C + 2, 4, 3), AttentionBlock(C + 8, 4, 2)),
}
every = pytest.mark.parametrize("name", LAYERS)


def build(name, device="cpu"):
    torch.manual_seed(0)
    return LAYERS[name]().double().to(device)


def sequence(t=T, seed=1, device="cpu"):
    return torch.randn(B, t, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(device)


def seen(layer, t=T):
    """[t, t] bool: does new output channel at position i depend on the input at position j? Exactly, by Jacobian."""
    x = sequence(t)[:1]
    jacobian = torch.autograd.functional.jacobian(lambda v: layer(v)[0, :, C:].sum(-1), x)  # [t, 1, t, C]
    return jacobian[:, 0].abs().sum(-1) != 0


def back(far):
    """[T, T] bool: position i sees j exactly if i - j is one of ``far``."""
    return torch.tensor([[i - j in far for j in range(T)] for i in range(T)])


def test_dense_block_by_hand():
    """xf = x_t - x_(t-1) and xg = 0: the new channel is tanh(x_t - x_(t-1)) / 2, with a zero before the first.

    x = (1, 3, 3) gives tanh(1) / 2, tanh(2) / 2, 0. With dilation 2: tanh(1) / 2, tanh(3) / 2, tanh(2) / 2.
    """
    x = torch.tensor([[[1.0], [3.0], [3.0]]], dtype=torch.float64)
    for dilation, differences in {1: (1, 2, 0), 2: (1, 3, 2)}.items():
        block = DenseBlock(1, 1, dilation).double()
        with torch.no_grad():
            block.now.weight.copy_(torch.tensor([[1.0], [0.0]]))
            block.before.weight.copy_(torch.tensor([[-1.0], [0.0]]))
            block.now.bias.zero_()
        out = block(x)[0]
        assert out[:, 0].tolist() == [1, 3, 3]
        assert out[:, 1].tolist() == pytest.approx([math.tanh(d) / 2 for d in differences], abs=1e-15)


def test_attention_block_by_hand():
    """Keys, queries (each 4 times) and values are x itself: logits 4 x x' / sqrt(4) = 2 x x'. x = (1, 2).

    The first position sees itself alone and reads 1. The second has logits 4 and 8 and reads (1 + 2 e^4) / (1 + e^4).
    """
    block = AttentionBlock(1, 4, 1).double()
    with torch.no_grad():
        for linear in (block.key, block.query, block.value):
            linear.weight.fill_(1)
            linear.bias.zero_()
    out = block(torch.tensor([[[1.0], [2.0]]], dtype=torch.float64))[0]
    assert out[0].tolist() == [1, 1]
    assert out[1].tolist() == pytest.approx([2, (1 + 2 * math.exp(4)) / (1 + math.exp(4))], rel=1e-14)


@every
def test_no_position_sees_a_later_one(name):
    """Exactly zero, not nearly. And the input stands before the result, untouched."""
    layer = build(name)
    assert not seen(layer).triu(1).any()
    assert seen(layer).diagonal().all()
    assert torch.equal(layer(sequence())[..., :C], sequence())
    assert layer(sequence()).shape == (B, T, layer.outputs) and layer.inputs == C


def test_attention_sees_everything_before():
    assert torch.equal(seen(build("attention")), torch.ones(T, T).tril().bool())


def test_a_look_starts_by_similarity():
    """Keys and queries start equal, and are two sets of weights all the same."""
    block, x = build("attention"), sequence()
    assert torch.equal(block.key(x), block.query(x)) and block.key.weight is not block.query.weight
    block(x)[..., C:].square().sum().backward()
    assert not torch.equal(block.key.weight.grad, block.query.weight.grad)


@pytest.mark.parametrize("dilation", [1, 2, 5])
def test_a_dense_block_sees_itself_and_one_position_before(dilation):
    torch.manual_seed(0)
    assert torch.equal(seen(DenseBlock(C, 2, dilation).double()), back({0, dilation}))


@pytest.mark.parametrize(("length", "reach"), [(2, 2), (3, 4), (4, 4), (5, 8), (6, 8), (8, 8)])
def test_a_tc_block_sees_exactly_two_to_the_k_positions(length, reach):
    """k = ceil(log2 length) layers; every position of the last 2^k, itself included, and none before."""
    torch.manual_seed(0)
    block = tc_block(C, length, 2).double()
    assert len(block.layers) == math.log2(reach) and reach >= length
    assert torch.equal(seen(block), back(set(range(reach))))


def test_with_the_printed_dilations_every_second_position_is_missed():
    torch.manual_seed(0)
    block = CausalChain(DenseBlock(C, 2, 2), DenseBlock(C + 2, 2, 4)).double()
    assert torch.equal(seen(block), back({0, 2, 4, 6}))


@every
@pytest.mark.parametrize("s", [1, 2, 7])
def test_continuing_a_sequence_is_running_through_it(name, s, device):
    """Values and all gradients: Q sequences of S + 1 positions against one of S and Q ends."""
    layer, past, x = build(name, device), sequence(s, 2, device).requires_grad_(), sequence(Q, 3, device)
    x.requires_grad_()
    ends = torch.stack([layer(torch.cat([past, x[:, q : q + 1]], 1))[:, -1] for q in range(Q)], 1)
    ours = layer.after(layer(past), x)
    torch.testing.assert_close(ours, ends, rtol=1e-12, atol=1e-12)
    mark = torch.randn(ours.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64).to(device)
    of = [past, x, *layer.parameters()]
    pairs = [torch.autograd.grad((out * mark).sum(), of, materialize_grads=True) for out in (ours, ends)]
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_attention_weights_are_those_that_the_block_reads_with():
    block, past, x = build("attention"), sequence(5, 2), sequence(Q, 3)
    weights = block.weights(past, x)
    assert weights.shape == (B, Q, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, Q, dtype=torch.float64))
    values = torch.cat([block.value(past).unsqueeze(1).expand(-1, Q, -1, -1), block.value(x).unsqueeze(2)], 2)
    torch.testing.assert_close((weights.unsqueeze(-1) * values).sum(2), block.after(past, x)[..., C:])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DenseBlock(0, 2, 1), "inputs: 0 given"),
        (lambda: DenseBlock(2, 0, 1), "filters: 0 given"),
        (lambda: DenseBlock(2, 2, 0), "dilation: 0 given"),
        (lambda: AttentionBlock(2, 0, 1), "keys: 0 given"),
        (lambda: AttentionBlock(2, 1, 0), "values: 0 given"),
        (lambda: tc_block(2, 1, 2), "length: 1 given; at least 2"),
        (lambda: CausalChain(), "layers: none given"),
        (lambda: CausalChain(DenseBlock(2, 2, 1), DenseBlock(3, 2, 1)), "layer 1 with 3 inputs given; .* 4 outputs"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
