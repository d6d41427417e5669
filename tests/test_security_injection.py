"""Names, subtitles, tags and questions that are code elsewhere: here they are text, everywhere."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as hs
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console
from streamlit.testing.v1 import AppTest

import ui
from indexer import index_videos
from indexer.alerts import Delivery, alert_json
from search import SearchEngine
from search.grammar import format_question, parse_question
from search.standing import standing_matches
from summarizer import Skim, SkimPart, summarize, write_skim
from summarizer.chapter_files import CHAPTER_FORMATS
from summarizer.chapters import Chapter
from summarizer.formats import possible_formats
from summarizer.skim_subtitles import as_srt, as_vtt
from ui import elements, session
from ui.terminal import _Terminal, one_line
from vidsift.errors import QueryError
from vidsift.library import Library
from vidsift.media.process import ffmpeg_binary
from vidsift.store import standing
from vidsift.store.tags import change_tags, normalise_tag, tags_of_videos
from vidsift.types import Cue, Segment, Span

APP = Path(ui.__file__).parent / "app.py"
HOSTILE = [
    "'; DROP TABLE videos; --",
    '" OR 1=1 --',
    "' UNION SELECT sql FROM sqlite_master --",
    'red NEAR(blue, 2) * ^"x" words:red {words} : red OR AND',
    '"""unbalanced " quotes',
    "<script>alert(1)</script>",
    "<img src=http://evil.example/x.png onerror=alert(1)>",
    "![x](http://evil.example/x.png) [y](javascript:alert(1))",
    "</style></title></textarea><iframe src=//evil.example>",
    ":material/delete: :red[x] $$x$$ <https://evil.example> www.evil.example a@evil.example",
    "$(touch pwned) `touch pwned` ; touch pwned | touch pwned & touch pwned",
    "%{pts} %{metadata:x} %d %05d %s {0} {text.__class__} ${HOME} %HOME%",
    "a:b=c,d;e[f]'g'\\h\\\\:i",
    "file:x concat:a|b pipe:0 -i x -y -f null",
    "-rf --help -",
    "\x1b[2J\x1b]0;owned\x07\x1b[31m red \x9b31m",
    "line one\nTITLE: two\r\n00:00:00.000 --> 00:00:09.000\n\n2\nthree",
    "[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=9\ntitle=x",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200b\ufeff\u2028\u2029",
    "🎬 é e\u0301 \U000e0001 اَلْعَرَبِيَّةُ 漢字 \u0085",
    "..",
    "../../../etc/passwd",
    "~root",
    "NUL",
    "%00",
    "a" * 190,
]
ANY = hs.one_of(
    hs.lists(hs.sampled_from([*HOSTILE, "\n", " ", "--", "'", '"', "<", "]]>", "&#60;"])).map(
        "".join
    ),
    hs.text(max_size=80),
).map(lambda text: text[:300])


def file_name(text: str) -> str:
    """The nearest that a file can be called."""
    named = text.replace("/", "\u2215").replace("\0", "")
    return named.encode()[:200].decode(errors="ignore") + ".mp4"


