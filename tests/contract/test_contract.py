"""What every registered system promises, whatever its idea. All in float64."""

import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map

from metabook.checkpoint import load, save
from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.registry import SYSTEMS
from metabook.training import train

B, WAY, SHOTS, QUERIES = 3, 3, 2, 4
INPUTS = {"vector": (4,), "image": (1, 16, 16), "number": (1,)}
CASES = [
    pytest.param(name, kind, inputs, id=f"{name}-{kind.__name__.lower()}-{inputs}")
    for name, system in SYSTEMS.items()
    for kind in system.kinds
    for inputs, shape in INPUTS.items()
    if (system.dims or 0) == (shape == (1,))  # a number only where nothing else is allowed
]


class Case:
    """A learner of the system and an episode of random data, with images small and networks narrow."""

    def __init__(self, name, kind, inputs, device, seed=0):
        self.name, self.kind, self.shape, self.device = name, kind, INPUTS[inputs], device
        self.likelihood = Classification(WAY) if kind is Classification else Regression(1)
        self.options = {"width": 8} if "width" in SYSTEMS[name].options() else {}
        self.learner = self.build(seed)
        self.episode = self.draw(B, seed)

    def build(self, seed):
        torch.manual_seed(seed)
        learner = SYSTEMS[self.name].build(self.shape, self.likelihood, **self.options)
        with torch.no_grad():  # away from symmetric starts, such as zero biases
            for p in learner.parameters():
                p.add_(0.1 * torch.randn_like(p))
        return learner.double().to(self.device)

    def draw(self, b, seed=0, queries=QUERIES):
        generator = torch.Generator().manual_seed(seed)

        def part(each):
            x = torch.randn(b, WAY * each, *self.shape, generator=generator, dtype=torch.float64)
            if self.kind is Classification:
                y = torch.arange(WAY).repeat_interleave(each).expand(b, -1).contiguous()
            else:
                y = torch.randn(b, WAY * each, 1, generator=generator, dtype=torch.float64)
            return Examples(x, y)

        return Episode(part(SHOTS), part(queries)).to(self.device)

    def outputs(self, episode, learner=None):
        """Class probabilities [B, Q, N], or predictive means [B, Q, Dy]."""
        with torch.no_grad():
            prediction = (learner or self.learner)(episode)
        return self.values(prediction)

    def values(self, prediction):
        """The same of a prediction; averaged over latent samples, where there are any."""
        values = prediction.probs if self.kind is Classification else prediction.mean
        return values.mean(0) if values.dim() > 3 else values


@pytest.fixture
def case(name, kind, inputs, device):
    return Case(name, kind, inputs, device)


def meta_loss(learner, episode):
    """The meta-loss under the same draws each time, for the systems that draw."""
    torch.manual_seed(0)
    return learner.meta_loss(episode)


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


every = pytest.mark.parametrize(("name", "kind", "inputs"), CASES)


@every
def test_a_batch_of_tasks_is_the_tasks_one_by_one(case):
    together = case.outputs(case.episode)
    alone = torch.cat([case.outputs(case.episode.task(i)) for i in range(B)])
    close(together, alone)


@every
def test_the_meta_loss_is_a_mean_over_tasks(case):
    losses = [meta_loss(case.learner, case.episode.task(i)) for i in range(B)]
    close(meta_loss(case.learner, case.episode), torch.stack(losses).mean())


@every
def test_the_order_of_the_support_set_matters_only_if_the_class_says_so(case):
    order = torch.randperm(WAY * SHOTS, generator=torch.Generator().manual_seed(1))
    shuffled = Examples(case.episode.support.x[:, order], case.episode.support.y[:, order])
    difference = (case.outputs(Episode(shuffled, case.episode.query)) - case.outputs(case.episode)).abs().max()
    assert (difference > 1e-9) == case.learner.ordered


@every
def test_a_prediction_depends_on_other_queries_only_if_the_class_says_so(case):
    other = case.draw(B, seed=5).query.x
    x = torch.cat([case.episode.query.x[:, :1], other[:, 1:]], 1)
    changed = Episode(case.episode.support, Examples(x, case.episode.query.y))
    difference = (case.outputs(changed)[:, 0] - case.outputs(case.episode)[:, 0]).abs().max()
    assert (difference > 1e-9) == case.learner.transductive


@every
def test_the_support_set_matters_unless_the_system_does_not_adapt(case):
    other = case.draw(B, seed=9).support
    difference = (case.outputs(Episode(other, case.episode.query)) - case.outputs(case.episode)).abs().max()
    assert (difference > 1e-9) == (case.name != "joint")


@every
def test_query_targets_are_never_read_for_a_prediction(case):
    query = case.episode.query
    blind = Examples(query.x, torch.zeros_like(query.y))
    assert torch.equal(case.outputs(Episode(case.episode.support, blind)), case.outputs(case.episode))


@every
def test_relabelling_the_classes_relabels_the_predictions(case):
    """With labels y -> s(y) the probability of s(c) is the old one of c. A learned output row belongs to its label,
    so the rows of the last layer are moved along, and so are those of a table of codes that labels enter by."""
    if case.kind is not Classification:
        pytest.skip("regression has no classes")
    s = torch.tensor([2, 0, 1], device=case.device)
    support, query = case.episode
    expected = case.outputs(case.episode)
    with torch.no_grad():
        for p in (*case.learner.parameters(), *case.learner.buffers()):
            if p.shape[0] == WAY:
                moved = p.clone()
                moved[s] = p
                p.copy_(moved)
    relabelled = Episode(Examples(support.x, s[support.y]), Examples(query.x, s[query.y]))
    close(case.outputs(relabelled)[..., s], expected)


