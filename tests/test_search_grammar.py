"""The grammar of questions: what each form means, and where an error points."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search.grammar import MAX_TERMS, format_question, parse_question
from search.question import Filters, Question, Step, Term
from vidsift.errors import QueryError, QuestionSyntaxError

GUIDE = Path(__file__).parent.parent / "docs" / "questions.md"


def steps(text: str) -> tuple[Step, ...]:
    return parse_question(text).steps


def one(*wanted: str, excluded: tuple[str, ...] = ()) -> tuple[Step, ...]:
    return (Step(tuple(map(Term, wanted)), tuple(map(Term, excluded))),)


def local(*date: int) -> float:
    return datetime(*date).timestamp()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "a man and a woman",
        "he sits then stands",
        "a clock that shows 10:30",
        "a dog's tail, don't look",
        "rock'n'roll 'in single quotes'",
        'a 12" record',
        "-5 degrees outside",
        "a dog - a cat -- both",
        "C++ on a t-shirt",
        "he says: hello :-) ^_^ 3 < 5",
        "not a dog",
        "café, Größe 3,5",
    ],
)
def test_plain_text_stays_plain(text: str):
    assert parse_question(text) == Question(text, one(text))


def test_white_space_is_put_in_order():
    assert parse_question("  a\tman \n walks ") == Question("a man walks", one("a man walks"))


@pytest.mark.parametrize(
    "text",
    [
        '"a dog" "a cat"',
        '"a dog"+"a cat"',
        "a dog + a cat",
        "a dog AND a cat",
        '"a dog", "a cat"',
        "“a dog” „a cat“",
        "« a dog » and a cat",
        '"a dog"AND"a cat"',
    ],
)
def test_several_terms_of_one_moment(text: str):
    assert steps(text) == one("a dog", "a cat")


@pytest.mark.parametrize(
    "text",
    ['a street -"at night"', "a street NOT at night", 'a street AND NOT "at night"',
     'NOT at night AND a street', '-"at night" a street'],
)  # fmt: skip
def test_exclusion(text: str):
    assert steps(text) == one("a street", excluded=("at night",))


def test_a_dash_excludes_one_word_and_parts_the_rest():
    assert steps("a street -night -rain with trees") == one(
        "a street", "with trees", excluded=("night", "rain")
    )


def test_weights():
    assert steps('"a dog"^2 cat^0.5 -night^.25 NOT "red car"^3') == (
        Step(
            (Term("a dog", 2.0), Term("cat", 0.5)),
            (Term("night", 0.25), Term("red car", 3.0)),
        ),
    )


@pytest.mark.parametrize(
    ("text", "within"),
    [
        ('"he sits" then "he stands"', None),
        ('"he sits" and then he stands', None),
        ("he sits THEN he stands", None),
        ("he sits AND THEN he stands", None),
        ('"he sits"^1 then<20s "he stands"', 20.0),
        ("he sits then<1.5m he stands", 90.0),
        ('"he sits" then < 20s "he stands"', 20.0),
        ('"he sits" THEN<20"he stands"', 20.0),
        ('"he sits" tag:home then<1h "he stands"', 3600.0),
    ],
)
def test_order(text: str, within: float | None):
    assert steps(text) == (Step((Term("he sits"),)), Step((Term("he stands"),), (), within))


def test_steps_hold_terms_of_their_own():
    assert steps('"a" "b" -c then<5s "d" THEN e -f') == (
        Step((Term("a"), Term("b")), (Term("c"),)),
        Step((Term("d"),), (), 5.0),
        Step((Term("e"),), (Term("f"),)),
    )


def test_filters_stand_anywhere_and_part_no_words():
    question = parse_question(
        'a dog video:"my film.mp4" on the Tag:beach path:/holiday/2024 tag:"with  kids" sand'
        " longer:90 shorter:1.5h after:2024-05 before:2024-06-01T10:30 video:7"
    )
    assert question.steps == one("a dog on the sand")
    assert question.filters == Filters(
        videos=("my film.mp4", "7"),
        paths=("/holiday/2024",),
        after=local(2024, 5, 1),
        before=local(2024, 6, 1, 10, 30),
        longer=90.0,
        shorter=5400.0,
        tags=("beach", "with  kids"),
    )


def test_filters_or_spoken_words_alone_are_a_question():
    assert parse_question("tag:beach") == Question("tag:beach", (), Filters(tags=("beach",)))
    question = parse_question('said:"good  morning" said:hello')
    assert (question.steps, question.spoken) == ((), ("good morning", "hello"))


def test_a_quote_inside_quotes_is_written_twice():
    assert steps('"a ""big"" dog"') == one('a "big" dog')


@pytest.mark.parametrize(
    ("text", "character", "expected"),
    [
        ('a dog "on the', 7, "closing quote"),
        ('"a" ""', 5, "empty"),
        ('"a" " "', 5, "empty"),
        ('-night -"rain"', 1, "only things to exclude"),
        ('"a" then -"b"', 10, "only things to exclude"),
        ('"a"^0 b', 5, "weight above 0"),
        ('"a"^-1', 5, "weight above 0"),
        ("dog^-1", 5, "weight above 0"),
        ("dog^1000", 5, "weight above 0"),
        ("dog^0.0", 5, "weight above 0"),
        ('"a"^', 5, "weight above 0"),
        ('"a"^x', 5, "weight above 0"),
        ('"a"^1e3', 5, "weight above 0"),
        ("THEN a dog", 1, "before THEN"),
        ("a dog THEN", 7, "after THEN"),
        ('"a" then', 5, "after then"),
        ('"a" then THEN b', 10, "after then"),
        ('"a" then<soon "b"', 10, "duration"),
        ('"a" then<0s "b"', 10, "duration"),
        ('"a" then< "b"', 11, "duration"),
        ("AND a dog", 1, "before AND"),
        ("a dog AND", 7, "after AND"),
        ("a AND AND b", 7, "after AND"),
        ("a +", 3, "after +"),
        ("a dog NOT", 7, "after NOT"),
        ("a NOT NOT b", 7, "after NOT"),
        ("a NOT -b", 7, "excluded twice"),
        ('a NOT -"b"', 7, "excluded twice"),
        ("a NOT b THEN", 9, "after THEN"),
        ("a NOT red car^2", 14, "quotes"),
        ("a NOT tag:b", 7, "cannot be excluded"),
        ("a -tag:b", 3, "cannot be excluded"),
        ("a dog vidoe:x.mp4", 7, "did you mean video:"),
        ("a dog colour:red", 7, "unknown filter colour:"),
        ("a -colour:red", 3, "unknown filter colour:"),
        ("a dog tag: beach", 11, "right after tag:"),
        ('a dog tag:""', 11, "right after tag:"),
        ("said:...", 6, "spoken"),
        ("a after:yesterday", 9, "date"),
        ("a after:2024-13", 9, "date"),
        ("a after:2024-02-30", 9, "date"),
        ("a after:0001", 9, "date"),
        ("a longer:-3", 10, "duration"),
        ("a shorter:9" + "9" * 400, 11, "duration"),
        ("a longer:1d", 10, "duration"),
        ("a after:2024 before:2023", 14, "after: must lie before"),
        ("a before:2024 after:2024", 15, "after: must lie before"),
        ("a longer:2m shorter:1m", 13, "longer: and shorter:"),
        ("a after:2024 after:2025", 14, "second time"),
        ('"a" ' * MAX_TERMS + '"b"', 4 * MAX_TERMS + 1, "12 are the most"),
    ],
)
def test_errors_point_at_the_character(text: str, character: int, expected: str):
    with pytest.raises(QuestionSyntaxError) as caught:
        parse_question(text)
    assert str(caught.value).startswith(f"question, character {character}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.position == character - 1


def test_the_caret_stands_under_the_character():
    with pytest.raises(QuestionSyntaxError) as caught:
        parse_question('犬 e\N{COMBINING ACUTE ACCENT}\t"open')
    assert caught.value.pointer().splitlines() == ['犬 e\N{COMBINING ACUTE ACCENT} "open', "     ^"]


@pytest.mark.parametrize("text", ["", " \n ", "x" * 1001, "\udcff"])
def test_no_question_at_all(text: str):
    with pytest.raises(QueryError):
        parse_question(text)


# Text made of the grammar's own pieces reaches far more of the parser than random characters.
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            ['"', '""', "“", "”", " ", " ", "-", "^", "2", "0.5", "AND", "NOT", "THEN", "then",
             "then<", "20s", "<", "+", "and", ",", "tag:", "video:", "after:", "2024-05",
             "longer:", "said:", "foo:", "dog", "a cat", "'", "\\", ":", "\n", "犬", "²", "٣"]
        ),
        st.text(max_size=3),
    ),
    max_size=25,
).map("".join)  # fmt: skip


def _parse(text: str) -> Question | QueryError:
    try:
        return parse_question(text)
    except QueryError as error:
        return error


@given(PIECES)
@example('"a""b"^2 then<20s -c')
@example('12" tag:x" “y””z”')
@example("0 ²^٣ after:٢٠٢٤")
def test_any_text_parses_or_raises_and_reads_the_same_when_printed(text: str):
    question = _parse(text)
    if isinstance(question, QuestionSyntaxError):
        assert 0 <= question.position <= len(text)
        assert len(question.pointer().split("\n")) == 2
    elif isinstance(question, Question):
        again = parse_question(format_question(question))
        assert replace(again, text=question.text) == question


def test_the_examples_of_the_guide():
    """Each line of the guide's ```question blocks parses; each of its errors is as printed."""
    text = GUIDE.read_text(encoding="utf-8")
    examples = [
        line for block in re.findall(r"```question\n(.*?)```", text, re.S)
        for line in block.splitlines()
    ]  # fmt: skip
    assert len(examples) >= 15
    for line in examples:
        question = parse_question(line)
        assert question.steps or question.filters or question.spoken
    errors = re.findall(r"```error\n(.*)\n(.*)\n(.*)\n```", text)
    assert len(errors) >= 3
    for typed, pointer, message in errors:
        with pytest.raises(QuestionSyntaxError) as caught:
            parse_question(typed)
        assert (caught.value.pointer(), str(caught.value)) == (f"{typed}\n{pointer}", message)


def test_a_nul_is_refused():
    with pytest.raises(QueryError, match="NUL"):
        parse_question('a dog video:"a\0b"')
