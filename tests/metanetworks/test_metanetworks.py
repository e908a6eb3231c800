"""MetaNetworks: by hand, against a slow reference, and the four systems that must appear when a part stands still."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import metabook
from metabook.episode import Episode, Examples
from metabook.inner_loop import descend, start
from metabook.likelihood import Classification, Regression
from metabook.mapping import run
from metabook.metanetworks import Hypernetwork, MetaNetworks, responsibilities
from metabook.nn import CellNet, ClassEncoder, NetworkGenerator, PairEncoder, Pixels, WeightGenerator
from metabook.nn.architecture import Architecture
from metabook.optimization import MAML

B, Z, LR = 3, 4, 0.05
OPERATIONS = ("sine", "square", "identity")  # smooth
WAYS = ("decoupled", "straight-through", "soft")


def build(kind=Regression, *, nodes=1, **options):
    torch.manual_seed(0)
    likelihood = kind(2)
    net = CellNet((2,), 2, operations=OPERATIONS, nodes=nodes, width=3)
    encoder = ClassEncoder if kind is Classification else PairEncoder
    head = "head." if kind is Classification else None
    return MetaNetworks(
        net,
        encoder(Pixels(), 2, likelihood, hidden=6, code=2 * Z),
        NetworkGenerator(net, Z, hidden=5),
        WeightGenerator(net, Z, head=head, edges=net.edge_names(), operations=3, parts=2, hidden=6, heads=2, chunk=4),
        likelihood,
        inner_lr=LR,
        **options,
    ).double()


def draw(kind=Regression, *, tasks=B, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        x = torch.randn(tasks, n, 2, generator=generator, dtype=torch.float64)
        if kind is Classification:
            return Examples(x, torch.arange(n).expand(tasks, -1) % 2)
        return Examples(x, torch.randn(tasks, n, 2, generator=generator, dtype=torch.float64))

    return Episode(part(4), part(5))


def meta_loss(learner, episode, seed=0):
    torch.manual_seed(seed)
    return learner.meta_loss(episode)


def value_and_gradient(loss, parameters):
    return [loss.detach(), *torch.autograd.grad(loss, parameters, materialize_grads=True)]


def close(ours, theirs, tolerance=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_responsibilities_by_hand():
    """Losses 0.09 and 0.19 are 0.1 and 0.2 with what is added: at sharpness 2 the second is 4 times less responsible,
    and with a cost of log 4 on the first they are equal."""
    fits = torch.tensor([[0.09, 0.19]], dtype=torch.float64)
    close([responsibilities(fits, 0.0, 2.0)], [torch.tensor([[0.8, 0.2]], dtype=torch.float64)])
    costs = torch.tensor([[4.0, 1.0]], dtype=torch.float64).log()
    close([responsibilities(fits, costs, 2.0)], [torch.tensor([[0.5, 0.5]], dtype=torch.float64)])


# The slow reference: a loop over tasks and over choices. It uses the parts, which have references of their own.


def weights_of(learner, code, a, support, steps, first_order=False):
    """Of one task, code [Z]; a: its weights of operations [1, O]."""
    written = learner.writer(code[None], a[None])
    phi = [p + written[name][0] for name, p in learner.net.named_parameters()]
    for _ in range(steps):
        loss = fit(phi, a, *support)
        grads = torch.autograd.grad(loss, phi, create_graph=not first_order, retain_graph=True)
        phi = [w - LR * g for w, g in zip(phi, grads, strict=True)]
    return phi


def fit(phi, a, x, y):
    w1, b1, w2, b2 = phi
    h = x @ w1.T + b1
    out = (a[0, 0] * torch.sin(h) + a[0, 1] * h * h + a[0, 2] * h) @ w2.T + b2
    return ((out - y) ** 2).sum() / len(y)


def reference(learner, episode, *, way, steps, first_order, beta, cost_weight, entropy_weight, epsilon=0.1, sharp=5.0):
    torch.manual_seed(0)
    noise = torch.randn(Z).double() if beta else torch.zeros(Z, dtype=torch.float64)
    cost, total = 2 * 3 + 3 * 2.0, 0.0
    for b in range(len(episode.support.x)):
        support, query = ([t[b] for t in part] for part in episode)
        mean, log_sd = learner.encoder(support[0][None], support[1][None])[0].split(Z)
        kl = ((2 * log_sd).exp() / 2 + mean**2 / 2 - 0.5 - log_sd).sum()
        code = mean + log_sd.exp() * noise
        h = F.relu(learner.chooser.hidden.weight @ code + learner.chooser.hidden.bias)
        logits = learner.chooser.logits.weight @ h + learner.chooser.logits.bias
        p = logits[:3].softmax(0)
        if way == "decoupled":
            losses = []
            for o in range(3):
                a = F.one_hot(torch.tensor(o), 3).double()[None]
                phi = weights_of(learner, code, a, support, steps, first_order)
                losses.append(fit(phi, a, *query))
            scores = torch.stack([(v.detach() + 0.01) ** -sharp for v in losses])
            for o in range(3):
                total = total + ((1 - epsilon) * p[o].detach() + epsilon / 3) * losses[o]
                total = total - scores[o] / scores.sum() * p[o].log()
        else:
            a = p
            if way == "straight-through":
                a = p - p.detach() + F.one_hot(p.argmax(), 3)
            phi = weights_of(learner, code, a[None], support, steps, first_order)
            total = total + fit(phi, a[None], *query) + cost_weight * cost * a.sum()
            # the head costs 6 whatever is chosen
            total = total - cost_weight * 6 * (a.sum() - 1) - entropy_weight * (p * p.log()).sum()
        total = total + beta * kl
    return total / len(episode.support.x)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("steps", "first_order"), [(0, False), (2, False), (2, True)])
def test_loss_and_gradient_are_those_of_the_slow_reference(way, steps, first_order):
    special = {"cost_weight": 0.01, "entropy_weight": 0.0 if way == "decoupled" else 0.3}
    learner = build(inner_steps=steps, first_order=first_order, choose=way, kl_weight=0.2, **special)
    episode = draw()
    loss = reference(learner, episode, way=way, steps=steps, first_order=first_order, beta=0.2, **special)
    theta = list(learner.parameters())
    close(value_and_gradient(meta_loss(learner, episode), theta), value_and_gradient(loss, theta))


class Loss(nn.Module):
    """The meta-loss as a forward pass, which functional_call can call at other parameters."""

    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return meta_loss(self.learner, self.episode)


@pytest.mark.parametrize("kind", [Regression, Classification])
def test_gradcheck_of_the_meta_loss(kind):
    """Of the mixture: the other ways stop gradients on purpose, and the slow reference has theirs."""
    loss = Loss(build(kind, choose="soft", inner_steps=2, entropy_weight=0.1), draw(kind, tasks=2))
    names, parameters = zip(*loss.named_parameters(), strict=True)

    def at(*values):
        return torch.func.functional_call(loss, dict(zip(names, values, strict=True)), ())

    assert torch.autograd.gradcheck(at, parameters, fast_mode=True)


def with_choice(net, operation):
    """The cell network with one choice for good."""
    fixed = copy.deepcopy(net)
    fixed.operations.zero_()[:, operation] = 1
    fixed.inputs.copy_(NetworkGenerator(net, 1).fix(operation)(torch.zeros(1, 1)).inputs[0])
    return fixed


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("kind", [Regression, Classification])
def test_constant_architecture_and_constant_weights_are_maml(kind, first_order, nodes):
    """Loss, adapted weights and meta-gradient, exactly."""
    options = {"inner_steps": 3, "first_order": first_order}
    learner = build(kind, nodes=nodes, choose="straight-through", kl_weight=0.0, **options)
    learner.writer.silence()
    learner.chooser.fix(1)
    maml = MAML(with_choice(learner.net, 1), kind(2), inner_lr=LR, **options)
    episode = draw(kind)
    ours = value_and_gradient(learner.meta_loss(episode), list(learner.net.parameters()))
    close(ours, value_and_gradient(maml.meta_loss(episode), list(maml.net.parameters())), 0)
    close(learner.adapt(episode.support).weights.values(), maml.adapt(episode.support).values(), 0)


class Writer(nn.Module):
    """The generator of weights for one architecture, which the codes do not change; it reads the mean of a belief."""

    def __init__(self, writer, choice):
        super().__init__()
        self.writer, self.choice = writer, choice

    def forward(self, code):
        a = self.choice.operations * self.choice.inputs.unsqueeze(2)
        return self.writer(code.chunk(2, -1)[0], a.expand(len(code), -1, -1))


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("kind", [Regression, Classification])
def test_a_constant_architecture_is_a_hypernetwork(kind, steps, nodes):
    """With the gradients of encoder, generator and theta, up to the order of sums in float64."""
    learner = build(kind, nodes=nodes, choose="straight-through", kl_weight=0.0, inner_steps=steps)
    learner.chooser.fix(2)
    choice = learner.chooser(torch.zeros(1, Z, dtype=torch.float64)).discrete()
    writer = Writer(learner.writer, choice)
    hyper = Hypernetwork(with_choice(learner.net, 2), learner.encoder, writer, kind(2), inner_lr=LR, inner_steps=steps)
    episode = draw(kind)
    parts = [list(m.parameters()) for m in (learner.encoder, learner.writer)]
    shared = [p for part in parts for p in part]
    ours = value_and_gradient(learner.meta_loss(episode), [*learner.net.parameters(), *shared])
    close(ours, value_and_gradient(hyper.meta_loss(episode), [*hyper.net.parameters(), *shared]), 1e-14)


@pytest.mark.parametrize("way", WAYS)
def test_constant_weights_are_a_search_of_architectures_for_each_task(way):
    """All tasks start from theta; what differs is the choice alone. Against plain gradient steps on theta."""
    learner = build(choose=way, inner_steps=2)
    learner.writer.silence()
    episode = draw(tasks=8)
    with torch.no_grad():  # so that the tasks choose differently
        h = learner.chooser.hidden(learner.believe(episode.support).mean).clamp(min=0)
        learner.chooser.logits.bias.copy_(-learner.chooser.logits.weight @ h.mean(0))
    state = learner.adapt(episode.support)

    def losses(phi):
        outputs = run(learner.net, episode.support.x, {**phi, **state.choice._asdict()})
        return learner.likelihood.loss(outputs, episode.support.y)

    nas = descend(losses, start(learner.net, 8), lr=LR, steps=2)
    close(state.weights.values(), nas.values(), 0)
    if way != "soft":
        assert len(state.choice.operations.argmax(2).unique()) > 1
        assert torch.equal(state.choice.operations.sum(2), torch.ones(8, 1, dtype=torch.float64))


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_one_hot_choice_is_the_discrete_network(nodes):
    """The network read off for a task, alone, predicts what the learner predicts; so do its steps."""
    learner, episode = build(nodes=nodes, inner_steps=2), draw()
    state = learner.adapt(episode.support)
    unadapted = build(nodes=nodes, inner_steps=0).adapt(episode.support).weights
    for b in range(B):
        net = learner.net.read_off(state.choice, b)
        names = dict(net.named_parameters())
        phi = {name: unadapted[name][b : b + 1].requires_grad_() for name in names}
        one = episode.task(b)
        phi = descend(
            lambda p, net=net, one=one: learner.likelihood.loss(run(net, one.support.x, p), one.support.y),
            phi, lr=LR, steps=2,
        )  # fmt: skip
        close(phi.values(), [state.weights[name][b : b + 1] for name in names])
        close([run(net, one.query.x, phi)], [learner(episode).mean[b : b + 1]])


def test_the_mixture_is_another_network_than_its_most_probable_choice():
    """The pitfall: what was trained as a mixture is not what is left when it is made discrete."""
    learner, episode = build(choose="soft"), draw()
    state = learner.adapt(episode.support)
    hard = state._replace(choice=state.belief.discrete())
    difference = learner.predict(state, episode.query.x).mean - learner.predict(hard, episode.query.x).mean
    assert difference.abs().max() > 0.05
    assert torch.equal(state.choice.operations, state.belief.operations)


def test_draws_estimate_the_mean_over_all_choices():
    """With two nodes: over 3^3 * 2 architectures the mean loss, weighted by their probability, is what draws give."""
    learner, episode = build(nodes=2, draws=200, kl_weight=0.0, exploration=0.3), draw(tasks=1)
    code = learner.believe(episode.support).mean
    explored = learner.chooser(code).explored(0.3)
    expected, square = 0.0, 0.0
    with torch.no_grad():
        for n in range(54):
            ops = torch.eye(3)[[n % 3, n // 3 % 3, n // 9 % 3]].double()[None]
            inputs = torch.tensor([[1.0, 1.0 - n // 27, n // 27]]).double()
            choice = Architecture(ops, inputs)
            weight, loss = explored.log_prob(choice).exp(), learner._fit(episode, code, choice)
            expected, square = expected + weight * loss, square + weight * loss**2
        torch.manual_seed(0)
        choices = explored.draw(2000)
        many = Episode(*(Examples(*(t.expand(2000, *t.shape[1:]) for t in part)) for part in episode))
        losses = learner._fit(many, code.expand(2000, -1), choices)
    error = (square - expected**2).sqrt() / 2000**0.5
    assert (losses.mean() - expected).abs().item() < 5 * error.item()
    learner.meta_loss(episode).backward()
    assert learner.chooser.logits.weight.grad.abs().max() > 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choose": "hard"}, "choose: 'hard' given; allowed are decoupled, straight-through, soft"),
        ({"kl_weight": -1.0}, "kl_weight: -1.0 given; a finite number of at least 0"),
        ({"sharpness": -1.0}, "sharpness: -1.0 given; a finite number of at least 0"),
        ({"exploration": 1.5}, "exploration: 1.5 given; 0 to 1 is allowed"),
        ({"draws": 0}, "draws: 0 given; at least 1"),
        ({"inner_steps": -1}, "inner_steps: -1 given; at least 0"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_the_registrys_price_of_a_code_is_for_regression_alone():
    """With a price for the code of each class nothing was learned of letters."""
    tasks = {name: metabook.make_tasks(name, queries=1) for name in ("function-mixture", "glyphs")}
    assert [metabook.build("metanetworks", t).kl_weight for t in tasks.values()] == [1e-3, 0.0]
    assert metabook.build("metanetworks", tasks["glyphs"], kl_weight=0.5).kl_weight == 0.5
