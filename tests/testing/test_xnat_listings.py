"""The XNAT stand-in: listings and items, against tables written by hand."""

from __future__ import annotations

import csv
import hashlib
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from seriesio.testing import XnatFaults, XnatServer, phantom

from .asking import asking

SCANS = "/data/projects/P/subjects/S1/experiments/E1/scans"
FILES = {"a.dcm": b"one", "sub/b.dcm": b"second", "sub/c d.txt": b""}


@pytest.fixture
def server() -> XnatServer:
    """Two projects; a session with two scans of one type and one of another."""
    made = XnatServer()
    made.add_project("P", name="First", description="of two")
    made.add_project("Q")
    made.add_scan("P", "S1", "E1", "4", FILES, type="T1", series_description="brain", frames="2")
    made.add_scan("P", "S1", "E1", "5", {"x.dcm": b"x"}, type="T2")
    made.add_scan("P", "S1", "E1", "6", {"y.dcm": b"y"}, type="T2")
    return made


async def rows(client: httpx.AsyncClient, path: str, **query: str) -> list[dict[str, str]]:
    answer = await client.get(path, params={"format": "json", **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, str]] = answer.json()["ResultSet"]["Result"]
    return sorted(found, key=lambda row: row.get("ID") or row.get("Name", ""))


async def test_projects_have_their_default_columns(server: XnatServer) -> None:
    """All values are text; what is missing is ""; the number of rows is text too."""
    async with asking(server) as client:
        answer = (await client.get("/data/projects?format=json")).json()["ResultSet"]
    assert answer["totalRecords"] == "2"
    first = next(row for row in answer["Result"] if row["ID"] == "P")
    assert first == {
        "ID": "P",
        "secondary_ID": "P",
        "name": "First",
        "description": "of two",
        "pi_firstname": "",
        "pi_lastname": "",
        "URI": "/data/projects/P",
    }


async def test_subjects_and_experiments_are_known_by_accession_id(server: XnatServer) -> None:
    """Their URI has the id; the label is another column; both open the item in its project."""
    async with asking(server) as client:
        (subject,) = await rows(client, "/data/projects/P/subjects")
        (experiment,) = await rows(client, "/data/projects/P/experiments")
        same = await rows(client, "/data/projects/P/subjects/S1/experiments")
        codes = [
            (await client.get(f"/data/{path}?format=json")).status_code
            for path in (
                f"projects/P/subjects/{subject['ID']}",
                f"subjects/{subject['ID']}",
                "subjects/S1",
                f"experiments/{experiment['ID']}",
                "experiments/E1",
            )
        ]
    assert subject["label"] == "S1"
    assert subject["URI"] == f"/data/subjects/{subject['ID']}"
    assert (experiment["label"], experiment["project"]) == ("E1", "P")
    assert experiment["xnat:subjectassessordata/id"] == experiment["ID"]
    assert same == [experiment]
    assert codes == [200, 200, 404, 200, 404]


async def test_scans_have_their_columns_and_others_when_asked(server: XnatServer) -> None:
    """The default columns; with columns= those and no others but the key and the URI."""
    accession = server.accession("P", "E1")
    async with asking(server) as client:
        found = await rows(client, SCANS)
        chosen = await rows(client, f"/data/experiments/{accession}/scans", columns="ID,frames,no")
    assert [row["ID"] for row in found] == ["4", "5", "6"]
    assert set(found[0]) == {
        *("xnat_imagescandata_id", "ID", "type", "quality", "xsiType", "note"),
        *("series_description", "URI"),
    }
    assert found[0]["URI"] == f"/data/experiments/{accession}/scans/4"
    assert set(chosen[0]) == {"ID", "frames", "xnat_imagescandata_id", "URI"}
    assert [row["frames"] for row in chosen] == ["2", "", ""]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"type": "T2"}, ["5", "6"]),
        ({"type": "T1,T2"}, ["4", "5", "6"]),
        ({"type": "T*"}, ["4", "5", "6"]),
        ({"series_description": "br%"}, ["4"]),
        ({"type": "T2", "ID": "6"}, ["6"]),
        ({"type": "PD"}, []),
    ],
)
async def test_parameters_filter(
    server: XnatServer, query: dict[str, str], expected: list[str]
) -> None:
    """A column as a parameter filters: a comma is OR, * and % stand for any text."""
    async with asking(server) as client:
        assert [row["ID"] for row in await rows(client, SCANS, **query)] == expected


