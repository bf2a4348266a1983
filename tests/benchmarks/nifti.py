"""NIfTI, uncompressed: reading against the bytes alone, writing against nibabel."""

from __future__ import annotations

import asyncio
import os
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks, ours
from .measure import Contender, timed, timed_await

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .data import Case
    from .rows import Stage

__all__ = ["reading", "writing"]

_HEADER = 352  # bytes before the voxels of a .nii without extensions (nifti1.h)
_OURS = "seriesio"


def reading(stage: Stage) -> list[Contender]:
    """An uncompressed file: its volume; its bytes into a new array; its volume, mapped."""
    case = stage.corpus.ct()
    path = _made(stage.corpus.root / "ct.nii", case)
    bare = partial(_bytes_of, path, case.values.shape, case.values.dtype)
    return [
        _opening(_OURS, path, case),
        Contender(
            "bytes into an array",
            timed(bare),
            lambda: checks.same_voxels("bytes", bare(), case.values),
        ),
        _opening("mapped", path, case, mmap=True),
    ]


def writing(stage: Stage) -> list[Contender]:
    """The same volume into a new file."""
    case = stage.corpus.ct()
    series = cache(partial(ours.open_now, case.path))

    async def written(target: Path) -> None:
        await series().write(target)

    def saved(target: Path) -> None:
        import nibabel

        image = nibabel.Nifti1Image(case.values.T, np.eye(4))  # type: ignore[no-untyped-call]
        nibabel.save(image, target)

    def check(target: Path) -> None:
        import nibabel

        found: Any = nibabel.load(target)
        checks.same_voxels("nifti", np.asarray(found.dataobj).T, case.values)

    def checked() -> None:
        series()  # opened before anything is timed, and outside of any loop
        stage.scratch.checked_await(written, check, ".nii")()

    return [
        Contender(_OURS, stage.scratch.timed_await(written, ".nii"), checked),
        Contender(
            "nibabel",
            stage.scratch.timed(saved, ".nii"),
            stage.scratch.checked(saved, check, ".nii"),
        ),
    ]


def _opening(name: str, path: Path, case: Case, **options: Any) -> Contender:
    async def opened() -> Any:
        from seriesio import Series

        return await Series.open(path, **options)

    def check() -> None:
        checks.same_voxels(name, ours.voxels(asyncio.run(opened())), case.values)

    return Contender(name, timed_await(opened), check)


def _made(path: Path, case: Case) -> Path:
    """The volume as nibabel saves it; made anew for each run of the benchmark."""
    import nibabel

    image = nibabel.Nifti1Image(case.values.T, np.eye(4))  # type: ignore[no-untyped-call]
    nibabel.save(image, path)
    return path


def _bytes_of(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """What a reader that knows everything beforehand has to do."""
    array = np.empty(shape, dtype)
    view = array.reshape(-1).view(np.uint8).data
    descriptor = os.open(path, os.O_RDONLY)
    try:
        done = 0
        while done < view.nbytes:
            done += os.preadv(descriptor, [view[done:]], _HEADER + done)
    finally:
        os.close(descriptor)
    return array
