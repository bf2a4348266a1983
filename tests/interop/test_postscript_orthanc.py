"""A PostScript document under a template's header, stored into a real Orthanc and read back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import numpy as np
import PIL.Image
import pytest
from anyio import to_thread

from seriesio import Series
from seriesio.testing import phantom

if TYPE_CHECKING:
    from .conftest import Server

Tool = Callable[[str], str]

PAGES = ".ps 14\nThe first page\n.bp\nThe second page\n"
COLORED = b"%!PS\n1 0 0 setrgbcolor 72 72 200 300 rectfill showpage\n0 0 9 9 rectfill showpage\n"
DPI = 20


def typeset(tool: Tool, path: Path, color: bool) -> Path:
    """Two pages: of words by groff, or with a red rectangle."""
    if color:
        path.write_bytes(COLORED)
        return path
    made = subprocess.run(
        [tool("groff"), "-Tps"], input=PAGES.encode(), capture_output=True, check=True
    )
    path.write_bytes(made.stdout)
    return path


def rendered(tool: Tool, path: Path, device: str) -> Any:
    """The pages as Ghostscript writes them into files, read by Pillow."""
    folder = path.parent / device
    folder.mkdir()
    command = [tool("gs"), "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={device}"]
    command += [f"-r{DPI}", f"-sOutputFile={folder}/%03d", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return np.stack([np.asarray(PIL.Image.open(page)) for page in sorted(folder.iterdir())])


def stored_and_fetched(tool: Tool, orthanc: Server, source: Path, uid: str, target: Path) -> int:
    """Send files by DCMTK, fetch a series from Orthanc's web interface; how many there were."""
    files = [str(path) for path in sorted(source.iterdir())]
    command = [tool("storescu"), "-aec", orthanc.ae_title, orthanc.host, str(orthanc.port)]
    subprocess.run([*command, *files], check=True, capture_output=True)
    web = f"http://{orthanc.host}:{orthanc.web}"
    query = json.dumps({"Level": "Instance", "Query": {"SeriesInstanceUID": uid}}).encode()
    with urlopen(f"{web}/tools/find", data=query, timeout=30) as answer:
        found = json.load(answer)
    target.mkdir()
    for name in found:
        with urlopen(f"{web}/instances/{name}/file", timeout=30) as answer:
            (target / name).write_bytes(answer.read())
    return len(found)


async def test_the_whole_way(tool: Tool, orthanc: Server, tmp_path: Path) -> None:
    """A document, a directory as template, an archive: two calls; a third one reads it back."""
    path = await to_thread.run_sync(typeset, tool, tmp_path / "postscript.ps", False)
    phantom((3, 8, 8), modality="CT").save(tmp_path / "data")
    ps = await Series.open(path, template=tmp_path / "data", dpi=DPI)
    receipt = await ps.write(orthanc.url, formats=["dicom"])
    assert receipt.count == 2
    where = f"{orthanc.url}/{ps.patientID}/{ps.studyInstanceUID}/{ps.seriesInstanceUID}"
    again = await Series.open(where)
    expected = await to_thread.run_sync(rendered, tool, path, "pgmraw")
    np.testing.assert_array_equal(again.array, expected)
    np.testing.assert_allclose(again.affine, ps.affine, atol=1e-6)
    assert again.header.values("SOPInstanceUID") == ps.header.values("SOPInstanceUID")


@pytest.mark.parametrize("how", ["url", "series"])
@pytest.mark.parametrize("color", [False, True], ids=["grey", "color"])
async def test_postscript_to_orthanc(
    tool: Tool, orthanc: Server, tmp_path: Path, how: str, color: bool
) -> None:
    """Pages are slices of the template's study, and come back from the archive as they went."""
    path = await to_thread.run_sync(typeset, tool, tmp_path / "postscript.ps", color)
    model = phantom((3, 8, 8), modality="CT").save(tmp_path / "data")
    template: Any = model if how == "url" else await Series.open(model)
    series = await Series.open(path, template=template, dpi=DPI)
    device = "ppmraw" if color else "pgmraw"
    expected = await to_thread.run_sync(rendered, tool, path, device)
    np.testing.assert_array_equal(series.array, expected)
    like = await Series.open(model)
    assert series.patientID == like.patientID
    assert series.studyInstanceUID == like.studyInstanceUID
    assert series.frameOfReferenceUID != like.frameOfReferenceUID  # paper lies in no patient
    np.testing.assert_allclose(series.spacing, (1, 25.4 / DPI, 25.4 / DPI))
    await series.write(tmp_path / "out", formats=["dicom"])
    uid = series.seriesInstanceUID
    count = await to_thread.run_sync(
        stored_and_fetched, tool, orthanc, tmp_path / "out", uid, tmp_path / "back"
    )
    assert count == len(expected) == 2
    again = await Series.open(tmp_path / "back")
    np.testing.assert_array_equal(again.array, expected)
    np.testing.assert_allclose(again.affine, series.affine, atol=1e-6)
    assert again.seriesInstanceUID == uid
    assert again.header.values("SOPInstanceUID") == series.header.values("SOPInstanceUID")
