"""Phantom series: DICOM of any kind, made with pydicom and numpy alone.

Nothing of the library's readers and writers is used here, so a phantom is an independent oracle:
what :attr:`Phantom.array` holds is what a reader of :meth:`Phantom.files` has to find.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from ._phantom_enhanced import add_functional_groups
from ._phantom_geometry import make_affine
from ._phantom_headers import SeriesHeader
from ._phantom_image import make_stored, stored_to_values
from ._phantom_pixels import add_pixels, check_codec, tolerance
from ._phantom_spec import Kind, Spec, make_spec
from ._phantom_write import assemble, encode_elements

__all__ = ["Phantom", "phantom"]

_MOMENT = (2020, 2, 29, 12, 0, 0)  # of zip members: equal phantoms give equal zip files


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A series: what its files hold, and what is to be read from them.

    "Sorted" means: further axes ascending as in :attr:`axes`, then slices along the normal
    (row direction x column direction).
    """

    array: NDArray[Any] = field(repr=False)
    """Values, sorted, ``shape`` (and 3 for RGB): rescaled in the smallest integer type that
    holds all possible values (float32 if slope or intercept is not whole); colour as RGB."""
    stored: NDArray[Any] = field(repr=False)
    """Stored values, sorted; of YBR and palette colour before conversion."""
    tolerance: int
    """The most that decoded stored values may differ: 0 unless the transfer syntax is lossy."""
    spacing: tuple[float, float, float]
    """(dz, dy, dx) in mm; dz from plane to plane at right angles, whatever the tilt."""
    affine: NDArray[np.float64]
    """4 x 4: (column, row, slice, 1) to (x, y, z, 1) in mm, patient coordinates (LPS)."""
    axes: tuple[str, ...]
    values: Mapping[str, tuple[float, ...]]
    """Per further axis the value of each step: time in s, b in s/mm2, te, ti, tr and
    triggertime in ms, fa in degrees."""
    names: tuple[str, ...] = field(repr=False)
    """The file name of each instance, instances in sorted order."""
    instances: tuple[tuple[int, ...], ...] = field(repr=False)
    """The frames of each instance, in the file's order, as indices into the sorted frames."""
    series_uid: str
    _header: SeriesHeader = field(repr=False)
    _common: Mapping[int, bytes] = field(repr=False)
    _numbers: tuple[int, ...] = field(repr=False)
    _cache: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def transfer_syntax(self) -> str:
        return str(self._header.spec.transfer_syntax)

    def _encode(self, place: int) -> bytes:
        """The bytes of one instance, made anew."""
        spec, frames = self._header.spec, self.instances[place]
        own = self._header.instance(self._numbers[place], min(frames))
        flat = self.stored.reshape(spec.frames, *spec.frame_shape)
        chosen = flat[frames[0] : frames[0] + 1] if len(frames) == 1 else flat[list(frames)]
        if spec.enhanced:
            add_functional_groups(own, self._header, frames)
        add_pixels(own, chosen, spec)
        elements = {**self._common, **encode_elements(spec, own)}
        return assemble(spec, str(own.SOPInstanceUID), elements)

    def _encoded(self) -> Iterator[tuple[str, bytes]]:
        """Names and bytes in the order of the names; nothing is kept that was not before."""
        for place in sorted(range(len(self.names)), key=self.names.__getitem__):
            name = self.names[place]
            yield name, self._cache.get(name) or self._encode(place)

    def files(self) -> dict[str, bytes]:
        """File name to file content, in the order of the names; made once, then kept."""
        if len(self._cache) < len(self.names):
            self._cache.update(dict(self._encoded()))
        return dict(self._cache)

    def datasets(self) -> list[Dataset]:
        """What pydicom reads from the files, in sorted order; fresh ones with every call."""
        files = self.files()
        return [dcmread(BytesIO(files[name]), force=True) for name in self.names]

    def save(self, directory: str | PathLike[str]) -> Path:
        """Write all files into a directory, which is made if need be."""
        target = Path(directory)
        target.mkdir(parents=True, exist_ok=True)
        for name, data in self._encoded():
            (target / name).write_bytes(data)
        return target

    def save_zip(
        self,
        path: str | PathLike[str],
        compression: int = zipfile.ZIP_DEFLATED,
        *,
        folder: str = "",
    ) -> Path:
        """Write all files into a new zip file, under ``folder`` inside of it if given."""
        prefix = folder.rstrip("/") + "/" if folder else ""
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in self._encoded():
                member = zipfile.ZipInfo(prefix + name, _MOMENT)
                member.external_attr = 0o644 << 16
                archive.writestr(member, data, compression)
        return Path(path)

    def without(self, indices: Iterable[int]) -> Phantom:
        """The same series with instances missing; ``array`` still shows it whole.

        ``indices`` count instances in sorted order: slices, if each file holds one.
        """
        gone = {range(len(self.names))[index] for index in indices}
        kept = [place for place in range(len(self.names)) if place not in gone]
        names = tuple(self.names[place] for place in kept)
        return replace(
            self,
            names=names,
            instances=tuple(self.instances[place] for place in kept),
            _numbers=tuple(self._numbers[place] for place in kept),
            _cache={name: self._cache[name] for name in names if name in self._cache},
        )


