"""Phantoms against pydicom, SimpleITK, dcm2niix, dcmdump, and formulas written out by hand."""

from __future__ import annotations

import math
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

from seriesio.errors import EncodeError, MissingDependencyError
from seriesio.testing import Phantom, phantom

Array = NDArray[Any]
itk: Any = SimpleITK  # has no type hints
IMAGE = ("slice", "row", "column")
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, -0.8)
NATIVE = (
    uids.ImplicitVRLittleEndian,
    uids.ExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
    uids.DeflatedExplicitVRLittleEndian,
)
GREY: dict[str, dict[str, Any]] = {
    "1": {"bits_allocated": 1},
    "8": {"bits_allocated": 8},
    "8 signed": {"bits_allocated": 8, "signed": True},
    "12 of 16": {},
    "12 of 16 signed": {"signed": True},
    "16": {"bits_stored": 16},
    "16 signed": {"bits_stored": 16, "signed": True},
    "32": {"bits_allocated": 32},
    "32 signed": {"bits_allocated": 32, "signed": True},
    "float": {"kind": "float"},
    "double": {"kind": "double"},
    "MONOCHROME1": {"photometric": "MONOCHROME1"},
}
COLOR: dict[str, dict[str, Any]] = {
    "RGB": {"photometric": "RGB"},
    "RGB planar": {"photometric": "RGB", "planar_configuration": 1},
    "YBR_FULL": {"photometric": "YBR_FULL"},
    "YBR_FULL_422": {"photometric": "YBR_FULL_422"},
    "PALETTE COLOR": {"photometric": "PALETTE COLOR"},
}
KINDS = GREY | COLOR


def sorted_frames(made: Phantom) -> Array:
    """Stored values as pydicom reads them, put into sorted order by hand."""
    frames: dict[int, Array] = {}
    for dataset, indices in zip(made.datasets(), made.instances, strict=True):
        pixels = read_pixels(dataset)
        stack = pixels if len(indices) > 1 else pixels[None]
        frames.update(zip(indices, stack, strict=True))
    return np.stack([frames[index] for index in sorted(frames)]).reshape(made.stored.shape)


