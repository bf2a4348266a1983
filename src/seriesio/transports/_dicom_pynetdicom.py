"""The one door to pynetdicom: how associations are negotiated (PS3.8 section 9.3, PS3.7 annex D).

pynetdicom encodes what is proposed and decodes what is answered. Its threads, its reactor and its
state machine are not used: one thread of ours owns an association and its socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from struct import pack
from typing import Final, TypeVar

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_items import UserInformationItem
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import PresentationContext

from ..errors import DicomError

__all__ = [
    "IMPLEMENTATION_UID",
    "IMPLEMENTATION_VERSION",
    "Answer",
    "Context",
    "Identity",
    "Proposal",
    "Request",
    "decode_accept",
    "decode_request",
    "encode_accept",
    "encode_request",
]

IMPLEMENTATION_UID: Final = "2.25.279105842178906139219812443516404251467"
IMPLEMENTATION_VERSION: Final = "SERIESIO"
_APPLICATION: Final = "1.2.840.10008.3.1.1.1"
MOST_CONTEXTS: Final = 128  # IDs are the odd numbers of a byte (PS3.8 section 9.3.2.2)

_P = TypeVar("_P", A_ASSOCIATE_AC, A_ASSOCIATE_RQ)
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A presentation context to propose.

    Attributes:
        abstract: abstract syntax UID.
        syntaxes: transfer syntax UIDs, the preferred one first.
        scp: who proposes it takes the SCP role: the other side sends, as in the sub-operations
            of a C-GET.
    """

    abstract: str
    syntaxes: tuple[str, ...]
    scp: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """A presentation context that was accepted.

    Attributes:
        number: presentation context ID.
        abstract, syntax: abstract and transfer syntax UIDs.
        scp: whether who proposed it may be SCP; None if nothing was said of that.
    """

    number: int
    abstract: str
    syntax: str
    scp: bool | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, and the password if there is one (PS3.7 section D.3.3.7)."""

    user: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An association that was accepted.

    Attributes:
        contexts: the accepted ones, by ID.
        rejected: abstract syntax → result (PS3.8 table 9-18) of contexts that were not.
        max_pdu: bytes of the largest P-DATA-TF that the peer takes; 0 for any.
        operations: requests that may be under way at a time; 0 for any number.
    """

    contexts: Mapping[int, Context]
    rejected: Mapping[str, int]
    max_pdu: int
    operations: int


@dataclass(frozen=True, slots=True)
class Request:
    """An association that a peer asks for."""

    calling: str
    called: str
    contexts: tuple[tuple[int, Proposal], ...]
    max_pdu: int


# --- requestor --------------------------------------------------------------------------------


def encode_request(
    calling: str,
    called: str,
    proposals: Sequence[Proposal],
    *,
    max_pdu: int,
    identity: Identity | None = None,
    operations: int = 1,
) -> bytes:
    """An A-ASSOCIATE-RQ PDU; the contexts have the IDs 1, 3, 5 … in the order of the proposals.

    Args:
        calling, called: AE titles.
        proposals: at most 128.
        max_pdu: bytes of the largest P-DATA-TF that we take.
        identity: of the user.
        operations: requests that we want to have under way at a time; 0 for any number.
    """
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(_APPLICATION)
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    primitive.presentation_context_definition_list = [
        _context(2 * place + 1, proposal) for place, proposal in enumerate(proposals)
    ]
    primitive.user_information = [*_implementation(max_pdu), *_roles(proposals)]
    if operations != 1:
        window = AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked = operations
        window.maximum_number_operations_performed = 1
        primitive.user_information.append(window)
    if identity is not None:
        primitive.user_information.append(_identity(identity))
    return A_ASSOCIATE_RQ(primitive).encode()


def _context(number: int, proposal: Proposal) -> PresentationContext:
    context = PresentationContext()
    context.context_id = number
    context.abstract_syntax = UID(proposal.abstract)
    context.transfer_syntax = [UID(syntax) for syntax in proposal.syntaxes]
    return context


def _implementation(
    max_pdu: int,
) -> list[
    MaximumLengthNotification
    | ImplementationClassUIDNotification
    | ImplementationVersionNameNotification
]:
    length = MaximumLengthNotification()
    length.maximum_length_received = max_pdu
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID(IMPLEMENTATION_UID)
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION
    return [length, implementation, version]


def _roles(proposals: Iterable[Proposal]) -> list[SCP_SCU_RoleSelectionNegotiation]:
    """One role item for each SOP class (PS3.7 section D.3.3.4)."""
    return [_role(uid) for uid in dict.fromkeys(p.abstract for p in proposals if p.scp)]


def _role(sop_class: str) -> SCP_SCU_RoleSelectionNegotiation:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = UID(sop_class)
    role.scu_role, role.scp_role = False, True
    return role


