"""What a person or a program may send as a question: bounded, understood or refused, never hung."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given, seed, settings
from hypothesis import strategies as hs
from PIL import Image

from search.examples import read_picture
from search.grammar import format_question, parse_question
from search.query import MAX_QUERY_CHARACTERS
from ui import question_form
from vidsift.errors import QueryError
from vidsift.store.tags import normalise_tag

PIECES = ['"', "“", "”", "-", "+", "^", "^2", "^-1", "^.", ":", "said:", "tag:", "video:", "after:"]
PIECES += ["longer:", "AND", "NOT", "THEN", "then<", "then<20s", "and", ",", ";", " ", "\n", "\t"]
PIECES += [
    "\0",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "a",
    "red",
    "9" * 30,
    "*",
    "NEAR(",
    "(",
    ")",
    "{",
    "}",
]
PIECES += ["%", "_", "'", "\\", "--", "/*", "$(", "`", "<img src=x>", "🙂", "é", "\u0301", "<", ">"]

QUESTIONS = hs.one_of(
    hs.lists(hs.sampled_from(PIECES), max_size=60).map("".join),
    hs.lists(hs.sampled_from(PIECES), max_size=40).map(" ".join),
    hs.text(max_size=200),
)


@seed(5)
@settings(max_examples=600)
@given(QUESTIONS)
@example('"' * 999)
@example("^" * 999)
@example('-"a"' * 200)
@example("a^" * 499)
@example("NOT " * 249)
@example('"a" THEN<' * 100)
@example("said:" * 199)
@example(("x" * 40 + ":") * 24)
@example("1" * 999 + "^" + "1" * 5)
@example('"a"^' + "9" * 900)
@example("longer:" + "9" * 900)
@example("after:" + "9" * 900)
def test_a_question_is_understood_or_refused_in_no_time(text):
    began = time.process_time()
    try:
        question = parse_question(text)
    except QueryError:
        pass
    else:
        written = format_question(question)
        if len(written) <= MAX_QUERY_CHARACTERS:  # quotes make it longer
            again = parse_question(written)
            assert (again.steps, again.spoken) == (question.steps, question.spoken)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    "text",
    [
        '"a" ' * 10_000,
        "(" * 100_000,
        " " * 5_000_000,
        '"' * 3_000_000,
        "a\u0301" * 400_000,
        "x" * 1001,
    ],
)
def test_a_question_that_is_too_long_is_refused_at_once(text):
    began = time.process_time()
    with pytest.raises(QueryError, match=r"1,000 are the most|empty"):
        parse_question(text)
    assert time.process_time() - began < 1.0


def test_a_question_has_so_many_terms_at_most():
    with pytest.raises(QueryError, match="one term too many"):
        parse_question(" ".join(f'"{n}"' for n in range(13)))


@pytest.mark.parametrize("tag", ["", " \n", "x" * 100_000, "\ud800", "a" * 101])
def test_a_tag_is_bounded(tag):
    with pytest.raises(QueryError):
        normalise_tag(tag)


# Pictures.


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * (1 << 20), 9) * 4
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows)


def gif_bomb() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"," + b"\0" * 20


@pytest.mark.parametrize(
    "content",
    [
        png_bomb(60_000, 60_000),
        png_bomb(100_001, 1000),
        gif_bomb(),
        b"",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        b"<html><script>alert(1)</script></html>",
        b"%PDF-1.7",
        b"\x89PNG\r\n\x1a\n",
        b"II*\0\xff\xff\xff\xff",
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"P6 999999999 999999999 255\n",
    ],
)
def test_an_upload_that_is_a_bomb_or_no_picture_is_refused_without_being_decoded(tmp_path, content):
    path = tmp_path / "picture.jpg"  # what it is called does not count
    path.write_bytes(content)
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(QueryError):
            read_picture(path, 224)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
        assert time.process_time() - began < 5
    finally:
        tracemalloc.stop()


def test_an_upload_lies_under_a_name_of_ours_and_the_one_before_is_gone():
    picture = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(picture, "PNG")
    first = question_form._kept(picture.getvalue())
    assert first.name == "picture"
    assert first.read_bytes() == picture.getvalue()
    assert read_picture(first, 4).shape == (4, 4, 3)
    second = question_form._kept(b"another")
    assert not first.exists()
    assert second.read_bytes() == b"another"
    assert Path(second).parent.parent == first.parent.parent
