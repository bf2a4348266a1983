"""What an embedded archive does when it is asked: pynetdicom's events, answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, TypeAlias

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE

from ..errors import SeriesIOError, TooLargeError
from ._archive_commitment import commitment, report, report_to
from ._archive_contexts import ROOTS, outgoing
from ._archive_faults import Faults
from ._archive_match import QueryError
from ._archive_query import Query, find, parse_query, respond, retrieve
from ._archive_records import Request
from ._archive_send import Sender, parcel
from ._archive_wire import after_answer, replace_sender

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event

    from ._archive_associations import Associations
    from ._archive_holdings import Holdings
    from ._archive_instance import Instance

__all__ = ["Destination", "Service"]

_PENDING, _CANCEL, _SUCCESS = 0xFF00, 0xFE00, 0x0000
_RESOURCES, _MISMATCH, _CANNOT_UNDERSTAND = 0xA700, 0xA900, 0xC000  # PS3.4 table B.2-1

Answers: TypeAlias = "Iterator[tuple[int | Dataset, Dataset | None]]"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a C-MOVE sends to."""

    host: str
    port: int
    ssl_context: SSLContext | None = field(default=None, repr=False)


@dataclass(eq=False)
class Service:
    """The handlers of requests, and what they share. They run in their associations' threads."""

    title: str
    associations: Associations
    destinations: Mapping[str, Destination]
    _stored: dict[int, int] = field(default_factory=dict)
    _reporters: list[threading.Thread] = field(default_factory=list)

    @property
    def holdings(self) -> Holdings:
        return self.associations.holdings

    @property
    def faults(self) -> Faults:
        return self.associations.faults

    def handlers(self) -> list[Any]:
        """Events and who answers them."""
        return [
            *self.associations.handlers(),
            (evt.EVT_C_ECHO, self.on_echo),
            (evt.EVT_C_FIND, self.on_find),
            (evt.EVT_C_GET, self.on_get),
            (evt.EVT_C_MOVE, self.on_move),
            (evt.EVT_C_STORE, self.on_store),
            (evt.EVT_N_ACTION, self.on_action),
        ]

    def end(self) -> None:
        """End every association, and wait for all threads."""
        self.associations.end_all()
        for thread in self._reporters:
            thread.join()

    def _note(self, event: Event, service: str, **what: Any) -> None:
        number, context = self.associations.number(event.assoc), event.context
        syntaxes = str(context.abstract_syntax), str(context.transfer_syntax)
        self.associations.ledger.add(Request(number, service, *syntaxes, **what))

    def _query(self, event: Event, service: str, destination: str = "") -> Query:
        """The identifier of a request.

        Raises:
            QueryError: it breaks the rules.
        """
        root, _ = ROOTS[str(event.context.abstract_syntax)]
        try:
            query = parse_query(event.identifier, root)
        except QueryError:
            self._note(event, service, destination=destination)
            raise
        named = query.named()
        self._note(event, service, level=query.level, identifier=named, destination=destination)
        return query

    def on_echo(self, event: Event) -> int:
        """C-ECHO."""
        self._note(event, "C-ECHO")
        return _SUCCESS

    def on_find(self, event: Event) -> Answers:
        """C-FIND: an answer for each entity that matches."""
        syntax = event.context.transfer_syntax
        encoding = {"implicit": syntax.is_implicit_VR, "little": syntax.is_little_endian}
        try:
            query = self._query(event, "C-FIND")
            found = list(find(query, self.holdings.all(), self.title))
        except QueryError as error:
            yield _refusal(error), None
            return
        if self.faults.find_status is not None:
            yield self.faults.find_status, None
            return
        for done, answer in enumerate(found):
            if not self.associations.checkpoint(event.assoc, done):
                return
            if event.is_cancelled:
                yield _CANCEL, None
                return
            yield _PENDING, respond(answer, **encoding)
        self.associations.checkpoint(event.assoc, len(found))

    def on_get(self, event: Event) -> Iterator[Any]:
        """C-GET: sub-operations on the same association."""
        try:
            instances = retrieve(self._query(event, "C-GET"), self.holdings.all())
        except QueryError as error:
            yield 1
            yield _refusal(error), None
            return
        replace_sender(event.assoc, Sender(event.assoc, self._faults))
        yield from self._suboperations(event, instances)

    def on_move(self, event: Event) -> Iterator[Any]:
        """C-MOVE: sub-operations on an association with the destination."""
        title = str(event.move_destination)
        refusal: Dataset | None = None
        instances: list[Instance] = []
        try:
            query = self._query(event, "C-MOVE", title)
            instances = retrieve(query, self.holdings.all())
        except QueryError as error:
            refusal = _refusal(error)
        destination = self.destinations.get(title)
        if destination is None:
            yield None, None
            return
        yield destination.host, destination.port, self._towards(destination, instances)
        if refusal is not None:
            yield 1
            yield refusal, None
            return
        yield from self._suboperations(event, instances)

    def _towards(self, destination: Destination, instances: list[Instance]) -> dict[str, Any]:
        """How an association with a destination is asked for."""
        settings: dict[str, Any] = {
            "contexts": outgoing(instances),
            "evt_handlers": [
                (evt.EVT_ACSE_SENT, self.associations.on_open),  # before it connects
                (evt.EVT_ESTABLISHED, self._on_established),
            ],
        }
        if ":" in destination.host:
            settings["bind_address"] = ("::", 0)
        if destination.ssl_context is not None:
            settings["tls_args"] = (destination.ssl_context, destination.host)
        return settings

    def _on_established(self, event: Event) -> None:
        replace_sender(event.assoc, Sender(event.assoc, self._faults))

    def _faults(self) -> Faults:
        return self.faults

    def _suboperations(self, event: Event, instances: list[Instance]) -> Iterator[Any]:
        if self.faults.retrieve_status is not None:
            yield max(len(instances), 1)
            yield self.faults.retrieve_status, None
            return
        yield len(instances)
        for done, instance in enumerate(instances):
            if not self.associations.checkpoint(event.assoc, done):
                return
            if event.is_cancelled:
                yield _CANCEL, None
                return
            yield _PENDING, parcel(instance, done + 1, len(instances))
        self.associations.checkpoint(event.assoc, len(instances))

    def on_store(self, event: Event) -> int:
        """C-STORE: keep the dataset as it came."""
        assert isinstance(event.request, C_STORE)
        announced = str(event.request.AffectedSOPInstanceUID)
        sop_class = str(event.request.AffectedSOPClassUID)
        self._note(event, "C-STORE", instance=announced)
        number = self.associations.number(event.assoc)
        done = self._stored.get(number, 0)
        self._stored[number] = done + 1
        if not self.associations.checkpoint(event.assoc, done):
            return _RESOURCES
        status = self.faults.store_statuses.get(done + 1, _SUCCESS)
        if status and status >> 12 != 0xB:  # a warning says that it was stored
            return status
        return self._kept(event, announced, sop_class) or status

    def _kept(self, event: Event, announced: str, sop_class: str) -> int:
        """Keep what was sent: 0, or the status of a failure."""
        try:
            instance = self.holdings.read(event.encoded_dataset())
            if (instance.sop_instance, instance.sop_class) != (announced, sop_class):
                return _MISMATCH
            self.holdings.put(instance)
        except (TooLargeError, OSError):
            return _RESOURCES
        except SeriesIOError:
            return _CANNOT_UNDERSTAND
        return _SUCCESS

    # --- storage commitment ---------------------------------------------------------------

    def on_action(self, event: Event) -> tuple[int, Dataset | None]:
        """N-ACTION of storage commitment: the report follows on the same association, or not."""
        transaction, kind, told = commitment(event.action_information, self.holdings)
        self._note(event, "N-ACTION", instance=transaction)
        if event.action_type != 1 or not transaction:
            return 0x0112, None
        thread = threading.Thread(target=self._report, args=(event.assoc, kind, told), daemon=True)
        self._reporters.append(thread)
        after_answer(event.assoc, thread.start)
        return _SUCCESS, None

    def _report(self, association: Association, kind: int, told: Dataset) -> None:
        if not self.faults.report_elsewhere:
            report(association, kind, told)
            return
        requestor = association.requestor.ae_title
        if (destination := self.destinations.get(requestor)) is not None:
            report_to(self.title, requestor, destination, kind, told)


def _refusal(error: QueryError) -> Dataset:
    """Identifier does not match SOP class (PS3.4 tables C.4-1 to C.4-3)."""
    status = Dataset()
    status.Status = _MISMATCH
    status.ErrorComment = str(error)[:64]
    return status
