"""`vidsift ui`: serve the page, to this machine alone unless whoever asks has to say who he is."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
import socket
import stat
import sys
import threading
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.login import LOGIN_VARIABLE
from ui.options import LibraryOption
from ui.terminal import err
from vidsift.errors import ConfigError
from vidsift.paths import expanded

if TYPE_CHECKING:
    from streamlit import App

    from ui.gate import Access

__all__ = ["page_app", "server_options", "ui"]

TOKEN_VARIABLE = "VIDSIFT_UI_TOKEN"  # noqa: S105 - the name of a variable
_APP = Path(__file__).with_name("app.py")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# 22 characters of base64 hold 128 bits, 32 of hexadecimal do.
_TOKEN = re.compile(r"[0-9a-fA-F]{32,512}|(?=.*[^0-9a-fA-F])[\x21-\x7e]{22,512}")
_UPLOAD_MB = 20

# Streamlit reads settings from the home folder and from the folder that it is started in, which may
# be a stranger's. None of them may open what is closed here; options given so win over all files.
_FIXED: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "browser.serverAddress": "localhost",
    "client.allowedOrigins": [],
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.toolbarMode": "viewer",
    "global.developmentMode": False,
    "global.e2eTest": False,
    "logger.hideWelcomeMessage": True,
    "logger.level": "info",
    "server.allowRunOnSave": False,
    "server.baseUrlPath": "",
    "server.corsAllowedOrigins": [],
    "server.customComponentBaseUrlPath": "",
    "server.enableAgentApi": False,
    "server.enableCORS": True,
    "server.enableStaticServing": False,
    "server.enableXsrfProtection": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxMessageSize": 200,
    "server.maxUploadSize": _UPLOAD_MB,
    "server.maxWidgetStateSize": 5,
    "server.runOnSave": False,
    "server.scriptHealthCheckEnabled": False,
    "server.showEmailPrompt": False,
    "server.sslCertFile": "",
    "server.sslKeyFile": "",
    "server.trustedUserHeaders": "{}",
    "server.unsafeMetricsUserAttributes": [],
    "server.xsrfCookieSameSite": "strict",
}


def ui(
    context: typer.Context,
    library: LibraryOption = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="TCP port")] = 8501,
    host: Annotated[
        str, typer.Option("--host", help="Address to serve at; others than this machine need a key")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="Host name that the page answers to, as behind a proxy"),
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", help="`new`: make a token, say it once, ask for it")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="File that holds the token [env: VIDSIFT_UI_TOKEN]"),
    ] = None,
    login: Annotated[
        Path | None,
        typer.Option("--login", help=r"secrets.toml with \[auth]: log in by OpenID Connect"),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", help="E-mail address that may log in; default: all who can"),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Serve the page, open no browser")
    ] = False,
) -> None:
    """Open the page in a browser. It is served to this machine alone (127.0.0.1).

    With --host it is served elsewhere too, to those who know the token or log in (SECURITY.md).
    """
    from ui.gate import Access
    from vidsift.config import default_library

    root = expanded(library or context.obj or default_library()).absolute()
    address, is_local = _address(host)
    key = _token(token, token_file)
    if login is not None:
        _check_login(login)
        if key:
            raise ConfigError("--login and a token are two ways to let people in; choose one")
    elif allow:
        raise ConfigError("--allow names those who may log in; say with --login where")
    if not (is_local or key or login):
        raise ConfigError(
            f"--host {host}: others could open the page; add --token new, --token-file FILE,"
            " or --login FILE"
        )
    _require_free(address, port)
    names = _LOOPBACK_NAMES | {address} | {each.casefold() for each in name or ()}
    people = () if login is None else tuple(allow or ["*"])
    access = Access(frozenset(names), any_address=not is_local, token=key, people=people)
    shown = f"[{address}]" if ":" in address else address
    url = f"http://{shown}:{port}"
    err.print(f"vidsift: the page is at {url} (Ctrl-C ends it)")
    if token == "new":  # noqa: S105
        err.print(f"vidsift: its token, which is not shown again: {key}")
    os.environ["VIDSIFT_LIBRARY"] = str(root)
    # Taken out, so that no program that the page starts inherits it.
    os.environ.pop(TOKEN_VARIABLE, None)
    os.environ[LOGIN_VARIABLE] = ",".join(people)
    # A key that a settings file of a stranger's folder knows would let him write himself a login.
    os.environ["STREAMLIT_SERVER_COOKIE_SECRET"] = secrets.token_hex(32)
    is_shown = not no_browser and err.is_terminal and _has_display()
    app = page_app(access, url if is_shown and is_local else "")
    sys.argv = [str(_APP)]
    # Ctrl-C is how the page is meant to end.
    with contextlib.suppress(KeyboardInterrupt):
        app.run(config=server_options(address, port, login))


def page_app(access: Access, open_at: str = "") -> App:
    """The page as an ASGI application behind its gate; opens a browser at `open_at`, if any."""
    import webbrowser

    from starlette.middleware import Middleware
    from streamlit import App

    from ui.gate import Gate

    @contextlib.asynccontextmanager
    async def opened(_app: App) -> AsyncIterator[dict[str, Any] | None]:
        if open_at:
            # The socket listens already. A browser of the terminal may take as long as it likes.
            threading.Thread(target=webbrowser.open, args=(open_at,), daemon=True).start()
        yield None

    return App(_APP, lifespan=opened, middleware=[Middleware(Gate, access=access)])


def server_options(address: str, port: int, login: Path | None) -> dict[str, Any]:
    """Streamlit's settings: those of config.toml beside app.py, and all that must be as it is."""
    with _APP.parent.joinpath(".streamlit", "config.toml").open("rb") as stream:
        own = tomllib.load(stream)
    dressed = {f"theme.{key}": value for key, value in own["theme"].items()}
    here = {
        "server.address": address,
        "server.port": port,
        "secrets.files": [] if login is None else [str(login.absolute())],
    }
    return dressed | _FIXED | here


