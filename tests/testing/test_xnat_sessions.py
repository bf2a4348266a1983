"""The XNAT stand-in: who gets in, how long, and what strangers are told (over httpx)."""

from __future__ import annotations

import re

import pytest

from seriesio.testing import XnatFaults, XnatServer

from .asking import asking

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
LOGIN = "<!-- BEGIN xnat-templates/screens/Login.vm -->"


async def test_a_basic_request_without_a_cookie_opens_a_session_each_time() -> None:
    """Who does not keep the cookie piles up sessions; who does has one."""
    server = XnatServer()
    for _ in range(3):
        async with asking(server) as client:
            assert (await client.get("/data/projects")).status_code == 200
    assert server.open_sessions == 3
    async with asking(server) as client:
        for _ in range(3):
            await client.get("/data/projects")
    assert server.open_sessions == 4
    assert [one.session for one in server.requests] == [1, 2, 3, 4, 4, 4]
    assert [one.authorization for one in server.requests][-3:] == ["basic", "cookie", "cookie"]


async def test_jsession_gives_the_id_and_delete_ends_it() -> None:
    """POST and GET /data/JSESSION answer the 32 hex digits of the cookie; DELETE ends it."""
    server = XnatServer()
    async with asking(server) as client:
        answer = await client.post("/data/JSESSION")
        assert re.fullmatch("[0-9A-F]{32}", answer.text)
        assert client.cookies["JSESSIONID"] == answer.text
        assert (await client.get("/data/JSESSION?CSRF=true")).text.startswith(
            f"{answer.text}; XNAT_CSRF="
        )
        assert (await client.delete("/data/JSESSION")).status_code == 200
    assert server.open_sessions == 0


async def test_the_form_lets_in_and_says_who_is_in() -> None:
    """PUT /data/services/auth opens a session whose cookie serves without a password."""
    async with asking(XnatServer(users={"ann": "secret"}), auth=None) as client:
        form = {"username": "ann", "password": "secret"}
        answer = await client.put("/data/services/auth", data=form)
        assert answer.status_code == 200
        assert answer.text == client.cookies["JSESSIONID"]
        assert (await client.get("/data/auth")).text == "User 'ann' is logged in"


async def test_every_answer_says_when_the_session_ends() -> None:
    """SESSION_EXPIRATION_TIME is quoted: milliseconds now, milliseconds of the time-out."""
    async with asking(XnatServer(idle=60.0)) as client:
        header = (await client.get("/data/projects")).headers["set-cookie"]
    assert re.search(r'SESSION_EXPIRATION_TIME="\d{13},60000"', header)


async def test_wrong_passwords_are_401_and_twenty_of_them_lock() -> None:
    """Bad credentials get Tomcat's page; after twenty the right password is refused as well."""
    server = XnatServer()
    for _ in range(20):
        async with asking(server, auth=("admin", "wrong")) as client:
            answer = await client.get("/data/projects")
        assert answer.status_code == 401
        assert "Login attempt failed. Please try again." in answer.text
    async with asking(server) as client:
        assert (await client.get("/data/projects")).status_code == 401


@pytest.mark.parametrize("path", ["/data/projects", "/REST/projects", "/xapi/siteConfig/buildInfo"])
async def test_a_stranger_is_told_401_in_html(path: str) -> None:
    """Without a session, data paths answer 401 with WWW-Authenticate and HTML."""
    async with asking(XnatServer(), auth=None) as client:
        answer = await client.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(("path", "headers"), [("/", {}), ("/data/projects", BROWSER)])
async def test_a_browser_is_led_to_the_page_to_log_in(path: str, headers: dict[str, str]) -> None:
    """Other paths, and agents that look like browsers: 302, then 200 with HTML."""
    async with asking(XnatServer(), auth=None, headers=headers) as client:
        first = await client.get(path)
        last = await client.get(path, follow_redirects=True)
    assert first.status_code == 302
    assert first.headers["location"] == "http://xnat.test/app/template/Login.vm"
    assert last.status_code == 200
    assert LOGIN in last.text


