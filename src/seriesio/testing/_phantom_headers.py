"""The header of a phantom's instances: the modules of PS3.3 that its SOP class asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from ._phantom_geometry import make_affine, positions
from ._phantom_image import palette
from ._phantom_padding import padding, varying_padding
from ._phantom_spec import Spec, ds, uid

__all__ = ["CHARACTER_SET", "SeriesHeader", "clock", "coded", "file_meta", "sop_class", "window"]

_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
_CLASSES["PT"] = "1.2.840.10008.5.1.4.1.1.128"
_ENHANCED = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
_ENHANCED["PT"] = "1.2.840.10008.5.1.4.1.1.130"
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
_IMPLEMENTATION = "1.2.826.0.1.3680043.8.498.1"
CHARACTER_SET = "ISO_IR 100"
_DATE = "20200229"
_NOON = 12 * 3600.0


def sop_class(spec: Spec) -> str:
    """SOP Class UID: the modality's own, or a secondary capture for what that cannot hold."""
    single_bit = spec.bits_allocated == 1
    if spec.enhanced:
        return _ENHANCED[spec.modality]
    if spec.multiframe:
        kind = 4 if spec.color else 1 if single_bit else 2 if spec.bits_allocated == 8 else 3
        return f"{_SECONDARY}.{kind}"
    if spec.color or spec.photometric == "PALETTE COLOR" or single_bit:
        return _SECONDARY
    return _CLASSES[spec.modality]


def clock(seconds: float) -> str:
    """TM (PS3.5 6.2): ``seconds`` after noon; no zeros at the end of the fraction."""
    whole, micro = divmod(round((_NOON + seconds) * 1e6), 1_000_000)
    text = f"{whole // 3600 % 24:02d}{whole // 60 % 60:02d}{whole % 60:02d}"
    return text + (f".{micro:06d}".rstrip("0") if micro else "")


def coded(value: str, scheme: str, meaning: str) -> Sequence:
    """A code sequence with one item (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def window(spec: Spec) -> tuple[str, str]:
    """Window Center and Width that show the head, in values after rescale."""
    if spec.kind != "integer":
        return "400", "800"
    low, high = spec.stored_range
    low = low // 2 if spec.signed else low
    slope, intercept = float(spec.slope[0]), float(spec.intercept[0])
    center = slope * (low + 0.42 * (high - low)) + intercept
    return ds(round(center, 6)), ds(round(max(abs(slope) * 0.84 * (high - low), 1), 6))


def file_meta(spec: Spec, instance_uid: str) -> FileMetaDataset:
    """File meta information (PS3.10 7.1), the same whatever pydicom's version."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class(spec))
    meta.MediaStorageSOPInstanceUID = UID(instance_uid)
    meta.TransferSyntaxUID = spec.transfer_syntax
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    meta.ImplementationVersionName = "SERIESIO_PHANTOM"
    return meta


def _patient_and_study(target: Dataset, spec: Spec) -> None:
    target.SpecificCharacterSet = CHARACTER_SET
    target.PatientName, target.PatientID = "Phantom", "PHANTOM"
    target.PatientBirthDate, target.PatientSex = "", "O"
    target.StudyInstanceUID = uid(spec.seed, "study", length=50)
    target.StudyDate, target.StudyTime = _DATE, clock(-600)
    target.StudyID, target.AccessionNumber = "1", "PHANTOM"
    target.ReferringPhysicianName, target.StudyDescription = "", "seriesio phantom"


def _series_and_equipment(target: Dataset, spec: Spec, series_uid: str) -> None:
    target.Modality = spec.modality
    target.SeriesInstanceUID = series_uid
    target.SeriesNumber, target.SeriesDescription = spec.series_number, spec.series_description
    target.SeriesDate, target.SeriesTime = _DATE, clock(-30)
    target.FrameOfReferenceUID = uid(spec.seed, "frame of reference", length=48)
    target.PositionReferenceIndicator = ""
    if spec.modality != "PT" or spec.enhanced:  # PET says it by code sequences
        target.PatientPosition = "HFS"
    target.BodyPartExamined, target.ProtocolName = "HEAD", "phantom"
    target.Manufacturer, target.ManufacturerModelName = "seriesio", "phantom"
    target.DeviceSerialNumber, target.SoftwareVersions = "1", "1"


def _anatomy(target: Dataset) -> None:
    """A sequence of undefined length, as many scanners write them (PS3.5 7.5.2)."""
    region = coded("69536005", "SCT", "Head")
    region[0].is_undefined_length_sequence_item = True
    target["AnatomicRegionSequence"] = DataElement("AnatomicRegionSequence", "SQ", region)
    target["AnatomicRegionSequence"].is_undefined_length = True


def _pixel_description(target: Dataset, spec: Spec) -> None:
    """Image Pixel module (PS3.3 C.7.6.3)."""
    target.SamplesPerPixel = 3 if spec.color else 1
    target.PhotometricInterpretation = spec.photometric
    target.Rows, target.Columns = spec.rows, spec.columns
    target.BitsAllocated = spec.bits_allocated
    if spec.kind == "integer":
        target.BitsStored, target.HighBit = spec.bits_stored, spec.bits_stored - 1
        target.PixelRepresentation = int(spec.signed)
    if spec.color:
        target.PlanarConfiguration = spec.planar_configuration
    if spec.photometric == "PALETTE COLOR":
        _palette(target, spec)


