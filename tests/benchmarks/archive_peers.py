"""What others do with the same archives: DCMTK's programs, and pynetdicom with nothing around it.

The programs are asked to send small packets at once (``TCP_NODELAY``), as others do anyway.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from .archive_data import Held
from .archive_servers import HOST, Archive, program

__all__ = ["bare_get", "getscu", "storescu", "voxels"]

_STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_MR = "1.2.840.10008.5.1.4.1.1.4"
_NATIVE = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


def getscu(archive: Archive, held: Held, target: Path) -> None:
    """Write a series into a new folder."""
    target.mkdir()
    _, study, series = held.uids
    keys = ("QueryRetrieveLevel=SERIES", f"StudyInstanceUID={study}", f"SeriesInstanceUID={series}")
    command = [program("getscu"), "-S", "-aec", archive.title, "-od", str(target)]
    command += [part for key in keys for part in ("-k", key)]
    _run([*command, HOST, str(archive.port)])


def storescu(archive: Archive, folder: Path) -> None:
    """Send all files of a folder, as they are."""
    command = [program("storescu"), "-R", "-xe", "-aec", archive.title, "+sd"]
    _run([*command, HOST, str(archive.port), str(folder)])


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, "TCP_NODELAY": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)


def voxels(folder: Path) -> NDArray[Any]:
    """The stored values of a folder of instances, by position, as pydicom reads them."""
    datasets = [pydicom.dcmread(path) for path in folder.iterdir()]
    datasets.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    return np.stack([one.pixel_array for one in datasets])


def bare_get(port: int, title: str, uids: tuple[str, str, str]) -> int:
    """C-GET of a series with nothing but pynetdicom; what comes is dropped. How many came.

    Raises:
        RuntimeError: no association, or an answer that is not success.
    """
    from pynetdicom import AE, evt
    from pynetdicom.presentation import build_role

    came = 0

    def taken(event: evt.Event) -> int:
        nonlocal came
        came += 1
        return 0

    entity = AE("BARE")
    entity.add_requested_context(_STUDY_ROOT_GET)
    entity.add_requested_context(_MR, _NATIVE)
    association = entity.associate(
        HOST,
        port,
        ae_title=title,
        ext_neg=[build_role(_MR, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, taken)],
    )
    if not association.is_established:
        raise RuntimeError("no association")
    for status, _ in association.send_c_get(_query(uids), _STUDY_ROOT_GET):
        if status.get("Status") not in (0x0000, 0xFF00):
            raise RuntimeError(f"C-GET ended with {status}")
    association.release()
    return came


def _query(uids: tuple[str, str, str]) -> pydicom.Dataset:
    query = pydicom.Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.PatientID, query.StudyInstanceUID, query.SeriesInstanceUID = uids
    return query
