"""Who may ask the page's server: other web sites, other names, other users, without the token."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from typer.testing import CliRunner

from ui import gate
from ui.cli import app as cli
from ui.gate import LOGIN_PATH, Access, Gate

TOKEN = "mG2-8xQp_v7LkZr4tYw9NaBc"
LOCAL = Access(frozenset({"localhost", "127.0.0.1", "::1"}))
CROSS_SITE = [
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
]


def client(access: Access = LOCAL, base: str = "http://127.0.0.1:8501") -> TestClient:
    async def answer(request) -> PlainTextResponse:
        return PlainTextResponse("a secret picture")

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("a secret word")
        await websocket.close()

    app = Starlette(
        routes=[
            Route("/{path:path}", answer, methods=["GET", "POST", "PUT"]),
            WebSocketRoute("/_stcore/stream", talk),
        ],
        middleware=[Middleware(Gate, access=access)],
    )
    return TestClient(app, base_url=base, follow_redirects=False)


def hears(client: TestClient, **headers: str) -> bool:
    try:
        # The client keeps its own base for sockets, under which no cookie is sent.
        where = str(client.base_url.copy_with(scheme="ws")).rstrip("/") + "/_stcore/stream"
        with client.websocket_connect(where, headers=headers) as socket:
            return socket.receive_text() == "a secret word"
    except WebSocketDisconnect:
        return False


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "localhost", "LOCALHOST:9", "[::1]:8501"])
def test_the_page_answers_to_its_own_names(host):
    assert client().get("/", headers={"host": host}).status_code == 200
    assert hears(client())
    assert hears(client(), host=host, origin=f"http://{host}")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8501",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "evil.example#127.0.0.1",
        "192.168.1.5",
        "0.0.0.0",
        "127.0.0.1:x",
        "[::1",
        "",
    ],
)
def test_a_name_that_was_made_to_stand_for_this_machine_gets_nothing(host):
    answer = client().get("/media/a.jpg", headers={"host": host})
    assert answer.status_code == 421
    assert "secret" not in answer.text
    assert not hears(client(), host=host, origin=f"http://{host}")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:3000", "http://127.0.0.1", "file://"],
)
def test_another_site_may_not_ask_even_from_this_machine(origin):
    for method in ("GET", "POST", "PUT"):
        answer = client().request(method, "/_stcore/upload_file/a/b", headers={"origin": origin})
        assert answer.status_code == 403
        assert "secret" not in answer.text
    assert not hears(client(), origin=origin)


@pytest.mark.parametrize("says", CROSS_SITE)
def test_a_picture_a_fetch_and_a_frame_of_another_site_are_refused(says):
    assert client().get("/media/a.jpg", headers=says).status_code == 403


def test_a_link_from_another_site_may_be_followed_but_not_a_form_sent():
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    link["sec-fetch-dest"] = "document"
    assert client().get("/", headers=link).status_code == 200
    assert client().post("/", headers=link).status_code == 403


def test_every_answer_forbids_frames_remote_content_and_guessing():
    for answer in (client().get("/"), client().get("/", headers={"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'self'" in policy
        assert "img-src 'self' data: blob:;" in policy
        assert "evil" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_elsewhere_the_page_answers_to_addresses_and_to_the_names_that_it_was_given():
    access = Access(frozenset({"videos.example"}), any_address=True)
    for host in ("192.168.1.5:8501", "[2001:db8::1]", "videos.example", "Videos.Example."):
        assert client(access).get("/", headers={"host": host}).status_code == 200
    for host in ("evil.example", "192.168.1.5.evil.example", "[fe80::1%25;x]"):
        assert client(access).get("/", headers={"host": host}).status_code == 421


@pytest.fixture
def guarded(monkeypatch) -> TestClient:
    monkeypatch.setattr(gate, "_WRONG_SECONDS", 0.0)
    return client(Access(LOCAL.names, token=TOKEN))


def test_nothing_is_answered_without_the_token(guarded):
    for path in ("/", "/media/a.jpg", "/_stcore/health", "/static/x.js", LOGIN_PATH):
        for method in ("GET", "PUT"):
            answer = guarded.request(method, path)
            assert answer.status_code == 401
            assert "secret" not in answer.text
    assert not hears(guarded)
    page = guarded.get("/", headers={"accept": "text/html"})
    assert page.status_code == 401
    assert f'action="{LOGIN_PATH}"' in page.text


def test_the_token_is_given_once_and_a_cookie_kept_that_no_script_and_no_site_gets(guarded):
    answer = guarded.post(LOGIN_PATH, data={"token": f" {TOKEN}\n"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert guarded.get("/media/a.jpg").text == "a secret picture"
    assert hears(guarded, cookie=cookie.split(";")[0])


def test_the_cookie_is_kept_to_encrypted_connections_where_there_are_any(monkeypatch):
    secure = client(Access(LOCAL.names, token=TOKEN), "https://localhost")
    assert "Secure" in secure.post(LOGIN_PATH, data={"token": TOKEN}).headers["set-cookie"]


def test_a_program_may_send_the_token_in_a_header(guarded):
    assert guarded.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert guarded.get("/", headers={"authorization": f"Basic {TOKEN}"}).status_code == 401


@pytest.mark.parametrize("wrong", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.lower(), "é" * 24])
def test_what_is_nearly_the_token_is_not(guarded, wrong):
    assert guarded.post(LOGIN_PATH, data={"token": wrong}).status_code in (400, 401)
    cookie = b"vidsift_8501=" + wrong.encode("latin-1")
    assert guarded.get("/", headers={"cookie": cookie}).status_code == 401
    sent = {"authorization": b"Bearer " + wrong.encode("latin-1")}
    assert guarded.get("/", headers=sent).status_code == 401


def test_the_token_in_an_address_does_not_open(guarded):
    assert guarded.get("/", params={"token": TOKEN}).status_code == 401


def test_whoever_guesses_waits_ever_longer_while_others_go_on(monkeypatch):
    guarded = client(Access(LOCAL.names, token=TOKEN))
    began = time.monotonic()
    monkeypatch.setattr(gate, "_WRONG_SECONDS", 0.2)
    assert guarded.post(LOGIN_PATH, data={"token": "wrong"}).status_code == 401
    assert time.monotonic() - began >= 0.2
    monkeypatch.setattr(gate, "_WRONG_SECONDS", 0.0)
    for _ in range(4):
        guarded.post(LOGIN_PATH, data={"token": "wrong"})
    refused = guarded.post(LOGIN_PATH, data={"token": TOKEN})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 61
    other = TestClient(guarded.app, base_url="http://localhost", client=("10.0.0.9", 4))
    assert other.post(LOGIN_PATH, data={"token": TOKEN}, follow_redirects=False).status_code == 303
    monkeypatch.setattr(gate, "_FORGIVEN_SECONDS", 0.0)
    assert guarded.post(LOGIN_PATH, data={"token": TOKEN}).status_code == 303


def test_the_record_of_who_guesses_is_bounded():
    wrong = gate._WrongTokens()
    for number in range(3000):
        wrong.count(str(number))
    assert len(wrong._clients) == 1024


def test_a_form_that_is_too_large_is_not_read(guarded):
    assert guarded.post(LOGIN_PATH, content=b"token=" + b"x" * 100_000).status_code == 400


# The command.


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "[::]"])
def test_the_page_is_not_served_elsewhere_to_everybody(host):
    done = CliRunner().invoke(cli, ["ui", "--host", host])
    assert "others could open the page; add --token new" in str(done.exception)


@pytest.mark.parametrize("host", ["example.org", "127.1.1.1.1", "", "0"])
def test_a_host_is_an_address(host):
    assert "is no IP address" in str(CliRunner().invoke(cli, ["ui", "--host", host]).exception)


@pytest.mark.parametrize("weak", ["", "password", "a" * 40, "1234567890abcdef", "ab" * 20, "ü" * 9])
def test_a_token_that_can_be_guessed_is_refused(weak, monkeypatch):
    monkeypatch.setenv("VIDSIFT_UI_TOKEN", weak)
    done = CliRunner().invoke(cli, ["ui", "--host", "0.0.0.0"])
    assert "is no token of 128 bits" in str(done.exception)
    assert not weak or weak not in str(done.exception)


def test_a_token_is_not_taken_from_the_command_line():
    done = CliRunner().invoke(cli, ["ui", "--token", TOKEN])
    assert "everybody on this machine can read a command line" in str(done.exception)


def test_a_file_that_others_may_read_holds_no_token(tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)
    done = CliRunner().invoke(cli, ["ui", "--token-file", str(file)])
    assert "others may read it; run `chmod 600`" in str(done.exception)
    done = CliRunner().invoke(cli, ["ui", "--token-file", str(tmp_path / "none")])
    assert "the token cannot be read" in str(done.exception)


def test_a_login_needs_its_settings(tmp_path):
    file = tmp_path / "secrets.toml"
    file.write_text("[connections]\n")
    done = CliRunner().invoke(cli, ["ui", "--host", "0.0.0.0", "--login", str(file)])
    assert "has no section [auth]" in str(done.exception)


# The server as it is started, over sockets.

HOSTILE = """
[server]
enableCORS = false
enableXsrfProtection = false
enableStaticServing = true
enableAgentApi = true
scriptHealthCheckEnabled = true
address = "0.0.0.0"
maxUploadSize = 100000
cookieSecret = "known to a stranger"
trustedUserHeaders = '{"x-user": "email"}'
[client]
showErrorDetails = "full"
[theme]
base = "light"
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[int, Path, int]]:
    """`vidsift ui` with a token, amid hostile settings: port, log, process."""
    folder = tmp_path_factory.mktemp("served")
    for place in ("home", "cwd"):
        (folder / place / ".streamlit").mkdir(parents=True)
        (folder / place / ".streamlit" / "config.toml").write_text(HOSTILE)
    # Code of that folder must not run in place of the page's either.
    (folder / "cwd" / "streamlit.py").write_text("raise SystemExit('a stranger ran')")
    token = folder / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("vidsift")), "ui", "--port", str(port)]
    command += ["--token-file", str(token), "--library", str(folder / "library"), "--no-browser"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VIDSIFT_")}
    environment |= {"HOME": str(folder / "home")}
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder / "cwd",
            env=environment,
            start_new_session=True,
        )
    try:
        for _ in range(900):
            assert process.poll() is None, log.read_text()
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port, log, process.pid
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0, log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None, **headers: str):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def shakes_hands(port: int, **headers: str) -> int:
    key = base64.b64encode(os.urandom(16)).decode()
    wanted = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    wanted |= {"Sec_WebSocket_Key": key, "Sec_WebSocket_Protocol": "streamlit"}
    return ask(port, "/_stcore/stream", **(wanted | headers))[0]