def read_pixels(dataset: Dataset) -> Array:
    """By pydicom; what it has no decoder for, by imagecodecs from pydicom's frames."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or pydicom_decodes(syntax):
        return pixel_array(dataset, raw=True)
    imagecodecs = pytest.importorskip("imagecodecs")
    decode = {
        "1.2.840.10008.1.2.4.5": imagecodecs.jpeg8_decode,
        "1.2.840.10008.1.2.4.7": imagecodecs.jpeg8_decode,
        "1.2.840.10008.1.2.4.8": imagecodecs.jpegls_decode,
        "1.2.840.10008.1.2.4.9": imagecodecs.jpeg2k_decode,
        "1.2.840.10008.1.2.4.2": imagecodecs.jpeg2k_decode,  # OpenJPEG, which did not encode it
    }[str(syntax)[:21]]
    count = int(dataset.get("NumberOfFrames", 1))
    frames = generate_frames(dataset.PixelData, number_of_frames=count)
    pixels = np.squeeze(np.stack([decode(frame) for frame in frames]))
    signed = bool(dataset.PixelRepresentation) and pixels.dtype.kind == "u"
    return sign_extended(pixels, dataset.BitsStored) if signed else np.asarray(pixels)


def pydicom_decodes(syntax: uids.UID) -> bool:
    plugins = set(get_decoder(syntax).available_plugins)
    if syntax == uids.JPEGExtended12Bit:
        plugins -= {"pillow"}  # 8 bits only
    return bool(plugins)


def sign_extended(pixels: Array, bits: int) -> Array:
    wide = pixels.astype(np.int64) & ((1 << bits) - 1)
    return np.where(wide >> (bits - 1), wide - (1 << bits), wide).astype(f"i{pixels.itemsize}")


def same_pixels(made: Phantom) -> None:
    read = sorted_frames(made)
    assert read.shape == made.stored.shape
    assert np.abs(read.astype(np.float64) - made.stored).max() <= made.tolerance


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_native_pixels(kind: str, syntax: str) -> None:
    """Every native transfer syntax and kind of pixel is read back by pydicom as stored."""
    made = phantom((3, 11, 14), transfer_syntax=syntax, **KINDS[kind])
    same_pixels(made)
    assert np.array_equal(sorted_frames(made), made.stored)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["multiframe", "enhanced"])
def test_native_frames(kind: str, form: str) -> None:
    """Several frames in one object, single bits that do not end on bytes among them."""
    changes: dict[str, Any] = {form: True, "shuffle": 3 if form == "enhanced" else None}
    made = phantom((5, 11, 14), **changes, **KINDS[kind])
    assert len(made.names) == 1
    assert np.array_equal(sorted_frames(made), made.stored)


LOSSLESS = {
    uids.RLELossless: [*KINDS.keys() - {"1", "float", "double", "YBR_FULL_422"}],
    uids.JPEGLossless: ["8", "12 of 16", "16", "12 of 16 signed", "RGB", "PALETTE COLOR"],
    uids.JPEGLosslessSV1: ["8", "8 signed", "12 of 16", "16", "12 of 16 signed", "RGB"],
    uids.JPEGLSLossless: ["8", "8 signed", "12 of 16", "16", "16 signed", "RGB"],
    uids.JPEG2000Lossless: ["8", "8 signed", "12 of 16", "12 of 16 signed", "16", "RGB"],
    uids.HTJ2KLossless: ["8", "12 of 16", "12 of 16 signed", "16", "RGB", "MONOCHROME1"],
    uids.HTJ2KLosslessRPCL: ["8", "12 of 16", "16 signed", "RGB"],
}
LOSSY = {
    uids.JPEGBaseline8Bit: ["8", "RGB", "YBR_FULL", "YBR_FULL_422"],
    uids.JPEGExtended12Bit: ["12 of 16"],
    uids.JPEGLSNearLossless: ["8", "12 of 16", "RGB"],
    uids.JPEG2000: ["8", "12 of 16", "12 of 16 signed", "RGB"],
    uids.HTJ2K: ["8", "12 of 16", "RGB"],
}
CASES = [
    pytest.param(syntax, kind, id=f"{syntax.name}-{kind}")
    for syntax, kinds in (LOSSLESS | LOSSY).items()
    for kind in sorted(kinds)
]


@pytest.mark.parametrize(("syntax", "kind"), CASES)
def test_compressed_pixels(syntax: uids.UID, kind: str) -> None:
    """Every compressed transfer syntax decodes to what was stored, or near it if lossy."""
    made = phantom((2, 48, 40), transfer_syntax=syntax, **KINDS[kind])
    assert (made.tolerance == 0) == (syntax in LOSSLESS)
    same_pixels(made)


@pytest.mark.parametrize(
    ("syntax", "photometric"),
    [
        (uids.JPEG2000Lossless, "YBR_RCT"),
        (uids.JPEG2000, "YBR_ICT"),
        (uids.HTJ2KLossless, "YBR_RCT"),
    ],
)
def test_colour_transform_inside_jpeg_2000(syntax: uids.UID, photometric: str) -> None:
    """The decoder undoes JPEG 2000's own colour transform: stored is RGB."""
    made = phantom((2, 48, 40), transfer_syntax=syntax, photometric=photometric)
    rgb = phantom((2, 48, 40), photometric="RGB")
    assert made.datasets()[0].PhotometricInterpretation == photometric
    assert np.array_equal(made.array, rgb.array)
    same_pixels(made)


def test_rle_without_imagecodecs(monkeypatch: pytest.MonkeyPatch) -> None:
    """RLE needs no extra: pydicom's encoder takes over and gives the same values."""
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    same_pixels(phantom((2, 12, 10), transfer_syntax=uids.RLELossless))


