"""The training loop: one seed, the best weights, resume bit for bit, bounded memory, clear errors."""

import json
import math

import pytest
import torch

from metabook.checkpoint import load, save
from metabook.likelihood import Classification, Regression
from metabook.metric import ProtoNet
from metabook.muon import Muon
from metabook.nn import MLP, Pixels
from metabook.optimization import MAML
from metabook.schedule import rate_factor
from metabook.tasks.clusters import Clusters
from metabook.tasks.sinusoids import Sinusoids
from metabook.training import History, train

SINES = Sinusoids(shots=5, queries=5)


def learner(seed=0, **options):
    torch.manual_seed(seed)
    return MAML(MLP(1, 1, hidden=(8,)), Regression(), **options)


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def run(module, **options):
    return train(module, SINES, **{"steps": 12, "batch": 4, "progress": "none", "device": "cpu", **options})


def test_the_step_is_the_gradient_of_the_mean_meta_loss():
    """One SGD step of rate 0.1 moves theta by -0.1 times the gradient of meta_loss on the batch the seed fixes."""
    ours, reference = learner(), learner()
    run(ours, steps=1, optimizer=lambda p: torch.optim.SGD(p, lr=0.1), seed=3)
    batch = SINES.sample(4, torch.Generator().manual_seed(3))
    grads = torch.autograd.grad(reference.meta_loss(batch), list(reference.parameters()))
    expected = weights(reference) - 0.1 * torch.cat([g.flatten() for g in grads])
    torch.testing.assert_close(weights(ours), expected)


def test_the_cosine_schedule_by_hand():
    """19 steps: step t is the part (t + 1) / 20 of the run. The rate is half its height at 0.05, whole at 0.1, half
    again at 0.55 in the middle between 0.1 and 1, and (1 + cos(pi 17/18)) / 2 = 0.0076 at the last step, 0.95."""
    assert [rate_factor("cosine", t, 19) for t in (0, 1, 10, 18)] == pytest.approx([0.5, 1.0, 0.5, 0.00759612])
    assert rate_factor(None, 7, 19) == 1.0


def test_scheduled_steps_are_those_of_the_optimiser_at_that_rate():
    """SGD with rate 0.1, three steps by hand: each subtracts 0.1 times the factor times the gradient."""
    ours, reference = learner(), learner()
    run(ours, steps=3, optimizer=lambda p: torch.optim.SGD(p, lr=0.1), schedule="cosine", seed=3)
    generator = torch.Generator().manual_seed(3)
    for step in range(3):
        grads = torch.autograd.grad(reference.meta_loss(SINES.sample(4, generator)), list(reference.parameters()))
        with torch.no_grad():
            for p, g in zip(reference.parameters(), grads, strict=True):
                p -= 0.1 * rate_factor("cosine", step, 3) * g
    torch.testing.assert_close(weights(ours), weights(reference))


