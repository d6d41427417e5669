"""Logging in by OpenID Connect: who has not sees a button and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import ui

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
        {"email": None},
        {"email": "<img src=x>"},
        {},
    ],
)
def test_who_is_not_allowed_sees_nothing(monkeypatch, user):
    shown = page(monkeypatch, "a@b.example", is_logged_in=True, **user)
    assert labels(shown) == ["Log out"]
    assert not any("<img" in html.proto.body for html in shown.get("html"))