def _instances(spec: Spec) -> tuple[tuple[int, ...], ...]:
    """Which frames go into which instance."""
    if not (spec.enhanced or spec.multiframe):
        return tuple((frame,) for frame in range(spec.frames))
    per_object = spec.slices if spec.per_volume else spec.frames
    objects = np.arange(spec.frames).reshape(-1, per_object)
    if spec.shuffle is not None and spec.enhanced:
        rng = np.random.default_rng(spec.shuffle)
        objects = np.stack([rng.permutation(frames) for frames in objects])
    return tuple(tuple(int(frame) for frame in frames) for frames in objects)


def _names(spec: Spec, count: int) -> tuple[str, ...]:
    order = np.arange(count)
    if spec.shuffle is not None:
        order = np.random.default_rng(spec.shuffle).permutation(count)
    width = max(len(str(count)), 4)
    return tuple(f"IM{number + 1:0{width}d}.dcm" for number in order)


def phantom(
    shape: Sequence[int] = (24, 96, 96),
    *,
    axes: Sequence[str] | None = None,
    spacing: Sequence[float] = (3.0, 2.0, 2.0),
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    position: Sequence[float] | None = None,
    tilt: float = 0.0,
    values: Mapping[str, Sequence[float]] | None = None,
    bits_allocated: int | None = None,
    bits_stored: int | None = None,
    signed: bool = False,
    kind: Kind = "integer",
    slope: float | Sequence[float] = 1,
    intercept: float | Sequence[float] = 0,
    photometric: str = "MONOCHROME2",
    planar_configuration: Literal[0, 1] = 0,
    transfer_syntax: str = "1.2.840.10008.1.2.1",
    modality: Literal["CT", "MR", "PT"] | None = None,
    enhanced: bool | Literal["per-volume"] = False,
    multiframe: bool = False,
    header_elements: int = 0,
    header_bytes: int = 0,
    shuffle: int | None = None,
    seed: int = 0,
    series_number: int = 1,
    series_description: str = "phantom",
    preamble: bool = True,
) -> Phantom:
    """A head of ellipsoids with a little noise, as a DICOM series; equal calls give equal bytes.

    Args:
        shape: Lengths of the axes; the last three are slices, rows, columns.
        axes: Names of the axes: further ones out of time, b, te, fa, triggertime, ti, tr, then
            "slice", "row", "column". Four lengths without names begin with time.
        spacing: (dz, dy, dx) in mm.
        orientation: Image Orientation (Patient): direction cosines of a row, then of a column.
        position: (x, y, z) in mm of the first voxel of the first slice; without it the volume's
            centre is at 0.
        tilt: Degrees of gantry tilt: each slice is moved by ``dz * tan(tilt)`` against the
            column direction, as tilted CT gantries do.
        values: Further axis to the values of its steps, in place of the usual ones.
        bits_allocated: 1, 8, 16 or 32; 16 unless the picture has colour.
        bits_stored: 12 of 16 (PET: 16), else all.
        signed: Pixel Representation.
        kind: "float" and "double" make Float and Double Float Pixel Data.
        slope, intercept: One number, one per slice or one per frame (sorted).
        photometric: MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB, YBR_FULL, YBR_FULL_422, and
            YBR_RCT, YBR_ICT inside JPEG 2000.
        planar_configuration: 1 stores a plane per colour.
        transfer_syntax: UID; any of the uncompressed ones, RLE, and with imagecodecs JPEG,
            JPEG-LS, JPEG 2000, HTJ2K.
        modality: "CT", or "MR" if a further axis other than time asks for it.
        enhanced: True: one enhanced multi-frame object; "per-volume": one per step of the
            further axes.
        multiframe: A plain multi-frame secondary capture per step of the further axes.
        header_elements: How many private elements pad every header (creators included).
        header_bytes: How many bytes they take together, about.
        shuffle: Seed: the order of the file names, and of the frames in enhanced objects, is
            not the sorted one. Instance Number stays as it is.
        seed: Decides about noise, UIDs (equal seeds share a study) and padding.
        series_number: Series Number.
        series_description: Series Description.
        preamble: False makes bare datasets, without preamble and file meta information.

    Raises:
        EncodeError: the arguments contradict each other, or DICOM.
        MissingDependencyError: the codec of the transfer syntax is not installed.
    """
    spec = make_spec(
        shape=shape,
        axes=axes,
        spacing=spacing,
        orientation=orientation,
        position=position,
        tilt=tilt,
        values=values or {},
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        signed=signed,
        kind=kind,
        slope=slope,
        intercept=intercept,
        photometric=photometric,
        planar_configuration=planar_configuration,
        transfer_syntax=transfer_syntax,
        modality=modality,
        enhanced=enhanced,
        multiframe=multiframe,
        header_elements=header_elements,
        header_bytes=header_bytes,
        shuffle=shuffle,
        seed=seed,
        series_number=series_number,
        series_description=series_description,
        preamble=preamble,
    )
    check_codec(spec)
    stored = make_stored(spec)
    header, instances = SeriesHeader.make(spec), _instances(spec)
    return Phantom(
        array=stored_to_values(spec, stored),
        stored=stored,
        tolerance=tolerance(spec),
        spacing=spec.spacing,
        affine=make_affine(spec),
        axes=spec.axes,
        values=dict(zip(spec.axes[:-3], spec.values, strict=True)),
        names=_names(spec, len(instances)),
        instances=instances,
        series_uid=header.root,
        _header=header,
        _common=encode_elements(spec, header.common),
        _numbers=tuple(range(len(instances))),
    )