def test_a_scheduled_run_is_resumed_on_its_schedule(tmp_path):
    whole, part = learner(), learner()
    run(whole, schedule="cosine")

    class Stopping:
        likelihood, x_shape, score, drawn = SINES.likelihood, SINES.x_shape, SINES.score, 0

        def sample(self, n, generator):
            self.drawn += 1
            if self.drawn == 6:
                raise KeyboardInterrupt
            return SINES.sample(n, generator)

    options = {"steps": 12, "batch": 4, "progress": "none", "device": "cpu", "out": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        train(part, Stopping(), schedule="cosine", **options)
    with pytest.raises(ValueError, match="steps: 20 given; the run's cosine schedule is for 12"):
        train(part, SINES, resume=True, **{**options, "steps": 20})
    again = learner(seed=1)
    train(again, SINES, resume=True, **options)  # the schedule is taken from the run
    assert torch.equal(weights(again), weights(whole))


def test_optimisers_by_name():
    """Adam is what is used when nothing is said; muon is ``Muon`` at that rate; resumed bit for bit like any other."""
    plain, adam, muon, own = (learner() for _ in range(4))
    run(plain), run(adam, optimizer="adam"), run(muon, optimizer="muon", lr=0.02)
    run(own, optimizer=lambda p: Muon(p, lr=0.02))
    assert torch.equal(weights(plain), weights(adam)) and torch.equal(weights(muon), weights(own))
    assert not torch.allclose(weights(plain), weights(muon))
    with pytest.raises(ValueError, match="optimizer: 'sgd' given; allowed are adam, muon"):
        run(learner(), optimizer="sgd")


def test_an_unknown_schedule():
    with pytest.raises(ValueError, match="schedule: 'linear' given; allowed are cosine"):
        run(learner(), schedule="linear")


def test_one_seed_fixes_the_run_whatever_the_global_generator_did():
    a, b, c = learner(), learner(), learner()
    first = run(a, validation=SINES, validate_every=4)
    torch.manual_seed(99)
    second = run(b, validation=SINES, validate_every=4)
    third = run(c, seed=1)
    assert first.losses == second.losses and first.validation == second.validation
    assert torch.equal(weights(a), weights(b))
    assert first.losses != third.losses


def test_training_leaves_the_global_generator_alone():
    module = learner()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(module, validation=SINES)
    assert torch.equal(before, torch.get_rng_state())


def test_micro_batches_give_the_same_gradient():
    a, b = learner().double(), learner().double()

    class Doubled(Sinusoids):
        def sample(self, n, generator):
            return super().sample(n, generator).to(dtype=torch.float64)

    options = {"steps": 3, "batch": 5, "progress": "none", "device": "cpu"}
    one = train(a, Doubled(shots=5, queries=5), **options)
    two = train(b, Doubled(shots=5, queries=5), micro_batch=2, **options)
    assert one.losses == pytest.approx(two.losses, rel=1e-6)  # losses are kept in float32
    torch.testing.assert_close(weights(a), weights(b), rtol=1e-12, atol=1e-12)


def test_the_best_weights_on_validation_are_kept(tmp_path):
    """With a rate too large the last weights are worse than an earlier validation's, which must come back."""
    module = learner()
    history = run(
        module,
        steps=30,
        validation=SINES,
        validate_every=1,
        validation_episodes=20,
        out=tmp_path,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.35),
    )
    values = [v["mse"] for v in history.validation]
    assert values[-1] > min(values)
    assert history.best_step == 1 + values.index(min(values))
    from metabook.evaluation import evaluate

    again = evaluate(module, SINES, episodes=20, seed=1, device="cpu")
    assert again["mse"].mean == pytest.approx(min(values), rel=1e-6)
    other = load(learner(1), tmp_path / "checkpoint.pt")
    assert torch.equal(weights(other), weights(module))


class Stop(Exception):
    pass


class Interrupted(Sinusoids):
    """Sinusoids that raise on the n-th batch."""

    def __init__(self, stop, error):
        super().__init__(shots=5, queries=5)
        self.left, self.error = stop, error

    def sample(self, n, generator):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().sample(n, generator)