async def test_only_subjects_and_experiments_are_paged(server: XnatServer) -> None:
    """limit and offset cut those listings, without totalRecords; scans come whole."""
    for number in range(5):
        server.add_subject("Q", f"S{number}")
    async with asking(server) as client:
        path = "/data/projects/Q/subjects"
        pages = [
            (await client.get(f"{path}?format=json&limit=2&offset={start}")).json()["ResultSet"]
            for start in (0, 2, 4)
        ]
        scans = await rows(client, SCANS, limit="1")
        whole = await rows(client, path, limit="*")
    assert [len(page["Result"]) for page in pages] == [2, 2, 1]
    assert not any("totalRecords" in page for page in pages)
    labels = {row["label"] for page in pages for row in page["Result"]}
    assert labels == {f"S{number}" for number in range(5)}
    assert (len(scans), len(whole)) == (3, 5)


async def test_csv_and_xml_say_the_same(server: XnatServer) -> None:
    """csv reads one, ElementTree the other: the rows are those of JSON."""
    async with asking(server) as client:
        wanted = await rows(client, SCANS)
        text = (await client.get(SCANS, params={"format": "csv"})).text
        tree = ElementTree.fromstring((await client.get(f"{SCANS}?format=xml")).text)
        plain = await client.get(SCANS, headers={"Accept": "text/csv"})
    found = sorted(csv.DictReader(text.splitlines()), key=lambda row: row["ID"])
    columns = [one.text for one in tree.iter("column")]
    cells = sorted([[one.text or "" for one in row] for row in tree.iter("row")], key=str)
    assert found == wanted
    assert sorted([list(row.values()) for row in wanted], key=str) == cells
    assert columns == list(wanted[0])
    assert plain.text == text


async def test_resources_have_counts_as_text(server: XnatServer) -> None:
    """A scan's resource: number, label, how many files and bytes, where it belongs."""
    async with asking(server) as client:
        (row,) = await rows(client, f"{SCANS}/4/resources")
        session = f"{SCANS.removesuffix('/scans')}/resources"
        assert await rows(client, session) == []
        assert len(await rows(client, session, all="true")) == 3
    assert row["xnat_abstractresource_id"].isdecimal()
    del row["xnat_abstractresource_id"]
    assert row == {
        "label": "DICOM",
        "element_name": "xnat:resourceCatalog",
        "category": "scans",
        "cat_id": "4",
        "cat_desc": "T1",
        "file_count": "3",
        "file_size": "9",
        "tags": "",
        "content": "",
        "format": "",
    }


async def test_files_have_sizes_digests_and_a_uri(server: XnatServer) -> None:
    """Name is the leaf; the path is what follows /files/ in the URI; ids are accession ids."""
    accession = server.accession("P", "E1")
    async with asking(server) as client:
        (resource,) = await rows(client, f"{SCANS}/4/resources")
        number = resource["xnat_abstractresource_id"]
        answer = (await client.get(f"{SCANS}/4/files?format=json")).json()["ResultSet"]
        named = await rows(client, f"{SCANS}/4/resources/DICOM/files")
        by_number = await rows(client, f"{SCANS}/4/resources/{number},77/files")
        (subject,) = await rows(client, "/data/projects/P/subjects")
    found = {row["URI"]: row for row in answer["Result"]}
    base = f"/data/experiments/{accession}/scans/4/resources/{number}/files"
    assert set(found) == {f"{base}/{name}" for name in FILES}
    for name, data in FILES.items():
        row = found[f"{base}/{name}"]
        assert (row["Name"], row["Size"]) == (name.rpartition("/")[2], str(len(data)))
        assert row["digest"] == hashlib.md5(data).hexdigest()
        assert (row["collection"], row["cat_ID"]) == ("DICOM", number)
    assert "totalRecords" not in answer
    assert [column["key"] for column in answer["Columns"]] == list(answer["Result"][0])
    long = f"/data/projects/P/subjects/{subject['ID']}/experiments/{accession}/scans/4"
    assert {row["URI"] for row in named} == {f"{long}/resources/{number}/files/{x}" for x in FILES}
    assert by_number == named


@pytest.mark.parametrize(
    ("scan", "names"),
    [
        ("4", ["a.dcm", "b.dcm", "c d.txt"]),
        ("T2", ["x.dcm", "y.dcm"]),
        ("4,6", ["a.dcm", "b.dcm", "c d.txt", "y.dcm"]),
        ("ALL", ["a.dcm", "b.dcm", "c d.txt", "x.dcm", "y.dcm"]),
        ("*", ["a.dcm", "b.dcm", "c d.txt", "x.dcm", "y.dcm"]),
    ],
)
async def test_scans_of_files_go_by_id_type_list_or_star(
    server: XnatServer, scan: str, names: list[str]
) -> None:
    """/scans/X/files takes ids and types, lists of them, and all."""
    async with asking(server) as client:
        assert [row["Name"] for row in await rows(client, f"{SCANS}/{scan}/files")] == names


