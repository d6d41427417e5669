"""What stands before all that the page's server answers: who may ask, from where, for what.

A web site that a person visits can make his browser send requests to this machine. Its name may
even be made to stand for 127.0.0.1 (DNS rebinding): then the browser takes the answers for its own.
What it cannot choose is what the browser says of itself: the headers Host, Origin and Sec-Fetch-*.
Streamlit looks at some of them for the websocket alone, so all are checked here, for every request:
page, websocket, pictures, videos, uploads, static files and health.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.login import is_logged_in

__all__ = ["LOGIN_PATH", "Access", "Gate"]

LOGIN_PATH = "/_gate/login"

_POLICY_VIOLATION = 1008
_BEHIND_LOGIN = (
    "/media",
    "/_stcore/upload_file",
    "/_stcore/metrics",
    "/_stcore/agent",
    "/_stcore/script-health-check",
    "/component",
    "/app/",
)
# A right token is far shorter; what is longer is not read.
_MOST_FORM_BYTES = 4096
_WRONG_SECONDS = 1.0
_MOST_WRONG = 5
_FORGIVEN_SECONDS = 60.0
_MOST_CLIENTS = 1024

_FORM = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>vidsift</title>
<style>body{{background:#121418;color:#e4e7eb;font:16px sans-serif;margin:18vh auto;
max-width:24rem}}
input,button{{font:inherit;padding:.5rem;width:100%;box-sizing:border-box;margin:.3rem 0}}</style>
<h1>vidsift</h1><p>{said}</p>
<form method="post" action="{path}"><input type="password" name="token" aria-label="Token" autofocus
 autocomplete="off" required><button>Open the page</button></form></html>"""
_ASK = "Paste the token that <code>vidsift ui</code> was started with."


@dataclass(frozen=True, slots=True)
class Access:
    """From where the page may be asked for, and with what.

    `names` are the hosts that it answers to; with `any_address` also whatever is an IP address,
    which no web site can make its own. `token` guards everything; empty: there is none. `people`
    may log in, and get nothing but the way to do that before they have; empty: there is no login.
    """

    names: frozenset[str]
    any_address: bool = False
    token: str = ""
    people: tuple[str, ...] = ()

    def answers_to(self, host: str) -> bool:
        """Whether the value of a Host header, `NAME` or `NAME:PORT`, is one of this server."""
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname, parts.port
        except ValueError:
            return False
        if not name or parts.netloc != host or not set(host).isdisjoint("@%;, "):
            return False
        name = name.rstrip(".")
        return name in self.names or (self.any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Gate:
    """Lets pass what comes from the page itself, from a person's address bar, or from a program.

    Whoever knows the token gets a cookie that holds until the server ends; programs may send it as
    `Authorization: Bearer TOKEN`. It never stands in an address, so in no history, log or Referer.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        # What the cookie holds: knowing it opens this run of the page, but is not the token.
        self._session = secrets.token_urlsafe(32)
        self._wrong = _WrongTokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None and self._access.token:
            refusal = await self._checked(scope, receive)
        if refusal is None and self._access.people and self._needs_login(scope):
            refusal = _refused("log in first")
        if refusal is None:
            host = Headers(scope=scope)["host"]
            await self._app(scope, receive, _with_headers(send, f" ws://{host} wss://{host}"))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            await refusal(scope, receive, _with_headers(send, ""))

    def _refusal(self, scope: Scope) -> Response | None:
        """Why nothing may be answered at all, whoever asks; None if there is no reason."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.answers_to(hosts[0]):
            return _refused(
                "the page does not answer to this name; open it by its address, or name it with"
                " `vidsift ui --name`",
                HTTPStatus.MISDIRECTED_REQUEST,
            )
        own = hosts[0].casefold()
        for origin in headers.getlist("origin"):
            if origin.casefold() not in (f"http://{own}", f"https://{own}"):
                return _refused("another web site may not ask for this")
        if _is_foreign(headers, scope):
            return _refused("another web site may not ask for this")
        return None

    def _needs_login(self, scope: Scope) -> bool:
        """Whether this holds something of the library, or takes something, and is not for him.

        The page itself and its socket are not: they show the way to log in, and only that.
        """
        if scope["type"] != "http" or not scope["path"].startswith(_BEHIND_LOGIN):
            return False
        return not is_logged_in(HTTPConnection(scope).cookies, self._access.people)

    async def _checked(self, scope: Scope, receive: Receive) -> Response | None:
        """The answer to whoever does not know the token; None for those who do."""
        asked = HTTPConnection(scope)
        client = asked.client.host if asked.client else ""
        if scope["type"] == "http" and scope["path"] == LOGIN_PATH and scope["method"] == "POST":
            if (given := await _posted_token(Request(scope, receive))) is None:
                return _refused("send the token as the form does", HTTPStatus.BAD_REQUEST)
            return await self._logged_in(scope, client, given)
        if _same(asked.cookies.get(_cookie(scope), ""), self._session):
            return None
        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer":
            return await self._judged(client, given.strip())
        if scope["type"] == "http" and "text/html" in asked.headers.get("accept", ""):
            return _form(_ASK)
        return _unknown()

    async def _logged_in(self, scope: Scope, client: str, given: str) -> Response:
        wrong = await self._judged(client, given)
        if wrong is not None:
            if wrong.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                return wrong
            return _form(f"That is not the token. {_ASK}")
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            _cookie(scope),
            self._session,
            httponly=True,
            samesite="strict",
            secure=scope["scheme"] == "https",
        )
        return answer

    async def _judged(self, client: str, given: str) -> Response | None:
        wait = self._wrong.seconds_to_wait(client)
        if wait > 0:
            answer = _refused("too many wrong tokens; wait", HTTPStatus.TOO_MANY_REQUESTS)
            answer.headers["Retry-After"] = str(int(wait) + 1)
            return answer
        if _same(given, self._access.token):
            self._wrong.forgive(client)
            return None
        self._wrong.count(client)
        await asyncio.sleep(_WRONG_SECONDS)
        return _unknown()


