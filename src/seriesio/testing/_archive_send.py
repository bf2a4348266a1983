"""C-STORE sub-operations: instances as they are kept, or spoiled as the faults say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from ..errors import DicomError
from ._archive_wire import find_context, send_instance

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

    from ._archive_faults import Faults
    from ._archive_instance import Instance

__all__ = ["NATIVE", "Parcel", "Sender", "corrupted", "foreign"]

IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
NATIVE: Final = (EXPLICIT, IMPLICIT, DEFLATED)  # which can be made of each other

_SUCCESS, _WARNING, _FAILURE, _NO_CONTEXT = 0x0000, 0xB000, 0xA700, 0xA900
_PIXELS: Final = b"\xe0\x7f\x10\x00"


class Parcel(Dataset):
    """What stands for an instance on its way through pynetdicom: its UID, for the failed ones."""

    instance: Instance
    number: int
    total: int


def parcel(instance: Instance, number: int, total: int) -> Parcel:
    """Sub-operation ``number`` (from 1) of ``total``."""
    made = Parcel()
    made.SOPInstanceUID = instance.sop_instance
    made.instance, made.number, made.total = instance, number, total
    return made


class Sender:
    """Takes the place of an association's ``send_c_store``: sends encoded datasets raw."""

    def __init__(self, association: Association, faults: Callable[[], Faults]) -> None:
        self._association = association
        self._faults = faults

    def __call__(
        self,
        dataset: Parcel,
        msg_id: int = 1,
        priority: int = 2,
        originator_aet: str | None = None,
        originator_id: int | None = None,
    ) -> Dataset:
        """Carry a sub-operation out; the answer has the Status that it counts with."""
        faults, number = self._faults(), dataset.number
        origin = None if originator_aet is None else (originator_aet, originator_id or 0)
        if number == faults.fail_suboperation:
            return _status(_FAILURE)
        if number == faults.omit_instance:
            return _status(_SUCCESS)
        answer = self._send(dataset.instance, number, msg_id, origin)
        if number == faults.duplicate_instance:
            self._send(dataset.instance, number, msg_id, origin)
        for extra in range(faults.extra_instances if number == dataset.total else 0):
            added = foreign(dataset.instance, f"extra {extra}", same_series=True)
            self._send(added, 0, msg_id, origin)
        return _status(_WARNING) if number == faults.warn_suboperation else answer

    def _send(
        self, instance: Instance, number: int, message: int, origin: tuple[str, int] | None
    ) -> Dataset:
        faults = self._faults()
        if number and number == faults.wrong_uids:
            instance = foreign(instance, "wrong", same_series=False)
        found = self._prepared(instance)
        if found is None:
            return _status(_NO_CONTEXT)
        context, data = found
        if number and number == faults.corrupt_dataset:
            data = corrupted(data, faults.corruption)
        return send_instance(
            self._association,
            context,
            instance,
            data,
            message_id=message,
            originator=origin,
            max_pdu=faults.max_pdu,
        )

    def _prepared(self, instance: Instance) -> tuple[PresentationContext, bytes] | None:
        """A context that was accepted, and the dataset as it has to be in there."""
        syntax, native = instance.transfer_syntax, instance.transfer_syntax in NATIVE
        for candidate in (syntax, *(NATIVE if native else ())):
            context = find_context(
                self._association,
                instance.sop_class,
                candidate,
                any_role=self._faults().ignore_roles,
            )
            if context is not None:
                same = candidate == syntax
                return context, instance.dataset() if same else _converted(instance, candidate)
        return None


def _status(value: int) -> Dataset:
    answer = Dataset()
    answer.Status = value
    return answer


def _converted(instance: Instance, syntax: str) -> bytes:
    """The dataset in another uncompressed transfer syntax.

    Raises:
        DicomError: it cannot be read, or not be written.
    """
    try:
        dataset = dcmread(BytesIO(instance.part10()))
        data = encode(dataset, syntax == IMPLICIT, True, syntax == DEFLATED)
    except Exception:  # pydicom raises whatever it trips over; its text may hold values
        data = None
    if data is None:
        raise DicomError(f"{instance.sop_instance}: cannot be converted to {syntax}")
    return data


# --- spoiling ---------------------------------------------------------------------------------


def corrupted(data: bytes, how: str) -> bytes:
    """A dataset that ends too early ("cut"), or whose pixel data announce too much ("length")."""
    if how == "cut":
        return data[: len(data) * 3 // 4 & ~1]
    place = data.rfind(_PIXELS)
    if place < 0:  # the first element lies, then
        return data[:4] + b"\xf0\xff\xff\x7f" + data[8:]
    at = place + (8 if data[place + 4 : place + 6] in (b"OW", b"OB") else 4)
    return data[:at] + b"\xf0\xff\xff\x7f" + data[at + 4 :]


def foreign(instance: Instance, salt: str, *, same_series: bool) -> Instance:
    """The instance under another SOP Instance UID, and of another series and study if told so.

    UIDs of the same length replace the old ones wherever they are, but in a deflated dataset.
    """
    old = [instance.sop_instance]
    old += [] if same_series else [instance.series, instance.study]
    new = [_other_uid(uid, salt) for uid in old]
    data = instance.part10()
    for before, after in zip(old, new, strict=True):
        data = data.replace(before.encode(), after.encode())
    series, study = (instance.series, instance.study) if same_series else new[1:]
    return replace(instance, source=data, sop_instance=new[0], series=series, study=study)


def _other_uid(uid: str, salt: str) -> str:
    digest = hashlib.sha256(f"{salt} {uid}".encode()).hexdigest()
    return f"2.25.9{int(digest, 16)}"[: len(uid)].rstrip(".").ljust(len(uid), "7")