def test_missing_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without imagecodecs the error says at once what to install for which transfer syntax."""
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(MissingDependencyError, match=r"JPEG-LS.*seriesio\[codecs\]"):
        phantom((2, 12, 10), transfer_syntax=uids.JPEGLSLossless)


def test_equal_calls_give_equal_bytes(tmp_path: Path) -> None:
    """Files, UIDs and zip files depend on nothing but the arguments."""
    first, second = (phantom((3, 12, 10), shuffle=1, header_elements=30) for _ in range(2))
    assert first.files() == second.files()
    zips = [made.save_zip(tmp_path / f"{i}.zip") for i, made in enumerate([first, second])]
    assert zips[0].read_bytes() == zips[1].read_bytes()


def test_unequal_calls_give_unequal_series() -> None:
    """Another shape, seed or number is another series; the study follows the seed."""
    made = [
        phantom((3, 12, 10)),
        phantom((3, 12, 11)),
        phantom((3, 12, 10), series_number=2),
        phantom((3, 12, 10), seed=1),
    ]
    first = [one.datasets()[0] for one in made]
    assert len({dataset.SeriesInstanceUID for dataset in first}) == 4
    assert [one.series_uid for one in made] == [dataset.SeriesInstanceUID for dataset in first]
    assert len({dataset.StudyInstanceUID for dataset in first}) == 2
    assert all(uids.UID(d.SOPInstanceUID).is_valid for one in made for d in one.datasets())


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_slices_are_equal(kind: str) -> None:
    """Noise makes every slice and time step its own."""
    made = phantom((2, 20, 16, 16), **KINDS[kind])
    assert len({frame.tobytes() for frame in made.stored.reshape(40, -1)}) == 40


def test_picture_is_a_head() -> None:
    """Dark air outside, a bright skull around, grey matter within; a lesion grows brighter."""
    made = phantom((3, 4, 100, 100), axes=("time", *IMAGE))
    slice_ = made.array[0, 2].astype(float)
    air, skull, brain = slice_[:3].mean(), slice_[20:80].max(axis=1).mean(), slice_[25, 50]
    assert air < 0.1 * skull
    assert 0.3 * skull < brain < 0.6 * skull
    lesion = made.array[:, 2, 61, 68].astype(float)
    assert list(lesion) == sorted(lesion)
    assert lesion[-1] > 1.1 * lesion[0]


@pytest.mark.parametrize(
    ("changes", "dtype"),
    [
        ({}, "u2"),
        ({"intercept": -1024}, "i2"),
        ({"intercept": -1024, "bits_stored": 16}, "i4"),
        ({"slope": 3, "bits_allocated": 8}, "u2"),
        ({"slope": -1, "signed": True}, "i2"),
        ({"slope": 0.25, "intercept": -3}, "f4"),
        ({"slope": [1.5, 2.5, 1 / 3], "modality": "PT"}, "f4"),
        ({"intercept": -5, "bits_allocated": 32}, "i8"),
    ],
)
def test_values_after_rescale(changes: dict[str, Any], dtype: str) -> None:
    """array = stored x slope + intercept per slice, with what the headers say."""
    made = phantom((3, 12, 10), **changes)
    expected = [
        dataset.pixel_array.astype(np.float64) * float(dataset.RescaleSlope)
        + float(dataset.RescaleIntercept)
        for dataset in made.datasets()
    ]
    assert made.array.dtype == np.dtype(dtype)
    np.testing.assert_allclose(made.array, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", COLOR)
def test_colours_as_pydicom_shows_them(kind: str) -> None:
    """array is RGB, whatever is stored; palettes have entries of 16 bits."""
    made = phantom((2, 12, 10), **COLOR[kind])
    assert made.array.shape == (2, 12, 10, 3)
    if kind == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        shown = [apply_color_lut(d.pixel_array, d) for d in made.datasets()]
    else:
        shown = [pixel_array(dataset) for dataset in made.datasets()]
    assert np.array_equal(made.array, shown)
    assert made.array.std() > 10


@pytest.mark.parametrize("tilt", [0.0, 18.5, -30.0])
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE])
def test_positions_by_hand(tilt: float, orientation: tuple[float, ...]) -> None:
    """Slices follow the normal and, with a tilt, drift against the column direction."""
    made = phantom(
        (4, 6, 5),
        spacing=(2.5, 0.7, 0.6),
        orientation=orientation,
        position=(-10, 20, 3),
        tilt=tilt,
    )
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    for index, dataset in enumerate(made.datasets()):
        drift = -index * 2.5 * math.tan(math.radians(tilt))
        expected = np.array([-10, 20, 3]) + index * 2.5 * normal + drift * column
        np.testing.assert_allclose(dataset.ImagePositionPatient, expected, atol=1e-9)
        np.testing.assert_allclose(dataset.ImageOrientationPatient, orientation, atol=1e-9)
        corner = made.affine @ [4, 5, index, 1]
        np.testing.assert_allclose(corner[:3], expected + 4 * 0.6 * row + 5 * 0.7 * column)
    assert [float(x) for x in made.datasets()[0].PixelSpacing] == [0.7, 0.6]


def test_tilted_gantry_with_level_table() -> None:
    """A real CT: planes lean by 18.5 degrees, the table moves along z alone."""
    angle = math.radians(18.5)
    lean = (1, 0, 0, 0, math.cos(angle), -math.sin(angle))
    made = phantom((3, 6, 5), spacing=(4 * math.cos(angle), 1, 1), orientation=lean, tilt=18.5)
    places = np.array([d.ImagePositionPatient for d in made.datasets()], float)
    np.testing.assert_allclose(np.diff(places, axis=0), [[0, 0, 4]] * 2, atol=1e-9)
    assert float(made.datasets()[0].GantryDetectorTilt) == 18.5


def test_centre_is_at_the_origin() -> None:
    """Without a position the middle of the volume is (0, 0, 0)."""
    made = phantom((5, 6, 7), orientation=OBLIQUE)
    np.testing.assert_allclose((made.affine @ [3, 2.5, 2, 1])[:3], 0, atol=1e-9)


@pytest.mark.parametrize(
    ("axis", "keyword", "expected"),
    [
        ("time", "AcquisitionTime", ["120000", "120002.5", "120005"]),
        ("time", "ContentTime", ["120000", "120002.5", "120005"]),
        ("time", "TemporalPositionIdentifier", [1, 2, 3]),
        ("time", "AcquisitionNumber", [1, 2, 3]),
        ("b", "DiffusionBValue", [0.0, 500.0, 1000.0]),
        ("te", "EchoTime", [4.6, 9.2, 13.8]),
        ("te", "EchoNumbers", [1, 2, 3]),
        ("fa", "FlipAngle", [5, 15, 25]),
        ("triggertime", "TriggerTime", [0, 62.5, 125]),
        ("ti", "InversionTime", [100, 350, 600]),
        ("tr", "RepetitionTime", [500, 1250, 2000]),
    ],
)
def test_further_axes_in_classic_headers(axis: str, keyword: str, expected: list[object]) -> None:
    """Each further axis shows in its attributes, equal for all slices of a step."""
    made = phantom((3, 2, 6, 5), axes=(axis, *IMAGE))
    values = [dataset[keyword].value for dataset in made.datasets()]
    want = [value for value in expected for _ in range(2)]
    assert values == pytest.approx(want) if isinstance(expected[0], float) else values == want


def test_values_of_two_further_axes() -> None:
    """Given values are used; the last further axis runs fastest."""
    made = phantom(
        (2, 2, 1, 6, 5), axes=("time", "b", *IMAGE), values={"b": [50, 800], "time": [0, 61.25]}
    )
    found = [(d.AcquisitionTime, d.DiffusionBValue) for d in made.datasets()]
    assert found == [("120000", 50), ("120000", 800), ("120101.25", 50), ("120101.25", 800)]
    assert made.values == {"time": (0, 61.25), "b": (50, 800)}
    assert made.datasets()[0].Modality == "MR"


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
@pytest.mark.parametrize("form", [True, "per-volume"])
def test_enhanced_frames(modality: Any, form: Any) -> None:
    """Positions, stack places and time steps belong to the frames, in whatever order."""
    made = phantom(
        (3, 4, 9, 8), enhanced=form, modality=modality, shuffle=5, orientation=OBLIQUE, slope=2.0
    )
    datasets = made.datasets()
    assert len(datasets) == (1 if form is True else 3)
    assert any(list(frames) != sorted(frames) for frames in made.instances)
    for dataset, frames in zip(datasets, made.instances, strict=True):
        groups = dataset.PerFrameFunctionalGroupsSequence
        assert dataset.NumberOfFrames == len(frames) == len(groups)
        for group, frame, pixels in zip(groups, frames, dataset.pixel_array, strict=True):
            step, place = divmod(frame, 4)
            content = group.FrameContentSequence[0]
            position = group.PlanePositionSequence[0].ImagePositionPatient
            np.testing.assert_allclose(position, made.affine[:3] @ [0, 0, place, 1], atol=1e-9)
            assert (content.TemporalPositionIndex, content.InStackPositionNumber) == (
                step + 1,
                place + 1,
            )
            assert content.DimensionIndexValues == [1, step + 1, place + 1]
            assert np.array_equal(pixels, made.stored[step, place])
        shared = dataset.SharedFunctionalGroupsSequence[0]
        assert shared.PixelValueTransformationSequence[0].RescaleSlope == 2
        orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        np.testing.assert_allclose(orientation, OBLIQUE, atol=1e-9)
        assert "ImagePositionPatient" not in dataset


@pytest.mark.parametrize(
    ("axis", "path"),
    [
        ("b", "MRDiffusionSequence.DiffusionBValue"),
        ("te", "MREchoSequence.EffectiveEchoTime"),
        ("fa", "MRTimingAndRelatedParametersSequence.FlipAngle"),
        ("tr", "MRTimingAndRelatedParametersSequence.RepetitionTime"),
        ("ti", "MRModifierSequence.InversionTimes"),
        ("triggertime", "CardiacSynchronizationSequence.NominalCardiacTriggerDelayTime"),
    ],
)
def test_further_axes_in_enhanced_objects(axis: str, path: str) -> None:
    """Each further axis is in its functional group and is a dimension of the object."""
    made = phantom((3, 2, 6, 5), axes=(axis, *IMAGE), enhanced=True)
    dataset = made.datasets()[0]
    sequence, keyword = path.split(".")
    found = [
        float(np.squeeze(group[sequence][0][keyword].value))
        for group in dataset.PerFrameFunctionalGroupsSequence
    ]
    assert found == pytest.approx([value for value in made.values[axis] for _ in range(2)])
    assert dataset.DimensionIndexSequence[1].DimensionIndexPointer == (
        dataset.PerFrameFunctionalGroupsSequence[0][sequence][0][keyword].tag
    )
    assert sequence not in dataset.SharedFunctionalGroupsSequence[0]


def test_enhanced_rescale_per_frame() -> None:
    """Slopes that differ are put into the frames' own groups."""
    made = phantom((3, 6, 5), enhanced=True, modality="PT", slope=[1.5, 2.5, 3.5], shuffle=1)
    groups = made.datasets()[0].PerFrameFunctionalGroupsSequence
    found = [float(group.PixelValueTransformationSequence[0].RescaleSlope) for group in groups]
    assert found == [[1.5, 2.5, 3.5][frame] for frame in made.instances[0]]


