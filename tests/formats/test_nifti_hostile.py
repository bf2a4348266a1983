"""Damaged and lying NIfTI files: each refused with an error of ours, within the limits."""

from __future__ import annotations

import gzip
import re
import time
import tracemalloc
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seriesio.blob import Blob, FileBlob, MemoryBlob
from seriesio.errors import DataError, SeriesIOError, TooLargeError, TransportError
from seriesio.formats.image import Image
from seriesio.formats.nifti import NiftiFormat

FORMAT = NiftiFormat()
NIBABEL: Any = nibabel  # typed in parts only
SHAPE = (2, 3, 4, 5)
ARRAY = np.arange(120, dtype=np.int16).reshape(SHAPE)
SIZE = ARRAY.nbytes


def made(version: int = 1, **fields: Any) -> bytes:
    """A file by nibabel, with some fields of its header overwritten."""
    kind = NIBABEL.Nifti1Image if version == 1 else NIBABEL.Nifti2Image
    image = kind(ARRAY.T, np.diag([-2.0, 2.0, 3.0, 1.0]))
    data = bytearray(image.to_bytes())
    size = 348 if version == 1 else 540
    header = kind.header_class(bytes(data[:size]), check=False)
    with np.errstate(all="ignore"):
        for name, value in fields.items():
            header[name] = value
    data[:size] = header.binaryblock
    return bytes(data)


def read(data: bytes, memory: int = 1 << 20, **others: bytes) -> Image:
    files: dict[str, Blob] = {"x.nii": MemoryBlob("x.nii", data)}
    files |= {f"x.{name}": MemoryBlob(f"x.{name}", value) for name, value in others.items()}
    return FORMAT.read("x.nii", files, memory=memory, options={})


LIES: list[tuple[Mapping[str, Any], str]] = [
    ({"dim": [0] * 8}, "0 dimensions"),
    ({"dim": [8, *[1] * 7]}, "8 dimensions"),
    ({"dim": [-3, 5, 4, 3, 2, 1, 1, 1]}, "-3 dimensions"),
    ({"dim": [4, 5, -4, 3, 2, 1, 1, 1]}, "must be positive"),
    ({"dim": [4, 5, 4, 0, 2, 1, 1, 1]}, "must be positive"),
    ({"dim": [4, 5, 4, 3, 3, 1, 1, 1]}, "120 bytes short"),
    ({"datatype": 1}, "one bit"),
    ({"datatype": 1536}, "128-bit"),
    ({"datatype": 77}, "data type 77"),
    ({"datatype": 16}, "32 bits, the header says 16"),
    ({"vox_offset": 0}, "vox_offset is 0"),
    ({"vox_offset": -1e9}, "vox_offset"),
    ({"vox_offset": 1e7}, "bytes short"),
    ({"sform_code": 1, "srow_x": [np.nan] * 4}, "sform holds values that are no numbers"),
    ({"sform_code": 1, "srow_x": [np.inf] * 4}, "sform holds values that are no numbers"),
    ({"sform_code": 1, "srow_x": [2, 2, 0, 0], "srow_y": [2, 2, 0, 0]}, "span no volume"),
    ({"sform_code": 1, "srow_x": [0] * 4, "srow_y": [0] * 4, "srow_z": [0] * 4}, "spacing"),
    ({"sform_code": 1, "srow_x": [1e30, 0, 0, 0]}, "too large"),
    ({"sform_code": 0, "qform_code": 1, "quatern_b": 1.5}, "quaternion is too long"),
    ({"sform_code": 0, "qform_code": 1, "quatern_b": np.nan}, "no rotation"),
    ({"sform_code": 0, "qform_code": 1, "qoffset_x": np.nan}, "qform holds values"),
    ({"sform_code": 0, "qform_code": 1, "pixdim": [1, np.nan, 2, 3, 0, 0, 0, 0]}, "spacing"),
    ({"sform_code": 0, "qform_code": 1, "pixdim": [1, 0, 2, 3, 0, 0, 0, 0]}, "spacing"),
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("fields", "told"), LIES)
def test_lying_headers(fields: Mapping[str, Any], told: str, version: int) -> None:
    """What cannot be is refused by name, packed or not."""
    data = made(version, **fields)
    for file in (data, gzip.compress(data)):
        if file is not data and "short" in told:
            told = "short"
        with pytest.raises(DataError, match=re.escape(told)) as caught:
            read(file, memory=1 << 31)
        assert "x.nii" in str(caught.value)


def test_a_fraction_is_no_offset() -> None:
    """NIfTI-1 keeps vox_offset as a float."""
    for value in (352.5, float("nan"), float("inf")):
        with pytest.raises(DataError, match="vox_offset"):
            read(made(vox_offset=value))