async def test_scans_by_a_type_with_a_slash_a_comma_or_none(server: XnatServer) -> None:
    """[SLASH] and [COMMA] stand for themselves in a type; NULL for an empty one."""
    server.add_scan("P", "S1", "E1", "7", {"z": b"z"}, type="a/b,c")
    server.add_scan("P", "S1", "E1", "8", {"n": b"n"})
    async with asking(server) as client:
        (slash,) = await rows(client, f"{SCANS}/a[SLASH]b[COMMA]c/files")
        (null,) = await rows(client, f"{SCANS}/NULL/files")
        (plus,) = await rows(client, f"{SCANS}/a%5BSLASH%5Db%5BCOMMA%5Dc/files")
    assert (slash["Name"], null["Name"], plus["Name"]) == ("z", "n", "z")


async def test_an_unknown_scan_is_404_as_an_item_only(server: XnatServer) -> None:
    """Its files are the subject's, its resources too; by accession id 500 and 404."""
    accession = server.accession("P", "E1")
    async with asking(server) as client:
        await client.put(
            "/data/projects/P/subjects/S1/resources/R/files/s.txt?inbody=true",
            content=b"of the subject",
        )
        assert (await client.get(f"{SCANS}/99?format=json")).status_code == 404
        assert (await client.get(f"{SCANS}/T1?format=json")).status_code == 404
        (file,) = await rows(client, f"{SCANS}/99/files")
        (resource,) = await rows(client, f"{SCANS}/99/resources")
        short = f"/data/experiments/{accession}/scans/99"
        codes = [(await client.get(short + tail)).status_code for tail in ("/files", "/resources")]
    assert (file["Name"], resource["label"]) == ("s.txt", "R")
    assert codes == [500, 404]


async def test_the_wrong_path_to_scans_is_the_session(server: XnatServer) -> None:
    """/projects/P/experiments/E/scans is no route: it answers 200 with the session's item."""
    async with asking(server) as client:
        answer = await client.get("/data/projects/P/experiments/E1/scans?format=json")
    (item,) = answer.json()["items"]
    assert item["meta"]["xsi:type"] == "xnat:mrSessionData"
    assert item["data_fields"]["label"] == "E1"


async def test_items_keep_numbers_and_leave_out_what_is_empty(server: XnatServer) -> None:
    """A scan's item: fields, meta, its resources below it; without format= a page of HTML."""
    async with asking(server) as client:
        (item,) = (await client.get(f"{SCANS}/4?format=json")).json()["items"]
        (above,) = (
            await client.get("/data/projects/P/subjects/S1/experiments/E1?format=json")
        ).json()["items"]
        page = await client.get(f"{SCANS}/4")
        xml = await client.get(f"{SCANS}/4?format=xml")
    assert item["data_fields"]["frames"] == 2
    assert item["data_fields"]["series_description"] == "brain"
    assert "note" not in item["data_fields"]
    assert item["meta"]["isHistory"] is False
    (files,) = item["children"]
    assert files["field"] == "file"
    assert files["items"][0]["data_fields"]["label"] == "DICOM"
    scans = next(child for child in above["children"] if child["field"] == "scans/scan")
    assert [one["data_fields"]["ID"] for one in scans["items"]] == ["4", "5", "6"]
    assert page.text.startswith("<!DOCTYPE")
    assert ElementTree.fromstring(xml.text).get("ID") == "4"


async def test_a_resource_is_a_catalogue_in_xml_whatever_is_asked_for(server: XnatServer) -> None:
    """Its entries name the files; format=json changes nothing."""
    async with asking(server) as client:
        text = (await client.get(f"{SCANS}/4/resources/DICOM?format=json")).text
    tree = ElementTree.fromstring(text)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<cat:Catalog')
    assert {one.get("URI") for one in tree.iter("{http://nrg.wustl.edu/catalog}entry")} == {*FILES}


async def test_fields_come_from_dicom_headers() -> None:
    """What add_scan is not told, it reads from the files: pydicom says the same."""
    series = phantom((3, 8, 8))
    first = series.datasets()[0]
    server = XnatServer()
    path = server.add_scan("P", "S 1", "E", "4", series.files().values())
    known = server.scans("P", "E")["4"]
    assert path == "P/S%201/E/4"
    assert known["UID"] == first.SeriesInstanceUID
    assert known["series_description"] == known["type"] == first.SeriesDescription
    assert (known["frames"], known["modality"]) == ("3", first.Modality)
    assert known["xsiType"] == f"xnat:{first.Modality.lower()}ScanData"
    assert sorted(server.files("P", "E", "4").values()) == sorted(series.files().values())