@every
def test_every_meta_parameter_gets_a_gradient(case):
    if not list(case.learner.parameters()):
        pytest.skip("no meta-parameters")
    meta_loss(case.learner, case.episode).backward()
    silent = {n: p for n, p in case.learner.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-12}
    assert len(silent) < len(list(case.learner.parameters())) / 2
    # A parameter may be silent only if nothing depends on it: a constant added before batch statistics are taken, or
    # to every embedding when only their distances count.
    before = meta_loss(case.learner, case.episode)
    with torch.no_grad():
        for p in silent.values():
            p.add_(torch.randn_like(p))
    close(meta_loss(case.learner, case.episode), before)


@every
def test_the_gradient_is_that_of_central_differences(case):
    """Along one random direction, to 1e-5. The step is 1e-8 because the inner gradient of a ReLU network jumps at its
    kinks, and longer steps cross some. Learners that say ``first_order`` differ."""
    parameters = list(case.learner.parameters())
    if not parameters or case.learner.first_order:
        pytest.skip("no meta-parameters, or a gradient that leaves terms out on purpose")
    generator = torch.Generator().manual_seed(2)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device) for p in parameters]
    grads = torch.autograd.grad(meta_loss(case.learner, case.episode), parameters, materialize_grads=True)
    slope = sum((g * d).sum() for g, d in zip(grads, direction, strict=True))
    ends, step = [], 1e-8
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(sign * step * d)
        ends.append(meta_loss(case.learner, case.episode).detach())
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.sub_(sign * step * d)
    close((ends[0] - ends[1]) / (2 * step), slope, tolerance=1e-5)


@every
def test_adapting_twice_gives_the_same_and_writes_nothing(case):
    before = {k: v.clone() for k, v in case.learner.state_dict().items()}
    attributes = dict(vars(case.learner))
    once, twice = case.learner.adapt(case.episode.support), case.learner.adapt(case.episode.support)
    assert all(torch.equal(a, b) for a, b in zip(tree_leaves(once), tree_leaves(twice), strict=True))
    case.learner.predict(once, case.episode.query.x)
    assert all(torch.equal(v, before[k]) for k, v in case.learner.state_dict().items())
    assert dict(vars(case.learner)) == attributes


@every
def test_the_state_is_a_value_with_the_tasks_leading(case):
    """Task 1's part of the state, alone, predicts what it predicts in the batch; a state serves many query sets."""
    with torch.no_grad():
        state = case.learner.adapt(case.episode.support)
        leaves = tree_leaves(state)
        assert leaves and all(leaf.shape[0] == B for leaf in leaves)
        part = case.learner.predict(tree_map(lambda leaf: leaf[1:2], state), case.episode.query.x[1:2])
    close(case.values(part), case.outputs(case.episode)[1:2])


@every
def test_no_grad_changes_no_prediction_and_leaves_no_graph(case):
    with torch.no_grad():
        state = case.learner.adapt(case.episode.support)
    assert not any(leaf.requires_grad for leaf in tree_leaves(state))
    prediction = case.learner(case.episode)
    close(case.values(prediction).detach(), case.outputs(case.episode))


@every
def test_one_query_and_one_support_example_a_class_are_enough(case):
    support, query = case.episode
    first = slice(0, None, SHOTS)
    small = Episode(Examples(support.x[:, first], support.y[:, first]), Examples(query.x[:, :1], query.y[:, :1]))
    assert case.outputs(small).shape[:2] == (B, 1)
    assert torch.isfinite(case.outputs(small)).all() and torch.isfinite(meta_loss(case.learner, small))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_device_follow_the_input(case, dtype):
    learner, episode = case.learner.to(dtype), case.episode.to(dtype=dtype)
    out = case.outputs(episode, learner)
    assert out.dtype == dtype and out.device == episode.query.x.device
    kept = {dtype, torch.float64} if learner.precise else {dtype}
    assert kept.issuperset(leaf.dtype for leaf in tree_leaves(learner.adapt(episode.support)))


@every
def test_saved_and_loaded_it_predicts_the_same(case, tmp_path):
    other = load(case.build(seed=1), save(case.learner, tmp_path / "weights.pt"))
    assert torch.equal(case.outputs(case.episode, other), case.outputs(case.episode))


@every
def test_the_same_seed_gives_the_same_curve(case):
    if not list(case.learner.parameters()):
        pytest.skip("no meta-parameters")

    class Fixed:
        likelihood, x_shape = case.likelihood, case.shape

        def sample(self, n, generator):
            seed = int(torch.randint(0, 1000, (), generator=generator, device=generator.device))
            return case.draw(n, seed)

    options = {"steps": 3, "batch": 2, "device": case.device, "progress": "none"}
    curves = [train(case.build(seed=4), Fixed(), **options).losses for _ in range(2)]
    assert curves[0] == curves[1] and len(set(curves[0])) > 1


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_docstring_says_where_it_comes_from(name):
    system = SYSTEMS[name]
    learner = Case(name, system.kinds[0], "number" if system.dims == 1 else "vector", "cpu").learner
    text = type(learner).__doc__
    for needed in ("State:", "Chapter:"):
        assert needed in text, needed
    assert len(text.strip().splitlines()[0]) < 120
