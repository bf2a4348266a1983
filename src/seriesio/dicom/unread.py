"""The voxels of a series of which only headers were read: a shape and a type, no values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from ..errors import HeaderError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["Unread", "unread"]

_TOLD: Final = "no pixels were read (headers_only=True): the array has a shape and no values"
# What looks at the shape alone.
_HARMLESS: Final = frozenset(
    {np.shape, np.ndim, np.size, np.may_share_memory, np.shares_memory, np.result_type}
)


class Unread(np.ndarray[Any, Any]):
    """An array that takes no memory, can be cut and reshaped, and gives no values.

    Every way to compute with them raises :class:`~seriesio.errors.HeaderError`; so nobody takes
    for zeros what was never read.
    """

    def __array_ufunc__(self, *_: Any, **__: Any) -> NoReturn:
        raise HeaderError(_TOLD)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in _HARMLESS:
            return super().__array_function__(func, types, args, kwargs)
        raise HeaderError(_TOLD)

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        if not isinstance(found, np.ndarray):
            raise HeaderError(_TOLD)
        return found

    def __repr__(self) -> str:
        return f"<unread voxels of shape {self.shape} and type {self.dtype}>"

    __str__ = __repr__

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise HeaderError(_TOLD)

    item = tolist = tobytes = tofile = dump = dumps = astype = __float__ = __int__ = _refuse
    __bool__ = _refuse


def unread(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Voxels of a shape and type that were not read; read-only, one voxel of memory."""
    return np.broadcast_to(np.zeros((), dtype), shape).view(Unread)