@pytest.mark.parametrize(
    ("count", "size"), [(0, 0), (1, 0), (30, 0), (140, 140_000), (140, 20_000), (600, 50_000)]
)
def test_padding_of_headers(count: int, size: int) -> None:
    """So many private elements, of about so many bytes, in every header."""
    shape = (3, 6, 5)
    plain, padded = (
        phantom(shape),
        phantom(shape, header_elements=count, header_bytes=size),
    )
    for bare, long in zip(plain.datasets(), padded.datasets(), strict=True):
        private = [element for element in long if element.tag.is_private]
        assert len(private) == count
        assert len(long) - len(bare) == count
    for bare_file, long_file in zip(plain.files().values(), padded.files().values(), strict=True):
        grown = len(long_file) - len(bare_file)
        assert grown == pytest.approx(size, rel=0.02) if size else grown >= 8 * count


def test_padding_is_realistic() -> None:
    """Every private block has its creator, many VRs occur, and lengths differ between files."""
    datasets = phantom((12, 6, 5), header_elements=140, header_bytes=140_000).datasets()
    private = [element for element in datasets[0] if element.tag.is_private]
    for element in private:
        if element.tag.element > 0xFF:
            assert (element.tag.group, element.tag.element >> 8) in datasets[0]
    assert len({element.VR for element in private}) >= 15
    lengths = {tuple(len(str(e.value)) for e in d if e.tag.is_private) for d in datasets}
    assert len(lengths) > 5


