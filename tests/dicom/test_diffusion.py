"""b values and directions of every vendor; judged by dcm2niix and by hand."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from seriesio import Series
from seriesio.dicom.diffusion import bvalues, bvectors
from seriesio.testing import Phantom, phantom

B = (0.0, 500.0, 1000.0, 1000.0)
SLANTED = np.array([[0.0, 0.0, 0.0], [0.6, 0.0, 0.8], [0.48, -0.6, 0.64], [-0.36, 0.48, 0.8]])
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.96, 0.28, 0.0, -0.224, 0.768, 0.6)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)

Put = Callable[[Dataset, float, NDArray[np.float64]], None]


def weighted(put: Put, maker: str, orientation: tuple[float, ...] = AXIAL) -> Phantom:
    """Four volumes of three slices by time; what is weighted how is put into each header."""
    made = phantom((4, 3, 12, 16), modality="MR", orientation=orientation)
    for place, dataset in enumerate(datasets := made.datasets()):
        volume = place // 3
        dataset.Manufacturer = maker
        dataset.InPlanePhaseEncodingDirection = "COL"
        del dataset.TemporalPositionIdentifier
        put(dataset, B[volume], SLANTED[volume])
    made._cache.update(dict(zip(made.names, map(encoded, datasets), strict=True)))
    return made


def encoded(dataset: Dataset) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def public(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
    dataset.DiffusionBValue = b
    dataset.DiffusionDirectionality = "DIRECTIONAL" if b else "NONE"
    if b:
        dataset.DiffusionGradientOrientation = vector.tolist()


def siemens(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", int(b))
    block.add_new(0x0D, "CS", "DIRECTIONAL" if b else "NONE")
    if b:
        block.add_new(0x0E, "FD", vector.tolist())


def csa_header(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
    tags = {"B_value": [f"{b:.0f}"], "NumberOfImagesInMosaic": ["0"]}
    if b:
        tags["DiffusionGradientDirection"] = [f"{part:.8f}" for part in vector]
    parts = [b"SV10\4\3\2\1" + struct.pack("<2I", len(tags), 77)]
    for name, values in tags.items():
        parts.append(
            struct.pack("<64si4s3i", name.encode(), len(values), b"FD", 4, len(values), 77)
        )
        for value in values:
            data = value.encode() + b"\0"
            parts.append(struct.pack("<4i", len(data), len(data), 77, len(data)))
            parts.append(data + b"\0" * (-len(data) % 4))
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x10, "OB", b"".join(parts))


def ge(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
    block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x39, "IS", [int(b) + (10**9 if b else 0), 8, 0, 0])
    block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
    for place, part in zip((0xBB, 0xBC, 0xBD), vector, strict=True):
        block.add_new(place, "DS", f"{part:.6f}")


def ge_by_row(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
    ge(dataset, b, vector)
    dataset.InPlanePhaseEncodingDirection = "ROW"


def philips(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
    dataset.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", b)
    block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    for place, part in zip((0xB0, 0xB1, 0xB2), vector, strict=True):
        block.add_new(place, "FL", float(part))


def uih(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
    block = dataset.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x09, "FD", b)
    block.add_new(0x37, "FD", vector.tolist())


def canon(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
    x, y, z = vector
    dataset.ImageComments = f"b={b:.0f}({x:.3f},{y:.3f},{z:.3f})"
    dataset.DiffusionBValue = b


def canon_by_row(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
    canon(dataset, b, vector)
    dataset.InPlanePhaseEncodingDirection = "ROW"


VENDORS: dict[str, tuple[Put, str]] = {
    "public": (public, "SIEMENS"),
    "siemens": (siemens, "SIEMENS"),
    "csa": (csa_header, "SIEMENS"),
    "ge": (ge, "GE MEDICAL SYSTEMS"),
    "ge-row": (ge_by_row, "GE MEDICAL SYSTEMS"),
    "philips": (philips, "Philips Medical Systems"),
    "uih": (uih, "UIH"),
    "canon": (canon, "CANON_MEC"),
    "canon-row": (canon_by_row, "CANON_MEC"),
}
PLANES = {"axial": AXIAL, "oblique": OBLIQUE, "coronal": CORONAL, "sagittal": SAGITTAL}


def converted(tool: Callable[[str], str], source: Path, out: Path) -> tuple[Any, ...]:
    """dcm2niix's affine, b values and vectors (n, 3) in voxel axes."""
    out.mkdir()
    run = [tool("dcm2niix"), "-z", "n", "-b", "n", "-f", "out", "-o", str(out), str(source)]
    subprocess.run(run, check=True, capture_output=True)
    affine = nibabel.load(out / "out.nii").affine  # type: ignore[attr-defined]
    vectors = np.loadtxt(out / "out.bvec").T
    return affine, np.loadtxt(out / "out.bval"), vectors


