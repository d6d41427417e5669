"""Everything that vidsift raises on purpose.

    VidsiftError                      exit code 2, one clear line, never a traceback
    +-- ConfigError                   a setting is unknown or has a value that cannot be used
    +-- LibraryError                  the library folder as a whole cannot be used
    |   +-- LibraryNotFoundError      there is no library where one was asked for
    |   +-- LibraryBusyError          another process is writing to the library
    |   +-- SchemaError               the catalog's schema is older or newer than this program
    |   +-- EncoderMismatchError      the library was built with another encoder
    |   +-- DamagedLibraryError       a file of the library is absent or not what SQL says it is
    |   +-- LibraryChangedError       the state of it that was being read is gone; read again
    |   +-- StorageError              the disk is full or may not be written
    |   +-- SpaceError                  a second space of vectors is not there or not complete
    +-- EncoderError                  an encoder is unknown, or cannot run here (and why)
    +-- MediaError                    one media file cannot be used; indexing goes on without it
    |   +-- NotAVideoError            the file is no media, or has no video stream
    |   +-- MediaTimeoutError         ffmpeg exceeded its time limit
    |   +-- MediaLimitError           it asks for more memory, pixels, time or room than it may
    |   +-- MediaToolError            ffmpeg itself is absent or too old
    +-- PoolerError                   a pooler is unknown, unreadable or made for another encoder
    +-- QueryError                    the question cannot be asked as it stands
    |   +-- QuestionSyntaxError       it breaks the grammar at a character that the error names
    +-- AnnotationError               a file of captions, features or predictions cannot be used
    +-- SaliencyModelError            a trained saliency is unreadable or made for another encoder
    +-- SpeechError                   the speech model is not here or cannot run
    +-- SummaryError                  the summary cannot be made as it was asked for
    +-- VideoNotFoundError            no video of the library answers to that name

Each message says what is wrong, which file or key it is about, and what to do.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

__all__ = [
    "AnnotationError",
    "ConfigError",
    "DamagedLibraryError",
    "EncoderError",
    "EncoderMismatchError",
    "LibraryBusyError",
    "LibraryChangedError",
    "LibraryError",
    "LibraryNotFoundError",
    "MediaError",
    "MediaLimitError",
    "MediaTimeoutError",
    "MediaToolError",
    "NotAVideoError",
    "PoolerError",
    "QueryError",
    "QuestionSyntaxError",
    "SaliencyModelError",
    "SchemaError",
    "SpaceError",
    "SpeechError",
    "StorageError",
    "SummaryError",
    "VideoNotFoundError",
    "VidsiftError",
]


class VidsiftError(Exception):
    """Root of the tree: catch this to catch every error that vidsift raises on purpose."""


class ConfigError(VidsiftError):
    """A key of vidsift.toml, an environment variable or a flag is unknown or has a bad value."""


class LibraryError(VidsiftError):
    """The library as a whole cannot be used."""


class LibraryNotFoundError(LibraryError):
    """A command that reads was pointed at a folder that holds no library."""


class LibraryBusyError(LibraryError):
    """Another process holds the library's write lock."""


class SchemaError(LibraryError):
    """The catalog's schema is not the one that this program reads."""


class LibraryChangedError(LibraryError):
    """The state of the library that was being read is gone; `Library.in_one_state` reads again."""


class EncoderMismatchError(LibraryError):
    """The library's features were made by another encoder; mixing them would be silent nonsense."""


class DamagedLibraryError(LibraryError):
    """A file of the library is absent or differs from what the catalog says of it."""


class StorageError(LibraryError):
    """The disk is full, or the library's folder may not be written."""


class SpaceError(LibraryError):
    """A space of another encoder's vectors is not there, or lacks videos that are searched."""


class EncoderError(VidsiftError):
    """An encoder is unknown, or its weights or packages are not here."""


class MediaError(VidsiftError):
    """One media file cannot be used. Carries the file, so that a report can name it."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason


class NotAVideoError(MediaError):
    """The file is not media at all, or holds no video stream."""


class MediaTimeoutError(MediaError):
    """ffmpeg took longer on this file than its time limit."""


class MediaLimitError(MediaError):
    """The file asks for more memory, pixels, seconds or output than the settings allow."""


class MediaToolError(MediaError):
    """The ffmpeg binary is absent or lacks something that is needed; `path` is the binary."""


class PoolerError(VidsiftError):
    """A pooler is unknown, its checkpoint cannot be read, or was trained for another encoder."""


class AnnotationError(VidsiftError):
    """A file of captions, moments or predictions is absent, unreadable or of no known format."""


class QueryError(VidsiftError):
    """The question is empty, too long or malformed."""


class QuestionSyntaxError(QueryError):
    """The question breaks the grammar; `position` (from 0) is the character of `text` where."""

    def __init__(self, text: str, position: int, reason: str) -> None:
        super().__init__(f"question, character {position + 1}: {reason}")
        self.text = text
        self.position = position

    def pointer(self) -> str:
        """Two lines for a terminal: the question, and a caret under the character that is wrong."""
        shown = "".join(character if character.isprintable() else " " for character in self.text)
        before = shown[: self.position]
        # A wide character takes two columns of a terminal, a combining one none.
        columns = sum(
            0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
            for c in before
        )
        return f"{shown}\n{' ' * columns}^"


class SaliencyModelError(VidsiftError):
    """A saliency checkpoint is unknown, cannot be read, or was trained on other features."""


class SpeechError(VidsiftError):
    """The speech model or its package is not here, or cannot run; the message says what to do."""


class SummaryError(VidsiftError):
    """The budget or the output of a summary cannot be met."""


class VideoNotFoundError(VidsiftError):
    """No video of the library has this id, path or name, or several do."""
