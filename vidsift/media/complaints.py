"""What ffmpeg says, freed of what means nothing to a person."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["meaningful"]

_PREFIX = re.compile(r"^(?:\[[^\]]*@ 0x[0-9a-f]+\] )+")
# Lines that only repeat that something went wrong.
_EMPTY_PHRASES = re.compile(
    r"^(?:Conversion failed!|Error opening (?:input|output) files?\b.*|Exiting normally.*"
    r"|Last message repeated.*|Error while filtering: .*|Task finished with error code.*"
    r"|Error : .*|Error initializing .*|Terminating thread with return code.*"
    r"|Nothing was written into output file.*"
    r"|Error sending frames? to consumers: .*|At least one output file must be specified"
    r"|Error selecting an encoder|Could not open encoder before EOF"
    r"|Output file (?:#\d+ )?(?:is empty|does not contain).*"
    # Of our own pipes, where frames closer together than a tick of theirs are no fault of the file.
    r"|Application provided invalid, non monotonically increasing dts to muxer.*"
    r"|Cannot determine format of input .* after EOF)$"
)
_ERROR_OPENING = re.compile(r"^Error opening (?:input|output)(?: file)?: ")


def meaningful(lines: Iterable[str], subject: Path) -> list[str]:
    """The lines that mean something to a person, in order; what they are about is left out."""
    name = os.fsencode(subject).decode("utf-8", "replace")
    said = (_PREFIX.sub("", line).replace(f"file:{name}: ", "") for line in lines)
    words = (_ERROR_OPENING.sub("", line.strip()) for line in said)
    return [line for line in words if line and not _EMPTY_PHRASES.match(line)]
