"""What flows through a learner, written down while it runs: what each part was given, by whom, and what it returned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._pytree import tree_leaves

from metabook.episode import Episode
from metabook.learner import MetaLearner


class Call(NamedTuple):
    """One call of a part of a learner."""

    part: str  #: its name, as in ``named_modules``, with ".METHOD" for another method than forward
    number: int  #: how often the part had been called before
    inputs: tuple[tuple[str, tuple[int, ...]], ...]  #: of each tensor it was given: who made it, and its shape
    outputs: tuple[tuple[int, ...], ...]  #: shapes of what it returned

    def __str__(self) -> str:
        given = ", ".join(f"{list(shape)} from {source}" for source, shape in self.inputs)
        return f"{self.part}: {given} -> {', '.join(str(list(shape)) for shape in self.outputs)}"


def record_flow(
    learner: MetaLearner, episode: Episode, parts: Sequence[str], methods: Sequence[tuple[type[nn.Module], str]] = ()
) -> list[Call]:
    """The calls of ``parts`` while ``learner`` adapts to the support set of ``episode`` and predicts its queries.

    parts: names of modules of the learner. methods: other methods to write down, of any part of that class.

    A tensor is recognised by its memory, so views and detached copies are the same tensor. Its maker is an earlier call
    ("PART" or, of the second call and later ones, "PART 2"), an input ("support x", ...), or "other steps" in between.

    Raises ValueError for a part that the learner does not have.
    """
    modules = dict(learner.named_modules())
    for part in parts:
        if part not in modules:
            raise ValueError(f"parts: {part!r} given; the learner has {', '.join(filter(None, modules))}")
    names = {module: name for name, module in reversed(modules.items()) if name in parts}
    kept: list[Any] = [episode]  # what is freed could leave its place in memory to another tensor
    makers: dict[int, str] = {}
    calls: list[Call] = []
    for role, examples in zip(("support", "query"), episode, strict=True):
        makers |= {_place(examples.x): f"{role} x", _place(examples.y): f"{role} y"}

    def note(part: str, given: Any, made: Any) -> None:
        kept.append((given, made))
        number = sum(call.part == part for call in calls)
        inputs = tuple((makers.get(_place(t), "other steps"), tuple(t.shape)) for t in _tensors(given))
        calls.append(Call(part, number, inputs, tuple(tuple(t.shape) for t in _tensors(made))))
        makers.update({_place(t): part if number == 0 else f"{part} {number + 1}" for t in _tensors(made)})

    def hook(module: nn.Module, given: Any, made: Any) -> None:
        if module in names:
            note(names[module], given, made)

    def method_called(module: nn.Module, method: str, given: Any, made: Any) -> None:
        note(f"{next(name for name, other in modules.items() if other is module)}.{method}", given, made)

    handle = register_module_forward_hook(hook)
    try:
        with _watched(methods, method_called), torch.no_grad():
            learner.predict(learner.adapt(episode.support), episode.query.x)
    finally:
        handle.remove()
    return calls


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
