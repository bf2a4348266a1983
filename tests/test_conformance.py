"""What is written conforms: the oracle is dciodvfy (dicom3tools), which knows the IODs' modules.

dicom-validator would need the standard's text out of the network. What is checked without any
program stands in the second half: the links from computed instances to their sources.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from seriesio import Series
from seriesio.testing import phantom

Tool = Callable[[str], str]
Operation = Callable[[Series], Any]

KINDS: dict[str, dict[str, Any]] = {
    "ct": {"modality": "CT"},
    "mr": {"modality": "MR"},
    "pet": {"modality": "PT", "slope": [0.5, 0.25, 1.75], "bits_stored": 16},
    "rgb": {"photometric": "RGB"},
    "rgb-multiframe": {"photometric": "RGB", "multiframe": True},
    "ct-enhanced": {"modality": "CT", "enhanced": True},
    "mr-enhanced": {"modality": "MR", "enhanced": True, "shape": (2, 3, 10, 12)},
}


def changed(series: Series) -> Series:
    series.seriesDescription = "changed"
    return series


GENERAL: dict[str, Operation] = {
    "unchanged": lambda series: series,
    "changed": changed,
    "whole-numbers": lambda series: np.add(series, 3, dtype=series.dtype),
    "fractions": lambda series: series * 0.37,
    "sliced": lambda series: series[..., 1:, :, :] if series.axes[-1].name != "rgb" else series[1:],
}
GRAY: dict[str, Operation] = {
    "negative": lambda series: np.subtract(series, 3000, dtype=np.int32, casting="unsafe"),
    "mask": lambda series: series > 100,
    "cropped": lambda series: series[..., 2:6, 3:9],
    "one": lambda series: series[..., 0, :, :],
}
CASES = [
    (kind, name)
    for kind in KINDS
    for name in (GENERAL if "rgb" in kind else GENERAL | GRAY)
    if (kind, name) != ("rgb-multiframe", "sliced")  # its frames have no place of their own
]


def complaints(tool: Tool, folder: Path) -> set[str]:
    """The errors that dciodvfy finds in the first two files; values in them left out."""
    first = [path.read_bytes() for path in sorted(folder.iterdir())[:2]]
    return set().union(*(errors_of(tool("dciodvfy"), data) for data in first))


@cache
def errors_of(dciodvfy: str, data: bytes) -> frozenset[str]:
    """Of one file; of the same bytes, which many tests start from, asked once."""
    with NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        result = subprocess.run([dciodvfy, "-new", file.name], capture_output=True, check=False)
    lines = (result.stdout + result.stderr).decode("latin-1").splitlines()
    return frozenset(line.split(" = <")[0] for line in lines if line.startswith("Error"))


@pytest.mark.filterwarnings("ignore:whole numbers from:UserWarning")  # PET has 16 bits
@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.filterwarnings("ignore:whole numbers")  # of PET, that need more than 16 bits
async def test_no_new_errors(kind: str, name: str, tmp_path: Path, tool: Tool) -> None:
    """What is written has no error that its source does not have; plain sources have none."""
    options = dict(KINDS[kind])
    source = phantom(options.pop("shape", (3, 10, 12)), **options).save(tmp_path / "source")
    before = complaints(tool, source)
    assert "enhanced" in kind or not before  # the phantom's enhanced objects lack some macros
    made = (GENERAL | GRAY)[name](await Series.open(source))
    await made.write(tmp_path / "new")
    assert complaints(tool, tmp_path / "new") <= before


@pytest.mark.parametrize("kind", ["ct", "mr", "pet", "mr-enhanced"])
async def test_anonymized(kind: str, tmp_path: Path, tool: Tool) -> None:
    """Nothing that the IOD needs is gone from an anonymized series."""
    pytest.importorskip("dicomanonymizer")
    options = dict(KINDS[kind])
    source = phantom(options.pop("shape", (3, 10, 12)), **options).save(tmp_path / "source")
    await (await (await Series.open(source)).anonymize()).write(tmp_path / "new")
    assert complaints(tool, tmp_path / "new") <= complaints(tool, source)


@pytest.mark.corpus
@pytest.mark.parametrize("folder", ["ct_gantry_tilt", "mr_enhanced", "mr_dynamic"])
async def test_real_series(folder: str, corpus: Path, tmp_path: Path, tool: Tool) -> None:
    """Computed from real series, headers are no worse than the scanner's."""
    series = await Series.open(corpus / folder)
    await series.write(tmp_path / "same")
    await (series * 0.5).write(tmp_path / "new")
    new = complaints(tool, tmp_path / "new") - complaints(tool, tmp_path / "same")
    # How the source was acquired stays, though dciodvfy wants it of original images only.
    assert {line for line in new if "may not be present otherwise" not in line} == set()


# --- under a template's header ----------------------------------------------------------------

