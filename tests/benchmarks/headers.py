"""Headers as scanners write them: many elements, private ones, lengths that vary by instance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

__all__ = ["Slice", "write_slice"]


@dataclass(frozen=True, slots=True)
class Slice:
    """What distinguishes one file of a series."""

    series: str
    number: int
    position: tuple[float, float, float]
    spacing: tuple[float, float]  # between slices, within the slice; mm
    elements: int  # top-level, without file meta and pixels
    header_bytes: int
    time: float
    intercept: int = 0
    step: int = 1
    modality: str = "CT"


def write_slice(directory: Path, piece: Slice, pixels: NDArray[np.integer[Any]]) -> None:
    """Write one Part 10 file, named by its SOP Instance UID."""
    dataset = _standard(piece, pixels.shape)
    _private(dataset, piece)
    dataset.add_new(0x7FE00010, "OW", pixels.astype("<u2").tobytes())
    dataset.file_meta = _meta(dataset)
    dataset.save_as(directory / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)


def _uid(*parts: object) -> str:
    return generate_uid(entropy_srcs=[str(part) for part in parts])


def _meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def _clock(seconds: float) -> str:
    whole = 36_000 + seconds
    return f"{int(whole // 3600):02}{int(whole % 3600 // 60):02}{whole % 60:09.6f}"


def _standard(piece: Slice, shape: tuple[int, ...]) -> Dataset:
    dataset = Dataset()
    for attributes in (_general(piece), _machine(piece), _image(piece, shape)):
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
    return dataset


def _general(piece: Slice) -> dict[str, Any]:
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "InstanceCreationDate": "20240102",
        "InstanceCreationTime": _clock(piece.time + 90),
        "SOPClassUID": CTImageStorage if piece.modality == "CT" else MRImageStorage,
        "SOPInstanceUID": _uid(piece.series, piece.number),
        "StudyDate": "20240102",
        "SeriesDate": "20240102",
        "AcquisitionDate": "20240102",
        "ContentDate": "20240102",
        "StudyTime": "100000",
        "SeriesTime": _clock(0),
        "AcquisitionTime": _clock(piece.time),
        "ContentTime": _clock(piece.time),
        "AccessionNumber": "A1",
        "Modality": piece.modality,
        "Manufacturer": "Phantom",
        "InstitutionName": "Phantom",
        "ReferringPhysicianName": "Phantom",
        "StationName": "PHANTOM1",
        "StudyDescription": "Benchmark",
        "SeriesDescription": f"Benchmark {piece.series}",
        "ManufacturerModelName": "Phantom",
        "ReferencedImageSequence": _references(piece),
        "PatientName": "Phantom",
        "PatientID": "PHANTOM",
        "PatientBirthDate": "",
        "PatientSex": "O",
        "PatientAge": "050Y",
        "StudyInstanceUID": _uid("study"),
        "SeriesInstanceUID": _uid("series", piece.series),
        "StudyID": "1",
        "SeriesNumber": 4,
        "AcquisitionNumber": piece.step,
        "InstanceNumber": piece.number + 1,
        "ImagePositionPatient": [_ds(value) for value in piece.position],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "FrameOfReferenceUID": _uid("frame of reference"),
        "PositionReferenceIndicator": "",
        "SliceLocation": _ds(piece.position[2]),
    }


def _machine(piece: Slice) -> dict[str, Any]:
    common = {
        "BodyPartExamined": "ABDOMEN",
        "SliceThickness": _ds(piece.spacing[0]),
        "DeviceSerialNumber": "12345",
        "SoftwareVersions": "phantom 1",
        "ProtocolName": "Benchmark",
        "PatientPosition": "HFS",
    }
    return common | (_tube(piece) if piece.modality == "CT" else _magnet(piece))


def _tube(piece: Slice) -> dict[str, Any]:
    return {
        "KVP": "120",
        "DataCollectionDiameter": "500",
        "ReconstructionDiameter": "500",
        "DistanceSourceToDetector": "1085.6",
        "DistanceSourceToPatient": "595",
        "GantryDetectorTilt": "0",
        "TableHeight": "150",
        "RotationDirection": "CW",
        "ExposureTime": "500",
        "XRayTubeCurrent": str(90 + piece.number % 37),  # modulated: two or three digits
        "Exposure": str(90 + piece.number % 23),
        "FilterType": "WEDGE_3",
        "GeneratorPower": "42",
        "FocalSpots": "1.2",
        "ConvolutionKernel": ["Br40d", "3"],
    }


def _magnet(piece: Slice) -> dict[str, Any]:
    return {
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "ScanOptions": "",
        "MRAcquisitionType": "3D",
        "RepetitionTime": "4.5",
        "EchoTime": "1.9",
        "MagneticFieldStrength": "3",
        "SpacingBetweenSlices": _ds(piece.spacing[0]),
        "FlipAngle": "12",
        "TemporalPositionIdentifier": piece.step,
    }


def _image(piece: Slice, shape: tuple[int, ...]) -> dict[str, Any]:
    image: dict[str, Any] = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": shape[0],
        "Columns": shape[1],
        "PixelSpacing": [_ds(piece.spacing[1])] * 2,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "SmallestImagePixelValue": 0,
        "WindowCenter": "40",
        "WindowWidth": "300",
    }
    if piece.modality == "CT":
        image |= {"RescaleIntercept": str(piece.intercept), "RescaleSlope": "1"}
        image |= {"RescaleType": "HU"}
    return image


def _ds(value: float) -> str:
    return f"{value:.10g}"


def _references(piece: Slice) -> Sequence:
    items = []
    for index in range(3):
        item = Dataset()
        item.ReferencedSOPClassUID = CTImageStorage
        item.ReferencedSOPInstanceUID = _uid("localizer", index)
        items.append(item)
    sequence = Sequence(items)
    sequence.is_undefined_length = piece.number % 2 == 0
    return sequence


def _private(dataset: Dataset, piece: Slice) -> None:
    """Fill up to the numbers of elements and bytes, most bytes in two big blobs."""
    random = np.random.default_rng((piece.number, 3))
    small = dataset.private_block(0x0019, "PHANTOM CT HEADER", create=True)
    large = dataset.private_block(0x0029, "PHANTOM CSA HEADER", create=True)
    for offset in range(piece.elements - len(dataset) - 2):
        vr, value = _plausible(offset, random)
        small.add_new(offset, vr, value)
    large.add_new(0x10, "OB", _blob(11_300, 1, random))
    large.add_new(0x20, "OB", _blob(piece.header_bytes - 16_500, 2, random))


def _plausible(offset: int, random: np.random.Generator) -> tuple[str, Any]:
    number = float(random.normal(0, 100))
    kinds: tuple[tuple[str, Any], ...] = (
        ("DS", f"{number:.6g}"),
        ("LO", f"MODE {offset}"),
        ("IS", str(int(number * 50))),
        ("FD", [number, number / 2, number / 3]),
        ("SH", f"V{offset}"),
        ("SL", int(number)),
        ("CS", "YES"),
        ("US", abs(int(number))),
    )
    return kinds[offset % len(kinds)]


def _blob(size: int, kind: int, random: np.random.Generator) -> bytes:
    """Bytes that deflate to about a quarter, like a vendor's protocol text and tables."""
    lines = b"".join(b"sProtocol.item[%d]\t = \t%d\r\n" % (n, n * kind) for n in range(size // 40))
    noise = random.integers(0, 256, size // 7, dtype=np.uint8).tobytes()
    return (b"SV10" + lines + noise).ljust(size, b"\0")[:size]
