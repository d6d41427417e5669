"""Hand alerts to a webhook and to a command, as the settings say; what fails is tried again.

Both come from vidsift.toml or the environment alone, never from the database. No shell reads them,
and nothing of a video or a question becomes part of a command line: all of it is in the JSON.

An alert counts as handed over when the webhook has answered 2xx, or the command has ended with 0.
Dying between that and its note in the catalog, vidsift hands it over once more: `alert_id` tells.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from vidsift.config import Settings
from vidsift.errors import ConfigError
from vidsift.library import Library
from vidsift.store.standing import Alert, alerts, mark_delivered

__all__ = ["Delivery", "alert_json"]

_SECONDS = 10.0  # that a channel may take for one alert
_FIRST_PAUSE, _LONGEST_PAUSE, _FACTOR = 2.0, 600.0, 5.0
_TRIES_AT_ONCE = 3  # in a row, of a run that is to end


def alert_json(library: Library, alert: Alert) -> dict[str, Any]:
    """An alert as JSON. `thumbnail` is null where the video has other content by now."""
    clips = library.catalog.clips_of_video(alert.video_id) if alert.is_current else []
    thumbnail = None
    if clips:
        place = alert.span.nearest([record.clip.span for record in clips])
        thumbnail = str(library.thumbnail(clips[place], clips[place].ordinal))
    return {
        "alert_id": alert.id,
        "question_id": alert.question_id,
        "question": alert.question,
        "video_id": alert.video_id,
        "video": str(alert.video),
        "start_seconds": round(alert.span.start, 3),
        "end_seconds": round(alert.span.end, 3),
        "peak_seconds": round(alert.peak_seconds, 3),
        "score": round(alert.score, 6),
        "false_alarm_rate": alert.false_alarm_rate,
        "said": alert.said,
        "found_at": alert.found_at,
        "thumbnail": thumbnail,
    }


class _FailedError(Exception):
    """An alert could not be handed over; `answered` tells that others still may be."""

    def __init__(self, reason: str, *, answered: bool) -> None:
        super().__init__(reason)
        self.answered = answered


@dataclass
class _Channel:
    name: str
    hand_over: Callable[[bytes], None]
    failures: int = 0
    next_try: float = -math.inf

    def pause(self) -> None:
        seconds = min(_FIRST_PAUSE * _FACTOR**self.failures, _LONGEST_PAUSE)
        self.failures += 1
        self.next_try = time.monotonic() + seconds


class Delivery:
    """The channels that the settings name. A channel that fails rests, ever longer."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        """`say` is told in a line what could not be handed over, and why.

        Raises:
            ConfigError: the webhook is no URL, or the command cannot be run.
        """
        self._say = say
        self._channels = []
        if settings.alert_webhook:
            self._channels.append(_Channel("webhook", _webhook(settings.alert_webhook)))
        if settings.alert_command:
            self._channels.append(_Channel("command", _command(settings.alert_command)))

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels."""
        return tuple(channel.name for channel in self._channels)

    def run(self, library: Library) -> bool:
        """Hand over what waits, on the channels that do not rest; whether some still waits."""
        if not self._channels:
            return False
        waiting = alerts(library.catalog, waiting=True)
        for channel in self._channels:
            if time.monotonic() >= channel.next_try:
                own = [alert for alert in waiting if channel.name in alert.waiting_for]
                self._hand_over(library, channel, own)
        return any(
            channel.name in alert.waiting_for
            for alert in alerts(library.catalog, waiting=True)
            for channel in self._channels
        )

    def has_tried(self) -> bool:
        """Whether every channel that fails has been tried as often as makes sense at once."""
        failing = [channel for channel in self._channels if channel.failures]
        return all(channel.failures >= _TRIES_AT_ONCE for channel in failing)

    def _hand_over(self, library: Library, channel: _Channel, waiting: list[Alert]) -> None:
        failed = False
        for alert in waiting:
            payload = json.dumps(alert_json(library, alert)).encode()
            try:
                channel.hand_over(payload)
            except _FailedError as error:
                failed = True
                self._say(f"alert {alert.id} not handed to the {channel.name}: {error}")
                if not error.answered:
                    break
            else:
                mark_delivered(library.catalog, alert.id, channel.name)
        if failed:
            channel.pause()
        else:
            channel.failures = 0


def _webhook(url: str) -> Callable[[bytes], None]:
    try:
        parts = urlsplit(url)
        host, has_user = parts.hostname, "@" in parts.netloc
        known = parts.scheme in ("http", "https") and (parts.port is None or parts.port > 0)
    except ValueError:
        host, has_user, known = None, False, False
    if not (host and known and url.isascii() and url.isprintable() and " " not in url):
        raise ConfigError("alert_webhook: not a URL; write http://HOST/... or https://HOST/...")
    if has_user:
        raise ConfigError("alert_webhook: holds a user before the host, which is not supported")
    # Without a handler of redirects: what is posted goes to where the settings say, or nowhere.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    shown = f"{parts.scheme}://{host}"  # the rest may hold a secret

    def post(payload: bytes) -> None:
        request = urllib.request.Request(  # noqa: S310  the scheme has been checked
            url, payload, {"Content-Type": "application/json", "User-Agent": "vidsift"}
        )
        try:
            opener.open(request, timeout=_SECONDS).close()
        except HTTPError as error:
            error.close()
            raise _FailedError(f"{shown} answered {error.code}", answered=True) from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise _FailedError(f"{shown}: {reason}", answered=False) from error

    return post


def _command(line: str) -> Callable[[bytes], None]:
    try:
        arguments = shlex.split(line)
    except ValueError as error:
        raise ConfigError(f"alert_command: {error}: {line}") from error
    if not arguments or shutil.which(arguments[0]) is None:
        raise ConfigError(f"alert_command: no such program: {line}")

    def start(payload: bytes) -> None:
        try:
            # In a session of its own, so that all that it has started can be ended with it.
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise _FailedError(f"{arguments[0]}: {error.strerror}", answered=False) from error
        try:
            process.communicate(payload, timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            reason = f"{arguments[0]}: not done after {_SECONDS:g} s"
            raise _FailedError(reason, answered=True) from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode:
            code = process.returncode
            raise _FailedError(f"{arguments[0]}: ended with {code}", answered=True)

    return start
