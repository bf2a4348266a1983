"""The voxels of a series of which only headers were read: a shape and a type, no values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..errors import HeaderError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["Unread", "unread"]

_TOLD: Final = "no pixels were read (headers_only=True): the array has a shape and no values"
# What looks at the shape alone.
_HARMLESS: Final = frozenset(
    {np.shape, np.ndim, np.size, np.may_share_memory, np.shares_memory, np.result_type}
)
_SHAPING: Final = frozenset({"reshape", "transpose", "swapaxes", "squeeze"})


class Unread(NDArrayOperatorsMixin):
    """Looks like an array, takes no memory, can be cut and reshaped, and gives no values.

    Every way to get or to compute them raises :class:`~seriesio.errors.HeaderError`, and so does
    ``np.asarray``: nobody takes for zeros what was never read. It is no ``np.ndarray`` since
    numpy would look through one of those at its memory.
    """

    __slots__ = ("_like",)

    def __init__(self, like: NDArray[Any]) -> None:
        self._like = like

    @property
    def shape(self) -> tuple[int, ...]:
        return self._like.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._like.dtype

    @property
    def ndim(self) -> int:
        return self._like.ndim

    @property
    def size(self) -> int:
        return self._like.size

    @property
    def itemsize(self) -> int:
        return self._like.itemsize

    @property
    def nbytes(self) -> int:
        return self._like.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        return self._like.strides

    @property
    def flags(self) -> Any:
        return self._like.flags

    @property
    def T(self) -> Unread:
        return Unread(self._like.T)

    def __len__(self) -> int:
        return len(self._like)

    def __getitem__(self, index: Any) -> Unread:
        found = self._like[index]
        if not isinstance(found, np.ndarray):
            raise HeaderError(_TOLD)
        return Unread(found)

    def __getattr__(self, name: str) -> Any:
        if name in _SHAPING:
            return lambda *args, **kwargs: Unread(getattr(self._like, name)(*args, **kwargs))
        if not name.startswith("__") and hasattr(np.ndarray, name):
            raise HeaderError(_TOLD)
        raise AttributeError(name)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in _HARMLESS:
            return func(*(part._like if isinstance(part, Unread) else part for part in args))
        raise HeaderError(_TOLD)

    def __repr__(self) -> str:
        return f"<unread voxels of shape {self.shape} and type {self.dtype}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return unread, (self.shape, self.dtype)

    def refuse(self, *_: Any, **__: Any) -> NoReturn:
        """What every use of the values comes to."""
        raise HeaderError(_TOLD)

    __array__ = __array_ufunc__ = __setitem__ = refuse
    __iter__ = __contains__ = __bool__ = __float__ = __int__ = __index__ = refuse


def unread(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Voxels of a shape and type that were not read; read-only, one voxel of memory."""
    like = np.broadcast_to(np.zeros((), dtype), shape)
    return cast("NDArray[Any]", Unread(like))