STORAGE = "1.2.840.10008.5.1.4.1.1."
MODELS: dict[str, dict[str, Any]] = {
    "ct": {"modality": "CT"},
    "mr": {"modality": "MR"},
    "pet": KINDS["pet"],
    "sc": {"photometric": "RGB"},
    "ct-enhanced": {"modality": "CT", "enhanced": True},
    "mr-enhanced": {"modality": "MR", "enhanced": True},
    "pet-enhanced": {"modality": "PT", "enhanced": True},
    "ct-multiframe": {"modality": "CT", "multiframe": True},
}
# The least that a dataset must say to be a template, by its class.
LEAST: dict[str, tuple[str, str, dict[str, Any]]] = {
    "least-ct": ("2", "CT", {}),
    "least-mr": ("4", "MR", {}),
    "least-cr": ("1", "CR", {}),
    "least-us": ("6.1", "US", {}),
    "least-us-multiframe": ("3.1", "US", {}),
    "least-sc": ("7", "OT", {}),
    "least-dx": ("1.1", "DX", {}),
    "least-xa": ("12.1", "XA", {}),
    "least-nm": ("20", "NM", {}),
    "least-seg": ("66.4", "SEG", {"BodyPartExamined": "BRAIN"}),
    "least-pet": (
        *("128", "PT"),
        {
            **{"SeriesDate": "20240101", "SeriesTime": "120000", "Units": "BQML"},
            **{"CountsSource": "EMISSION", "SeriesType": ["STATIC", "IMAGE"]},
            **{"DecayCorrection": "START", "DecayFactor": "1.5"},
            **{"FrameReferenceTime": 0},
        },
    ),
}
ARRAYS: dict[str, tuple[str, tuple[int, ...], list[str]]] = {
    "integers": ("i2", (3, 6, 8), []),
    "fractions": ("f4", (2, 6, 8), []),
    "bytes": ("u1", (2, 6, 8), []),
    "times": ("i2", (2, 2, 6, 8), ["time"]),
    "rgb": ("u1", (2, 6, 8, 3), ["rgb"]),
}


def made_up(name: str) -> NDArray[Any]:
    """Values that no narrower type holds; negative ones where the type has them."""
    dtype, shape, _ = ARRAYS[name]
    values = np.arange(np.prod(shape)).reshape(shape)
    return (values % 256 if dtype == "u1" else values * 37.5 - 900).astype(dtype)


def least(end: str, modality: str, more: dict[str, Any]) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = STORAGE + end, "1.2.3"
    dataset.StudyInstanceUID, dataset.Modality = "1.2.4", modality
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize("kind", [*MODELS, *LEAST])
async def test_templates(kind: str, tmp_path: Path, tool: Tool) -> None:
    """Under whatever header, an array has all that the IOD wants, and is read back equal."""
    if kind in LEAST:
        template: Any = least(*LEAST[kind])
    else:
        template = await Series.open(phantom((3, 6, 8), **MODELS[kind]).save(tmp_path / "model"))
    found: dict[str, set[str]] = {}
    for name, (_, _, axes) in ARRAYS.items():
        array = made_up(name)
        series = Series.from_array(array, template=template, axes=axes)
        await series.write(tmp_path / name)
        found[name] = complaints(tool, tmp_path / name)
        again = await Series.open(tmp_path / name)
        assert [axis.name for axis in again.axes] == [axis.name for axis in series.axes]
        assert np.allclose(again.array, array, rtol=0, atol=0.05 if array.dtype.kind == "f" else 0)
    assert not any(found.values()), found


async def test_pet_of_a_template(tmp_path: Path) -> None:
    """PET stays corrected as it was, is PRIMARY (PS3.3 C.8.9.4.1.1), and counts its slices."""
    template = await Series.open(phantom((3, 6, 8), **MODELS["pet"]).save(tmp_path / "model"))
    old = by_place(tmp_path / "model")[0]
    await Series.from_array(made_up("times"), template=template).write(tmp_path / "new")
    written = [pydicom.dcmread(path) for path in sorted((tmp_path / "new").iterdir())]
    for number, dataset in enumerate(written, 1):
        assert dataset.SOPClassUID == old.SOPClassUID
        assert dataset.CorrectedImage == old.CorrectedImage
        assert list(dataset.ImageType)[:2] == ["DERIVED", "PRIMARY"]
        assert (dataset.NumberOfSlices, dataset.ImageIndex) == (2, number)


@pytest.mark.corpus
@pytest.mark.parametrize(
    "folder", ["ct_gantry_tilt", "mr_enhanced", "mr_dynamic", "mr_mosaic", "mr_fmri"]
)
async def test_real_templates(folder: str, corpus: Path, tmp_path: Path, tool: Tool) -> None:
    """Under a real header nothing is worse than the scanner's own."""
    series = await Series.open(corpus / folder)
    await series.write(tmp_path / "same")
    known = complaints(tool, tmp_path / "same")
    for name, (_, _, axes) in ARRAYS.items():
        await Series.from_array(made_up(name), template=series, axes=axes).write(tmp_path / name)
        assert complaints(tool, tmp_path / name) <= known, name


# --- where computed instances come from -------------------------------------------------------


