"""What fetched weights looked like the first time: their SHA-256 by encoder, in the cache folder.

Weights are trusted when they are first fetched, or when a person says what they must be; from then
on nothing else is loaded under that name, whoever serves it or changes the file.
"""

from __future__ import annotations

import json
import re
import shlex

from vidsift.config import cache_dir
from vidsift.errors import EncoderError
from vidsift.models.tensor_file import write_whole

__all__ = ["check_weights", "expect_weights"]

_FILE = "weights.json"


def check_weights(name: str, sha256: str, *, fetched: bool) -> None:
    """See that the weights of an encoder are those that are known; `fetched` ones become known.

    Raises:
        EncoderError: they are others, or what is known cannot be read or kept.
    """
    known = _known()
    expected = known.get(name)
    if expected is None:
        if fetched:
            _keep(known | {name: sha256})
    elif expected != sha256:
        raise EncoderError(
            f"{name}: its weights have the SHA-256 {sha256}, those that were fetched first, or that"
            f" you named, have {expected}; they are not loaded. If you know that they have changed:"
            f" `vidsift encoders --fetch {shlex.quote(name)} --sha256 {sha256}`"
        )


def expect_weights(name: str, sha256: str) -> None:
    """From now on the weights of this encoder have to have this SHA-256.

    Raises:
        EncoderError: it is no SHA-256, or cannot be kept.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise EncoderError(f"{name}: --sha256 takes 64 hexadecimal digits, not {sha256!r}")
    _keep(_known() | {name: sha256.lower()})


def _known() -> dict[str, str]:
    file = cache_dir() / _FILE
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise EncoderError(f"{file}: cannot be read: {error}; delete it") from error
    if not isinstance(known, dict):
        raise EncoderError(f"{file}: holds no hashes of weights; delete it")
    return {str(name): str(sha256) for name, sha256 in known.items()}


def _keep(known: dict[str, str]) -> None:
    content = json.dumps(known, indent=1, sort_keys=True) + "\n"
    write_whole(cache_dir() / _FILE, content.encode(), EncoderError)