@pytest.mark.parametrize("stop", [0, 1, 4, 7, 11])
def test_resume_is_bit_for_bit_the_run_never_interrupted(tmp_path, stop):
    options = {
        "steps": 12, "batch": 4, "validation": SINES, "validate_every": 4, "validation_episodes": 8,
        "progress": "none", "device": "cpu",
    }  # fmt: skip
    whole, broken, resumed = learner(), learner(), learner(seed=7)
    expected = train(whole, SINES, out=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        train(broken, Interrupted(stop, KeyboardInterrupt()), out=tmp_path / "broken", **options)
    history = train(resumed, SINES, out=tmp_path / "broken", resume=True, **options)
    assert history.losses == expected.losses
    assert history.validation == expected.validation and history.best_step == expected.best_step
    assert torch.equal(weights(whole), weights(resumed))


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    """Any other exception leaves the last checkpoint, here that of the validation at step 4."""
    options = {"steps": 12, "batch": 4, "validation": SINES, "validate_every": 4, "progress": "none", "device": "cpu"}
    whole, broken, resumed = learner(), learner(), learner(seed=7)
    expected = train(whole, SINES, **options)
    with pytest.raises(Stop):
        train(broken, Interrupted(6, Stop()), out=tmp_path, **options)
    assert len(json.loads((tmp_path / "history.json").read_text())["losses"]) == 4
    assert train(resumed, SINES, out=tmp_path, resume=True, **options).losses == expected.losses
    assert torch.equal(weights(whole), weights(resumed))


def test_resume_may_train_longer(tmp_path):
    whole, part = learner(), learner()
    run(whole, steps=10)
    run(part, steps=6, out=tmp_path)
    history = run(part, steps=10, out=tmp_path, resume=True)
    assert len(history.losses) == 10
    assert torch.equal(weights(whole), weights(part))


def test_what_is_left_out_at_resume_is_the_runs_own(tmp_path):
    """The defaults of 20 steps would be 2 and 4; the run was made with 3 and 2, and stays so."""
    whole, part = learner(), learner()
    options = {"validation": SINES, "validation_episodes": 5}
    expected = run(whole, steps=20, micro_batch=2, validate_every=3, **options)
    run(part, steps=9, micro_batch=2, validate_every=3, out=tmp_path, **options)
    history = run(part, steps=20, out=tmp_path, resume=True, **options)
    assert history.validation == expected.validation and history.losses == expected.losses
    assert torch.equal(weights(whole), weights(part))


def test_resume_refuses_other_settings(tmp_path):
    run(learner(), out=tmp_path)
    with pytest.raises(ValueError, match="batch was 4, now 5"):
        run(learner(), batch=5, out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="already made 12"):
        run(learner(), steps=3, out=tmp_path, resume=True)
    with pytest.raises(FileExistsError, match="resume=True"):
        run(learner(), out=tmp_path)
    with pytest.raises(ValueError, match="without out"):
        run(learner(), resume=True)


def test_resume_refuses_a_file_with_weights_only(tmp_path):
    save(learner(), tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="no training run"):
        run(learner(), out=tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_the_run_and_writes_nothing(tmp_path):
    module = learner(inner_lr=1e20)
    with pytest.raises(FloatingPointError, match="lower lr"):
        run(module, steps=5, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match="no meta-parameters"):
        train(ProtoNet(Pixels(), Classification(5)), Clusters(way=5), steps=1)


def test_tasks_that_do_not_fit_the_learner_are_an_error():
    with pytest.raises(ValueError, match="3-way tasks allow 0 to 2"):
        train(ProtoNet(MLP(2, 4), Classification(3)), Clusters(way=5), steps=1, device="cpu")


def test_validation_tasks_that_do_not_fit_are_found_before_the_first_step(tmp_path):
    module = ProtoNet(MLP(2, 4), Classification(3))
    before = weights(module)
    with pytest.raises(ValueError, match="3-way tasks allow 0 to 2"):
        train(module, Clusters(way=3), steps=5, validation=Clusters(way=5), out=tmp_path, device="cpu")
    assert torch.equal(weights(module), before) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("steps", 0, ValueError),
        ("steps", 2.5, TypeError),
        ("batch", -1, ValueError),
        ("lr", 0.0, ValueError),
        ("lr", math.nan, ValueError),
        ("micro_batch", 0, ValueError),
        ("validate_every", 0, ValueError),
        ("seed", -1, ValueError),
        ("seed", "one", TypeError),
        ("device", "abacus", ValueError),
        ("progress", "loud", ValueError),
    ],
)
def test_bad_arguments_are_named(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: "):
        run(learner(), **{argument: value})


def test_progress_lines(capsys):
    run(learner(), steps=20, progress="lines", validation=SINES, validate_every=10)
    out = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("step") and "loss" in line for line in out) == 10
    assert sum("validation" in line for line in out) == 2


def test_progress_bar_goes_to_stderr(capsys):
    run(learner(), steps=20, progress="bar")
    captured = capsys.readouterr()
    assert captured.out == "" and "20/20" in captured.err and "loss=" in captured.err


def test_history_is_plain_data():
    history = run(learner(), validation=SINES)
    assert isinstance(history, History)
    again = json.loads(json.dumps(history.to_json()))
    assert len(again["losses"]) == 12 and again["best_step"] == history.best_step
    assert set(again["validation"][0]) == {"step", "mse", "nll"}
    assert again["seconds"] > 0
