"""From the bytes of a subtitle file to lines of text with their times, whatever stands in it.

pysubs2 reads the formats (SubRip, WebVTT, SubStation Alpha), charset-normalizer tells encodings.
What is done around them is what real files need and hostile ones deserve: every pattern here is
linear in the text, and lines that would end a whole file are left out.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import charset_normalizer
import pysubs2

from vidsift.types import Cue, Span

__all__ = ["ParsedCues", "RawCue", "decode_text", "parse_cues", "place_cues"]

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Encodings in which subtitles are passed around; among more, short texts are told apart badly.
_ENCODINGS = [
    *["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r"],
    *["gb18030", "big5", "cp932", "euc_jp", "cp949"],
]
_SAMPLE_BYTES = 100_000
_LONGEST_LINE = 2_000
_LONGEST_TEXT = 1_000
_MOST_CUES = 20_000  # ten hours of talk have ten thousand
_MOST_READ = 3 * _MOST_CUES  # rolling captions say all of it three times

_WEBVTT = re.compile(r"\ufeff?\s*WEBVTT")
_SUBSTATION = re.compile(r"^\[(?:Script Info|V4\+? Styles|Events)\]", re.IGNORECASE | re.MULTILINE)
_WORD_TIME = re.compile(r"<[\d:.,]+>")
_DIALOGUE = re.compile(
    r"Dialogue:\s*(?:Marked=)?\d{1,9}\s*,\s*-?\d{1,2}:\d\d:\d\d[.,]\d{1,3}\s*,"
    r"\s*-?\d{1,2}:\d\d:\d\d[.,]\d{1,3}\s*,[^,]*,[^,]*(?:,\s*\d{1,9}\s*){3},"
)
_OVERRIDES = re.compile(r"\{[^{}]*\}")
_DRAWS = re.compile(r"\{[^{}]*\\p[1-9][^{}]*\}")  # what follows is a picture made of lines
_TAGS = re.compile(r"</?[A-Za-z][^<>]*>")
_BREAKS = re.compile(r"\\[Nn]|\n")
# Controls and marks of direction, which are not to be seen.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060\ufeff]")

# A caption that starts this soon after the one before goes on with it.
_TOUCHES_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class RawCue:
    """A cue as its file has it: seconds on the file's own clock, which may be nonsense."""

    start: float
    end: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParsedCues:
    """The cues of a file in order of time, and what was odd about the file, a sentence each."""

    cues: tuple[RawCue, ...]
    problems: tuple[str, ...] = ()


