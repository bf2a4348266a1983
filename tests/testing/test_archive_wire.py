"""What the archive uses of pynetdicom that is not public: a version that moves it fails here."""

from __future__ import annotations

import inspect
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dul import DULServiceProvider
from pynetdicom.service_class import QueryRetrieveServiceClass
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]
from pynetdicom.transport import AssociationServer, AssociationSocket

from seriesio.testing._archive_wire import send_instance


@pytest.fixture
def association() -> Association:
    """An association that has not begun."""
    return Association(AE(), "requestor")


@pytest.mark.parametrize(
    "name",
    ["_reactor_checkpoint", "_is_paused", "_handle_no_response", "_check_received_status"],
)
def test_association(association: Association, name: str) -> None:
    """How a sender keeps the association's own thread from taking its answer."""
    assert hasattr(association, name)
    assert name in inspect.getsource(Association.send_c_store)


def test_reactor(association: Association) -> None:
    """The nap between two looks at the socket, and the queues on which threads wait."""
    assert association.dul._run_loop_delay == 0.001
    assert "_run_loop_delay" in inspect.getsource(DULServiceProvider.run_reactor)
    assert association.dimse.msg_queue.empty()
    assert association.dul.to_user_queue.empty()
    assert association.dul.state_machine.current_state == "Sta1"
    assert '"Evt17"' in inspect.getsource(AssociationSocket)
    assert '"Evt19"' in inspect.getsource(DIMSEServiceProvider.receive_primitive)


def test_settings() -> None:
    """The switches that keep identifiers out of logs."""
    for name in ("LOG_HANDLER_LEVEL", "LOG_REQUEST_IDENTIFIERS", "LOG_RESPONSE_IDENTIFIERS"):
        assert hasattr(_config, name)


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (AssociationSocket, "recv", ["self", "nr_bytes"]),
        (AssociationSocket, "send", ["self", "bytestream"]),
        (DIMSEServiceProvider, "send_msg", ["self", "primitive", "context_id"]),
        (DIMSEServiceProvider, "receive_primitive", ["self", "primitive"]),
        (DULServiceProvider, "send_pdu", ["self", "primitive"]),
        (C_STORE_RQ, "encode_msg", ["self", "context_id", "max_pdu_length"]),
        (AssociationServer, "get_request", ["self"]),
        (AssociationServer, "service_actions", ["self"]),
    ],
)
def test_replaced_methods(owner: type, name: str, parameters: list[str]) -> None:
    """Methods that the archive replaces or calls have the parameters that it knows."""
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


@pytest.mark.parametrize("service", ["_get_scp", "_move_scp"])
def test_suboperations(service: str) -> None:
    """The retrieval services send by the association's ``send_c_store``, which is replaced."""
    source = inspect.getsource(getattr(QueryRetrieveServiceClass, service))
    assert ".send_c_store(" in source.replace("\n", "").replace(" ", "")


def test_answer_of_who_has_ended(association: Association) -> None:
    """Whoever waits for an answer goes on when the association ends, woken or not."""
    association.is_established = True
    threading.Timer(0.1, setattr, (association, "is_established", False)).start()
    begin = time.monotonic()
    context: Any = SimpleNamespace(context_id=1)
    instance: Any = SimpleNamespace(sop_class=CTImageStorage, sop_instance="1.2.3")
    answer = send_instance(
        association, context, instance, b"", message_id=1, originator=None, max_pdu=None
    )
    assert not answer
    assert time.monotonic() - begin < 5  # pynetdicom's own patience is 30 s


def test_events() -> None:
    """The event that comes before an association of ours has connected."""
    assert "EVT_ACSE_SENT" in inspect.getsource(DULServiceProvider.send_pdu)
    assert evt.EVT_ACSE_SENT.is_notification
