"""Who is let in where people log in by OpenID Connect: those whom the provider and --allow name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["LOGIN_VARIABLE", "allowed_people", "is_logged_in", "may_open"]

LOGIN_VARIABLE = "VIDSIFT_UI_LOGIN"


def allowed_people() -> list[str]:
    """The e-mail addresses that `vidsift ui --login` was told; `*`: all; empty: no login."""
    return [name for name in os.environ.get(LOGIN_VARIABLE, "").split(",") if name]


def may_open(user: Mapping[str, Any], allowed: Sequence[str]) -> bool:
    """Whether whoever has logged in may see the page; `user` is what the provider says of him."""
    if "*" in allowed:
        return True
    email = str(user.get("email") or "").casefold()
    is_his = str(user.get("email_verified", True)).casefold() != "false"
    return bool(email) and is_his and email in {name.casefold() for name in allowed}


def is_logged_in(cookies: Mapping[str, str], allowed: Sequence[str]) -> bool:
    """Whether a browser's cookies, signed by Streamlit, are of somebody who may see the page."""
    # Not a public name of Streamlit's; should it go, nobody gets in.
    from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
    from streamlit.web.server.starlette.starlette_websocket import _get_signed_cookie_with_chunks

    signed = _get_signed_cookie_with_chunks(dict(cookies), USER_COOKIE_NAME)
    try:
        user = json.loads(signed or b"null")
    except ValueError:
        return False
    return isinstance(user, dict) and user.get("is_logged_in") is True and may_open(user, allowed)
