"""Logging in by OpenID Connect: who has not sees a button and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

import ui
from ui.gate import Access, Gate
from ui.login import is_logged_in

APP = Path(ui.__file__).parent / "app.py"


class User(dict):
    """What Streamlit tells of whoever has logged in."""

    @property
    def is_logged_in(self) -> bool:
        return bool(self["is_logged_in"])


def page(monkeypatch: pytest.MonkeyPatch, allowed: str, **user: object) -> AppTest:
    monkeypatch.setenv("VIDSIFT_UI_LOGIN", allowed)
    monkeypatch.setattr(st, "user", User({"is_logged_in": False} | user))
    return AppTest.from_file(str(APP), default_timeout=60).run()


def labels(shown: AppTest) -> list[str]:
    return [button.label for button in shown.button]


def test_who_has_not_logged_in_sees_nothing(monkeypatch):
    assert labels(page(monkeypatch, "*")) == ["Log in"]


def test_who_has_logged_in_sees_the_page(monkeypatch):
    assert labels(page(monkeypatch, "*", is_logged_in=True)) == ["Add a folder of videos"]
    known = page(monkeypatch, "a@b.example,C@d.example", is_logged_in=True, email="c@D.example")
    assert labels(known) == ["Add a folder of videos"]


@pytest.mark.parametrize(
    "user",
    [
        {"email": "b@b.example"},
        {"email": "a@b.example", "email_verified": False},
        {"email": "a@b.example", "email_verified": "false"},
        {"email": None},
        {"email": "<img src=x>"},
        {},
    ],
)
def test_who_is_not_allowed_sees_nothing(monkeypatch, user):
    shown = page(monkeypatch, "a@b.example", is_logged_in=True, **user)
    assert labels(shown) == ["Log out"]
    assert not any("<img" in html.proto.body for html in shown.get("html"))


# What the server answers to those who have not logged in, whatever the page shows.

LOCAL = frozenset({"127.0.0.1"})


def answered(path: str, **user: object) -> int:
    """The status that somebody of whom the provider said this gets."""

    async def answer(request) -> PlainTextResponse:
        return PlainTextResponse("a secret picture")

    access = Access(LOCAL, people=("a@b.example",))
    app = Starlette(
        routes=[Route("/{path:path}", answer, methods=["GET", "PUT"])],
        middleware=[Middleware(Gate, access=access)],
    )
    client = TestClient(app, base_url="http://127.0.0.1:8501")
    headers = {}
    if user:
        said = json.dumps({"origin": "http://127.0.0.1:8501", "is_logged_in": True} | user)
        signed = create_signed_value(get_cookie_secret(), USER_COOKIE_NAME, said)
        headers["cookie"] = f"{USER_COOKIE_NAME}={signed.decode()}"
    return client.get(path, headers=headers).status_code


GUARDED = ["/media/a.jpg", "/_stcore/upload_file/a/b", "/_stcore/metrics", "/component/x"]


@pytest.mark.parametrize("path", GUARDED)
def test_pictures_and_uploads_are_for_those_who_have_logged_in(path):
    assert answered(path) == 403
    assert answered(path, email="b@b.example") == 403
    assert answered(path, email="a@b.example", is_logged_in=False) == 403
    assert answered(path, email="a@b.example") == 200


def test_the_way_to_log_in_is_open_and_a_login_cannot_be_made_up():
    for path in ("/", "/static/x.js", "/_stcore/health", "/auth/login", "/oauth2callback"):
        assert answered(path) == 200
    secret = get_cookie_secret()
    said = json.dumps({"is_logged_in": True, "email": "a@b.example"})
    forged = create_signed_value(secret + "x", USER_COOKIE_NAME, said).decode()
    assert not is_logged_in({USER_COOKIE_NAME: forged}, ["a@b.example"])
    assert not is_logged_in({USER_COOKIE_NAME: said}, ["a@b.example"])
    real = create_signed_value(secret, USER_COOKIE_NAME, said).decode()
    assert is_logged_in({USER_COOKIE_NAME: real}, ["a@b.example"])
    assert not is_logged_in({USER_COOKIE_NAME: real}, [])