class _Tags(HTMLParser):
    """Tags and attributes of a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def dangers_of_html(html: str) -> list[str]:
    """What in it would run, load or lead elsewhere."""
    parser = _Tags()
    parser.feed(html)
    found = []
    for tag, attributes in parser.found:
        if tag in ("script", "iframe", "object", "embed", "base", "form", "link", "a", "textarea"):
            found.append(f"<{tag}>")
        for name, value in attributes.items():
            if name.startswith("on") or (name == "style" and "url(" in (value or "")):
                found.append(f"{tag} {name}={value}")
            if name in ("src", "href", "xlink:href", "data") and not (value or "").startswith(
                "data:image/jpeg;base64,"
            ):
                found.append(f"{tag} {name}={value}")
    return found


def dangers_of_markdown(text: str) -> list[str]:
    """Links, images and HTML that a Markdown reader makes of it."""

    def below(tokens: list[Token]) -> Iterator[str]:
        for token in tokens:
            if token.type in ("image", "link_open", "html_inline", "html_block"):
                yield f"{token.type}: {token.content}"
            yield from below(token.children or [])

    return list(below(MarkdownIt("commonmark", {"html": True}).parse(text)))


def test_the_watchers_see_what_they_watch_for():
    for danger in ("<script>", "<b onclick=x>", "<img src=http://x>", "<p style='a:url(x)'>"):
        assert dangers_of_html(danger)
    for danger in ("![x](http://x)", "[x](y)", "a <b>c", "<https://x.example>"):
        assert dangers_of_markdown(danger)


@pytest.fixture(scope="module")
def films(tmp_path_factory, make_film) -> Path:
    """A film of each hostile name, in a hostile folder; subtitles say what the names say."""
    folder = tmp_path_factory.mktemp("hostile") / file_name(HOSTILE[6])[:-4]
    folder.mkdir()
    film = make_film(folder.parent / "film.mp4", [("red", 2), ("green", 2), ("blue", 2)])
    content = film.read_bytes()
    blocks = [
        f"{number}\n00:00:0{number % 5},000 --> 00:00:0{number % 5 + 1},000\n{text}\n"
        for number, text in enumerate(HOSTILE, 1)
    ]
    for number, text in enumerate(HOSTILE):
        path = folder / file_name(text)
        # As a free box at its end: other content, the same film.
        path.write_bytes(content + (12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big"))
        path.with_suffix(".srt").write_text("\n".join(blocks), encoding="utf-8")
    return folder


@pytest.fixture
def library(films, tmp_path, colour_encoder) -> Iterator[Library]:
    """The library of those films, as the page has it open; indexed once for all tests."""
    indexed = films.parent / "library"
    if not indexed.exists():
        with Library.open(indexed, create=True, encoder="colour") as made:
            made.__dict__["encoder"] = colour_encoder
            report = index_videos(made, [films])
            assert not report.failed
            # What is hidden is left alone.
            assert len(report.indexed) == sum(not text.startswith(".") for text in HOSTILE)
    shutil.copytree(indexed, tmp_path / "library")
    workspace = session.workspace(str(tmp_path / "library"))
    opened = workspace.library()
    opened.__dict__["encoder"] = colour_encoder
    yield opened
    opened.close()
    session.workspace.clear()


def quote(text: str) -> str:
    """As docs/questions.md says: in quotes, and each kind of quote in it twice."""
    return '"' + re.sub('(["“”„‟«»])', r"\1\1", text) + '"'


def ways_to_ask(text: str) -> list[str]:
    quoted = quote(text)
    ways = [text, quoted, f"red {text}", f"-{quoted} red", f"{quoted}^2"]
    return ways + [f"{name}:{quoted} red" for name in ("said", "tag", "video", "path")]


@pytest.mark.slow
def test_every_question_is_answered_or_refused_and_changes_nothing(library):
    before = library.catalog.generation()
    videos = library.catalog.videos()
    engine = SearchEngine(library)
    answered = 0
    for text in HOSTILE:
        for question in (text, f"{quote(text)}^2"):  # the filters are asked below
            try:
                engine.ask(question, 3)
                answered += 1
            except QueryError:
                pass
    assert answered > len(HOSTILE)
    assert library.catalog.generation() == before
    assert library.catalog.videos() == videos


@pytest.mark.slow
def test_words_that_are_said_are_looked_up_whatever_they_are(library):
    engine = SearchEngine(library)

    @seed(11)
    @settings(max_examples=25, database=None)
    @given(ANY)
    def look_up(text: str) -> None:
        for question in ways_to_ask(text)[5:]:
            try:
                engine.ask(question, 3)
            except QueryError:
                continue

    look_up()


def test_a_line_that_is_said_is_found_by_its_words(library):
    for words in ("DROP TABLE", "UNION SELECT", "NEAR blue 2", "touch pwned", "concat a b pipe 0"):
        assert SearchEngine(library).ask(f'said:"{words}"', 1).results, words


@pytest.mark.slow
def test_a_tag_is_text(library):
    video = library.catalog.videos()[0]

    @seed(12)
    @settings(max_examples=25, database=None)
    @given(ANY)
    def tag(text: str) -> None:
        text = text[:100]
        try:
            known = tags_of_videos(library.catalog).get(video.id, ())
            change_tags(library.catalog, [video.id], add=[], remove=known)
            change_tags(library.catalog, [video.id], add=[text], remove=[])
        except QueryError:
            return
        stored = normalise_tag(text)
        assert tags_of_videos(library.catalog)[video.id] == (stored,)
        question = parse_question(f"red tag:{quote(text)}")
        assert parse_question(format_question(question)).filters == question.filters
        found = SearchEngine(library).ask(format_question(question), 40, flat=True).results
        assert {result.moment.video_id for result in found} == {video.id}

    tag()


# What is written.


@pytest.fixture
def skims(library) -> list[Skim]:
    """One of every fifth video, and one of all."""
    videos = library.catalog.videos()
    made = [Skim.of(video, summarize(library, video)) for video in videos[::5]]
    parts = tuple(SkimPart(video, Segment(Span(0.5, 2.5), 1.0)) for video in videos)
    title = " ".join(HOSTILE)[:400]
    return [*made, Skim(title, HOSTILE[6], parts, 60.0, None)]


@pytest.mark.slow
def test_every_form_of_every_summary_holds_names_and_words_as_text(library, skims, tmp_path):
    for number, skim in enumerate(skims):
        names, _ = possible_formats(library, skim)
        names = [name for name in names if name != "mp4"]
        assert {"html", "json", "srt", "vtt", "otio", "text", "png"} <= set(names)
        out = tmp_path / "out" / str(number)
        written = write_skim(library, skim, out, names)
        assert sorted(path.name for path in out.iterdir()) == sorted(
            path.name for path in written.values()
        )
        for name, path in written.items():
            assert path.parent == out
            if name in CHECKS:
                CHECKS[name](path.read_text(encoding="utf-8"), skim)


def check_html(text: str, _skim: Skim) -> None:
    parser = _Tags()
    parser.feed(text)
    metas = [attributes for tag, attributes in parser.found if tag == "meta"]
    assert "default-src 'none'" in str(metas)
    assert [danger for danger in dangers_of_html(text) if "<link>" not in danger] == []


def check_json(text: str, skim: Skim) -> None:
    manifest = json.loads(text)
    assert manifest["query"] == skim.query
    assert {str(video.path) for video in skim.videos} <= set(strings_of(manifest))


def strings_of(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings_of(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings_of(each)]
    return [value] if isinstance(value, str) else []


def check_srt(text: str, _skim: Skim) -> None:
    blocks = text.strip("\n").split("\n\n")
    for number, block in enumerate(blocks, 1):
        first, times, *lines = block.split("\n")
        assert first == str(number)
        assert re.fullmatch(r"\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}", times)
        assert lines
        assert not any("-->" in line for line in lines)


def check_vtt(text: str, _skim: Skim) -> None:
    header, *blocks = text.strip("\n").split("\n\n")
    assert header == "WEBVTT"
    for block in blocks:
        lines = block.split("\n")
        times = [line for line in lines if "-->" in line]
        assert len(times) == 1
        assert re.fullmatch(r"[\d:.]+ --> [\d:.]+", times[0])
        assert not any("<" in line for line in lines)


def check_edl(text: str, _skim: Skim) -> None:
    for line in text.split("\n"):
        assert re.match(r"TITLE: |FCM: |\* |M2 |\d{3}  |$", line), line
    assert len(re.findall(r"^TITLE: ", text, re.MULTILINE)) == 1


def check_otio(text: str, _skim: Skim) -> None:
    assert json.loads(text)["OTIO_SCHEMA"].startswith("Timeline.")


def check_ffmetadata(text: str, _skim: Skim) -> None:
    chapters = text.count("[CHAPTER]\nTIMEBASE=1/1000\n")
    assert chapters == len(re.findall(r"^\[CHAPTER\]", text, re.MULTILINE))
    assert not re.search(r"^title=.*(?<!\\)[;#]", text, re.MULTILINE)


def check_youtube(text: str, _skim: Skim) -> None:
    for line in text.splitlines():
        assert re.match(r"\d+:\d\d", line), line
        assert "<" not in line


def check_text(text: str, _skim: Skim) -> None:
    assert dangers_of_markdown(text) == []
    assert printable(text)


CHECKS = {
    "html": check_html,
    "json": check_json,
    "srt": check_srt,
    "vtt": check_vtt,
    "edl": check_edl,
    "otio": check_otio,
    "ffmetadata": check_ffmetadata,
    "chapters": check_vtt,
    "youtube": check_youtube,
    "text": check_text,
}


@pytest.mark.slow
def test_a_film_is_rendered_of_hostile_names_with_its_labels(library, skims, tmp_path):
    few = skims[-1].parts[:4]
    skim = Skim(skims[-1].title, "", few, 8.0)
    assert len(skim.videos) == 4
    film = write_skim(library, skim, tmp_path / "out", ["mp4"])["mp4"]
    assert film.stat().st_size > 1000
    assert [path.name for path in film.parent.iterdir()] == [film.name]
    assert not list(Path.cwd().glob("pwned*"))


TIMES = hs.floats(0, 50, allow_nan=False)
CUES = hs.lists(
    hs.tuples(TIMES, ANY).map(lambda each: Cue(Span(each[0], each[0] + 1.0), each[1] or "x", "")),
    max_size=4,
)


@seed(13)
@settings(max_examples=150)
@given(CUES)
def test_no_line_of_subtitles_ends_its_cue(cues):
    cues = [cue for cue in cues if cue.text.strip()]
    if cues:
        check_srt(as_srt(cues), None)
    check_vtt(as_vtt(cues), None)


@seed(14)
@settings(max_examples=150)
@given(hs.lists(ANY, min_size=1, max_size=3))
def test_no_title_ends_its_chapter(titles):
    chapters = [Chapter(Span(float(n), n + 1.0), t, 1.0, "speech") for n, t in enumerate(titles)]
    for name, check in (
        ("ffmetadata", check_ffmetadata),
        ("vtt", check_vtt),
        ("youtube", check_youtube),
    ):
        check(CHAPTER_FORMATS[name](chapters), None)
    read = CHAPTER_FORMATS["ffmetadata"](chapters)
    assert read.count("[CHAPTER]") - sum(t.count("[CHAPTER]") for t in titles) == len(titles)


def test_ffmpeg_reads_the_chapters_as_they_are_titled(tmp_path):
    titles = [" ".join(text.split()) for text in HOSTILE]
    titles = ["".join(c if c.isprintable() else "" for c in text) for text in titles]
    chapters = [Chapter(Span(float(n), n + 1.0), t, 1.0, "speech") for n, t in enumerate(titles)]
    file = tmp_path / "chapters"
    file.write_text(CHAPTER_FORMATS["ffmetadata"](chapters), encoding="utf-8")
    command = [ffmpeg_binary(), "-v", "error", "-f", "ffmetadata", "-i", str(file)]
    done = subprocess.run([*command, "-f", "ffmetadata", "-"], capture_output=True, check=True)
    assert done.stdout.decode().count("TIMEBASE=") == len(titles)


# What the page shows.


@seed(15)
@settings(max_examples=300)
@given(ANY)
def test_a_text_on_the_page_is_no_markup(text):
    shown = elements.plain(text)
    assert dangers_of_markdown(shown) == []
    assert "\n" not in shown
    # Shown, it is the same text but for white space.
    (inline,) = MarkdownIt("commonmark").parse(f"x{shown}x")[1:2]
    seen = "".join(token.content for token in inline.children or [])
    assert seen == "x" + " ".join(text.split()) + "x" or "\\" in text or "\0" in text or "&" in text


def pages(library: Library) -> Iterator[AppTest]:
    video = library.catalog.videos()[6]
    for view, address in (
        ("", {}),
        ("view_search.py", {"q": "red"}),
        ("view_search.py", {"q": HOSTILE[6]}),
        ("view_search.py", {"q": 'said:"alert"'}),
        ("view_search.py", {"q": HOSTILE[4], "like": HOSTILE[7]}),
        ("view_video.py", {"id": str(video.id), "t": "1"}),
        ("view_video.py", {"id": HOSTILE[5], "t": HOSTILE[5]}),
        ("view_alerts.py", {}),
        ("view_library.py", {}),
    ):
        page = AppTest.from_file(str(APP), default_timeout=60).run()
        for key, value in address.items():
            page.query_params[key] = value
        if view:
            page.switch_page(view)
        yield page.run()


@pytest.mark.slow
def test_no_view_of_the_page_runs_or_loads_what_a_name_says(library):
    for text in HOSTILE:
        tag = text[:60].strip()
        if tag.isprintable():
            change_tags(library.catalog, [library.catalog.videos()[6].id], add=[tag], remove=[])
    standing.add_question(library.catalog, HOSTILE[6], 0.05)
    shown = 0
    for page in pages(library):
        assert not page.exception
        for element in page.get("html"):
            if "<style>" not in element.proto.body:
                assert dangers_of_html(element.proto.body) == []
                shown += "evil" in element.proto.body
        for kind in ("markdown", "caption", "info", "warning", "error", "success", "subheader"):
            for element in page.get(kind):
                assert dangers_of_markdown(element.value) == []
        for kind in ("button", "checkbox", "text_input", "selectbox", "expander", "slider"):
            for element in page.get(kind):
                label = getattr(element, "label", "") or ""
                assert dangers_of_markdown(label) == [], label
                assert dangers_of_markdown(getattr(element, "help", "") or "") == []
    assert shown > 3


# What is handed to others.


@pytest.mark.slow
def test_a_command_gets_an_alert_as_json_and_no_shell_reads_it(library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "take it.py"
    program.write_text(
        "import json, sys; open('got', 'a').write(json.dumps([sys.argv[1:], json.load(sys.stdin)])"
        " + '\\n')"
    )
    questions = [text for text in HOSTILE if text.isprintable()][:8]
    for text in questions:
        standing.add_question(library.catalog, f"red {text}", 0.05)
    found = standing_matches(library, "red", 0.999, [library.catalog.videos()[6].id])[:1]
    for question in standing.questions(library.catalog):
        asked = standing.Due(question, library.catalog.videos()[6].id, "0" * 64, "", False)
        standing.record_answer(library.catalog, asked, found, ["command"])
    alerts = standing.alerts(library.catalog)
    assert len(alerts) == len(questions)
    said: list[str] = []
    command = f"{sys.executable} '{program}' --fixed"
    given_settings = library.settings.model_copy(update={"alert_command": command})
    assert not Delivery(given_settings, said.append).run(library)
    assert said == []
    got = [json.loads(line) for line in (tmp_path / "got").read_text().splitlines()]
    assert [arguments for arguments, _ in got] == [["--fixed"]] * len(alerts)
    assert [alert for _, alert in got] == [
        alert_json(library, alert) for alert in standing.alerts(library.catalog)
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["got", "library", program.name]


# What the terminal gets.


def printable(text: str) -> bool:
    """Whether nothing in it gives a terminal an order or turns its direction."""
    return not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


@seed(16)
@settings(max_examples=200)
@given(ANY)
def test_no_text_gives_the_terminal_an_order(text):
    console = _Terminal(file=io.StringIO(), highlight=False, soft_wrap=True, markup=False)
    console.print(f"video {text}", style="red")
    assert printable(console.file.getvalue())
    assert len(one_line(text).splitlines()) <= 1
    assert one_line("a plain name, é 漢字.mp4") == "a plain name, é 漢字.mp4"


def test_the_terminal_of_rich_alone_would_have_obeyed():
    console = Console(file=io.StringIO())
    console.print("\x1b[2J")
    assert not printable(console.file.getvalue())


@pytest.mark.slow
def test_status_tells_names_without_orders_and_json_tells_them_exactly(library):
    for video in library.catalog.videos():
        shutil.rmtree(library.pictures(video))
    paths = {str(video.path) for video in library.catalog.videos()}
    environment = os.environ | {"VIDSIFT_LIBRARY": str(library.root), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "ui.cli", "status"]
    told = subprocess.run(command, capture_output=True, env=environment, check=True).stdout.decode()
    assert printable(told)
    assert sum(line.startswith("damaged: ") for line in told.splitlines()) == len(paths)
    told = subprocess.run(
        [*command, "--json"], capture_output=True, env=environment, check=True
    ).stdout.decode()
    assert printable(told)
    assert {each["video"] for each in json.loads(told)["not_searchable"]} == paths
