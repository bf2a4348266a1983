"""What the caller of ``open`` may say about sorting, geometry and values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike

__all__ = ["PlanOptions", "take_options"]


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the caller of ``open`` may say about sorting, geometry and values."""

    input_order: str = "auto"
    rescale: bool = True
    dtype: DTypeLike | None = None
    warn: bool = False
    slice_tolerance: float | None = None
    dir_cosine_tolerance: float | None = None


# Named arguments of ``open``; all other fields are options by their own names.
_NAMED: Final = {"input_order", "rescale", "dtype", "warn"}
_OPTIONS: Final = {field.name for field in fields(PlanOptions)} - _NAMED


def take_options(
    input_order: str,
    rescale: bool,
    dtype: DTypeLike | None,
    on_incomplete: str,
    options: Mapping[str, Any],
) -> tuple[PlanOptions, dict[str, Any]]:
    """The options of planning, and those that are left for the transport."""
    if on_incomplete not in ("raise", "warn"):
        raise ValueError(f'on_incomplete is "raise" or "warn", not {on_incomplete!r}')
    own = {name: value for name, value in options.items() if name in _OPTIONS}
    plan = PlanOptions(input_order, rescale, dtype, on_incomplete == "warn", **own)
    return plan, {name: value for name, value in options.items() if name not in own}
