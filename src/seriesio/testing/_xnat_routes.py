"""Which part of an XNAT stand-in answers which path."""

from __future__ import annotations

import json
import time
from typing import Final
from urllib.parse import unquote

from ._xnat_archive import Archive
from ._xnat_create import put_item, put_resource, share, upload
from ._xnat_delete import delete
from ._xnat_download import files_answer
from ._xnat_faults import XnatFaults
from ._xnat_http import LOGIN_PAGE, Answer, Refusal, Request, html, json_answer, text
from ._xnat_import import import_service
from ._xnat_items import catalog_answer, item_answer
from ._xnat_listings import collection, resource_table
from ._xnat_paths import Finder, Target, parse_target
from ._xnat_prearchive import prearchive, prearchive_service
from ._xnat_schema import SCHEMAS, search_elements, search_fields
from ._xnat_sessions import Caller, Door, form_login, wants_401
from ._xnat_tables import table_answer

__all__ = ["LOGIN_PATHS", "Router"]

LOGIN_PATHS: Final = frozenset({"/data/JSESSION", "/data/auth", "/data/services/auth"})
_LOGIN: Final = "/app/template/Login.vm"


class Router:
    """Answers requests.

    Args:
        version: that the server says it has.
        deflate: whether zips are deflated where a request says nothing of it.
    """

    def __init__(self, archive: Archive, door: Door, version: str, deflate: bool) -> None:
        self.archive, self.door = archive, door
        self.version, self.deflate = version, deflate
        self._started = time.time()

    # --- strangers ----------------------------------------------------------------------------

    async def log_in(self, request: Request) -> Caller | None:
        """Let in who sends a form to ``/data/services/auth``; None for all other requests."""
        if request.path != "/data/services/auth" or request.method not in {"PUT", "POST"}:
            return None
        return self.door.log_in(*form_login(await request.connection.body()), "form")

    def stranger(self, request: Request, site: str) -> Answer:
        """Answer who is not logged in: the page to do so, or the way there, or 401."""
        if request.path == _LOGIN:
            return html(200, LOGIN_PAGE)
        if wants_401(request):
            raise Refusal(401, "The request requires user authentication", tomcat=True)
        return Answer(302, content_type="text/html", headers=(("Location", site + _LOGIN),), size=0)

    # --- users ----------------------------------------------------------------------------------

    async def answer(self, request: Request, caller: Caller, faults: XnatFaults) -> Answer:
        """Answer a user.

        Raises:
            Refusal: the answer is an error.
        """
        top, *rest = request.segments
        if top == "xapi":
            return self._xapi(tuple(rest), caller)
        if top not in {"data", "REST"}:
            return self._page(request, caller)
        if rest[:1] == ["archive"]:
            rest = rest[1:]
        return await self._data(tuple(rest), request, caller, faults)

    def _page(self, request: Request, caller: Caller) -> Answer:
        if request.path not in {"/", _LOGIN, "/app/template/Index.vm"}:
            raise Refusal(404, tomcat=True)
        user = f'<a href="/app/template/XDATScreen_UpdateUser.vm">{caller.user.name}</a>'
        info = f'<span id="user_info">Logged in as: &nbsp;{user}</span>'
        return html(200, f"<!DOCTYPE html>\n<html><body>{info}</body></html>")

    def _xapi(self, rest: tuple[str, ...], caller: Caller) -> Answer:
        if rest == ("siteConfig", "buildInfo"):
            known = {"version": self.version, "buildNumber": "1", "commit": "unknown"}
            return json_answer({**known, "shortVersion": self.version.partition("-")[0]})
        if rest == ("siteConfig", "uptime"):
            return json_answer({"sec": f"{time.time() - self._started:.3f}"})
        if rest == ("schemas",):
            return json_answer(list(SCHEMAS))
        if rest[:1] == ("schemas",) and "/".join(rest[1:]) in SCHEMAS:
            return text(SCHEMAS["/".join(rest[1:])], content_type="application/xml")
        if rest == ("access", "projects"):
            return json_answer(self._roles(caller))
        raise Refusal(404, tomcat=True)

    def _roles(self, caller: Caller) -> list[dict[str, str]]:
        found = Finder(self.archive, caller.user, XnatFaults()).projects()
        roles = caller.user.roles
        return [{"ID": one.id, "role": roles.get(one.id, "").title() + "s"} for one in found]

    async def _data(
        self, rest: tuple[str, ...], request: Request, caller: Caller, faults: XnatFaults
    ) -> Answer:
        finder = Finder(self.archive, caller.user, faults)
        if rest[:1] == ("JSESSION",):
            return self._session(request, caller)
        if rest[:1] == ("auth",):
            return text(f"User '{caller.user.name}' is logged in")
        if rest[:1] == ("services",):
            return await self._service(rest[1:], request, caller, finder)
        if rest[:1] == ("prearchive",):
            return prearchive(finder, rest[1:], request)
        if rest[:2] == ("search", "elements"):
            table = search_fields(unquote(rest[2])) if len(rest) > 2 else search_elements()
            return table_answer(table, request)
        if (target := parse_target(rest)) is None:
            raise Refusal(404)
        return await _archived(finder, target, request, self.deflate)

    def _session(self, request: Request, caller: Caller) -> Answer:
        if request.method == "DELETE":
            self.door.close(caller.session)
            return text()
        token = f"; XNAT_CSRF={caller.session.csrf}" if request.flag("CSRF") else ""
        return text(caller.session.id + token)

    async def _service(
        self, rest: tuple[str, ...], request: Request, caller: Caller, finder: Finder
    ) -> Answer:
        if rest == ("auth",):
            return text(caller.session.id)
        if rest[:1] == ("tokens",):
            return self._token(rest[1:], caller)
        if rest == ("refresh", "catalog"):
            return text()
        if request.method != "POST":
            raise Refusal(405)
        if rest == ("import",):
            return await import_service(finder, request)
        if rest == ("archive",):
            return prearchive_service(finder, "archive", request)
        if rest[:1] == ("prearchive",) and len(rest) == 2:
            return prearchive_service(finder, rest[1], request)
        raise Refusal(404)

    def _token(self, rest: tuple[str, ...], caller: Caller) -> Answer:
        if rest == ("issue",):
            alias, secret = self.door.issue(caller.user.name)
            known = {"alias": alias, "secret": secret, "xdatUserId": caller.user.name}
            data = json.dumps({**known, "singleUse": False}).encode()
            return Answer(body=[data], content_type="application/json;charset=UTF-8")
        if rest[:1] == ("invalidate",) and len(rest) == 3:
            self.door.invalidate(unquote(rest[1]), unquote(rest[2]))
            return text()
        raise Refusal(404)


