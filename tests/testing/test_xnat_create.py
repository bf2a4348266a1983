"""The XNAT stand-in: making, changing, sharing and deleting."""

from __future__ import annotations

import pytest

from seriesio.testing import XnatServer

from .asking import asking

PROJECT = "/data/projects/P"
SESSION = f"{PROJECT}/subjects/S/experiments/E"
MR = {"xsiType": "xnat:mrScanData"}


@pytest.fixture
def server() -> XnatServer:
    """A project with one session and a scan 4 in it."""
    made = XnatServer()
    made.add_scan("P", "S", "E", "4", {"a.dcm": b"one"}, type="T1")
    return made


async def test_subjects_and_sessions_answer_their_id(server: XnatServer) -> None:
    """201 with the accession id; 200 with the same where it is there; missing subjects are made."""
    async with asking(server) as client:
        assert (await client.put("/data/projects/NEW")).status_code == 200
        subject = await client.put("/data/projects/NEW/subjects/S?gender=female")
        again = await client.put("/data/projects/NEW/subjects/S")
        path = "/data/projects/NEW/subjects/S2/experiments/E"
        untyped = await client.put(path)
        session = await client.put(f"{path}?xsiType=xnat:ctSessionData&date=2024-01-02")
        known = await client.put(path)
        rows = (await client.get("/data/projects/NEW/subjects?format=json")).json()
        (item,) = (await client.get(f"{path}?format=json")).json()["items"]
    assert (subject.status_code, again.status_code) == (201, 200)
    assert (untyped.status_code, session.status_code, known.status_code) == (417, 201, 200)
    assert session.text == known.text == server.accession("NEW", "E")
    labels = {row["label"]: row["ID"] for row in rows["ResultSet"]["Result"]}
    assert labels.keys() == {"S", "S2"}
    assert labels["S"] == subject.text == again.text
    assert item["meta"]["xsi:type"] == "xnat:ctSessionData"
    assert item["data_fields"]["date"] == "2024-01-02"


async def test_scans_answer_nothing_new_or_not(server: XnatServer) -> None:
    """200 and an empty body; fields by shortcut and by path; those of other types are ignored."""
    query = {
        **MR,
        "type": "T2",
        "xnat:mrScanData/quality": "usable",
        "xnat:imageScanData/note": "n",
    }
    async with asking(server) as client:
        for _ in range(2):
            answer = await client.put(f"{SESSION}/scans/5", params=query)
            assert (answer.status_code, answer.content) == (200, b"")
        other = {"xnat:ctScanData/quality": "unusable", "xnat:mrScanData/series_description": "d"}
        assert (await client.put(f"{SESSION}/scans/5", params=other)).status_code == 200
    assert server.scans("P", "E")["5"] == {
        **{"xsiType": "xnat:mrScanData", "type": "T2", "quality": "usable", "note": "n"},
        "series_description": "d",
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("scans/5", 417),
        ("scans/5?xsiType=xnat:imageScanData", 400),
        ("scans/4?xsiType=xnat:ctScanData", 409),
        ("scans/4?xsiType=xnat:mrScanData", 200),
        ("resources/R", 200),
        ("scans/4/resources/DICOM", 409),
        ("scans/99/resources/DICOM", 404),
        ("scans", 405),
        ("scans/4/nothing", 404),
    ],
)
async def test_what_cannot_be_made_is_refused(server: XnatServer, path: str, status: int) -> None:
    """No type, an abstract one, another than it has; a resource twice, or of no scan."""
    async with asking(server) as client:
        assert (await client.put(f"{SESSION}/{path}")).status_code == status


async def test_a_type_of_two_scans_names_none_for_writing(server: XnatServer) -> None:
    """A type finds the one scan that has it; where two have it, 404."""
    async with asking(server) as client:
        path = f"{SESSION}/scans/T1/resources/R/files/n?inbody=true"
        assert (await client.put(path, content=b"new")).status_code == 200
        await client.put(f"{SESSION}/scans/5", params={**MR, "type": "T1"})
        answer = await client.put(path.replace("/n?", "/m?"), content=b"new")
    assert answer.status_code == 404
    assert "Unable to identify scan" in answer.text
    assert server.files("P", "E", "4", "R") == {"n": b"new"}


