"""Files of weights: arrays, the schema they belong to, and a card of where they come from."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import PolicyFileError
from respect_tf._npz import damaged, read_npz, write_npz
from respect_tf.graph import GRAPH_FEATURES, OP_FEATURES
from respect_tf.policy._forward import MOST_WEIGHT, WEIGHT_GRID, Network, layer_sizes

Arrays = dict[str, npt.NDArray[np.float32]]

SHIPPED = Path(__file__).with_name("weights.npz")
_VERSION = 3  # of the features and of what the network computes
_PURPOSE = "weights of the policy"
_ABOUT = "about"  # the one entry that is no array of weights: JSON


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a network.

    Attributes:
        arrays: float32, by the names of `respect_tf.training`'s `named_weights`.
        card: Data, seeds, commit and metrics, as far as whoever saved them said so.
        schema: TF-GNN's `GraphSchema` of the graphs that the network takes, in text form; empty if
            it was not given.
    """

    arrays: Arrays
    card: Mapping[str, Any]
    schema: str = ""

    @functools.cached_property
    def network(self) -> Network:
        """The arrays as the forward pass takes them.

        Raises:
            PolicyFileError: They are those of another network, or off the grid.
        """
        units, rounds, heads = _checked_size(self.arrays)
        wide = {}
        for name, array in rounded_weights(self.arrays).items():
            wide[name] = array.astype(np.float64)
            if not np.array_equal(array, self.arrays[name]):
                raise PolicyFileError(
                    f"The weights '{name}' are no multiples of {WEIGHT_GRID} up to {MOST_WEIGHT}, "
                    "so that results would differ from machine to machine. Expected what "
                    "respect_tf.training.train returns, or `rounded_weights` made of it."
                )
        kernel = np.ascontiguousarray(wide.pop("heads/kernel"))
        names = [layer for layer in layer_sizes(units, rounds, heads) if layer != "heads"]
        parts = [wide[f"{name}/{kind}"].ravel() for name in names for kind in ("kernel", "bias")]
        return Network(units, rounds, np.concatenate(parts), kernel)


def rounded_weights(arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Weights on the grid, as `Weights.network` wants them."""
    rounded = {}
    for name, array in arrays.items():
        steps = np.rint(np.asarray(array, np.float64) / WEIGHT_GRID)
        rounded[name] = np.clip(steps * WEIGHT_GRID, -MOST_WEIGHT, MOST_WEIGHT).astype(np.float32)
    return rounded


def _checked_size(arrays: Arrays) -> tuple[int, int, int]:
    """Units, rounds and heads of the network that the arrays are of."""
    shapes = {name: array.shape for name, array in arrays.items()}
    units = (*shapes.get("encode_op/bias", ()), 0)[0]
    heads = (*shapes.get("heads/kernel", ()), 0, 0)[1]
    rounds = 0
    while f"round_{rounds}_op_inner/kernel" in shapes:
        rounds += 1
    wanted: dict[str, tuple[int, ...]] = {}
    for layer, (inputs, outputs) in layer_sizes(units, rounds, heads).items():
        wanted[f"{layer}/kernel"] = (inputs, outputs)
        if layer != "heads":
            wanted[f"{layer}/bias"] = (outputs,)
    wrong = sorted(n for n in shapes | wanted if shapes.get(n) != wanted.get(n))
    if wrong or not units or not heads:
        raise PolicyFileError(
            f"The weights are of another network: {', '.join(wrong[:8])} should have the shapes "
            f"{[wanted.get(n) for n in wrong[:8]]}, and have {[shapes.get(n) for n in wrong[:8]]}. "
            "Expected what respect_tf.training.train returns, or the weights that respect_tf comes "
            "with."
        )
    return units, rounds, heads


def save_weights(path: str | os.PathLike[str], weights: Weights) -> None:
    """Write weights into one file. The same weights give the same bytes."""
    about = {
        "version": _VERSION,
        "op_features": OP_FEATURES,
        "graph_features": GRAPH_FEATURES,
        "schema": weights.schema,
        "card": weights.card,
        "sha256": _digest(weights.arrays),
    }
    text = np.array(json.dumps(about, sort_keys=True, indent=1))
    write_npz(Path(path), {_ABOUT: text, **weights.arrays})


def load_weights(path: str | os.PathLike[str] | None = None) -> Weights:
    """Read weights. Files are read once per process, unless they were written anew.

    Args:
        path: A file of `save_weights`; the one that the package comes with if left out.

    Raises:
        PolicyFileError: The file is missing or damaged, or of another version of the features.
    """
    found = Path(SHIPPED if path is None else path).resolve()
    try:
        status = found.stat()
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
    except OSError:
        stamp = None  # reading says what is wrong
    return _load(found, stamp)


@functools.lru_cache(maxsize=8)
def _load(path: Path, stamp: object) -> Weights:
    del stamp  # a file that was written anew is another one
    try:
        content = read_npz(path, _PURPOSE)
    except OSError as error:
        raise PolicyFileError(
            f"There are no weights of the policy at {path}: {error.strerror}. Install the package "
            'again, give the path of weights of your own, or use the scheduler "exact".'
        ) from error
    try:
        about = json.loads(str(content.pop(_ABOUT)))
        version, features = about["version"], (about["op_features"], about["graph_features"])
        digest, card, schema = about["sha256"], dict(about["card"]), str(about["schema"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, _PURPOSE, f"{type(error).__name__}: {error}") from error
    if version != _VERSION or features != (list(OP_FEATURES), list(GRAPH_FEATURES)):
        raise PolicyFileError(
            f"The weights in {path} are for other features of graphs (version {version}) than this "
            f"version of respect_tf computes (version {_VERSION}). Train them again, or install "
            "the version that they were made with."
        )
    if digest != _digest(content):
        raise damaged(path, _PURPOSE, "its checksum is wrong")
    for name, array in content.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise damaged(path, _PURPOSE, f"'{name}' holds more than finite float32 numbers")
        array.flags.writeable = False
    return Weights(content, card, schema)


def _digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