SERVED = ["/", "/search", "/_stcore/health", "/_stcore/host-config", "/_stcore/metrics"]
SERVED += ["/media/x.jpg", "/static/index.js", "/component/x", "/_stcore/bidi-components/x"]
SERVED += ["/_stcore/agent/openapi.json", "/app/static/x", "/oauth2callback", "/auth/login"]


@pytest.mark.slow
def test_all_that_streamlit_serves_is_behind_the_token(served):
    port, log, pid = served
    for path in SERVED:
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            status, _, body = ask(port, path, method)
            assert status == 401, path
            assert b"token" in body or method == "HEAD"
    assert ask(port, "/_stcore/upload_file/a/b", "PUT", b"x")[0] == 401
    assert shakes_hands(port, Origin=f"http://127.0.0.1:{port}") == 403

    form = urlencode({"token": TOKEN}).encode()
    kind = "application/x-www-form-urlencoded"
    status, headers, _ = ask(port, LOGIN_PATH, "POST", form, Content_Type=kind)
    assert status == 303
    cookie = headers["set-cookie"].split(";")[0]
    status, _, page = ask(port, "/", Cookie=cookie)
    assert status == 200
    assert b"<title>" in page
    assert ask(port, "/_stcore/health", Cookie=cookie)[0] == 200
    assert shakes_hands(port, Cookie=cookie, Origin=f"http://127.0.0.1:{port}") == 101
    # Another name, another site: the cookie does not help them.
    for says in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert ask(port, "/", Cookie=cookie, **says)[0] in (403, 421)
        assert shakes_hands(port, Cookie=cookie, **({"Origin": "http://x"} | says)) == 403
    said = log.read_text() + Path(f"/proc/{pid}/cmdline").read_text()
    assert TOKEN not in said
    assert TOKEN.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.slow