async def test_rights_hide_and_refuse(server: XnatServer) -> None:
    """A private project is not there for others; a protected one is seen, but not read."""
    server.add_user("ann", "ann", roles={"Q": "collaborator"})
    server.add_project("R", accessibility="protected")
    server.add_project("O", accessibility="public")
    async with asking(server, "ann") as client:
        seen = [row["ID"] for row in await rows(client, "/data/projects")]
        codes = [
            (await client.get(f"/data/projects/{name}/subjects")).status_code for name in "PQRO"
        ]
        accession = server.accession("P", "E1")
        hidden = await client.get(f"/data/experiments/{accession}?format=json")
        everywhere = await rows(client, "/data/experiments")
    assert seen == ["O", "Q", "R"]
    assert codes == [404, 200, 403, 200]
    assert hidden.status_code == 404
    assert everywhere == []


async def test_a_shared_session_has_another_label_there(server: XnatServer) -> None:
    """In the other project it goes by its label there; it stays the first project's."""
    server.share("P", "E1", "Q", "E1b")
    async with asking(server) as client:
        (row,) = await rows(client, "/data/projects/Q/experiments")
        first = await client.get("/data/projects/Q/experiments/E1?format=json")
        (item,) = (await client.get("/data/projects/Q/experiments/E1b?format=json")).json()["items"]
        projects = await rows(client, f"/data/experiments/{row['ID']}/projects")
    assert (row["label"], row["project"]) == ("E1b", "P")
    assert first.status_code == 404
    (child,) = [one for one in item["children"] if one["field"] == "sharing/share"]
    assert child["items"][0]["data_fields"] == {"project": "Q", "label": "E1b"}
    assert [one["ID"] for one in projects] == ["P", "Q"]


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (XnatFaults(count_offset=2), {"file_count": "5", "file_size": "9"}),
        (XnatFaults(no_counts=True), {"file_count": "", "file_size": ""}),
    ],
)
async def test_counts_can_be_wrong(
    server: XnatServer, faults: XnatFaults, expected: dict[str, str]
) -> None:
    """The catalogue's counts as the faults have them."""
    server.faults = faults
    async with asking(server) as client:
        (row,) = await rows(client, f"{SCANS}/4/resources")
    assert {key: row[key] for key in expected} == expected


async def test_files_can_be_listed_wrongly(server: XnatServer) -> None:
    """Sizes and digests that lie, or no digests; files that are named but not there."""
    server.faults = XnatFaults(size_offset=1, wrong_digests=True, missing_files=1)
    async with asking(server) as client:
        found = {row["Name"]: row for row in await rows(client, f"{SCANS}/4/files")}
        assert (await client.get(f"{SCANS}/4/resources/DICOM/files/a.dcm")).status_code == 404
        assert (await client.get(f"{SCANS}/4/files/sub/b.dcm")).content == b"second"
        server.faults = XnatFaults(no_digests=True)
        assert {row["digest"] for row in await rows(client, f"{SCANS}/4/files")} == {""}
    assert found["a.dcm"]["Size"] == "4"
    assert found["a.dcm"]["digest"] != hashlib.md5(b"one").hexdigest()


async def test_a_scan_can_appear_late(server: XnatServer) -> None:
    """The first requests do not see it: neither in the listing, nor by itself."""
    server.faults = XnatFaults(late_scans=2)
    async with asking(server) as client:
        assert await rows(client, SCANS) == []
        assert (await client.get(f"{SCANS}/4?format=json")).status_code == 404
        assert [row["ID"] for row in await rows(client, SCANS)] == ["4"]
        assert [row["ID"] for row in await rows(client, SCANS)] == ["4", "5", "6"]


@pytest.mark.parametrize(
    "path", ["/data/nothing", "/data/projects/P%2FQ", "/app/no", "/xapi/no", "/data", "/data/%00"]
)
async def test_what_is_not_there_is_an_error_in_html(server: XnatServer, path: str) -> None:
    """Unknown paths are 404, encoded slashes and zero bytes 400; the body is HTML."""
    async with asking(server) as client:
        answer: Any = await client.get(path)
    assert answer.status_code in {400, 404}
    assert answer.text.lower().startswith(("<html>", "<!doctype html>"))