def _palette(target: Dataset, spec: Spec) -> None:
    order = "<u2" if spec.transfer_syntax.is_little_endian else ">u2"
    for name, entries in zip(("Red", "Green", "Blue"), palette().T, strict=True):
        descriptor, data = (f"{name}PaletteColorLookupTable{end}" for end in ("Descriptor", "Data"))
        target[descriptor] = DataElement(descriptor, "US", [256, 0, 16])
        words = (entries.astype(np.uint16) * 257).astype(order)
        target[data] = DataElement(data, "OW", words.tobytes())


def _ct(target: Dataset, spec: Spec) -> None:
    target.KVP, target.ExposureTime, target.XRayTubeCurrent = "120", "1000", "200"
    target.AcquisitionType = target.FilterType = ""
    target.ConvolutionKernel, target.GantryDetectorTilt = "STANDARD", ds(spec.tilt)
    target.ReconstructionDiameter = ds(spec.columns * spec.spacing[2])


def _mr(target: Dataset, spec: Spec) -> None:
    target.ScanningSequence, target.SequenceVariant = "GR", "SK"
    target.ScanOptions, target.MRAcquisitionType = "", "2D"
    target.SequenceName, target.MagneticFieldStrength = "*phantom", "1.5"
    target.RepetitionTime, target.EchoTime, target.FlipAngle = "2000", "4.6", "15"
    target.EchoNumbers, target.EchoTrainLength = 1, 1
    target.ImagingFrequency, target.ImagedNucleus = "63.68", "1H"
    target.NumberOfAverages, target.PixelBandwidth = "1", "200"


def _pt(target: Dataset, spec: Spec) -> None:
    target.Units, target.CountsSource, target.SeriesType = "BQML", "EMISSION", ["STATIC", "IMAGE"]
    target.CorrectedImage, target.DecayCorrection = ["ATTN", "DECY"], "START"
    target.CollimatorType, target.NumberOfSlices = "NONE", spec.slices
    target.FrameReferenceTime, target.ActualFrameDuration = "0", "1000"
    target.ImageIndex, target.DecayFactor = 1, "1"
    if spec.outer:
        target.SeriesType, target.NumberOfTimeSlices = ["DYNAMIC", "IMAGE"], spec.steps
    source = Dataset()
    source.Radiopharmaceutical, source.RadionuclideTotalDose = "FDG", "200000000"
    source.RadiopharmaceuticalStartTime, source.RadionuclideHalfLife = clock(-3600), "6586.2"
    source.RadionuclidePositronFraction = "0.97"
    source.RadionuclideCodeSequence = coded("77004003", "SCT", "^18^Fluorine")
    target.RadiopharmaceuticalInformationSequence = Sequence([source])
    target.PatientOrientationCodeSequence = coded("102538003", "SCT", "recumbent")
    supine = coded("40199007", "SCT", "supine")
    target.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = supine
    target.PatientGantryRelationshipCodeSequence = coded("102540001", "SCT", "headfirst")


_MODALITY: dict[str, Callable[[Dataset, Spec], None]] = {"CT": _ct, "MR": _mr, "PT": _pt}


def _time(target: Dataset, index: int, value: float) -> None:
    target.AcquisitionTime = target.ContentTime = clock(value)
    target.TemporalPositionIdentifier = target.AcquisitionNumber = index + 1


def _b(target: Dataset, index: int, value: float) -> None:
    target.DiffusionBValue = value
    if value:
        target.DiffusionGradientOrientation = [1.0, 0.0, 0.0]


def _te(target: Dataset, index: int, value: float) -> None:
    target.EchoTime, target.EchoNumbers = ds(value), index + 1


def _number(keyword: str) -> Callable[[Dataset, int, float], None]:
    def put(target: Dataset, index: int, value: float) -> None:
        setattr(target, keyword, ds(value))

    return put


# How each further axis shows in the header of a classic object.
_AXES: dict[str, Callable[[Dataset, int, float], None]] = {
    "time": _time,
    "b": _b,
    "te": _te,
    "fa": _number("FlipAngle"),
    "triggertime": _number("TriggerTime"),
    "ti": _number("InversionTime"),
    "tr": _number("RepetitionTime"),
}