def decode_text(data: bytes) -> tuple[str, bool]:
    """The text of a file in an unknown encoding, and whether the encoding could be told.

    A byte order mark decides, else zero bytes (UTF-16), else whether it is UTF-8 (a few broken
    bytes do not make it anything else), else what charset-normalizer holds most likely.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding, "replace"), True
    head = data[:_SAMPLE_BYTES]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if (even + odd) * 4 > len(head):
        return data.decode("utf-16-be" if even > odd else "utf-16-le", "replace"), True
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    if not broken or broken * 10 < sum(c > "\x7f" for c in text) - broken:
        return text, True
    # Times and numbers look alike in all of them.
    telling = b"\n".join(line for line in head.split(b"\n") if not line.isascii())
    likely = list(charset_normalizer.from_bytes(telling, cp_isolation=_ENCODINGS))
    if not likely:
        return data.decode("latin-1"), False
    # Few letters tell western Europe's from eastern Europe's; the western is the more common.
    as_good = (
        match
        for match in likely
        if match.chaos <= likely[0].chaos and match.coherence >= likely[0].coherence - 0.05
    )
    best = next((match for match in as_good if match.encoding == "cp1252"), likely[0])
    return data.decode(best.encoding, "replace"), True


def parse_cues(data: bytes, suffix: str) -> ParsedCues:
    """Read a subtitle file; its format is told by its content, else by `suffix` (`.srt` ...).

    Text is freed of styling, karaoke and entities, captions that repeat or roll (as YouTube's own)
    are put together, drawings and comments are left out. Never raises for what stands in the file.
    """
    text, certain = decode_text(data)
    problems = [] if certain else ["its encoding cannot be told; save it as UTF-8"]
    if not text.strip("\x00\ufeff \r\n\t"):
        return ParsedCues((), ("is empty",))
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    # One empty line says as much as many, over which pysubs2 takes the square of their time.
    short = [line[:_LONGEST_LINE] for before, line in pairwise(["", *lines]) if line or before]
    format_, kept = _prepared(short, text, suffix)
    places = [place for place, line in enumerate(kept) if _begins_cue(line, format_)]
    if len(places) > _MOST_READ:
        kept = kept[: places[_MOST_READ]]
    read = pysubs2.SSAFile.from_string("\n".join(kept), format_, keep_html_tags=True)
    cues = [
        RawCue(event.start / 1000, event.end / 1000, own)
        for event in read
        if (own := _clean(event.text))
    ]
    cues.sort(key=lambda cue: (cue.start, cue.end, cue.lines))
    if not cues:
        problems.append("holds no subtitles")
    joined = _joined(cues)
    if len(places) > _MOST_READ or len(joined) > _MOST_CUES:
        held = len(places) if len(places) > _MOST_READ else len(joined)
        used = min(len(joined), _MOST_CUES)
        problems.append(f"holds {held:,} cues, of which the first {used:,} are used")
    return ParsedCues(tuple(joined[:_MOST_CUES]), tuple(problems))


def _prepared(lines: Sequence[str], text: str, suffix: str) -> tuple[str, list[str]]:
    """The format, and the lines that pysubs2 reads as they are meant."""
    if _WEBVTT.match(text):
        return "vtt", list(_webvtt_cues(lines))
    if _SUBSTATION.search(text) or (suffix in (".ass", ".ssa") and "Dialogue:" in text):
        # One line that cannot be read would end the file: only whole ones are handed on.
        spoken = [line for line in map(str.strip, lines) if _DIALOGUE.match(line)]
        format_ = "ssa" if any(line.startswith("Dialogue: Marked") for line in spoken) else "ass"
        return format_, ["[Events]", *spoken]
    # A line of the text with two times in it would be taken for the times of a cue.
    return "srt", [line for line in lines if "-->" in line or not _has_two_times(line)]


def _begins_cue(line: str, format_: str) -> bool:
    return line.startswith("Dialogue:") if format_ in ("ass", "ssa") else "-->" in line


def _has_two_times(line: str) -> bool:
    return len(re.findall(r"\d:\d{1,2}:\d{1,2}[.,]\d", line)) > 1


def _webvtt_cues(lines: Iterable[str]) -> Iterator[str]:
    """The times and texts of WebVTT's blocks, without notes, styles, names of cues and of words."""
    in_cue = False
    for line in lines:
        if not line:  # one of spaces alone is text: YouTube begins cues with it
            in_cue = False
            yield ""
        elif "-->" in line and not in_cue:
            in_cue = True
            # Settings of the cue follow its times.
            yield line
        elif in_cue:
            yield _WORD_TIME.sub("", line)


def _clean(text: str) -> tuple[str, ...]:
    if _DRAWS.search(text):
        return ()
    plain = _TAGS.sub("", _WORD_TIME.sub("", _OVERRIDES.sub("", text)))
    plain = html.unescape(plain.replace("\\h", " "))[:_LONGEST_TEXT]
    lines = (" ".join(_UNSEEN.sub("", line).split()) for line in _BREAKS.split(plain))
    return tuple(line for line in lines if line)


def _joined(cues: Iterable[RawCue]) -> list[RawCue]:
    """Cues that say again what is still to be seen say only what is new, or make it last longer.

    Takes and returns cues in order of time. Rolling captions repeat the last line of the cue before
    as their first; typeset signs and layers repeat a whole cue.
    """
    kept: list[RawCue] = []
    place_of: dict[tuple[str, ...], int] = {}
    shown: tuple[str, ...] = ()
    until = float("-inf")
    for cue in cues:
        again = place_of.get(cue.lines)
        new = cue.lines
        if again is not None and cue.start <= kept[again].end + _TOUCHES_SECONDS:
            new = ()
        elif cue.start <= until + _TOUCHES_SECONDS:
            again = len(kept) - 1
            common = min(len(shown), len(cue.lines))
            rolled = next((n for n in range(common, 0, -1) if shown[-n:] == cue.lines[:n]), 0)
            new = cue.lines[rolled:]
        if new:
            place_of[cue.lines] = place_of[new] = len(kept)
            kept.append(RawCue(cue.start, cue.end, new))
        elif again is not None:
            before = kept[again]
            kept[again] = RawCue(before.start, max(before.end, cue.end), before.lines)
        shown, until = cue.lines, cue.end
    return kept


def place_cues(
    parsed: ParsedCues, *, shift: float, duration: float, track: str
) -> tuple[list[Cue], list[str]]:
    """The cues on the video's clock (`shift` seconds are added) within `[0, duration)`.

    Cues that reach over an edge of the video are clipped; those beyond it, and those that end
    before they begin, are left out. Returns them with the sentences about what was odd.
    """
    placed: list[Cue] = []
    backward = beyond = 0
    for cue in parsed.cues:
        start, end = max(0.0, cue.start + shift), min(duration, cue.end + shift)
        if cue.end <= cue.start:
            backward += 1
        elif end <= start:
            beyond += 1
        else:
            placed.append(Cue(Span(start, end), " ".join(cue.lines), track))
    problems = list(parsed.problems)
    if backward:
        problems.append(f"{backward} of {len(parsed.cues)} cues end before they begin")
    if beyond:
        problems.append(
            f"{beyond} of {len(parsed.cues)} cues lie beyond the video's end ({duration:.1f} s)"
        )
    return placed, problems