async def test_browsers_need_the_token_of_their_session() -> None:
    """A browser with a session that changes something without XNAT_CSRF is answered 500."""
    async with asking(XnatServer(), headers=BROWSER) as client:
        token = (await client.get("/data/JSESSION?CSRF=true")).text.partition("XNAT_CSRF=")[2]
        assert (await client.put("/data/projects/P")).status_code == 500
        assert (await client.put(f"/data/projects/P?XNAT_CSRF={token}")).status_code == 200


async def test_sessions_of_a_user_are_capped() -> None:
    """Past the limit logging in is 401, until a session ends."""
    server = XnatServer(max_sessions=2)
    async with asking(server) as one, asking(server) as two, asking(server) as three:
        assert [(await client.get("/data/auth")).status_code for client in (one, two, three)] == [
            *(200, 200, 401)
        ]
        await one.delete("/data/JSESSION")
        assert (await three.get("/data/auth")).status_code == 200


async def test_an_alias_token_serves_in_place_of_the_password() -> None:
    """A token that was issued lets in as its user, until it is invalidated."""
    server = XnatServer(users={"ann": "secret"})
    async with asking(server, auth=("ann", "secret")) as client:
        token = (await client.get("/data/services/tokens/issue")).json()
        auth = (token["alias"], token["secret"])
        async with asking(server, auth=auth) as other:
            assert (await other.get("/data/auth")).text == "User 'ann' is logged in"
        await client.get(f"/data/services/tokens/invalidate/{auth[0]}/{auth[1]}")
    async with asking(server, auth=auth) as other:
        assert (await other.get("/data/auth")).status_code == 401
    assert not any(auth[1] in repr(one) + one.path for one in server.requests)
    assert server.issue_token("ann")[0] != auth[0]


async def test_sessions_end_by_idleness_by_restart_and_by_fault() -> None:
    """An idle session is dead, as all are after a restart, or after so many requests."""
    server = XnatServer(idle=0.0)
    async with asking(server) as client:
        await client.get("/data/auth")
        assert server.open_sessions == 0
    server = XnatServer(faults=XnatFaults(expire_after=2))
    async with asking(server, auth=None) as client:
        await client.put("/data/services/auth", data={"username": "admin", "password": "admin"})
        codes = [(await client.get("/data/projects")).status_code for _ in range(2)]
        assert codes == [200, 401]
        server.faults = XnatFaults()
        await client.put("/data/services/auth", data={"username": "admin", "password": "admin"})
        server.expire_sessions()
        assert (await client.get("/data/projects")).status_code == 401


async def test_an_expired_password_is_403() -> None:
    """The fault answers 403 to whoever is in, also where one logs in if paths say so."""
    server = XnatServer(faults=XnatFaults(password_expired=True))
    async with asking(server) as client:
        assert (await client.get("/data/projects")).status_code == 403


async def test_other_basic_credentials_beside_a_cookie_open_another_session() -> None:
    """Basic is ignored only while the cookie's session is that user's own."""
    server = XnatServer(users={"ann": "a", "bob": "b"})
    async with asking(server, auth=("ann", "a")) as client:
        await client.get("/data/auth")
        assert (await client.get("/data/auth", auth=("bob", "b"))).text == "User 'bob' is logged in"
    assert server.open_sessions == 2


async def test_the_version_is_where_1_8_has_it() -> None:
    """/xapi/siteConfig/buildInfo says the version; /data/version is gone."""
    async with asking(XnatServer(version="1.8.11")) as client:
        assert (await client.get("/xapi/siteConfig/buildInfo")).json()["version"] == "1.8.11"
        assert (await client.get("/data/version")).status_code == 404


async def test_a_context_path_is_part_of_every_path() -> None:
    """Below /xnat it answers; outside of it, nothing is there."""
    async with asking(XnatServer(context="/xnat")) as client:
        assert (await client.get("/xnat/data/auth")).status_code == 200
        assert (await client.get("/data/auth")).status_code == 404


@pytest.mark.parametrize("header", ["Basic !!!", "Basic " + "//8=", "Bearer x", "Basic"])
async def test_other_authorization_is_401(header: str) -> None:
    """A header that is no name and password is refused, never an exception."""
    async with asking(XnatServer(), auth=None) as client:
        answer = await client.get("/data/projects", headers={"Authorization": header})
    assert answer.status_code == 401