@dataclass(frozen=True, slots=True, eq=False)
class SeriesHeader:
    """What all instances share, built once; :meth:`instance` gives what is one's own."""

    spec: Spec
    root: str
    common: Dataset
    private: list[DataElement]
    places: list[list[str]]  # Image Position (Patient) per slice
    distances: list[str]  # Slice Location

    @classmethod
    def make(cls, spec: Spec) -> SeriesHeader:
        root = uid(spec, length=52)
        common = Dataset()
        _patient_and_study(common, spec)
        _series_and_equipment(common, spec, root)
        _anatomy(common)
        _pixel_description(common, spec)
        common.SOPClassUID = sop_class(spec)
        common.InstanceCreationDate = common.AcquisitionDate = common.ContentDate = _DATE
        common.AcquisitionTime = common.ContentTime = clock(0)
        common.AcquisitionNumber = 1
        common.ImageType = ["ORIGINAL", "PRIMARY", "OTHER" if spec.modality == "MR" else "AXIAL"]
        if not (spec.enhanced or spec.multiframe):
            _classic(common, spec)
        if spec.multiframe:
            _multiframe(common, spec)
        private = padding(spec)
        for element in private:
            common[element.tag] = element
        centers = positions(spec)
        normal = np.cross(spec.orientation[:3], spec.orientation[3:])
        places = [[ds(float(x)) for x in center] for center in centers]
        return cls(spec, root, common, private, places, [ds(float(c @ normal)) for c in centers])

    def instance(self, number: int, frame: int) -> Dataset:
        """What instance ``number`` has beyond the common; ``frame`` is its first sorted one."""
        spec, header = self.spec, Dataset()
        header.add_new("SOPInstanceUID", "UI", f"{self.root}.{number + 1}")
        header.add_new("InstanceNumber", "IS", number + 1)
        header.add_new("InstanceCreationTime", "TM", clock(60 + number / 4))
        for element in varying_padding(spec, self.private, number):
            header[element.tag] = element
        if not spec.enhanced:
            self._place(header, frame)
        step = Dataset()
        for name, (index, value) in spec.step_values(frame // spec.slices).items():
            if not spec.enhanced or spec.per_volume:
                _AXES[name](step, index, value)
        header.update(_times_only(step) if spec.enhanced else step)
        return header

    def _place(self, header: Dataset, frame: int) -> None:
        spec, place = self.spec, frame % self.spec.slices
        header.add_new("ImagePositionPatient", "DS", self.places[place])
        header.add_new("SliceLocation", "DS", self.distances[place])
        if _rescaled(spec):
            header.add_new("RescaleIntercept", "DS", spec.intercept[frame])
            header.add_new("RescaleSlope", "DS", spec.slope[frame])
            if spec.modality != "PT":
                kind = "HU" if sop_class(spec) == _CLASSES["CT"] else "US"
                header.add_new("RescaleType", "LO", kind)
        if spec.modality == "PT" and not spec.multiframe:
            header.add_new("ImageIndex", "US", frame + 1)
        if spec.modality == "CT" and not spec.outer:  # the table moves while time goes by
            header.add_new("AcquisitionTime", "TM", clock(frame / 8))
            header.add_new("ContentTime", "TM", clock(frame / 8))


def _rescaled(spec: Spec) -> bool:
    """True if the header has a slope and an intercept: CT and PET always, others if need be."""
    if spec.color or spec.photometric == "PALETTE COLOR" or spec.kind != "integer":
        return False
    return not spec.identity or (spec.modality != "MR" and spec.bits_allocated > 1)


def _times_only(step: Dataset) -> Dataset:
    """Of a step's attributes an enhanced object has only the times at its top level."""
    kept = Dataset()
    for keyword in ("ContentTime", "AcquisitionNumber"):
        if keyword in step:
            kept[keyword] = step[keyword]
    return kept


def _geometry(common: Dataset, spec: Spec) -> None:
    common.PixelSpacing = [ds(spec.spacing[1]), ds(spec.spacing[2])]
    common.ImageOrientationPatient = [ds(cosine) for cosine in spec.orientation]
    common.SliceThickness = ds(spec.spacing[0])
    if spec.modality == "MR" or spec.multiframe:
        common.SpacingBetweenSlices = ds(spec.spacing[0])


def _classic(common: Dataset, spec: Spec) -> None:
    _geometry(common, spec)
    if sop_class(spec) == _SECONDARY:
        common.ConversionType, common.PatientOrientation = "SYN", ""
    else:
        _MODALITY[spec.modality](common, spec)
    if not spec.color and spec.photometric != "PALETTE COLOR":
        common.WindowCenter, common.WindowWidth = window(spec)
    if "time" in spec.axes:
        common.NumberOfTemporalPositions = spec.outer[spec.axes.index("time")]


def _multiframe(common: Dataset, spec: Spec) -> None:
    """SC Multi-frame Image and Vector modules (PS3.3 C.8.6.3, C.8.6.4)."""
    _geometry(common, spec)
    common.ConversionType, common.BurnedInAnnotation = "SYN", "NO"
    common.PatientOrientation = ""
    common.ImageType = ["DERIVED", "SECONDARY"]
    common.NumberOfFrames = spec.slices
    common.FrameIncrementPointer = 0x00182005
    length = float(np.linalg.norm(make_affine(spec)[:3, 2]))
    common.SliceLocationVector = [ds(length * index) for index in range(spec.slices)]
    if not spec.color and spec.bits_allocated > 1:
        common.PresentationLUTShape = "IDENTITY"
        common.WindowCenter, common.WindowWidth = window(spec)
