"""After C-STORE: does the archive find what it was sent (C-FIND)?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from ._dicom_association import Association
from ._dicom_find import Finder
from ._dicom_found import FoundSeries
from ._dicom_query import FIND_PROPOSALS
from ._dicom_session import use
from ._dicom_store_instance import Stored

if TYPE_CHECKING:
    from ._dicom_association import Peer

__all__ = ["verify_all"]

Failed = list[tuple[str, str]]

_TRIES: Final = 5  # archives may take a moment until what they have stored is found
_PAUSE: Final = 0.1  # seconds before the second try; twice as long before each further one

_WELL_KNOWN: Final = "1.2.840.10008.1.20.1.1"
_N_EVENT_REPORT_RQ, _N_ACTION_RQ = 0x0100, 0x0130


async def verify_all(stored: Sequence[Stored], peer: Peer) -> Failed:
    """Names of stored instances that C-FIND does not tell of, with the reason.

    Raises:
        UnsupportedByPeerError: the peer has no C-FIND.
        AssociationError, StatusError: it does not answer as it should.
    """
    left = list(stored)
    for tries in range(_TRIES):
        await anyio.sleep(_PAUSE * (2**tries - 1))
        left = await use(Association(peer), partial(_not_found, left))
        if not left:
            break
    return [(one.name, "said to be stored, but C-FIND does not find it") for one in left]


def _not_found(stored: Sequence[Stored], association: Association) -> list[Stored]:
    association.open(FIND_PROPOSALS)
    finder = Finder(association)
    series = dict.fromkeys(one.parents for one in stored if one.parents is not None)
    known = {found.uid for parents in series for found in finder.instances(FoundSeries(*parents))}
    association.release()
    return [one for one in stored if one.name not in known]
