"""int8 against float, output by output and layer by layer: a table and a picture."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from respect_tf.report._colours import stage_colour
from respect_tf.report._figure import finish, new_axes
from respect_tf.report._text import table
from respect_tf.tflite import Accuracy, LayerError, OutputAccuracy

_MOST_LAYERS = 40  # rows of the table; those that add most to the error


@dataclass(frozen=True)
class FloatComparison:
    """What `respect_tf.compare` found. `str(comparison)` is a table.

    Attributes:
        name: The model's name.
        accuracy: All figures.
    """

    name: str
    accuracy: Accuracy

    @property
    def num_samples(self) -> int:
        """Samples compared."""
        return self.accuracy.num_samples

    @property
    def outputs(self) -> tuple[OutputAccuracy, ...]:
        """Relative error and agreement of the largest class, per output."""
        return self.accuracy.outputs

    @property
    def layers(self) -> tuple[LayerError, ...]:
        """Relative error of every tensor that both models have, in the order of the ops."""
        return self.accuracy.layers

    @property
    def is_good(self) -> bool:
        """Whether every output is within 20 % and agrees on 90 % of the largest classes."""
        return self.accuracy.is_good

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain dicts, lists and numbers."""
        return {"name": self.name, "is_good": self.is_good, **asdict(self.accuracy)}

    def __str__(self) -> str:
        outputs = [
            [o.name, f"{o.relative_error:.2%}", "" if o.agreement is None else f"{o.agreement:.0%}"]
            for o in self.outputs
        ]
        shown = sorted(self.layers, key=lambda layer: -layer.added_error)[:_MOST_LAYERS]
        shown.sort(key=lambda layer: layer.op_index)
        layers = [
            [
                layer.layer or layer.tensor,
                layer.op_index,
                layer.op_type,
                f"{layer.relative_error:.2%}",
                f"{layer.added_error:+.2%}",
            ]
            for layer in shown
        ]
        title = f"{self.name}: int8 against float on {self.num_samples} samples"
        left_out = len(self.layers) - len(shown)
        below = f"layers{f', without {left_out} that add less' if left_out else ''}"
        return "\n\n".join(
            [
                f"{title}\n" + table(["output", "error", "same class"], outputs),
                f"{below}\n" + table(["layer", "op", "type", "error", "added"], layers),
            ]
        )

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"

    def plot(self, *, ax: Any = None, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the error of each layer in the order of the ops; jumps are named.

        Args:
            ax: matplotlib axes to draw into; a new figure if left out.
            path: A file to write (.png, .svg, .pdf).

        Returns:
            The `matplotlib.figure.Figure`.

        Raises:
            DependencyError: matplotlib is not installed.
        """
        if ax is None:
            ax = new_axes(9.0, 3.6)
        places = [layer.op_index for layer in self.layers]
        errors = [100 * layer.relative_error for layer in self.layers]
        ax.plot(places, errors, color=stage_colour(0), linewidth=1.2, marker=".", markersize=3)
        for layer in self.accuracy.jumps[:8]:
            ax.annotate(
                layer.layer or layer.op_type,
                (layer.op_index, 100 * layer.relative_error),
                fontsize=7, rotation=30, xytext=(2, 4), textcoords="offset points",
            )  # fmt: skip
        ax.axhline(20, color="black", linestyle="--", linewidth=0.8)
        ax.set(xlabel="op", ylabel="error of int8 (%)", ylim=(0, None))
        ax.set_title(self.name, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
        return finish(ax, path)
