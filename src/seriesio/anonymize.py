"""Series without what identifies the patient."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING

from .dicom.attributes import NO_HEADER, Name, as_tag
from .dicom.deidentify import UIDMap, deidentified
from .dicom.profile import basic_profile
from .errors import HeaderError
from .offload import Workers

if TYPE_CHECKING:
    from .dicom.volume import Volume

__all__ = ["anonymized"]


async def anonymized(
    volume: Volume,
    *,
    seed: str | bytes | None = None,
    uid_map: MutableMapping[str, str] | None = None,
    keep: Iterable[Name] = (),
) -> Volume:
    """A volume of the same voxels by the basic profile; see :meth:`seriesio.Series.anonymize`.

    Raises:
        HeaderError: there is no DICOM header, ``keep`` names no attribute, or ``uid_map`` gives
            no UIDs.
        ValueError: an empty ``seed``: no secret.
        DicomError: a header that cannot be taken apart.
        MissingDependencyError: dicom-anonymizer is not installed.
    """
    if not len(volume.header):
        raise HeaderError(NO_HEADER)
    kept = frozenset(map(as_tag, [keep] if isinstance(keep, str) else keep))
    uids = UIDMap(_secret(seed), {} if uid_map is None else uid_map)
    found = await Workers().run_alone(_anonymized, volume, kept, uids)
    for note in found.report.notes:
        if note.startswith("BurnedInAnnotation is YES"):
            warnings.warn(note, stacklevel=3)
    return found


def _secret(seed: str | bytes | None) -> bytes:
    if seed is None:
        return secrets.token_bytes(32)
    secret = seed.encode() if isinstance(seed, str) else seed
    if not secret:
        raise ValueError("seed= is empty, and so no secret: who knows it can link patients")
    return secret


def _anonymized(volume: Volume, kept: frozenset[int], uids: UIDMap) -> Volume:
    return deidentified(volume, basic_profile(kept), uids)