def test_a_slope_without_an_intercept() -> None:
    """A slope that counts with an intercept that is no number is an error, to nibabel too."""
    data = made(scl_slope=2, scl_inter=np.nan)
    with pytest.raises(NIBABEL.spatialimages.HeaderDataError):
        NIBABEL.Nifti1Image.from_bytes(data)
    with pytest.raises(DataError, match=r"x\.nii: scl_slope is 2"):
        read(data)


def test_scaling_beyond_all_numbers() -> None:
    """Slopes that no float holds the results of, in 64-bit headers."""
    with pytest.raises(DataError, match="scl_slope"):
        read(made(2, scl_slope=1e306))
    with pytest.raises(DataError, match="scl_slope"):
        read(made(2, scl_slope=1, scl_inter=1e308))


@pytest.mark.parametrize("missing", [1, 100, SIZE])
def test_truncated_voxels(missing: int) -> None:
    """The error says how many bytes are missing, packed or not."""
    data = made()[:-missing]
    for file in (data, gzip.compress(data)):
        with pytest.raises(DataError, match=rf"\b{missing} bytes short"):
            read(file)


def test_truncated_headers() -> None:
    """Every length below the whole header is refused."""
    for version, size in ((1, 348), (2, 540)):
        data = made(version)
        for length in range(size):
            with pytest.raises(DataError, match="header"):
                read(data[:length])


def test_more_bytes_than_voxels_are_told() -> None:
    """What follows is left out, and a note says how much."""
    image = read(made() + bytes(7))
    assert np.array_equal(image.array, ARRAY)
    assert "7 bytes behind the voxels were left out" in image.notes


def test_the_memory_limit() -> None:
    """Volumes that are larger are refused before memory is taken, also when scaling widens."""
    with pytest.raises(TooLargeError, match="480 bytes is more than the limit of 479"):
        read(made(scl_slope=0.5), memory=2 * SIZE - 1)
    assert read(made(scl_slope=0.5), memory=2 * SIZE).array.nbytes == 2 * SIZE
    huge = made(2, dim=[7, *[2**62] * 7])
    with pytest.raises(TooLargeError, match="limit"):
        read(huge)


def test_announced_voxels_that_no_file_could_hold() -> None:
    """Even without a limit nothing is allocated that the file cannot fill."""
    for file in (made(dim=[4, *[30000] * 4, 1, 1, 1]), made(2, dim=[7, *[2**62] * 7])):
        for packed in (file, gzip.compress(file)):
            with pytest.raises(DataError, match="short"):
                read(packed, memory=2**600)


def test_a_missing_image_of_a_pair() -> None:
    """The error names the file that is not there."""
    data = made(magic=b"ni1", vox_offset=0)
    with pytest.raises(DataError, match=r"x\.img, which is not there"):
        read(data)


# --- gzip -------------------------------------------------------------------------------------


def bomb(size: int) -> bytes:
    """Some bytes that unpack to many zeros."""
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [stream.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*parts, stream.flush()])


def test_a_bomb_behind_the_voxels() -> None:
    """It is not unpacked to its end, and costs neither time nor memory."""
    packed = gzip.compress(made()) + bomb(1 << 26)
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(TooLargeError, match="unpacks to more"):
            read(packed)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 1


def test_a_bomb_before_the_voxels() -> None:
    """An offset far behind is refused, not gone to."""
    with pytest.raises(TooLargeError, match="before the voxels"):
        read(gzip.compress(made(vox_offset=2.0**30)) + bomb(1 << 24), memory=1 << 20)


def test_many_empty_members() -> None:
    """Members that hold nothing do not keep us busy."""
    with pytest.raises(DataError, match="empty gzip members"):
        read(gzip.compress(made()[:400]) + gzip.compress(b"") * 50_000)


def test_many_tiny_members() -> None:
    """One byte for each member is slow in no power of their number."""
    packed = b"".join(gzip.compress(made()[k : k + 1]) for k in range(592))
    start = time.process_time()
    assert np.array_equal(read(packed).array, ARRAY)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("place", [0.3, 0.6, 0.99])
def test_cut_gzip(place: float) -> None:
    """A gzip file that ends too early is named."""
    packed = gzip.compress(made())
    with pytest.raises(DataError, match=r"x\.nii"):
        read(packed[: int(len(packed) * place)])


def test_a_wrong_checksum() -> None:
    """All bytes are there, but the sum at the end differs."""
    packed = bytearray(gzip.compress(made()))
    packed[-6] ^= 1
    with pytest.raises(DataError, match="damaged gzip"):
        read(bytes(packed))