def test_shuffle_changes_the_order_of_names_alone() -> None:
    """The same instances under other names; names stay with their instances."""
    plain, shuffled = phantom((9, 6, 5)), phantom((9, 6, 5), shuffle=4)
    assert sorted(shuffled.names) == list(plain.names) == list(shuffled.files())
    assert shuffled.names != plain.names
    for index, name in enumerate(shuffled.names):
        dataset = dcmread(BytesIO(shuffled.files()[name]))
        assert dataset.InstanceNumber == index + 1
        assert np.array_equal(dataset.pixel_array, shuffled.stored[index])


def test_without_some_slices() -> None:
    """Missing instances are gone from the files; those left are byte for byte the same."""
    whole = phantom((5, 6, 5), shuffle=1)
    rest = whole.without([1, -1])
    assert rest.names == tuple(np.array(whole.names)[[0, 2, 3]])
    assert rest.files() == {name: whole.files()[name] for name in sorted(rest.names)}
    assert rest.array is whole.array
    with pytest.raises(IndexError):
        whole.without([5])


def test_saved_files(tmp_path: Path) -> None:
    """A directory and zip files hold just the bytes of files()."""
    made = phantom((3, 6, 5))
    folder = made.save(tmp_path / "new" / "series")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == made.files()
    made.save_zip(tmp_path / "a.zip")
    made.save_zip(tmp_path / "b.zip", zipfile.ZIP_STORED, folder="time/0")
    for name, prefix in (("a.zip", ""), ("b.zip", "time/0/")):
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert {n: archive.read(n) for n in archive.namelist()} == {
                prefix + n: data for n, data in made.files().items()
            }