class _WrongTokens:
    """How many wrong tokens each client has sent of late; of the latest clients alone."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def seconds_to_wait(self, client: str) -> float:
        count, last = self._clients.get(client, (0, 0.0))
        if count < _MOST_WRONG:
            return 0.0
        left = last + _FORGIVEN_SECONDS - time.monotonic()
        if left <= 0:
            self.forgive(client)
        return max(0.0, left)

    def count(self, client: str) -> None:
        before, _ = self._clients.pop(client, (0, 0.0))
        self._clients[client] = before + 1, time.monotonic()
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)

    def forgive(self, client: str) -> None:
        self._clients.pop(client, None)


def _is_foreign(headers: Headers, scope: Scope) -> bool:
    # A browser says whose page wants this. To follow a link from elsewhere to the page is fine;
    # to fetch from it, to show its pictures or to frame it is not.
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    is_link = (
        headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    )
    return not (scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and is_link)


async def _posted_token(request: Request) -> str | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            return None
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=4)
    except ValueError:  # no ASCII, or too many fields
        return None
    return fields.get("token", [""])[0].strip()


def _cookie(scope: Scope) -> str:
    # Browsers keep the cookies of all ports of a host together.
    _, port = scope.get("server") or ("", 0)
    return f"vidsift_{port}"


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())


def _unknown() -> Response:
    answer = _refused("send the token that vidsift ui was started with", HTTPStatus.UNAUTHORIZED)
    answer.headers["WWW-Authenticate"] = 'Bearer realm="vidsift"'
    return answer


def _refused(reason: str, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> Response:
    return PlainTextResponse(f"vidsift: {reason}\n", status)


def _form(said: str) -> Response:
    answer = HTMLResponse(_FORM.format(said=said, path=LOGIN_PATH), HTTPStatus.UNAUTHORIZED)
    answer.headers["WWW-Authenticate"] = 'Bearer realm="vidsift"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _with_headers(send: Send, sockets: str) -> Send:
    """Say with every answer what a browser must not do with it; `sockets` it may open."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = _policy(sockets)
            headers["X-Frame-Options"] = "DENY"
            headers["X-Content-Type-Options"] = "nosniff"
            # Not `no-referrer`: with that a form of our own would say that it comes from nowhere.
            headers["Referrer-Policy"] = "same-origin"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
        await send(message)

    return sending


def _policy(sockets: str) -> str:
    # Whatever a file's name or a subtitle might smuggle into the page, the browser asks no other
    # machine for it. Streamlit's own page needs inline styles, and Vega `eval`.
    return (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:;"
        " style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:;"
        " font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'self';"
        f" connect-src 'self'{sockets}; form-action 'self'; frame-ancestors 'none'"
    )