def _address(host: str) -> tuple[str, bool]:
    """The address to bind to, and whether only this machine can reach it."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
    except ValueError as error:
        raise ConfigError(
            f"--host {host}: is no IP address; name one of this machine's, or 0.0.0.0 for all"
        ) from error
    return str(address), address.is_loopback


def _token(wanted: str | None, file: Path | None) -> str:
    """The token that is asked for; empty: none is.

    Raises:
        ConfigError: it cannot be read, others can read it too, or it can be guessed.
    """
    if wanted is not None:
        if wanted != "new":
            raise ConfigError(
                "--token takes only `new`: everybody on this machine can read a command line;"
                f" put your token into a file for --token-file, or into {TOKEN_VARIABLE}"
            )
        if file is not None:
            raise ConfigError("--token new makes a token, --token-file reads one; choose one")
        return secrets.token_urlsafe(32)
    where, token = str(file), ""
    if file is not None:
        token = _private_text(file)
    elif TOKEN_VARIABLE in os.environ:
        where, token = f"environment variable {TOKEN_VARIABLE}", os.environ[TOKEN_VARIABLE]
    else:
        return ""
    if not _TOKEN.fullmatch(token.strip()) or len(set(token.strip())) < 8:
        raise ConfigError(
            f"{where}: is no token of 128 bits: 22 letters, digits and signs or more, or 32"
            " hexadecimal digits, by chance; `--token new` makes one"
        )
    return token.strip()


def _private_text(file: Path) -> str:
    try:
        with expanded(file).open(encoding="ascii") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(f"{file}: others may read it; run `chmod 600` on it")
            return stream.read(4096)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the token cannot be read: {error}") from error


def _check_login(file: Path) -> None:
    try:
        auth = tomllib.loads(expanded(file).read_text(encoding="utf-8")).get("auth")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read as TOML: {error}") from error
    if not isinstance(auth, dict) or "redirect_uri" not in auth:
        raise ConfigError(f"{file}: has no section [auth] with redirect_uri, as st.login takes it")
    try:
        import authlib  # type: ignore[import-untyped]  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "--login needs the package Authlib; install it with: pip install 'vidsift[login]'"
        ) from error


def _require_free(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        if os.name == "posix":  # as the server binds: a page that has just ended is no obstacle
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} cannot be used ({error.strerror}); name another with --port"
            ) from error


def _has_display() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
