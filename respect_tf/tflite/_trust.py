"""What a user hands over besides a model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from respect_tf._errors import ArgumentError


@dataclass(frozen=True)
class Trust:
    """How far a model file is believed.

    Attributes:
        custom_objects: Classes and functions by the names that the file has for them.
        trusted: Whether the file may run code of its own: Lambda layers, classes of any module,
            ops that read and write files.
    """

    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    trusted: bool = False

    @classmethod
    def of(cls, custom_objects: Mapping[str, Any] | None, trusted: bool) -> Trust:
        """Check the arguments of the same names.

        Raises:
            ArgumentError: They have other types.
        """
        if not isinstance(trusted, bool):
            raise ArgumentError(f"trusted must be True or False. Received: {trusted!r}.")
        if custom_objects is None:
            return cls({}, trusted)
        if not isinstance(custom_objects, Mapping):
            raise ArgumentError(
                "custom_objects must be a dict of classes and functions by name. Received: "
                f"{type(custom_objects).__name__}."
            )
        for name, value in custom_objects.items():
            if not isinstance(name, str) or not callable(value):
                raise ArgumentError(
                    "custom_objects must be a dict of classes and functions by name. Received: "
                    f"{name!r}: an object of type {type(value).__name__}."
                )
        return cls(dict(custom_objects), trusted)