def by_place(folder: Path) -> list[Any]:
    found = [pydicom.dcmread(path) for path in folder.iterdir()]
    return sorted(found, key=lambda dataset: dataset.ImagePositionPatient[2])


@pytest.mark.parametrize("compute", [lambda s: s * 0.37, lambda s: s + s.dtype.type(1)])
async def test_sources(compute: Operation, tmp_path: Path) -> None:
    """Each computed instance refers to the one at its place, in the same frame of reference."""
    source = phantom((3, 6, 8)).save(tmp_path / "source")
    series = compute(await Series.open(source))
    await series.write(tmp_path / "new")
    for new, old in zip(by_place(tmp_path / "new"), by_place(source), strict=True):
        (reference,) = new.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == old.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == old.SOPClassUID == new.SOPClassUID
        assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        assert list(new.ImageType) == ["DERIVED", *old.ImageType[1:]]
        assert new.FrameOfReferenceUID == old.FrameOfReferenceUID
        assert new.StudyInstanceUID == old.StudyInstanceUID
        assert "computed" in new.DerivationDescription
        assert str(old.PatientName) not in new.DerivationDescription


async def test_only_what_was_computed(tmp_path: Path) -> None:
    """Slices whose voxels are as they were are no derived ones, whatever their header says."""
    source = phantom((3, 6, 8)).save(tmp_path / "source")
    series = await Series.open(source)
    series.seriesDescription = "one slice blackened"
    series[1] = 0
    await series.write(tmp_path / "new")
    files, before = by_place(tmp_path / "new"), by_place(source)
    assert [d.ImageType[0] for d in files] == ["ORIGINAL", "DERIVED", "ORIGINAL"]
    assert ["SourceImageSequence" in d for d in files] == [False, True, False]
    (reference,) = files[1].SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == before[1].SOPInstanceUID


async def test_what_the_user_says_goes_before(tmp_path: Path) -> None:
    """A derivation that was set stays; kept UIDs refer to no source, which would be itself."""
    source = phantom((3, 6, 8)).save(tmp_path / "source")
    series = (await Series.open(source)) * 0.5
    await series.write(tmp_path / "kept", keep_uid=True)
    series.derivationDescription = "halved"
    series.header.set("SourceImageSequence", [{"ReferencedSOPInstanceUID": "1.2.3"}])
    await series.write(tmp_path / "new")
    for dataset in by_place(tmp_path / "new"):
        assert dataset.DerivationDescription == "halved"
        assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    for dataset in by_place(tmp_path / "kept"):
        assert "SourceImageSequence" not in dataset
        assert dataset.ImageType[0] == "DERIVED"


async def test_frames_of_enhanced_objects(tmp_path: Path) -> None:
    """Computed frames say of themselves that, and from which frame; others stay original."""
    source = phantom((2, 3, 6, 8), enhanced=True, modality="MR").save(tmp_path / "source")
    series = await Series.open(source)
    series[0] = series[0].array // 2
    await series.write(tmp_path / "new")
    (new,), (old,) = (
        [pydicom.dcmread(path) for path in folder.iterdir()]
        for folder in (tmp_path / "new", source)
    )
    assert new.ImageType[0] == "MIXED"
    derived = 0
    for number, item in enumerate(new.PerFrameFunctionalGroupsSequence):
        first = item.FrameContentSequence[0].TemporalPositionIndex == 1
        kind = item.MRImageFrameTypeSequence[0].FrameType[0]
        assert kind == ("DERIVED" if first else "ORIGINAL")
        assert ("DerivationImageSequence" in item) == first
        if first:
            (reference,) = item.DerivationImageSequence[0].SourceImageSequence
            assert reference.ReferencedSOPInstanceUID == old.SOPInstanceUID
            assert reference.ReferencedFrameNumber == number + 1
            derived += 1
    assert derived == 3
    assert "MRImageFrameTypeSequence" not in new.SharedFunctionalGroupsSequence[0]
    (study,) = new.SourceImageEvidenceSequence
    assert study.StudyInstanceUID == old.StudyInstanceUID
    (listed,) = study.ReferencedSeriesSequence
    assert listed.SeriesInstanceUID == old.SeriesInstanceUID
    assert listed.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID


async def test_words_and_proportions(tmp_path: Path) -> None:
    """Masks of a scanner's words stay words; PET's values have no intercept."""
    mask = (await Series.open(phantom((3, 6, 8)).save(tmp_path / "ct"))) > 50
    await mask.write(tmp_path / "mask")
    assert {(d.BitsAllocated, d.BitsStored) for d in by_place(tmp_path / "mask")} == {(16, 16)}
    pet = phantom((3, 6, 8), modality="PT", slope=[0.5, 0.25, 1.75], bits_stored=16)
    series = (await Series.open(pet.save(tmp_path / "pet"))) * 0.37 - 2
    await series.write(tmp_path / "new")
    assert {float(d.RescaleIntercept) for d in by_place(tmp_path / "new")} == {0.0}
    back = await Series.open(tmp_path / "new")
    step = np.abs(series.array).max() / 32767
    assert np.abs(back.array - series.array).max() <= step / 2 * 1.001
