"""The example scripts run, print what they promise and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

PROMISED = {
    "open_directory.py": ["shape         (24, 128, 128)", "description", "first voxel"],
    "zip_roundtrip.py": [
        "written  24 files",
        "new UID  True",
        "New Series (24, 128, 128) same voxels: True",
    ],
    "dicom_archive/change_series.py": [
        "(24, 128, 128) (3.0, 2.0, 2.0) PHANTOM 1",
        "stored 24 instances",
        "New Series (24, 128, 128) of 48 instances there",
    ],
    "xnat/change_scan.py": [
        "(24, 128, 128) (3.0, 2.0, 2.0) 1 phantom",
        "written 24 files",
        "New Series (24, 128, 128) beside scan 4",
    ],
    "web_service.py": ["scan0: (40, 256, 256)", "scan7: (40, 256, 256)", "slowest pulse"],
}


def run(name: str, folder: Path) -> str:
    """What an example prints when every warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        env=os.environ | {"TMPDIR": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())
    return done.stdout


@pytest.mark.parametrize("name", PROMISED)
def test_example(name: str, tmp_path: Path) -> None:
    """Each script ends well and prints what it is there to show."""
    printed = run(name, tmp_path)
    assert not [text for text in PROMISED[name] if text not in printed], printed


def test_every_example_is_tested() -> None:
    """No script is added without being run here."""
    assert set(PROMISED) == {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")}
