"""What computed series say of where they come from: every operand is named, frame by frame."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pydicom
import pytest

from seriesio import Series
from seriesio.testing import phantom


async def opened(folder: Path, *shape: int, **options: Any) -> Series:
    return await Series.open(phantom(shape or (3, 6, 8), **options).save(folder))


def by_place(folder: Path) -> list[Any]:
    """What pydicom reads, by place."""
    found = [pydicom.dcmread(path) for path in folder.iterdir()]
    return sorted(found, key=lambda dataset: dataset.ImagePositionPatient[2])


def uids(items: Any) -> list[str]:
    return [str(item.ReferencedSOPInstanceUID) for item in items]


async def referred(series: Any, folder: Path) -> list[list[str]]:
    """The sources of each instance that is written, by place."""
    await series.write(folder)
    return [uids(dataset.SourceImageSequence) for dataset in by_place(folder)]


async def test_both_operands(tmp_path: Path) -> None:
    """A sum names the instances of both at its place, the first operand's first."""
    one, other = await opened(tmp_path / "one"), await opened(tmp_path / "other", seed=2)
    expected = [
        [str(a.SOPInstanceUID), str(b.SOPInstanceUID)]
        for a, b in zip(by_place(tmp_path / "one"), by_place(tmp_path / "other"), strict=True)
    ]
    assert await referred((one + other) / 2, tmp_path / "sum") == expected
    assert await referred((one[::-1] + other[::-1])[1:], tmp_path / "part") == expected[:2]
    assert await referred(one * (one > 3), tmp_path / "mask") == [[first] for first, _ in expected]
    kept = pickle.loads(pickle.dumps(one - other))
    assert await referred(kept, tmp_path / "kept") == expected


async def test_many_operands(tmp_path: Path) -> None:
    """However many are added up, each is named once."""
    series = [await opened(tmp_path / str(n), 2, 4, 4, seed=n) for n in range(12)]
    total = series[0]
    for n in range(1, 36):
        total = total + series[n % 12]
    for number, found in enumerate(await referred(total, tmp_path / "sum")):
        assert len(found) == 12
        assert set(found) == {str(by_place(tmp_path / str(n))[number].SOPInstanceUID)
                              for n in range(12)}  # fmt: skip


async def test_broadcast(tmp_path: Path) -> None:
    """A volume that is subtracted from each time step is a source of all of them."""
    dynamic, base = await opened(tmp_path / "t", 2, 3, 6, 8), await opened(tmp_path / "b", seed=5)
    bases = [str(d.SOPInstanceUID) for d in by_place(tmp_path / "b")]
    found = await referred(dynamic - base, tmp_path / "new")
    assert [each[1] for each in found] == [bases[0]] * 2 + [bases[1]] * 2 + [bases[2]] * 2


async def test_reductions(tmp_path: Path) -> None:
    """A mean over time names the instances of all times at its place."""
    series = await opened(tmp_path / "source", 4, 3, 6, 8)
    files = by_place(tmp_path / "source")
    for number, found in enumerate(await referred(series.mean("time"), tmp_path / "new")):
        assert set(found) == {str(d.SOPInstanceUID) for d in files[4 * number : 4 * number + 4]}


async def test_frames(tmp_path: Path) -> None:
    """Frames of enhanced objects name those of each operand, and of all times of a mean."""
    options: dict[str, Any] = {"enhanced": True, "modality": "MR"}
    one = await opened(tmp_path / "one", 2, 3, 6, 8, **options)
    other = await opened(tmp_path / "other", 2, 3, 6, 8, seed=4, **options)
    first, second = one.sopInstanceUID, other.sopInstanceUID

    def frames(dataset: Any) -> list[list[tuple[str, int]]]:
        return [
            [
                (str(item.ReferencedSOPInstanceUID), int(item.ReferencedFrameNumber))
                for item in groups.DerivationImageSequence[0].SourceImageSequence
            ]
            for groups in dataset.PerFrameFunctionalGroupsSequence
        ]

    await (one + other).write(tmp_path / "sum")
    (new,) = (pydicom.dcmread(path) for path in (tmp_path / "sum").iterdir())
    assert frames(new) == [[(first, n), (second, n)] for n in range(1, 7)]
    studies = [study.ReferencedSeriesSequence for study in new.SourceImageEvidenceSequence]
    listed = [uids(item.ReferencedSOPSequence) for study in studies for item in study]
    assert listed == [[first], [second]]
    # The halves of one object, added: frames 1 to 3 and 4 to 6 of the same instance.
    await (one[0] + one[1]).write(tmp_path / "halves")
    (new,) = (pydicom.dcmread(path) for path in (tmp_path / "halves").iterdir())
    found = [
        list(groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber)
        for groups in new.PerFrameFunctionalGroupsSequence
    ]
    assert found == [[1, 4], [2, 5], [3, 6]]


async def test_frames_and_plain_instances(tmp_path: Path) -> None:
    """Frame numbers are told of multi-frame sources only (PS3.3 table 10-3)."""
    enhanced = await opened(tmp_path / "e", 2, 3, 6, 8, enhanced=True, modality="MR")
    plain = await opened(tmp_path / "p", 2, 3, 6, 8)
    await (enhanced * plain).write(tmp_path / "one")
    (new,) = (pydicom.dcmread(path) for path in (tmp_path / "one").iterdir())
    assert not any("ReferencedFrameNumber" in item for item in new.SourceImageSequence)
    for groups in new.PerFrameFunctionalGroupsSequence:
        own, other = groups.DerivationImageSequence[0].SourceImageSequence
        assert own.ReferencedSOPInstanceUID == enhanced.header.values("SOPInstanceUID")[0]
        assert "ReferencedFrameNumber" not in other
    await (plain * enhanced).write(tmp_path / "other")
    numbers = [
        [item.get("ReferencedFrameNumber") for item in dataset.SourceImageSequence]
        for dataset in by_place(tmp_path / "other")
    ]
    assert sorted(last for _, last in numbers) == [1, 2, 3, 4, 5, 6]
    assert all(own is None for own, _ in numbers)


async def test_anonymized(tmp_path: Path) -> None:
    """The UIDs of other operands do not outlive an anonymization."""
    pytest.importorskip("dicomanonymizer")
    one, other = await opened(tmp_path / "one"), await opened(tmp_path / "other", seed=2)
    anonymous = await (one + other).anonymize()
    hidden = [*one.header.values("SOPInstanceUID"), *other.header.values("SOPInstanceUID")]
    await (anonymous * 2).write(tmp_path / "new")
    data = b"".join(path.read_bytes() for path in (tmp_path / "new").iterdir())
    assert not any(uid.encode() in data for uid in hidden)
