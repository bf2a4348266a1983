"""Optional packages, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import MissingDependencyError

__all__ = ["expected", "package"]


def package(name: str, extra: str) -> Any:
    """An optional package.

    Raises:
        MissingDependencyError: it is not installed; says which extra has it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        needed = name.split(".")[0]
        raise MissingDependencyError(
            f'this needs {needed}: pip install "seriesio[{extra}]"'
        ) from error


def expected(given: Any, kind: type, function: str) -> None:
    """Say so where something else is given than what a function takes.

    Raises:
        TypeError: it is none of that kind.
    """
    if not isinstance(given, kind):
        raise TypeError(
            f"{function} takes a {kind.__module__.partition('.')[0]} {kind.__name__}, "
            f"not {type(given).__name__}"
        )
