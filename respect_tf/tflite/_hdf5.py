"""HDF5 files from anywhere: what they hold is in them, and is no larger than they let expect.

HDF5 can point at other files (external links, external storage, virtual datasets), which a loader
would read as weights, and its filters unpack a few bytes to gigabytes. Keras writes none of that.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from respect_tf._archive import FREE_BYTES, RATIO
from respect_tf._errors import InvalidModelError

SIGNATURE = b"\x89HDF\r\n\x1a\n"

# InceptionResNetV2's configuration has 0.5 MB; vocabularies of lookup layers a few.
MAX_CONFIG_BYTES = 32 * 2**20

# Keras nests a group per layer inside a layer, and one or two for its variables.
_MAX_DEPTH = 100
# deflate, shuffle, fletcher32, szip, nbit, scaleoffset, lzf: those that h5py itself brings. Others
# are loaded as plugins.
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})


def check_hdf5(path: Path, *, label: str) -> None:
    """Refuse files that lead elsewhere or unpack to more than they let expect.

    Args:
        path: The file.
        label: What to call it in messages.

    Raises:
        InvalidModelError: It is damaged, or breaks a rule.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _check_objects(file, label, path.stat().st_size)
    except InvalidModelError:
        raise
    except _damage() as error:
        raise _damaged(label, error) from error


def read_attributes(path: Path, names: tuple[str, ...], *, label: str) -> dict[str, bytes]:
    """Texts that a file has as attributes of its root.

    Args:
        path: The file.
        names: Attributes; those that are missing are left out of the result.
        label: What to call the file in messages.

    Raises:
        InvalidModelError: The file is damaged, or an attribute is no text or too long.
    """
    import h5py

    found: dict[str, bytes] = {}
    try:
        with h5py.File(path, "r") as file:
            for name in names:
                if name not in file.attrs:
                    continue
                found[name] = _text_attribute(file, name, label)
    except InvalidModelError:
        raise
    except _damage() as error:
        raise _damaged(label, error) from error
    return found


def _text_attribute(file: Any, name: str, label: str) -> bytes:
    import h5py

    attribute = file.attrs.get_id(name)
    if attribute.shape != () or h5py.check_string_dtype(attribute.dtype) is None:
        raise InvalidModelError(
            f"'{label}' has an attribute '{name}' that is no text. Expected what Keras writes: "
            "save the model again."
        )
    if attribute.get_storage_size() > MAX_CONFIG_BYTES:
        raise _too_long(label, name)
    value = file.attrs[name]
    content = value if isinstance(value, bytes) else str(value).encode("utf-8")
    if len(content) > MAX_CONFIG_BYTES:
        raise _too_long(label, name)
    return content


def _check_objects(file: Any, label: str, size: int) -> None:
    import h5py

    seen: set[int] = set()
    total = 0
    waiting: list[tuple[Any, int]] = [(file, 0)]
    while waiting:
        group, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise InvalidModelError(
                f"'{label}' nests groups deeper than {_MAX_DEPTH}. Keras writes no such file."
            )
        for name in group:
            kind = group.get(name, getlink=True)
            where = f"{group.name}/{name}".replace("//", "/")
            if not isinstance(kind, h5py.HardLink):
                raise _leads_elsewhere(label, where, "a link")
            found = group[name]
            address = int(h5py.h5o.get_info(found.id).addr)
            if address in seen:  # several names of one object, or a circle
                continue
            seen.add(address)
            if isinstance(found, h5py.Group):
                waiting.append((found, depth + 1))
            elif isinstance(found, h5py.Dataset):
                total += _check_dataset(found, label, where)
                limit = max(FREE_BYTES, RATIO * size)
                if total > limit:
                    raise InvalidModelError(
                        f"'{label}' has {size:,} bytes and holds arrays of more than {limit:,}. "
                        f"Expected {limit:,} at most: save the model again, uncompressed."
                    )


def _check_dataset(dataset: Any, label: str, where: str) -> int:
    import h5py

    settings = dataset.id.get_create_plist()
    if settings.get_layout() == h5py.h5d.VIRTUAL:
        raise _leads_elsewhere(label, where, "a virtual dataset")
    if settings.get_external_count():
        raise _leads_elsewhere(label, where, "stored in another file")
    for number in range(settings.get_nfilters()):
        code = settings.get_filter(number)[0]
        if code not in _FILTERS:
            raise InvalidModelError(
                f"'{where}' in '{label}' is packed by filter {code}, which needs a plugin. "
                "Expected what Keras writes: save the model again."
            )
    if dataset.shape is None:
        return 0
    # A chunk is unpacked as a whole, however little of it is asked for.
    count = max(math.prod(map(int, dataset.shape)), math.prod(map(int, dataset.chunks or ())))
    return count * int(dataset.dtype.itemsize)


def _leads_elsewhere(label: str, where: str, what: str) -> InvalidModelError:
    return InvalidModelError(
        f"'{where}' in '{label}' is {what}, which can lead to other files. Expected weights in the "
        "file itself, as Keras writes them: save the model again."
    )


def _too_long(label: str, name: str) -> InvalidModelError:
    return InvalidModelError(
        f"'{label}' has an attribute '{name}' of more than {MAX_CONFIG_BYTES:,} bytes. Expected "
        f"{MAX_CONFIG_BYTES:,} at most."
    )


def _damaged(label: str, error: BaseException) -> InvalidModelError:
    return InvalidModelError(
        f"HDF5 cannot read '{label}': {type(error).__name__}: {str(error)[:200]}. The file is "
        "damaged: make or load it again."
    )


def _damage() -> tuple[type[BaseException], ...]:
    """What h5py raises for damaged files, by its source."""
    return (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, OverflowError)