@pytest.mark.parametrize("syntax", NATIVE[:3], ids=lambda uid: uid.name)
def test_bare_datasets(syntax: uids.UID) -> None:
    """Without preamble: the same elements, and neither preamble nor file meta before them."""
    bare = phantom((2, 6, 5), transfer_syntax=syntax, preamble=False)
    whole = phantom((2, 6, 5), transfer_syntax=syntax)
    order = "<" if syntax.is_little_endian else ">"
    for short, long in zip(bare.files().values(), whole.files().values(), strict=True):
        assert short[:4] == np.array([8, 5], order + "u2").tobytes()
        elements = dcmread(BytesIO(short), force=True)
        elements.SeriesInstanceUID = dcmread(BytesIO(long)).SeriesInstanceUID
        elements.SOPInstanceUID = dcmread(BytesIO(long)).SOPInstanceUID
        assert elements == dcmread(BytesIO(long))


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
@pytest.mark.parametrize("enhanced", [False, True])
def test_pydicom_writes_the_same_bytes(syntax: str, enhanced: bool) -> None:
    """A file read and written again by pydicom is the same: order, lengths, padding, meta."""
    made = phantom(
        (2, 2, 7, 5),
        transfer_syntax=syntax,
        enhanced=enhanced,
        header_elements=40,
        header_bytes=5000,
    )
    for data in made.files().values():
        dataset = dcmread(BytesIO(data))
        for element in dataset.iterall():  # decoded, so that pydicom has to encode anew
            assert element.VR != "UN" or element.tag.is_private or element.is_undefined_length
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        assert buffer.getvalue() == data


