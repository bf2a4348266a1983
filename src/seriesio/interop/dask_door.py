"""To dask: chunks that are views on the same voxels.

``dask.array.from_array`` copies all of an array; a graph of views holds it once.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ._door import package

if TYPE_CHECKING:
    from ..dicom.volume import Volume

__all__ = ["to_dask"]


def to_dask(volume: Volume, chunks: Any = None) -> Any:
    """A ``dask.array.Array`` whose chunks are views; by default one for each volume.

    Raises:
        MissingDependencyError: dask is not installed.
    """
    core = package("dask.array.core", "dask")
    array = volume.array
    if chunks is None:
        further = sum(axis.name != "slice" for axis in volume.axes[: volume.leading])
        chunks = (1,) * further + array.shape[further:]
    blocks = core.normalize_chunks(chunks, array.shape, dtype=array.dtype)
    name = f"series-{uuid4().hex}"
    keys = product([name], *(range(len(sizes)) for sizes in blocks))
    views = (array[part] for part in core.slices_from_chunks(blocks))
    return core.Array(dict(zip(keys, views, strict=True)), name, blocks, dtype=array.dtype)
