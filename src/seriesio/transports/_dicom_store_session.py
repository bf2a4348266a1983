"""C-STORE in one worker thread: one association, and what goes over it (PS3.4 annex B). Blocking.

A session ends when nothing is left to send, when an instance needs what was not negotiated, or
when the association breaks. It then says what is in its hands; the next session goes on with that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..errors import AssociationError, SeriesIOError, UnsupportedByPeerError
from ._dicom_association import Association, Context, Proposal
from ._dicom_dimse import C_STORE_RQ, RESPONSE, store_request
from ._dicom_meta import read_meta
from ._dicom_store_instance import (
    COMMITMENT,
    DICOMDIR,
    NATIVE,
    Instance,
    Kind,
    Outcomes,
    Transcode,
    encoded,
    identify,
    proposals_for,
)

if TYPE_CHECKING:
    from ..blob import Blob
    from ._dicom_store_parents import Parents

__all__ = ["Session", "Transcode"]

# Whoever offers storage commitment takes responsibility for what it is sent, over however many
# associations. dcmqrscp, which does not, loses instances that come over two at the same time.
_ARCHIVE: Final = Proposal(COMMITMENT, NATIVE)
_WINDOW: Final = 16  # requests under way at a time, where a peer allows several


@dataclass(eq=False)
class Session:
    """What one association is used for; called with one that is not opened yet.

    Args:
        outcomes: of the call, shared with its other sessions.
        take: more instances; none when there are no more.
        transcode: None if instances can only be sent as they are.
        parents_of: what tells the series of an instance; None if that is not wanted.
        hand: instances to begin with.
        opened: called when the association stands; true if the peer is one that may be sent to
            over several associations.

    Attributes:
        hand: afterwards, what is not settled: to be sent over another association.
        error: what has refused or broken the association; None if it was released.
        stood: whether there was one.
        finished: nothing more will come.
    """

    outcomes: Outcomes
    take: Callable[[], Iterable[Instance]]
    transcode: Transcode | None
    parents_of: Callable[[Blob], Parents] | None
    hand: deque[Instance]
    opened: Callable[[bool], None]
    error: SeriesIOError | None = None
    stood: bool = False
    finished: bool = False
    _covered: frozenset[Kind] = frozenset()
    _accepted: dict[Kind, Context] = field(default_factory=dict)
    _pending: dict[int, Instance] = field(default_factory=dict)

    def __call__(self, association: Association) -> None:
        """Negotiate, send, and release; errors are kept, not raised."""
        try:
            if self._negotiate(association):
                self._send_all(association)
                association.release()
        except AssociationError as error:
            self.error = error
            self._keep_what_is_lost(error)

    # --- negotiation ----------------------------------------------------------------------

    def _negotiate(self, association: Association) -> bool:
        """Ask for what the instances at hand need, and all others so far; False if for nothing."""
        if not (self.hand or self.outcomes.known()):
            self._more()
        kinds = self._kinds()
        proposals, self._covered = proposals_for(kinds, self.outcomes.known())
        if not proposals:
            return False
        try:
            association.open([*proposals, _ARCHIVE], operations=_WINDOW)
        except UnsupportedByPeerError as error:
            why = str(error).removeprefix(f"{association.peer}: ")
            self.outcomes.refused.update(dict.fromkeys(self._covered, f"the peer {why}"))
            self._kinds()
            return False
        contexts = association.contexts.values()
        self._accepted = {(context.abstract, context.syntax): context for context in contexts}
        self.stood = True
        self.opened(association.context_for(COMMITMENT) is not None)
        return True

    def _kinds(self) -> list[Kind]:
        """The kinds of the instances at hand; those that cannot be sent at all are settled."""
        found: list[Kind] = []
        for instance in list(self.hand):
            kind = self._kind(instance)
            if kind is None:
                self.hand.remove(instance)
            else:
                found.append(kind)
        return found

    def _kind(self, instance: Instance) -> Kind | None:
        """What an instance is; None if it can't be sent, or is none, and that was said."""
        try:
            kind = identify(instance, self.transcode)
            if kind[0] == DICOMDIR:
                self.outcomes.skipped.append(instance.blob.name)
                return None
            if self.parents_of is not None and instance.parents is None:
                instance.parents = self.parents_of(instance.blob)
        except SeriesIOError as error:
            self.outcomes.fail(instance, error)
            return None
        if (why := self.outcomes.refused.get(kind)) is not None:
            self.outcomes.fail(instance, why)
            return None
        self.outcomes.kinds[kind] = None
        return kind

    # --- sending --------------------------------------------------------------------------

    def _send_all(self, association: Association) -> None:
        """Send all that comes, until something comes that was not negotiated for."""
        window = association.operations or _WINDOW
        while self.hand or self._more():
            kind = self._kind(self.hand[0])
            if kind is not None and kind not in self._covered:
                break
            instance = self.hand.popleft()
            if kind is not None and self._send(association, instance, kind):
                self._answers(association, min(window, _WINDOW) - 1)
        self._answers(association, 0)

    def _more(self) -> bool:
        taken = list(self.take())
        self.finished = not taken
        self.hand.extend(taken)
        return bool(taken)

    def _send(self, association: Association, instance: Instance, kind: Kind) -> bool:
        """Send one; False if it can't be, and that was said.

        Raises:
            AssociationError: the association is broken; the instance is pending, if it is worth
                another one.
        """
        try:
            context, blob = self._prepared(instance, kind)
            meta = read_meta(blob)
            pieces = encoded(blob, meta.start)
        except SeriesIOError as error:
            self.outcomes.fail(instance, error)
            return False
        message = association.next_message()
        self._pending[message] = instance
        try:
            association.send(
                context, store_request(message, meta.sop_class, meta.sop_instance), pieces
            )
        except AssociationError:
            raise
        except SeriesIOError as error:  # in the middle of a message: only an abort can follow
            self.outcomes.fail(self._pending.pop(message), error)
            raise AssociationError(f"{association.peer}: aborted, an instance is cut") from error
        return True

    def _prepared(self, instance: Instance, kind: Kind) -> tuple[Context, Blob]:
        """How an instance goes: as it is, or else transcoded.

        Raises:
            UnsupportedByPeerError: the peer takes it in no way.
            SeriesIOError: it cannot be transcoded.
        """
        sop_class, syntax = kind
        if (context := self._accepted.get(kind)) is not None:
            return context, instance.blob
        for native in NATIVE:
            context = self._accepted.get((sop_class, native))
            if context is not None and self.transcode is not None:
                return context, self.transcode(instance.blob, native)
        if any(accepted == sop_class for accepted, _ in self._accepted):
            raise UnsupportedByPeerError(
                f"the peer takes {_name(sop_class)}, but not in transfer syntax {_name(syntax)}"
            )
        raise UnsupportedByPeerError(f"the peer does not take {_name(sop_class)}")

    # --- answers --------------------------------------------------------------------------

    def _answers(self, association: Association, most: int) -> None:
        """Wait until no more than so many requests are under way."""
        while len(self._pending) > most:
            self._answer(association)

    def _answer(self, association: Association) -> None:
        command = association.receive(first=True).command
        instance = self._pending.pop(command.message, None)
        if instance is None or command.field != C_STORE_RQ | RESPONSE:
            raise AssociationError(f"{association.peer}: answers what it was not asked")
        self.outcomes.broken = 0
        if command.sop_instance not in ("", instance.name):
            self.outcomes.fail(instance, "the peer answers for another instance")
        else:
            self.outcomes.answered(instance, command.status)

    def _keep_what_is_lost(self, error: AssociationError) -> None:
        """What was not answered may be sent once more: storing twice does no harm."""
        for instance in self._pending.values():
            if instance.retried:
                self.outcomes.fail(instance, error)
        again = [instance for instance in self._pending.values() if not instance.retried]
        for instance in again:
            instance.retried = True
        self.hand.extendleft(reversed(again))
        self._pending.clear()


def _name(uid: str) -> str:
    """A UID with what it stands for, where that is known."""
    from pydicom.uid import UID

    return f"{UID(uid).name} ({uid})" if UID(uid).name != uid else uid