def _identity(identity: Identity) -> UserIdentityNegotiation:
    item = UserIdentityNegotiation()
    item.user_identity_type = 1 if identity.password is None else 2
    item.primary_field = identity.user.encode()
    if identity.password is not None:
        item.secondary_field = identity.password.encode()
    item.positive_response_requested = False
    return item


def decode_accept(body: bytes, proposals: Sequence[Proposal]) -> Answer:
    """What an A-ASSOCIATE-AC says of the proposals.

    A context that was not proposed, or accepted with a transfer syntax that was not, counts as
    rejected.

    Raises:
        DicomError: it is malformed.
    """
    return _guarded(lambda: _answer(_decoded(A_ASSOCIATE_AC(), 2, body), proposals))


def _answer(pdu: A_ASSOCIATE_AC, proposals: Sequence[Proposal]) -> Answer:
    asked = {2 * place + 1: proposal for place, proposal in enumerate(proposals)}
    user = pdu.user_information
    roles = {} if user is None else {str(u): r.scp_role for u, r in user.role_selection.items()}
    contexts: dict[int, Context] = {}
    rejected: dict[str, int] = {}
    for item in pdu.presentation_context:
        number, proposal = item.context_id or 0, asked.get(item.context_id or 0)
        if proposal is None:
            continue
        uid, syntax = proposal.abstract, str(item.transfer_syntax or "")
        if item.result == 0 and syntax in proposal.syntaxes:
            scp = roles.get(uid)
            contexts[number] = Context(number, uid, syntax, None if scp is None else bool(scp))
        else:
            rejected[uid] = item.result or 0
    return Answer(contexts, rejected, _max_pdu(user), _operations(user))


def _max_pdu(user: UserInformationItem | None) -> int:
    return 0 if user is None else user.maximum_length or 0


def _operations(user: UserInformationItem | None) -> int:
    """The default is one at a time (PS3.7 section D.3.3.3)."""
    window = None if user is None else user.async_ops_window
    return 1 if window is None else window.maximum_number_operations_invoked or 0


# --- acceptor ---------------------------------------------------------------------------------


def decode_request(body: bytes) -> Request:
    """What an A-ASSOCIATE-RQ asks for.

    Raises:
        DicomError: it is malformed.
    """
    return _guarded(lambda: _request(_decoded(A_ASSOCIATE_RQ(), 1, body)))


def _request(pdu: A_ASSOCIATE_RQ) -> Request:
    roles = {} if pdu.user_information is None else pdu.user_information.role_selection
    served = {str(uid) for uid, role in roles.items() if role.scp_role}
    contexts = tuple(
        (
            item.context_id or 0,
            Proposal(
                (uid := str(item.abstract_syntax)), _syntaxes(item.transfer_syntax), uid in served
            ),
        )
        for item in pdu.presentation_context
    )
    titles = pdu.calling_ae_title.strip(), pdu.called_ae_title.strip()
    return Request(*titles, contexts[:MOST_CONTEXTS], _max_pdu(pdu.user_information))


def _syntaxes(uids: Iterable[UID]) -> tuple[str, ...]:
    return tuple(str(uid) for uid in uids)


def encode_accept(request: Request, accepted: Mapping[int, Context], *, max_pdu: int) -> bytes:
    """An A-ASSOCIATE-AC PDU: contexts that are not among the accepted ones are rejected."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(_APPLICATION)
    primitive.calling_ae_title, primitive.called_ae_title = request.calling, request.called
    results = [_result(n, proposal, accepted.get(n)) for n, proposal in request.contexts]
    primitive.presentation_context_definition_results_list = results
    roles = [Proposal(one.abstract, (), True) for one in accepted.values() if one.scp]
    primitive.user_information = [*_implementation(max_pdu), *_roles(roles)]
    return A_ASSOCIATE_AC(primitive).encode()


def _result(number: int, proposal: Proposal, context: Context | None) -> PresentationContext:
    result = PresentationContext()
    result.context_id = number
    result.transfer_syntax = [UID(context.syntax if context else proposal.syntaxes[0])]
    result.result = 0 if context else 3  # the abstract syntax is not supported
    return result


# --- hostile bytes ----------------------------------------------------------------------------


def _decoded(pdu: _P, kind: int, body: bytes) -> _P:
    pdu.decode(pack(">BxI", kind, len(body)) + body)
    return pdu


def _guarded(decode: Callable[[], _R]) -> _R:
    """Decode; whatever pynetdicom trips over is the peer's fault."""
    try:
        return decode()
    except Exception as error:  # of many kinds; the text may hold what was received
        raise DicomError("the peer's negotiation of the association is malformed") from error
