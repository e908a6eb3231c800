"""Showing how a long run goes: a bar at a terminal, a few lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm.std import tqdm

from metabook.checks import check_choice

STYLES = ("bar", "lines", "none")
LINES = 10


class Progress:
    """Progress of ``steps`` training steps, begun at step ``first``; style "bar", "lines" or "none" (None: chosen).

    The bar is for terminals and for live Colab; lines, one a tenth of the run, for logs and stored notebooks.
    """

    def __init__(self, steps: int, first: int = 0, style: str | None = None) -> None:
        if style is None:
            style = "bar" if sys.stderr.isatty() or "google.colab" in sys.modules else "lines"
        self.style = check_choice("progress", style, STYLES)
        self.steps, self.shown, self.began = steps, first, time.perf_counter()
        self.every = max(1, steps // (LINES if style == "lines" else 200))
        self.bar = tqdm(total=steps, initial=first, unit="step", leave=True) if style == "bar" else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def due(self, step: int) -> bool:
        """True at the steps that should be shown; the loss is read from the device only then."""
        return step % self.every == 0 or step == self.steps

    def show(self, step: int, loss: float) -> None:
        """Show the loss of ``step`` (and, on a bar, the rate)."""
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            self.bar.update(step - self.shown)
        elif self.style == "lines":
            print(f"step {step:>6} of {self.steps}  loss {loss:.4f}", flush=True)
        self.shown = step

    def note(self, step: int, scores: dict[str, float]) -> None:
        """Show validation scores."""
        text = f"step {step:>6} validation  " + "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        elif self.style == "lines":
            print(text, flush=True)