def test_fresh_datasets() -> None:
    """Changing what datasets() gave changes nothing else."""
    made = phantom((2, 6, 5))
    made.datasets()[0].SeriesNumber = 99
    assert made.datasets()[0].SeriesNumber == made.datasets()[1].SeriesNumber == 1


WRONG: list[dict[str, Any]] = [
    {"shape": (3, 4)},
    {"shape": (0, 4, 4)},
    {"axes": ("row", "slice", "column")},
    {"shape": (2, 2, 4, 4), "axes": ("colour", *IMAGE)},
    {"shape": (2, 2, 2, 4, 4), "axes": ("time", "time", *IMAGE)},
    {"spacing": (1, 1)},
    {"spacing": (0, 1, 1)},
    {"orientation": (1, 0, 0, 0.5, 0.5, 0)},
    {"orientation": (1, 0, 0)},
    {"position": (1, 2)},
    {"tilt": 80},
    {"bits_allocated": 12},
    {"bits_stored": 17},
    {"bits_allocated": 1, "signed": True},
    {"photometric": "ARGB"},
    {"photometric": "RGB", "bits_allocated": 16},
    {"photometric": "RGB", "slope": 2},
    {"photometric": "YBR_RCT"},
    {"photometric": "YBR_FULL_422", "shape": (2, 4, 5)},
    {"kind": "float", "intercept": 1},
    {"slope": [1, 2]},
    {"modality": "US"},
    {"enhanced": True, "multiframe": True},
    {"multiframe": True, "slope": [1, 2, 3]},
    {"header_bytes": -1},
    {"series_description": "x" * 65},
    {"series_description": "Ω"},
    {"values": {"time": [1]}, "shape": (2, 3, 4, 4)},
    {"transfer_syntax": "1.2.3"},
    {"transfer_syntax": uids.MPEG2MPML},
    {"transfer_syntax": uids.JPEGBaseline8Bit},
    {"transfer_syntax": uids.JPEG2000Lossless, "bits_allocated": 32},
    {"transfer_syntax": uids.RLELossless, "preamble": False},
    {"transfer_syntax": uids.JPEGLSNearLossless, "signed": True},
    {"transfer_syntax": uids.JPEG2000, "photometric": "YBR_RCT"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_contradictions(wrong: dict[str, Any]) -> None:
    """What DICOM or the arguments themselves forbid is refused before anything is made."""
    with pytest.raises(EncodeError):
        phantom(**({"shape": (3, 4, 4)} | wrong))


AFFINES: dict[str, dict[str, Any]] = {
    "axial": {"modality": "CT", "intercept": -1024, "header_elements": 60},
    "oblique": {"modality": "MR", "orientation": OBLIQUE, "position": (12.5, -40.25, 7)},
    "sagittal": {"modality": "MR", "orientation": (0, 1, 0, 0, 0, -1), "shuffle": 2},
    "coronal": {"modality": "PT", "orientation": (1, 0, 0, 0, 0, -1), "slope": [0.5] * 7},
}


@pytest.mark.parametrize("kind", AFFINES)
def test_simpleitk_agrees(kind: str, tmp_path: Path) -> None:
    """SimpleITK's series reader finds the same voxels, spacing and place."""
    made = phantom((7, 20, 16), spacing=(2.5, 0.75, 1.25), **AFFINES[kind])
    image = read_simpleitk(made.save(tmp_path))
    np.testing.assert_allclose(itk.GetArrayFromImage(image), made.array, rtol=1e-6)
    assert image.GetSpacing()[::-1] == pytest.approx(made.spacing)
    np.testing.assert_allclose(affine_of(image), made.affine, atol=1e-6)


def read_simpleitk(folder: Path) -> Any:
    reader: Any = itk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def affine_of(image: Any) -> Array:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return affine


def run_dcm2niix(program: str, made: Phantom, folder: Path) -> tuple[Array, Array]:
    """Voxels (time, slice, row, column) and affine (LPS), turned to the phantom's axes."""
    source, target = made.save(folder / "dicom"), folder / "nifti"
    target.mkdir()
    command = [program, "-z", "n", "-b", "n", "-f", "out", "-o", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    [path] = target.glob("*.nii")
    image = nib.nifti1.Nifti1Image.from_bytes(path.read_bytes())
    data, affine = image.get_fdata(), np.diag([-1, -1, 1, 1]) @ np.asarray(image.affine)
    for axis in range(3):  # dcm2niix may turn an axis over: ends swap, steps change sign
        if affine[:3, axis] @ made.affine[:3, axis] < 0:
            affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
            affine[:3, axis] *= -1
            data = np.flip(data, axis)
    return data.T, affine


@pytest.mark.parametrize("kind", AFFINES)
def test_dcm2niix_agrees(kind: str, tmp_path: Path, tool: Callable[[str], str]) -> None:
    """dcm2niix finds the same voxels and affine."""
    made = phantom((7, 20, 16), spacing=(2.5, 0.75, 1.25), **AFFINES[kind])
    data, affine = run_dcm2niix(tool("dcm2niix"), made, tmp_path)
    np.testing.assert_allclose(data, made.array, rtol=1e-6)
    np.testing.assert_allclose(affine, made.affine, atol=1e-4)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE])
def test_dcm2niix_agrees_on_time(
    orientation: tuple[float, ...], tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """Four axes: dcm2niix makes one volume per time step, in the same order."""
    made = phantom((4, 5, 20, 16), modality="MR", orientation=orientation)
    data, affine = run_dcm2niix(tool("dcm2niix"), made, tmp_path)
    assert np.array_equal(data, made.array)
    np.testing.assert_allclose(affine, made.affine, atol=1e-4)


@pytest.mark.parametrize("shuffle", [None, 3])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_dcm2niix_agrees_on_enhanced_objects(
    modality: Any, shuffle: int | None, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """dcm2niix sorts the frames of an enhanced object into the same volume."""
    made = phantom(
        (7, 20, 16), enhanced=True, modality=modality, orientation=OBLIQUE, shuffle=shuffle
    )
    data, affine = run_dcm2niix(tool("dcm2niix"), made, tmp_path)
    assert np.array_equal(data, made.array)
    np.testing.assert_allclose(affine, made.affine, atol=1e-4)


ALL_SYNTAXES = [*NATIVE, *LOSSLESS, uids.JPEGLSNearLossless, uids.JPEG2000]


@pytest.mark.parametrize("syntax", ALL_SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("form", [{}, {"multiframe": True}, {"enhanced": True}], ids=str)
def test_dcmdump_reads_all(
    form: dict[str, Any], syntax: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """DCMTK reads every kind of file to its end, without a warning."""
    made = phantom(
        (2, 16, 12), transfer_syntax=syntax, header_elements=50, header_bytes=4000, **form
    )
    paths = sorted(str(path) for path in made.save(tmp_path).iterdir())
    command = [tool("dcmdump"), "-q", "-M", *paths]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    verbose = subprocess.run(
        [tool("dcmdump"), *paths], capture_output=True, check=False, timeout=60
    )
    assert verbose.stderr == b""