def test_settings_of_a_stranger_open_nothing(served):
    port, log, _ = served
    token = {"Authorization": f"Bearer {TOKEN}"}
    listening = Path("/proc/net/tcp").read_text()
    assert f" 00000000:{port:04X} " not in listening
    assert f" 0100007F:{port:04X} " in listening
    _, headers, _ = ask(port, "/_stcore/health", **token)
    assert "access-control-allow-origin" not in headers
    assert re.search(r"_streamlit_xsrf=.*SameSite=Strict", headers["set-cookie"])
    document = ask(port, "/_stcore/agent/openapi.json", **token)[2]
    assert b"does not serve the agent API" in document or b"enableAgentApi" in document
    # Without the cross-site key no upload is taken, and none larger than the limit ever.
    assert ask(port, "/_stcore/upload_file/a/b", "PUT", b"x", **token)[0] == 403
    assert ask(port, "/app/static/secret.txt", **token)[2].startswith(b"<!--")
    health = ask(port, "/_stcore/script-health-check", **token)[2]
    assert not health.startswith(b"ok")
    assert "a stranger ran" not in log.read_text()


# In a real browser.

EVIL = """<!doctype html><title>evil</title><iframe src="{page}"></iframe><script>
const got = [];
const tell = name => () => got.push(name);
const image = new Image();
image.onload = tell("image");
image.src = "{page}/media/x.jpg";
const done = [
  fetch("{page}/", {{mode: "no-cors"}}).then(r => r.text()).then(t => t && got.push("page")),
  fetch("{page}/_stcore/health").then(tell("health")),
  fetch("{login}", {{method: "POST", mode: "no-cors", body: "token=x"}}).then(() => {{}}),
  new Promise((open, close) => {{
    const socket = new WebSocket("{socket}/_stcore/stream", "streamlit");
    socket.onopen = () => {{ got.push("socket"); open(); }};
    socket.onerror = close;
  }}),
];
Promise.allSettled(done).then(() => {{ document.title = "tried: " + got.join(" "); }});
</script>"""


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_is_let_in_by_the_form_and_another_site_by_nothing(served, tmp_path):
    from functools import partial
    from http.server import HTTPServer, SimpleHTTPRequestHandler
    from threading import Thread

    from playwright.sync_api import sync_playwright

    port, log, _ = served
    page_url = f"http://127.0.0.1:{port}"
    (tmp_path / "index.html").write_text(
        EVIL.format(page=page_url, login=page_url + LOGIN_PATH, socket=f"ws://127.0.0.1:{port}")
    )
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    evil = HTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path)))
    Thread(target=evil.serve_forever, daemon=True).start()
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    wrong: list[str] = []
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=binary, args=["--no-sandbox", "--disable-gpu"]
            )
            context = browser.new_context()
            context.set_default_timeout(60_000)
            page = context.new_page()
            page.goto(page_url)
            page.get_by_label("Token").fill("not the token, but as long as it")
            page.get_by_role("button", name="Open the page").click()
            page.get_by_text("That is not the token").wait_for()
            page.get_by_label("Token").fill(TOKEN)
            page.get_by_role("button", name="Open the page").click()
            page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else 0)
            page.get_by_text("Welcome to vidsift").wait_for()
            assert page.url.rstrip("/") == page_url
            # The same browser, so with the cookie, on a site of another port and another name.
            for name in ("127.0.0.1", "localhost"):
                other = context.new_page()
                other.goto(f"http://{name}:{evil.server_port}/")
                other.wait_for_function("document.title.startsWith('tried:')")
                assert other.title().strip() == "tried:"
                framed = [frame for frame in other.frames if frame != other.main_frame]
                assert not any("vidsift" in frame.content() for frame in framed)
            browser.close()
    finally:
        evil.shutdown()
        evil.server_close()
    assert [said for said in wrong if "Content Security Policy" in said] == []
    assert TOKEN not in log.read_text()
