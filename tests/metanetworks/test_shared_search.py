"""One architecture for all tasks, and weights that are not written: by hand, the limits, and what the search finds."""

import copy

import pytest
import torch

from metabook.episode import Episode, Examples
from metabook.evaluation import evaluate
from metabook.likelihood import Classification, Regression
from metabook.metanetworks import MetaNetworks
from metabook.nn import CellNet, ClassEncoder, NetworkGenerator, PairEncoder, Pixels, WeightGenerator
from metabook.nn.architecture import Architecture
from metabook.nn.weight_generator import NothingWritten
from metabook.registry import build
from metabook.tasks import FunctionMixture
from metabook.tasks.function_mixture import FAMILIES, UNIT
from metabook.training import train

Z, OPERATIONS, WAYS = 4, ("sine", "square", "identity"), ("decoupled", "straight-through", "soft")


def learner_of(kind=Regression, *, shared=True, written=True, nodes=1, operations=OPERATIONS, **options):
    torch.manual_seed(0)
    likelihood = kind(2)
    net = CellNet((2,), 2, operations=operations, nodes=nodes, width=3)
    encoder = (ClassEncoder if kind is Classification else PairEncoder)(Pixels(), 2, likelihood, hidden=6, code=2 * Z)
    head = "head." if kind is Classification else None
    parts = {"operations": len(operations), "parts": 2, "hidden": 6, "heads": 2, "chunk": 4}
    writer = WeightGenerator(net, Z, head=head, edges=net.edge_names(), **parts) if written else NothingWritten()
    chooser = NetworkGenerator(net, Z, hidden=5, shared=shared)
    return MetaNetworks(net, encoder, chooser, writer, likelihood, inner_lr=0.05, kl_weight=0.0, **options).double()


def draw(kind=Regression, tasks=3):
    generator = torch.Generator().manual_seed(0)

    def part(n):
        x = torch.randn(tasks, n, 2, generator=generator, dtype=torch.float64)
        y = torch.randn(tasks, n, 2, generator=generator, dtype=torch.float64)
        return Examples(x, torch.arange(n).expand(tasks, -1) % 2 if kind is Classification else y)

    return Episode(part(4), part(5))


def value_and_gradient(loss, parameters):
    return [loss.detach(), *torch.autograd.grad(loss, list(parameters), materialize_grads=True)]


def close(ours, theirs, tolerance=1e-12):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_a_shared_belief_by_hand():
    """Weight and bias log 3 / 2 make a logit of log 3 beside 0: three quarters and a quarter; a half each for the edges
    into node 2, whatever the code. At temperature 1/2 the logits count twice: 9 to 1."""
    net = CellNet((1,), 1, operations=("sine", "square"), nodes=2, width=1)
    for temperature, first in ((1.0, 0.75), (0.5, 0.9)):
        chooser = NetworkGenerator(net, Z, temperature=temperature, shared=True).double()
        with torch.no_grad():
            for p in (chooser.logits.weight[:, 0], chooser.logits.bias):
                p[:6:2] = torch.tensor(3.0).log() / 2
        for code in (torch.randn(4, Z).double(), torch.randn(4, 3, Z).double()):
            belief = chooser(code)
            operations, inputs = torch.tensor([first, 1 - first]), torch.tensor([1.0, 0.5, 0.5])
            close(belief, [operations.expand(4, 3, 2).double(), inputs.expand(4, 3).double()], 1e-7)
    assert {name for name, _ in chooser.named_parameters()} == {"logits.weight", "logits.bias"}


def test_a_shared_choice_is_judged_by_the_mean_over_tasks():
    """All weights 1, no bias: at x = 2 the identity says 2 and the square 4. Two tasks ask for 2 and for 3, so the
    losses are 0, 4 and 1, 1, their means 0.5 and 2.5. At sharpness 1 the identity is responsible by 2.51 to 0.51.
    The gradient in its logit is p - r = 1/2 - 2.51/3.02; a vote of the tasks would give 1/2 - (4.01/4.02 + 1/2)/2."""
    net = CellNet((1,), 1, operations=("identity", "square"), width=1)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.fill_(float(name.endswith("weight")))
    encoder, chooser = PairEncoder(Pixels(), 1, Regression(1), code=2 * Z), NetworkGenerator(net, Z, shared=True)
    options = {"kl_weight": 0.0, "sharpness": 1.0}
    learner = MetaNetworks(net, encoder, chooser, NothingWritten(), Regression(1), **options).double()
    x, y = torch.full((2, 1, 1), 2.0).double(), torch.tensor([2.0, 3.0]).double().view(2, 1, 1)
    learner.meta_loss(Episode(Examples(x, y), Examples(x, y))).backward()
    pull = 0.5 - 2.51 / 3.02
    close([chooser.logits.bias.grad], [torch.tensor([pull, -pull, 0.0]).double()], 1e-7)


