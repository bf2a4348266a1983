"""Enhanced multi-frame objects: functional groups and dimensions (PS3.3 C.7.6.16, C.7.6.17).

They have the groups that readers look at, not every macro that their IOD asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from ._phantom_headers import SeriesHeader, clock, coded, window
from ._phantom_spec import Spec, ds, multi_rescale, uid

__all__ = ["add_functional_groups"]

_FRAME_TYPE = {
    "CT": "CTImageFrameTypeSequence",
    "MR": "MRImageFrameTypeSequence",
    "PT": "PETFrameTypeSequence",
}
# Functional groups of the modality, with what readers look for in them; where the values of a
# group belong to a further axis, it goes to the frames.
_GROUPS: dict[str, dict[int, dict[str, object]]] = {
    "CT": {
        0x00189325: {"KVP": "120"},
        0x00189321: {"ExposureTimeInms": 1000.0, "XRayTubeCurrentInmA": 200.0},
    },
    "MR": {
        0x00189112: {
            "RepetitionTime": "2000",
            "FlipAngle": "15",
            "EchoTrainLength": 1,
            "RFEchoTrainLength": 0,
            "GradientEchoTrainLength": 1,
        },
        0x00189114: {"EffectiveEchoTime": 4.6},
        0x00189119: {"NumberOfAverages": 1},
    },
    "PT": {},
}
# Each further axis: functional group, attribute, how its value is written.
_AXES: dict[str, tuple[int, int, Callable[[int, float], object]]] = {
    "time": (0x00209111, 0x00209128, lambda index, value: index + 1),
    "b": (0x00189117, 0x00189087, lambda index, value: value),
    "te": (0x00189114, 0x00189082, lambda index, value: value),
    "fa": (0x00189112, 0x00181314, lambda index, value: ds(value)),
    "triggertime": (0x00189118, 0x00209153, lambda index, value: value),
    "ti": (0x00189115, 0x00189079, lambda index, value: [value]),
    "tr": (0x00189112, 0x00180080, lambda index, value: ds(value)),
}
_IN_STACK = (0x00209111, 0x00209057)  # Frame Content, In-Stack Position Number
_STACK = (0x00209111, 0x00209056)


def _one(**attributes: object) -> Sequence:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _rescale(spec: Spec, frame: int) -> Sequence:
    return _one(
        RescaleIntercept=spec.intercept[frame],
        RescaleSlope=spec.slope[frame],
        RescaleType="HU" if spec.modality == "CT" else "US",
    )


def _shared(spec: Spec) -> Dataset:
    group = Dataset()
    group.PixelMeasuresSequence = _one(
        SliceThickness=ds(spec.spacing[0]),
        SpacingBetweenSlices=ds(spec.spacing[0]),
        PixelSpacing=[ds(spec.spacing[1]), ds(spec.spacing[2])],
    )
    group.PlaneOrientationSequence = _one(
        ImageOrientationPatient=[ds(cosine) for cosine in spec.orientation]
    )
    group.FrameAnatomySequence = _one(
        FrameLaterality="U", AnatomicRegionSequence=coded("69536005", "SCT", "Head")
    )
    setattr(group, _FRAME_TYPE[spec.modality], _frame_type(spec))
    per_frame = {_AXES[name][0] for name in spec.axes[:-3]}
    for sequence, attributes in _GROUPS[spec.modality].items():
        if sequence not in per_frame:
            group.add_new(sequence, "SQ", _one(**attributes))
    if not spec.color:
        center, width = window(spec)
        group.FrameVOILUTSequence = _one(WindowCenter=center, WindowWidth=width)
        if not multi_rescale(spec) and spec.kind == "integer":
            group.PixelValueTransformationSequence = _rescale(spec, 0)
    return group


def _frame_type(spec: Spec) -> Sequence:
    magnetic = {"ComplexImageComponent": "MAGNITUDE", "AcquisitionContrast": "UNKNOWN"}
    return _one(
        **(magnetic if spec.modality == "MR" else {}),
        FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        PixelPresentation="COLOR" if spec.color else "MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )


def _per_frame(header: SeriesHeader, frame: int) -> Dataset:
    spec = header.spec
    step, place = divmod(frame, spec.slices)
    values = spec.step_values(step)
    seconds = values["time"][1] if "time" in values else 0.0
    group = Dataset()
    content = _one(
        FrameAcquisitionNumber=step + 1,
        FrameAcquisitionDateTime=f"20200229{clock(seconds)}",
        FrameReferenceDateTime=f"20200229{clock(seconds)}",
        FrameAcquisitionDuration=1000.0,
        StackID="1",
        InStackPositionNumber=place + 1,
        DimensionIndexValues=[1, *(index + 1 for index, _ in values.values()), place + 1],
    )
    group.FrameContentSequence = content
    group.PlanePositionSequence = _one(ImagePositionPatient=header.places[place])
    if multi_rescale(spec):
        group.PixelValueTransformationSequence = _rescale(spec, frame)
    for name, (index, value) in values.items():
        sequence, attribute, written = _AXES[name]
        if sequence not in group:
            usual = _GROUPS[spec.modality].get(sequence, {})
            group.add_new(sequence, "SQ", _one(**usual))
        setattr(group[sequence][0], keyword_for_tag(attribute), written(index, value))
    if "time" in values:
        content[0].TemporalPositionTimeOffset = seconds
    if "b" in values:
        directional = "DIRECTIONAL" if values["b"][1] else "NONE"
        group.MRDiffusionSequence[0].DiffusionDirectionality = directional
        if values["b"][1]:
            gradient = _one(DiffusionGradientOrientation=[1.0, 0.0, 0.0])
            group.MRDiffusionSequence[0].DiffusionGradientDirectionSequence = gradient
    return group


def _dimensions(target: Dataset, spec: Spec) -> None:
    organization = uid(spec.seed, "dimension organization", length=40)
    target.DimensionOrganizationSequence = _one(DimensionOrganizationUID=organization)
    pointers = [_STACK, *(_AXES[name][:2] for name in spec.axes[:-3]), _IN_STACK]
    target.DimensionIndexSequence = Sequence(
        _one(
            DimensionIndexPointer=attribute,
            FunctionalGroupPointer=group,
            DimensionOrganizationUID=organization,
        )[0]
        for group, attribute in pointers
    )


def add_functional_groups(target: Dataset, header: SeriesHeader, frames: Iterable[int]) -> None:
    """Turn a header into that of an enhanced object of these frames, in this order."""
    spec, order = header.spec, list(frames)
    target.NumberOfFrames = len(order)
    target.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    target.PixelPresentation = "COLOR" if spec.color else "MONOCHROME"
    target.VolumetricProperties, target.VolumeBasedCalculationTechnique = "VOLUME", "NONE"
    target.AcquisitionDateTime, target.AcquisitionDuration = "20200229120000", 60.0
    target.ContentQualification, target.BurnedInAnnotation = "RESEARCH", "NO"
    if spec.modality == "MR":
        target.ComplexImageComponent, target.AcquisitionContrast = "MAGNITUDE", "UNKNOWN"
    target.LossyImageCompression, target.PresentationLUTShape = "00", "IDENTITY"
    _dimensions(target, spec)
    target.SharedFunctionalGroupsSequence = Sequence([_shared(spec)])
    target.PerFrameFunctionalGroupsSequence = Sequence(_per_frame(header, f) for f in order)
