"""Changing the encoder from the Library view: compare, switch, switch back, discard."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import ui
from indexer import index_videos
from indexer.migrate import build_space
from indexer.switch import space_statuses
from ui import background, encoder_panel, session
from vidsift.library import Library
from vidsift.models import encoder as encoders
from vidsift.store import history
from vidsift.types import EncoderStamp

APP = Path(ui.__file__).parent / "app.py"


@pytest.fixture
def served(monkeypatch, colour_encoder, make_film, tmp_path) -> Iterator[Library]:
    """A library of three films and two encoders: `colour`, and `grey`, to which all are alike."""
    colour = type(colour_encoder)

    class Grey(colour):
        stamp = EncoderStamp("grey", "1" * 64, 3, "mean brightness")

        def encode_frames(self, images: np.ndarray) -> np.ndarray:
            return self._unit(np.sqrt(super().encode_frames(images)))

    for kind in (colour, Grey):
        module = types.ModuleType(f"family_{kind.stamp.name}")
        module.open_variant = lambda *_, kind=kind: kind()
        module.needs_preparation = lambda *_: False
        module.list_variants = lambda *_: ()
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(encoders._FAMILIES, kind.stamp.name, module.__name__)
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path / "cache"))
    for name, shade in (("flag", "red"), ("lawn", "green"), ("sea", "blue")):
        make_film(tmp_path / "films" / f"{name}.mp4", [(shade, 2)])
    with Library.open(tmp_path / "library", create=True, encoder="colour") as library:
        index_videos(library, [tmp_path / "films"])
    yield session.workspace(str(tmp_path / "library")).library()
    session.workspace(str(tmp_path / "library")).close()
    session.workspace.clear()


def opened() -> AppTest:
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    page.switch_page("view_library.py").run()
    page.segmented_control(key="library-section").set_value("Encoder").run()
    assert not page.exception
    return page


def texts(page: AppTest) -> str:
    found = [element.proto.body for element in page.get("html")]
    return unescape(re.sub(r"<[^>]*>", "\n", "".join(b for b in found if "<style>" not in b)))


def press(page: AppTest, key: str, *, until: str = "") -> AppTest:
    page.button(key=key).click().run()
    if until:
        background.newest(until).wait(60)
        page.run()
    assert not page.exception
    return page


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def test_the_searched_space_is_shown_and_how_to_build_another(served):
    page = opened()
    assert "3 of 3" in texts(page)
    assert page.code[0].value == f"vidsift migrate --encoder NAME --library {served.root}"
    assert "Compare" not in labels(page)


def test_spaces_are_compared_switched_switched_back_and_discarded(served):
    build_space(served, "grey")
    for question in ("red", "green", "blue", "red then blue", "a red wall"):
        history.remember(served.catalog, question)
    page = opened()
    assert "ready" in texts(page)
    (space,) = [each.space for each in space_statuses(served) if each.space is not None]
    page = press(page, f"compare-{space.id}", until="compare")
    assert not page.error
    assert "colour and grey on 5 questions" in texts(page)
    assert "by chance" in texts(page)
    assert set(page.dataframe[0].value["Differs most"]) == {
        "red", "green", "blue", "red then blue", "a red wall",
    }  # fmt: skip

    page = press(page, f"switch-{space.id}")
    assert served.catalog.stamp().name == "colour"  # it has only been asked
    page = press(page, "encoder-no")
    assert "switch-yes" not in [button.key for button in page.button]
    page = press(press(page, f"switch-{space.id}"), "switch-yes", until="change")
    assert "Searched from now on: grey" in page.success[0].value.replace("\\", "")
    assert served.catalog.stamp().name == "grey"
    assert "on 5 questions" not in texts(page)  # of a library that is no more
    assert session.current().ask("green", 3).results
    assert served.encoder.stamp.name == "grey"

    (before,) = [each.space for each in space_statuses(served) if each.space is not None]
    assert "Switch back to it" in labels(page)
    page = press(press(page, f"switch-{before.id}"), "switch-yes", until="change")
    assert served.catalog.stamp().name == "colour"
    (grey,) = [each.space for each in space_statuses(served) if each.space is not None]
    page = press(press(page, f"discard-{grey.id}"), "discard-yes", until="change")
    assert "The space of grey is deleted" in page.success[0].value
    assert len(space_statuses(served)) == 1


def test_a_space_that_lacks_videos_is_switched_to_only_where_that_is_said(
    served, make_film, tmp_path
):
    build_space(served, "grey")
    make_film(tmp_path / "films" / "new.mp4", [("cyan", 2)])
    index_videos(served, [tmp_path / "films"])
    page = opened()
    assert "3 of 4" in texts(page)
    (space,) = [each.space for each in space_statuses(served) if each.space is not None]
    page = press(page, f"switch-{space.id}")
    assert page.button(key="switch-yes").disabled
    page.checkbox(key="switch-without").check().run()
    page = press(page, "switch-yes", until="change")
    assert "Left out of the search: 1 video." in page.success[0].value.replace("\\", "")
    assert "3 of 4 videos searchable" in [each.proto.popover.label for each in page.get("popover")]


def test_a_change_waits_for_whoever_writes_and_says_who(served):
    build_space(served, "grey")
    (space,) = [each.space for each in space_statuses(served) if each.space is not None]
    page = press(opened(), f"discard-{space.id}")
    with Library.open(served.root) as other, other.writing(command="vidsift index"):
        encoder_panel._begin_discard(space)
        job = background.newest("change")
        job.wait(0.5)
        assert job.running
        assert "vidsift index, process" in encoder_panel._waiting_for(served)
    job.wait(60)
    assert encoder_panel._waiting_for(served) == ""
    assert len(space_statuses(served)) == 1
    page.run()
    assert "is deleted" in page.success[0].value
