"""The measurements that a library has seen: `evaluations.jsonl` in its folder, one a line."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from search.annotations import json_lines
from search.self_evaluation import SelfEvaluation
from vidsift.errors import AnnotationError, StorageError

__all__ = ["HISTORY_FILE", "append_to_history", "read_history"]

HISTORY_FILE = "evaluations.jsonl"


def append_to_history(root: Path, evaluation: SelfEvaluation) -> None:
    """Add one measurement to the library's history.

    Written in one piece at the file's end and forced to disk: it is there whole, or a broken last
    line that readers pass over and the next writer leaves behind.

    Raises:
        StorageError: the file cannot be written.
    """
    file = root / HISTORY_FILE
    line = json.dumps(asdict(evaluation)).encode() + b"\n"
    try:
        with file.open("ab+", buffering=0) as stream:
            if stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    line = b"\n" + line
            stream.write(line)
            os.fsync(stream.fileno())
    except OSError as error:
        raise StorageError(f"{file}: cannot be written: {error.strerror}") from error


def read_history(root: Path) -> tuple[list[dict[str, Any]], int]:
    """The measurements as they were written, oldest first, and how many lines are broken.

    Raises:
        AnnotationError: there is no history that can be read.
    """
    file = root / HISTORY_FILE
    try:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError as error:
        raise AnnotationError(
            f"{file}: no measurement yet; make one with `vidsift evaluate self`"
        ) from error
    except OSError as error:
        raise AnnotationError(f"{file}: cannot be read: {error.strerror}") from error
    lines = [value for _, value in json_lines(file, text)]
    # Lines of another version may lack what is shown; time is in all.
    whole = [value for value in lines if isinstance(value, dict) and "time" in value]
    return whole, len(lines) - len(whole)