# --- files that vanish ------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [True, False])
def test_a_file_that_was_cut_after_it_was_listed(tmp_path: Path, mmap: bool) -> None:
    """The blob's size is a promise; pages that are not there are never mapped."""
    path = tmp_path / "x.nii"
    path.write_bytes(made()[:400])
    blob = FileBlob("x.nii", str(path), len(made()))
    with pytest.raises((DataError, TransportError), match=r"x\.nii"):
        FORMAT.read("x.nii", {"x.nii": blob}, memory=1 << 20, options={"mmap": mmap})


# --- gradients --------------------------------------------------------------------------------

BVEC = b"1 0\n0 1\n0 0\n"


@pytest.mark.parametrize(
    ("bval", "bvec", "told"),
    [
        (b"0 1 2", BVEC, "3 b values for 2 volumes"),
        (b"", BVEC, "no numbers"),
        (b"0 x", BVEC, "something else"),
        (b"0,1", BVEC, "with blanks between"),
        (b"0 1_0", BVEC, "something else"),
        (b"0 \xff", BVEC, "something else"),
        (b"0 nan", BVEC, "not finite"),
        (b"0 -5", BVEC, "zero or more"),
        (b"0 1", b"1 0\n0 1\n", "2 rows"),
        (b"0 1", b"1 0\n0 1\n0\n", "3 rows"),
        (b"0 1", b"1 0\n0 1\n0 inf\n", "not finite"),
    ],
)
def test_gradients_that_do_not_fit(bval: bytes, bvec: bytes, told: str) -> None:
    """Each is named with what is wrong."""
    with pytest.raises(DataError, match=told) as caught:
        read(made(), bval=bval, bvec=bvec)
    assert str(caught.value).startswith(("x.bval", "x.bvec"))


def test_gradients_as_some_write_them() -> None:
    """Lines may end as in Windows or on old Macs, a mark come first, nan stand where b is 0."""
    plain = read(made(), bval=b"0 1", bvec=b"0 0\n0 1\n0 0\n")
    assert plain.bvectors is not None
    others = [
        (b"\xef\xbb\xbf0 1\r\n", b"nan 0\r\nnan 1\r\nnan 0\r\n"),
        (b"0\r1\r", b"0 0 0\r0 1 0\r"),
    ]
    for bval, bvec in others:
        with np.errstate(all="raise"):
            found = read(made(), bval=bval, bvec=bvec)
        assert found.bvectors is not None
        np.testing.assert_array_equal(found.bvectors, plain.bvectors)


def test_gradients_of_a_mere_spacing() -> None:
    """Directions along axes that nobody knows are left out, and a note says so."""
    image = read(made(sform_code=0, qform_code=0), bval=b"0 1", bvec=BVEC)
    assert image.bvectors is None
    assert any("x.bvec" in note for note in image.notes)


def test_a_huge_list_of_gradients() -> None:
    """It is refused before it is read."""
    with pytest.raises(TooLargeError, match="no list of gradients"):
        read(made(), bval=bytes(9 << 20))


def test_gradients_of_several_dimensions() -> None:
    """A .bval belongs to one dimension of volumes."""
    image = NIBABEL.Nifti1Image(np.zeros((4, 3, 2, 2, 2), np.uint8), np.eye(4))
    with pytest.raises(DataError, match="more than one dimension"):
        read(image.to_bytes(), bval=b"0 1 2 3")


# --- anything at all --------------------------------------------------------------------------


PLAIN = {version: made(version) for version in (1, 2)}


@settings(max_examples=150)
@given(
    st.sampled_from([1, 2]),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 560), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(0, 700),
)
def test_mutated_files(
    version: int, packed: bool, changes: list[tuple[int, bytes]], end: int
) -> None:
    """Changed and cut anywhere, a file is read within the limit or refused with our errors."""
    data = bytearray(PLAIN[version])
    for place, new in changes:
        data[place : place + len(new)] = new
    file = bytes(data if end > 600 else data[:end])
    file = gzip.compress(file) if packed else file
    FORMAT.claims("x.nii", file[:1024])
    FORMAT.companions("x.nii", file[:1024])
    try:
        image = read(file, memory=1 << 16, bval=b"0 1000", bvec=BVEC)
    except SeriesIOError:
        return
    assert image.array.nbytes <= 1 << 16
    assert image.affine is None or np.isfinite(image.affine).all()


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4))
def test_mutated_gzip(changes: list[tuple[int, int]]) -> None:
    """Damage in the packed bytes is found or does no harm."""
    data = bytearray(gzip.compress(made()))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        read(bytes(data), memory=1 << 16)
    except SeriesIOError:
        return


@settings(max_examples=100)
@given(st.binary(max_size=40), st.text("0123456789 .-e\n\t", max_size=60))
def test_any_gradients(bval: bytes, bvec: str) -> None:
    """Whatever lies beside a file, errors are ours."""
    for values in (bval, bvec.encode(), b"0 1"):
        try:
            read(made(), bval=values, bvec=bvec.encode())
        except SeriesIOError:
            continue
