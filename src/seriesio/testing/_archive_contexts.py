"""Which presentation contexts an embedded archive accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context

from ._archive_send import NATIVE

if TYPE_CHECKING:
    from pynetdicom.presentation import PresentationContext

    from ._archive_faults import Faults
    from ._archive_instance import Instance

__all__ = ["COMMITMENT", "ROOTS", "outgoing", "supported"]

VERIFICATION: Final = "1.2.840.10008.1.1"
COMMITMENT: Final = "1.2.840.10008.1.20.1"  # Storage Commitment Push Model
# Abstract syntax → root and service (PS3.4 section C.6).
ROOTS: Final = {
    "1.2.840.10008.5.1.4.1.2.1.1": ("PATIENT", "C-FIND"),
    "1.2.840.10008.5.1.4.1.2.1.2": ("PATIENT", "C-MOVE"),
    "1.2.840.10008.5.1.4.1.2.1.3": ("PATIENT", "C-GET"),
    "1.2.840.10008.5.1.4.1.2.2.1": ("STUDY", "C-FIND"),
    "1.2.840.10008.5.1.4.1.2.2.2": ("STUDY", "C-MOVE"),
    "1.2.840.10008.5.1.4.1.2.2.3": ("STUDY", "C-GET"),
}
_STORAGE: Final = frozenset(str(cx.abstract_syntax) for cx in AllStoragePresentationContexts)
_MOST: Final = 128  # contexts of an association (PS3.8 section 9.3.2.2)


def supported(
    proposed: Iterable[PresentationContext],
    retrieving: frozenset[str],
    faults: Faults,
    stored: Callable[[str], list[str]],
) -> list[PresentationContext]:
    """What the archive supports of what is proposed.

    Args:
        proposed: contexts of the request.
        retrieving: SOP classes whose instances the requestor offers to take (SCP role).
        stored: the transfer syntaxes of kept instances of a SOP class: preferred, for they can be
            sent as they are.
    """
    contexts = []
    for uid in dict.fromkeys(str(context.abstract_syntax) for context in proposed):
        if uid in _STORAGE:
            if uid in retrieving or not faults.refuse_store:
                contexts.append(_storage(uid, faults, stored(uid)))
        elif uid in (VERIFICATION, COMMITMENT) or (uid in ROOTS and _offered(uid, faults)):
            contexts.append(build_context(uid, list(NATIVE)))
    return [context for context in contexts if context.transfer_syntax]


def _offered(uid: str, faults: Faults) -> bool:
    root, service = ROOTS[uid]
    if faults.no_study_root if root == "STUDY" else faults.no_patient_root:
        return False
    refused = {"C-GET": faults.refuse_get, "C-MOVE": faults.refuse_move}
    return not refused.get(service, False)


def _storage(uid: str, faults: Faults, preferred: Iterable[str]) -> PresentationContext:
    order = dict.fromkeys([*preferred, *NATIVE, *map(str, ALL_TRANSFER_SYNTAXES)])
    context = build_context(uid, [one for one in order if one not in faults.refused_syntaxes])
    if not faults.ignore_roles:
        context.scu_role, context.scp_role = True, not faults.refuse_roles
    return context


def outgoing(instances: Iterable[Instance]) -> list[PresentationContext]:
    """What is proposed to the destination of a C-MOVE: each instance as it is, then native."""
    kinds = dict.fromkeys((one.sop_class, one.transfer_syntax) for one in instances)
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in kinds]
    natives = dict.fromkeys(sop_class for sop_class, syntax in kinds if syntax in NATIVE)
    contexts += [build_context(sop_class, list(NATIVE[:2])) for sop_class in natives]
    return contexts[:_MOST] or [build_context(VERIFICATION)]