async def test_a_scan_of_an_item_stands_undecoded_in_its_path(server: XnatServer) -> None:
    """scans/5%20a makes the scan "5%20a", whose files are not found as "5 a"."""
    async with asking(server) as client:
        await client.put(f"{SESSION}/scans/5%20a", params=MR)
        answer = await client.put(f"{SESSION}/scans/5%20a/resources/R")
    assert "5%20a" in server.scans("P", "E")
    assert answer.status_code == 404


async def test_labels_change(server: XnatServer) -> None:
    """label= renames a subject and a session; the accession id stays."""
    accession = server.accession("P", "E")
    async with asking(server) as client:
        await client.put(f"{SESSION}?label=E2")
        await client.put(f"{PROJECT}/subjects/S?label=S2")
        path = f"{PROJECT}/subjects/S2/experiments/E2?format=json"
        assert (await client.get(path)).status_code == 200
    assert server.accession("P", "E2") == accession


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        (f"{SESSION}/scans/4/resources/DICOM/files/a.dcm", [200, 404]),
        (f"{SESSION}/scans/4/resources/NONE/files/a.dcm", [400, 400]),
        (f"{SESSION}/scans/4/resources/DICOM", [200, 200]),
        (f"{SESSION}/scans/4", [200, 404]),
        (SESSION, [200, 404]),
        (f"{PROJECT}/subjects/S", [200, 404]),
        (PROJECT, [200, 404]),
    ],
)
async def test_deleting_twice(server: XnatServer, path: str, codes: list[int]) -> None:
    """What is gone is 404; a resource is 200 even when absent; a file of none is 400."""
    async with asking(server) as client:
        assert [(await client.delete(path)).status_code for _ in range(2)] == codes
    assert server.files("P", "E", "4") == ({"a.dcm": b"one"} if codes[0] == 400 else {})


async def test_members_write_and_only_owners_delete(server: XnatServer) -> None:
    """Roles: a member's upload is stored, its delete is 403; an owner's is done."""
    server.add_user("ann", "ann", roles={"P": "member"})
    server.add_user("bob", "bob", roles={"P": "owner"})
    async with asking(server, "ann") as ann, asking(server, "bob") as bob:
        path = f"{SESSION}/scans/4/resources/DICOM/files/n?inbody=true"
        assert (await ann.put(path, content=b"new")).status_code == 200
        assert server.files("P", "E", "4")["n"] == b"new"
        assert (await ann.delete(f"{SESSION}/scans/4")).status_code == 403
        assert (await ann.put("/data/projects/Q")).status_code == 403
        assert (await bob.delete(f"{SESSION}/scans/4")).status_code == 200
    assert server.scans("P", "E") == {}


async def test_a_project_that_is_not_seen_cannot_be_written(server: XnatServer) -> None:
    """404 for a private project of others; 403 for one that is protected."""
    server.add_user("ann", "ann", roles={})
    server.add_project("R", accessibility="protected")
    async with asking(server, "ann") as client:
        codes = [
            (await client.put(path)).status_code
            for path in (PROJECT, f"{PROJECT}/subjects/N", "/data/projects/R/subjects/N")
        ]
    assert codes == [404, 404, 403]


async def test_sessions_are_shared_and_taken_back(server: XnatServer) -> None:
    """PUT …/projects/Q?label= shares, twice is 409; DELETE of it in Q takes it back."""
    server.add_project("Q")
    async with asking(server) as client:
        share = f"{SESSION}/projects/Q?label=E1"
        assert [(await client.put(share)).status_code for _ in range(2)] == [200, 409]
        there = "/data/projects/Q/experiments/E1"
        assert (await client.get(f"{there}?format=json")).status_code == 200
        assert (await client.delete(there)).status_code == 200
        assert (await client.get(f"{there}?format=json")).status_code == 404
        assert (await client.get(f"{SESSION}?format=json")).status_code == 200
        assert (await client.put(f"{PROJECT}/subjects/S/projects/Q")).status_code == 200
        assert (await client.get("/data/projects/Q/subjects/S?format=json")).status_code == 200
        assert (await client.delete(f"{PROJECT}/subjects/S/projects/Q")).status_code == 200
        assert (await client.get("/data/projects/Q/subjects/S?format=json")).status_code == 404