def in_voxels(vectors: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """LPS to voxel axes as FSL has them: x the other way where the affine's determinant is > 0."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    found = vectors * [-1, -1, 1] @ axes
    return np.asarray(found * [-np.sign(np.linalg.det(axes)), 1, 1])


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_as_dcm2niix(
    tool: Callable[[str], str], tmp_path: Path, vendor: str, plane: str
) -> None:
    """b values, and directions in voxel axes but for their sign, which weights alike."""
    put, maker = VENDORS[vendor]
    folder = weighted(put, maker, PLANES[plane]).save(tmp_path / "in")
    affine, b, vectors = converted(tool, folder, tmp_path / "out")
    series = await Series.open(folder, "time")
    ours = bvectors(series._volume)
    assert ours is not None
    assert np.allclose(np.asarray(bvalues(series._volume)), b, atol=1)
    found = in_voxels(ours, affine)
    signs = np.where((found * vectors).sum(axis=1) < 0, -1.0, 1.0)[:, None]
    assert np.allclose(found * signs, vectors, atol=2e-3), (found, vectors)


async def test_axes_of_diffusion(tmp_path: Path) -> None:
    """ "b" alone cannot fill the grid: found is "dti", b ascending, each with its direction."""
    series = await Series.open(weighted(public, "SIEMENS").save(tmp_path))
    (axis,) = [axis for axis in series.axes if axis.name == "dti"]
    assert axis.values[:, 0].tolist() == [0, 500, 1000, 1000]
    assert np.allclose(axis.values[:, 1:], SLANTED[[0, 1, 3, 2]])
    assert series.report.criterion == "dti"
    assert np.allclose(np.asarray(bvectors(series._volume)), SLANTED[[0, 1, 3, 2]])


async def test_named_axes_of_diffusion(tmp_path: Path) -> None:
    """ "bvector" gives (n, 3); volumes without a direction have zeros."""
    folder = weighted(philips, "Philips").save(tmp_path)
    series = await Series.open(folder, "bvector")
    assert series.axes[0].values.shape == (4, 3)
    assert series.axes[0].values[1].tolist() == [0, 0, 0]
    both = await Series.open(folder, "dti")
    assert both.axes[0].values.shape == (4, 4)
    assert both.axes[0].values[:, 0].tolist() == [0, 500, 1000, 1000]


async def test_several_volumes_without_weighting(tmp_path: Path) -> None:
    """Three times b = 0 and one direction: a list of volumes, those of b = 0 by their times."""

    def rarely(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
        weighting = (b, vector) if vector[0] < 0 else (0.0, vector * 0)
        public(dataset, *weighting)

    made = weighted(rarely, "SIEMENS")
    series = await Series.open(made.save(tmp_path))
    assert series.axes[0].name == "dti"
    assert np.asarray(bvalues(series._volume)).tolist() == [0, 0, 0, 1000]
    assert np.array_equal(series.array, made.array)


async def test_slices_and_changes(tmp_path: Path) -> None:
    """A part of the volumes has their values; what is set in the header counts."""
    series = await Series.open(weighted(siemens, "SIEMENS").save(tmp_path), "time")
    part = series[1:3]
    assert np.asarray(bvalues(part._volume)).tolist() == [500, 1000]
    public_ones = await Series.open(weighted(public, "SIEMENS").save(tmp_path / "p"), "time")
    public_ones.header.set("DiffusionBValue", 700.0)
    assert np.asarray(bvalues(public_ones._volume)).tolist() == [700] * 4


async def test_enhanced(tmp_path: Path) -> None:
    """Out of the functional groups of each frame."""
    made = phantom((3, 2, 12, 16), axes=("b", "slice", "row", "column"), enhanced=True)
    series = await Series.open(made.save(tmp_path))
    assert np.asarray(bvalues(series._volume)).tolist() == list(made.values["b"])


async def test_nothing_said(tmp_path: Path) -> None:
    """A computed tomography has neither; nothing is made up."""
    series = await Series.open(phantom((3, 12, 16)).save(tmp_path))
    assert bvalues(series._volume) is None
    assert bvectors(series._volume) is None


async def test_b_matrix(tmp_path: Path) -> None:
    """The main axis of a matrix that was made of a direction is that direction, or opposite."""

    def matrix(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
        dataset.DiffusionBValue = b
        dataset.DiffusionDirectionality = "BMATRIX" if b else "NONE"
        outer = b * np.outer(vector, vector)
        for name, (i, j) in {
            "XX": (0, 0),
            "XY": (0, 1),
            "XZ": (0, 2),
            "YY": (1, 1),
            "YZ": (1, 2),
            "ZZ": (2, 2),
        }.items():
            setattr(dataset, f"DiffusionBValue{name}", float(outer[i, j]))

    series = await Series.open(weighted(matrix, "Bruker").save(tmp_path), "time")
    found = np.asarray(bvectors(series._volume))
    assert np.allclose(np.abs((found * SLANTED).sum(axis=1)), [0, 1, 1, 1])


@pytest.mark.parametrize("creator", ["SOMEBODY ELSE", "GEMS_PARM_01 "])
async def test_foreign_creator(tmp_path: Path, creator: str) -> None:
    """The same elements under another's name are not read."""

    def foreign(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
        dataset.private_block(0x0019, creator, create=True).add_new(0x0C, "IS", int(b))

    series = await Series.open(weighted(foreign, "SIEMENS").save(tmp_path), "time")
    assert bvalues(series._volume) is None


async def test_blocks_that_differ(tmp_path: Path) -> None:
    """A creator has another block in some instances; VR UN hides no value."""
    count = iter(range(99))

    def moved(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
        if next(count) % 2:
            dataset.private_block(0x0019, "ANOTHER", create=True).add_new(0x0C, "IS", 77)
        block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0C, "UN", f"{b:.0f} ".encode()[: 2 * ((len(f"{b:.0f}") + 1) // 2)])

    series = await Series.open(weighted(moved, "SIEMENS").save(tmp_path), "time")
    assert np.asarray(bvalues(series._volume)).tolist() == list(B)


@pytest.mark.parametrize(
    ("text", "b"),
    [("b=1000(0.6,0,0.8)", 1000.0), ("b=0", 0.0), ("b=1e9", None), ("b=..", None), ("x", None)],
)
async def test_comments(tmp_path: Path, text: str, b: float | None) -> None:
    """Canon's comments, and such as are none."""

    def commented(dataset: Dataset, _b: float, _vector: NDArray[np.float64]) -> None:
        dataset.ImageComments = text

    series = await Series.open(weighted(commented, "CANON_MEC").save(tmp_path), "time")
    found = bvalues(series._volume)
    assert found is None if b is None else np.asarray(found).tolist() == [b] * 4


async def test_ge_scales_by_length(tmp_path: Path) -> None:
    """A direction of half the length weights a quarter as much."""

    def shorter(dataset: Dataset, b: float, vector: NDArray[np.float64]) -> None:
        ge(dataset, b, vector / 2)

    series = await Series.open(weighted(shorter, "GE").save(tmp_path), "time")
    assert np.allclose(np.asarray(bvalues(series._volume)), [0, 125, 250, 250], atol=0.01)
    lengths = np.linalg.norm(np.asarray(bvectors(series._volume)), axis=1)
    assert np.allclose(lengths, [0, 1, 1, 1])
