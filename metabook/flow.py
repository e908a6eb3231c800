"""What flows through a learner, written down while it runs: what each part was given, by whom, and what it returned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner


class Given(NamedTuple):
    """A tensor that a part was given."""

    sources: tuple[str, ...]  #: who made it, or of what other steps made it; empty where weights alone made it
    shape: tuple[int, ...]
    direct: bool  #: False if other steps lie between the sources and this tensor

    def __str__(self) -> str:
        source = " and ".join(self.sources) or "weights"
        return f"{list(self.shape)} {'from' if self.direct else 'made of'} {source}"


class Call(NamedTuple):
    """One call of a part of a learner."""

    part: str  #: its name, as in ``named_modules``, with ".METHOD" for another method than forward
    number: int  #: how often the part had been called before
    phase: str  #: "adapt" or "predict"
    inputs: tuple[Given, ...]  #: tensors it was given, and those put in the place of its weights for this call
    outputs: tuple[tuple[int, ...], ...]  #: shapes of what it returned

    @property
    def name(self) -> str:
        """What later calls name as their source: "PART", or "PART 2" for the second call."""
        return self.part if self.number == 0 else f"{self.part} {self.number + 1}"

    def __str__(self) -> str:
        given = ", ".join(str(tensor) for tensor in self.inputs)
        return f"{self.part}: {given} -> {', '.join(str(list(shape)) for shape in self.outputs)}"


def record_flow(
    learner: MetaLearner, episode: Episode, parts: Sequence[str], methods: Sequence[tuple[type[nn.Module], str]] = ()
) -> list[Call]:
    """The calls of ``parts`` while ``learner`` adapts to the support set of ``episode`` and predicts its queries.

    parts: names of modules of the learner. methods: other methods to write down, of any part of that class.

    A tensor is recognised by its memory, so views and detached copies are the same tensor. Its sources are earlier
    calls (``Call.name``) or inputs ("support x", ...). What other steps make of tensors has the sources of all of them.
    Parts inside ``torch.func.vmap`` are out of reach.

    Raises ValueError for a part that the learner does not have.
    """
    modules = dict(learner.named_modules())
    for part in parts:
        if part not in modules:
            raise ValueError(f"parts: {part!r} given; the learner has {', '.join(filter(None, modules))}")
    names = {module: name for name, module in reversed(modules.items()) if name in parts}
    episode = Episode(*(Examples(*(t.clone() for t in part)) for part in episode))  # each in memory of its own
    kept: list[Any] = [episode]  # what is freed could leave its place in memory to another tensor
    origins = _Origins()
    for role, examples in zip(("support", "query"), episode, strict=True):
        origins.made([examples.x], f"{role} x")
        origins.made([examples.y], f"{role} y")
    calls: list[Call] = []
    phase = "adapt"

    def note(part: str, given: Any, swapped: Sequence[Tensor], made: Any) -> None:
        kept.append((given, swapped, made))
        number = sum(call.part == part for call in calls)
        weights = [found for found in map(origins.of, swapped) if found.sources]
        inputs = (*map(origins.of, _tensors(given)), *weights)
        calls.append(Call(part, number, phase, inputs, tuple(tuple(t.shape) for t in _tensors(made))))
        origins.made(_tensors(made), calls[-1].name)

    def hook(module: nn.Module, given: Any, made: Any) -> None:
        if module in names:
            note(names[module], given, [*module.parameters(), *module.buffers()], made)

    def method_called(module: nn.Module, method: str, given: Any, made: Any) -> None:
        note(f"{next(name for name, other in modules.items() if other is module)}.{method}", given, (), made)

    handle = register_module_forward_hook(hook)
    try:
        with _watched(methods, method_called), torch.no_grad(), origins:
            state = learner.adapt(episode.support)
            phase = "predict"
            learner.predict(state, episode.query.x)
    finally:
        handle.remove()
    return calls


class _Origins(TorchDispatchMode):
    """While it is on, every result of an operation has the sources of what the operation was given."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: dict[int, dict[str, None]] = {}  # by place in memory; a dict without values is an ordered set
        self.whole: set[int] = set()  # places of what a source made itself

    def made(self, tensors: Sequence[Tensor], name: str) -> None:
        for place in map(_place, tensors):
            self.sources[place] = {name: None}
            self.whole.add(place)

    def of(self, tensor: Tensor) -> Given:
        place = _place(tensor)
        return Given(tuple(self.sources.get(place, ())), tuple(tensor.shape), place in self.whole)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [_place(t) for t in _tensors((args, kwargs))]
        result = func(*args, **(kwargs or {}))
        for place in map(_place, _tensors(result)):
            if place not in given or func._schema.is_mutable:  # else a view
                self.whole.discard(place)
                self.sources[place] = {name: None for other in given for name in self.sources.get(other, ())}
        return result


@contextmanager
def _watched(methods: Sequence[tuple[type[nn.Module], str]], note: Any) -> Iterator[None]:
    """While it lasts, every call of the methods is handed to ``note``: module, method, arguments, result."""
    originals = [(owner, name, getattr(owner, name)) for owner, name in methods]
    for owner, name, method in originals:

        @wraps(method)
        def watched(module: nn.Module, *args: Any, _do: Any = method, _name: str = name, **options: Any) -> Any:
            made = _do(module, *args, **options)
            note(module, _name, args, made)
            return made

        setattr(owner, name, watched)
    try:
        yield
    finally:
        for owner, name, method in originals:
            setattr(owner, name, method)


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