def test_alike_draws_are_one_draw_for_all_tasks():
    torch.manual_seed(0)
    belief = Architecture(torch.full((3, 3, 4), 0.25), torch.tensor([1.0, 0.5, 0.5]).expand(3, 3))
    for each in belief.draw(5, alike=True):
        of_tasks = each.unflatten(0, (3, 5))
        assert torch.equal(of_tasks, of_tasks[:1].expand_as(of_tasks))
        assert each.shape[1] == 3 and torch.equal(each, each.round())
    operations = belief.draw(5, alike=True).operations[:5]
    assert any(not torch.equal(operations[0], other) for other in operations[1:])


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Regression, Classification])
def test_a_shared_one_hot_belief_is_the_fixed_cell(kind, way, steps, nodes):
    """A cell that has the chosen operation alone, with the same weights: predictions, and weights after the steps."""
    fixed = learner_of(kind, nodes=nodes, operations=("square",), written=False, inner_steps=steps)
    fixed.chooser.fix(0)
    shared = learner_of(kind, nodes=nodes, choose=way, written=False, inner_steps=steps)
    shared.net.load_state_dict({**shared.net.state_dict(), **dict(fixed.net.named_parameters())})
    shared.chooser.fix(1)
    episode = draw(kind)
    close(shared.adapt(episode.support).weights.values(), fixed.adapt(episode.support).weights.values())
    ours, theirs = (m(episode) for m in (shared, fixed))
    close(
        [ours.logits if kind is Classification else ours.mean],
        [theirs.logits if kind is Classification else theirs.mean],
    )


@pytest.mark.parametrize("way", WAYS)
def test_all_tasks_have_the_same_architecture_only_if_it_is_shared(way):
    """Whatever the support sets, wherever training has moved the parameters."""
    for shared in (True, False):
        learner, episode = learner_of(shared=shared, choose=way), draw(tasks=8)
        with torch.no_grad():
            for p in learner.chooser.parameters():
                p.add_(torch.randn_like(p))
        belief = learner.adapt(episode.support).belief.operations
        assert torch.equal(belief, belief[:1].expand_as(belief)) == shared


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize(("unit", "task"), [("square", FunctionMixture(families=2)), ("sine", FunctionMixture())])
def test_unwritten_weights_with_one_operation_are_maml_over_the_cell(unit, task, first_order):
    """As both are built by name: the same first weights, loss, meta-gradient and adapted weights."""
    options = {"inner_steps": 3, "first_order": first_order, "clip": 10.0, "inner_lr": 0.02}
    ours = build("metanetworks", task, seed=3, operations=unit, written=False, choose="straight-through", **options)
    maml = build("maml", task, seed=3, units=unit, **options)
    assert not list(ours.writer.parameters())
    ours, maml = ours.double(), maml.double()
    episode = Episode(*(Examples(*(t.double() for t in p)) for p in task.sample(6, torch.Generator().manual_seed(0))))
    ours.kl_weight = 0.0
    losses = ours.meta_loss(episode), maml.meta_loss(episode)
    close(value_and_gradient(losses[0], ours.net.parameters()), value_and_gradient(losses[1], maml.net.parameters()))
    close(ours.adapt(episode.support).weights.values(), maml.adapt(episode.support).values())


@pytest.mark.parametrize("way", WAYS)
def test_unwritten_weights_and_a_fixed_choice_among_many_are_maml_over_the_discrete_cell(way):
    """The belief is all but certain, so that what is compared counts for nothing: the loss is that of the choice."""
    options = {"inner_steps": 2, "exploration": 0.0}
    ours = learner_of(written=False, choose=way, first_order=False, **options)
    ours.chooser.fix(2)
    alone = learner_of(written=False, operations=("identity",), choose="straight-through", inner_steps=2)
    alone.net.load_state_dict({**alone.net.state_dict(), **dict(ours.net.named_parameters())})
    episode = draw()
    a = value_and_gradient(ours.meta_loss(episode), ours.net.parameters())
    b = value_and_gradient(alone.meta_loss(episode), alone.net.parameters())
    close(a[1:], b[1:])  # the loss of "decoupled" has the cross-entropy too


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="code: 0 given"):
        NetworkGenerator(CellNet((1,), 1), 0, shared=True)
    with pytest.raises(ValueError, match="temperature: 0 given"):
        NetworkGenerator(CellNet((1,), 1), 3, temperature=0, shared=True)
    with pytest.raises(ValueError, match="share: not an option of metanetworks"):
        build("metanetworks", FunctionMixture(), share=True)


class Only(FunctionMixture):
    """Tasks of a single family of the mixture."""

    def __init__(self, family):
        super().__init__()
        self.family = family

    def parameters(self, n, generator):
        many = super().parameters(20 * n + 200, generator)
        mine = (many.family == self.family).nonzero().squeeze(1)[:n]
        assert len(mine) == n
        return type(many)(*(p[mine] for p in many))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "written"), [("linear", False), ("quadratic", False), ("quadratic", True)])
def test_on_tasks_of_one_family_the_search_finds_its_operation(family, written):
    """Among three operations, of which one can be the family exactly with two units or fewer. At first they are equal,
    and the first counts. With another choice, and the weights that were trained for it, predictions are worse."""
    tasks, names = Only(FAMILIES.index(family)), ["step", "identity", "square"]
    options = {"operations": ",".join(names), "written": written, "inner_steps": 0 if written else 2}
    learner = build("metanetworks", tasks, seed=0, shared=True, **options)
    budget = {"steps": 250, "batch": 16, "lr": 0.02, "optimizer": "muon", "schedule": "cosine"}
    train(learner, tasks, **budget, device="cpu", progress="none")
    with torch.no_grad():
        belief = learner.chooser(torch.zeros(1, 32)).operations[0, 0]
    found = names[int(belief.argmax())]
    fixed = {name: copy_with(learner, i) for i, name in enumerate(names)}
    mse = {name: evaluate(each, tasks, episodes=200, device="cpu")["mse"].mean for name, each in fixed.items()}
    assert found == UNIT[tasks.family] == min(mse, key=mse.get)


def copy_with(learner, operation):
    fixed = copy.deepcopy(learner)
    fixed.chooser.fix(operation)
    return fixed
