"""matplotlib without its global state: no pyplot, no window, no figure that stays in memory."""

from __future__ import annotations

import functools
import io
import os
from pathlib import Path
from typing import Any

from respect_tf._errors import ArgumentError, DependencyError
from respect_tf._files import write_file

# The same picture gives the same bytes.
_SVG_SETTINGS: dict[str, Any] = {"svg.hashsalt": "respect_tf", "svg.fonttype": "none"}


def new_axes(width: float, height: float) -> Any:
    """The axes of a new figure, in inches. The figure shows itself in a notebook.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    return _figure_class()(figsize=(width, height), layout="constrained").add_subplot()


def finish(axes: Any, path: str | os.PathLike[str] | None) -> Any:
    """Save the figure of some axes, if asked to, and return it.

    Args:
        axes: The axes.
        path: A file to write; its suffix says in which format (.png, .svg, .pdf).

    Raises:
        ArgumentError: matplotlib knows no such format.
        SavedPipelineError: The file cannot be written.
    """
    if path is not None:
        import matplotlib as mpl

        target = Path(path)
        kind = target.suffix[1:].lower()
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        content = io.BytesIO()
        try:
            with mpl.rc_context(_SVG_SETTINGS):
                axes.figure.savefig(content, format=kind, dpi=110, metadata=dates.get(kind))
        except ValueError as error:
            raise ArgumentError(
                f"The picture cannot be written to '{os.fspath(path)}': {error}. Expected a path "
                "that ends in .png, .svg or .pdf."
            ) from error
        write_file(target, content.getvalue())
    return axes.figure


@functools.cache
def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DependencyError(
            f"Pictures need matplotlib, which cannot be imported ({error}). Install it: "
            "pip install 'respect-tf[plots]'."
        ) from error

    class SelfShowingFigure(Figure):
        """A figure that a notebook shows without pyplot."""

        def _repr_png_(self) -> bytes:
            content = io.BytesIO()
            self.savefig(content, format="png", dpi=110)
            return content.getvalue()

    return SelfShowingFigure
