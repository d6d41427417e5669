"""The page in a real browser: from an empty folder to a search and a summary."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import pytest

from vidsift.media.binary import ffmpeg_binary

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = "<img src=x onerror=alert(1)>.mp4"
_CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A view that is opened by its address looks for the server below its own path first.
_PROBED = re.compile(r"/\w+/_stcore/(health|host-config)$")
# Streamlit forgets a picture that is taken from the page, and the browser may ask for it too late.
# That the pictures of a view come is waited for where they are looked at.
_GONE = re.compile(r"/media/[0-9a-f]+\.(jpg|png)")
_PLAYABLE = """selector => {
    const video = [...document.querySelectorAll(selector)].at(-1);
    return video && video.src && video.readyState >= 2 && video.duration;
}"""
_MOVES = """async selector => {
    const video = [...document.querySelectorAll(selector)].at(-1);
    video.muted = true;
    await video.play();
    while (video.currentTime < 0.2) await new Promise(done => setTimeout(done, 50));
    return video.currentTime;
}"""


@pytest.fixture(scope="module")
def photo_films(tmp_path_factory) -> Path:
    """Two films of one photograph each, from scikit-learn's sample images."""
    images = pytest.importorskip("sklearn.datasets").__path__[0]
    folder = tmp_path_factory.mktemp("photos")
    for photo, name in (("flower.jpg", "garden.mp4"), ("china.jpg", HOSTILE)):
        command = [ffmpeg_binary(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
        command += ["-loop", "1", "-r", "25", "-t", "8", "-i", f"{images}/images/{photo}"]
        command += ["-vf", "scale=320:-2", "-pix_fmt", "yuv420p", f"file:{folder / name}"]
        subprocess.run(command, check=True)
    return folder


@pytest.fixture
def server(tmp_path) -> Iterator[tuple[str, int]]:
    """`vidsift ui` over a library that does not exist yet: its address and port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ui.cli", "ui", "--port", str(port)]
    command += ["--library", str(tmp_path / "library")]
    log = tmp_path / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait_until_served(f"http://127.0.0.1:{port}/_stcore/health", process, log)
            yield f"http://127.0.0.1:{port}", port
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(20)
    assert "Traceback" not in log.read_text()


def _wait_until_served(url: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (URLError, ConnectionError):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    pytest.fail(f"no page after a minute: {log.read_text()}")


@pytest.fixture
def page(server):
    """A page of Chromium that reports what went wrong in it when the test is over."""
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []

    def console(message) -> None:
        where = message.location.get("url", "")
        expected = _PROBED.search(where) or _GONE.search(f"{where} {message.text}")
        if message.type == "error" and not expected:
            wrong.append(f"console: {message.text} {message.location}")

    def requested(request) -> None:
        where = urlsplit(request.url)
        if where.scheme not in ("data", "blob") and where.hostname != "127.0.0.1":
            wrong.append(f"asked another machine: {request.url}")

    def alerted(dialog) -> None:
        wrong.append(f"a script of a file's name ran: {dialog.message}")
        dialog.dismiss()

    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=_CHROMIUM)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.on("console", console)
        page.on("request", requested)
        page.on("dialog", alerted)
        page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
        yield page
        browser.close()
    assert wrong == []


def _is_played(page, selector: str) -> float:
    """Wait until the last player there has a picture, see it move; its length in seconds."""
    page.wait_for_function(_PLAYABLE, arg=selector)
    assert page.evaluate(_MOVES, selector) >= 0.2
    return float(page.evaluate(f"[...document.querySelectorAll({selector!r})].at(-1).duration"))


def _wait_or_reload(page, sign) -> None:
    """Wait for what the server shows; a browser that fell asleep sees it after a reload."""
    from playwright.sync_api import TimeoutError as Late

    try:
        sign.wait_for(timeout=40_000)
    except Late:
        page.reload()
        sign.wait_for()


def _go_to(page, view: str, sign) -> None:
    """Click a view's link and wait for its sign; a click while a view is drawn may be lost."""
    from playwright.sync_api import TimeoutError as Late

    for _ in range(3):
        page.get_by_role("link", name=view, exact=True).click()
        try:
            sign.first.wait_for(timeout=10_000)
        except Late:
            continue
        return
    pytest.fail(f"the view {view} did not come")


def _ask(page, question: str, sign) -> None:
    """Ask and wait for the answer's sign; what is sent while a view is drawn may be lost."""
    from playwright.sync_api import TimeoutError as Late

    for _ in range(3):
        page.get_by_label("Question").fill(question)
        page.get_by_label("Question").press("Enter")
        try:
            sign.first.wait_for(timeout=20_000)
        except Late:
            continue
        return
    pytest.fail(f"no answer to {question!r} came")


def test_from_an_empty_folder_to_search_and_summary(page, server, photo_films):
    address, port = server
    assert _listens_on_loopback_alone(port)

    page.goto(address)
    page.get_by_role("button", name="Add a folder of videos").click()
    box = page.get_by_label("Folder or video file to index")
    box.fill(str(photo_films))
    box.press("Enter")
    # The browser may show a button of that name itself while a script runs.
    page.get_by_role("button", name="Stop").or_(
        page.get_by_text("Indexing is done")
    ).first.wait_for()
    boards = page.locator('[class*="st-key-tile-board-"]')
    welcome = page.get_by_role("button", name="Add a folder of videos")
    # The run goes on while another view is looked at.
    _go_to(page, "Summaries", welcome.or_(boards))
    _go_to(page, "Library", box)
    _wait_or_reload(page, page.get_by_text("Indexing is done: 2 indexed"))
    page.get_by_text("2 of 2 videos searchable").first.wait_for()

    _go_to(page, "Search", page.get_by_label("Question"))
    first = page.locator('[class*="st-key-tile-clip-m0"]')
    _ask(page, "a flower", first)
    assert page.locator(".vs-name").first.inner_text() == "garden.mp4"
    assert "q=a" in page.url
    page.reload()
    first.get_by_role("button").click()
    assert 4 <= _is_played(page, '[role="dialog"] video') < 60
    page.keyboard.press("Escape")
    page.locator('[role="dialog"]').wait_for(state="detached")
    page.get_by_text(HOSTILE).first.wait_for()

    _ask_further(page, first)

    page.get_by_role("button", name="Open the video here", exact=True).first.click()
    assert _is_played(page, "video") == pytest.approx(8.0, abs=0.3)
    assert "id=" in page.url
    _make_a_summary(page)
    _go_to(page, "Summaries", boards)
    boards.nth(1).wait_for()
    page.wait_for_function(
        "[...document.querySelectorAll('[class*=\"st-key-tile-board-\"] img')]"
        ".filter(image => image.naturalWidth > 300).length == 2"
    )
    boards.first.get_by_role("button").click()
    assert _is_played(page, '[role="dialog"] video') < 60
    page.keyboard.press("Escape")
    page.locator('[role="dialog"]').wait_for(state="detached")
    _stand_a_question(page)


def test_what_is_damaged_is_found_and_repaired_while_another_session_searches(
    page, server, photo_films, tmp_path
):
    from indexer import index_videos
    from vidsift.library import Library

    with Library.open(tmp_path / "library", create=True) as library:
        index_videos(library, [photo_films])
        video = library.video("garden.mp4")
    spoilt = tmp_path / "library" / "features" / video.feature_file
    with spoilt.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x11")
    address, _ = server
    page.goto(f"{address}/library")
    check = page.get_by_role("radio", name="Check and repair")
    check.click()
    page.get_by_role("button", name="Check now").click()
    _wait_or_reload(page, page.get_by_text("1 gap"))
    page.get_by_text("its checksum is another").wait_for()
    page.get_by_text("index 1 video anew from the file: garden.mp4").wait_for()
    # The head of every view says it, and why; the rest is searched, by other sessions too.
    other = page.context.browser.new_page()
    other.set_default_timeout(60_000)
    other.goto(f"{address}/search?q=a+temple")
    other.get_by_role("button", name="1 of 2 videos searchable").click()
    other.get_by_text("its features are not what was stored").first.wait_for()
    other.locator('[class*="st-key-tile-clip-m0"]').wait_for()
    assert other.get_by_text("was not searched").is_visible()
    page.get_by_role("button", name="Repair", exact=True).click()
    _wait_or_reload(page, page.get_by_text("Nothing is wrong"))
    page.get_by_text(f"indexed {video.path} anew").wait_for()
    page.get_by_text("2 of 2 videos searchable").first.wait_for()
    _ask(other, "a flower", other.locator(".vs-name", has_text="garden.mp4"))
    assert not other.get_by_text("was not searched").is_visible()


def _make_a_summary(page) -> None:
    """A summary about a question: made, a segment switched off, watched, taken away."""
    page.get_by_label("What the summary is to be about").fill("a flower")
    length = page.get_by_role("slider", name="Length")
    length.focus()
    for _ in range(40):  # tenths of a second
        length.press("ArrowRight")
    page.get_by_role("button", name="Make summary").click()
    page.get_by_text("about a flower").wait_for()
    page.wait_for_function("document.querySelectorAll('video').length == 2")
    whole = _is_played(page, "video")
    assert whole == pytest.approx(0.15 * 8 + 4, abs=0.2)
    curve = page.locator(".vs-curve .area")
    assert "polygon" in curve.evaluate("element => getComputedStyle(element).clipPath")
    assert "saliency" in page.locator(".vs-curve .point").first.get_attribute("title")
    boxes = page.locator('[class*="st-key-grid-"] [data-testid="stCheckbox"]')
    if boxes.count() > 1:
        boxes.last.locator("label").click()
        page.get_by_role("button", name="Render the changed summary").click()
        page.get_by_text("segments on", exact=False).wait_for()
        page.get_by_role("button", name="Render the changed summary").wait_for(state="detached")
        assert _is_played(page, "video") < whole - 0.2
    for name, sign in (("html", "<html"), ("edl", "TITLE:"), ("json", '"query": "a flower"')):
        button = page.get_by_role("button", name=re.compile(f"^{name}:"))
        if not button.is_visible():
            page.get_by_role("button", name="Download").click()
            button.wait_for()
        with page.expect_download() as download:
            button.click()
        assert sign in Path(download.value.path()).read_text()
    page.keyboard.press("Escape")


def _stand_a_question(page) -> None:
    """A question stands, and what is typed beside it outlives the view's refreshing."""
    question = page.get_by_label("Question")
    _go_to(page, "Alerts", page.get_by_role("button", name="Ask every new video"))
    question.fill("a flower")
    page.get_by_role("button", name="Ask every new video").click()
    page.get_by_text("at most 1 video in 100 falsely").wait_for()
    page.get_by_text("No question has found anything yet.").wait_for()
    question.fill("half a quest")
    page.wait_for_timeout(6_000)  # longer than a refresh takes to come
    assert question.input_value() == "half a quest"
    page.get_by_text("a flower").first.wait_for()


def _ask_further(page, first) -> None:
    """Why the first result was found, more like it, and what a picture finds."""
    page.get_by_role("button", name="Why this result").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("usual in this library").wait_for()
    dialog.locator('[data-testid="stVegaLiteChart"]').wait_for()
    dialog.get_by_text("speaks most for it").wait_for()
    dialog.locator('[data-testid="stImage"] img').wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")

    page.get_by_role("button", name="More like this one", exact=True).first.click()
    page.get_by_text("more like 1").wait_for()
    page.get_by_role("button", name="Take back: more like this one").wait_for()
    page.get_by_role("button", name="Take back", exact=True).click()
    page.get_by_text("more like 1").wait_for(state="detached")

    page.get_by_label("Question").fill("")
    page.get_by_label("Question").press("Enter")
    first.wait_for(state="detached")
    page.get_by_role("button", name="Picture").click()
    images = pytest.importorskip("sklearn.datasets").__path__[0]
    page.locator('input[type="file"]').set_input_files(f"{images}/images/flower.jpg")
    page.get_by_text("what flower.jpg shows").wait_for()
    first.wait_for()
    assert page.locator(".vs-name").first.inner_text() == "garden.mp4"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Leave the picture out").click()
    first.wait_for(state="detached")
    _ask(page, "a flower", first)


def _listens_on_loopback_alone(port: int) -> bool:
    addresses = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    return addresses == [f"0100007F:{port:04X}"]