# --- the archive ----------------------------------------------------------------------------------


async def _archived(finder: Finder, target: Target, request: Request, deflate: bool) -> Answer:
    if request.method in {"GET", "HEAD"}:
        return _get(finder, target, request, deflate)
    if target.kind == "shares" and not target.many:
        return share(finder, target, request)
    if request.method == "DELETE" and not (target.many or target.rest):
        return delete(finder, target, request)
    if request.method not in {"PUT", "POST"}:
        raise Refusal(405)
    if target.kind == "files":
        return await upload(finder, target, request)
    if target.many or request.method == "POST":
        raise Refusal(405)
    if target.kind == "resources":
        return put_resource(finder, target, request)
    return put_item(finder, target, request)


def _get(finder: Finder, target: Target, request: Request, deflate: bool) -> Answer:
    if target.kind == "files":
        return files_answer(finder, target, request, deflate)
    if target.kind == "resources":
        return _resources(finder, target, request)
    if target.many:
        return collection(finder, target, request)
    if target.rest == ("status",):
        return text("active")
    return item_answer(finder.archive, finder.item(target), request)


def _resources(finder: Finder, target: Target, request: Request) -> Answer:
    found = finder.resources(target)
    if target.many:
        return table_answer(resource_table(finder, found, request), request)
    if not found.resources:
        raise Refusal(404, "Unable to find the specified resource")
    return catalog_answer(found.resources[0][1])
