"""Filters and tags against a real catalog."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vidsift.errors import QueryError, VideoNotFoundError
from vidsift.store.catalog import Catalog
from vidsift.store.scope import video_ids
from vidsift.store.tags import change_tags, normalise_tag, tags_of_videos
from vidsift.types import (
    Clip,
    ClipVectors,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Shot,
    Span,
    Summary,
    VideoProbe,
)

PATHS = (
    "/films/2024/Beach day.mp4",
    "/films/2024/beach.mkv",
    "/films/2025/100%_done.mp4",
    "/films/2025/100 done.mp4",
    "/old/films/dog \\ cat.avi",
)
DAY = 86_400.0


def video(path: str, duration: float, mtime: float) -> IndexedVideo:
    span = Span(0.0, duration)
    features = FrameFeatures(np.eye(2, dtype=np.float32)[:1], np.zeros(1))
    return IndexedVideo(
        probe=VideoProbe(
            Path(path), "mp4", "h264", "yuv420p", 64, 48, 0, Fraction(25), duration, 0.0, False,
            False,
        ),
        fingerprint=Fingerprint(1, round(mtime * 1e9), "a" * 64),
        duration_seconds=duration,
        shots=(Shot(span),),
        clips=(Clip(span, 0, 0, 1),),
        features=features,
        vectors=(ClipVectors(features.features),),
        thumbnails=(b"",),
        summary=Summary("", (), 1.0),
    )  # fmt: skip


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Five videos: ids 1 to 5, 10 to 50 s long, last written on the days 1 to 5 of the epoch."""
    with Catalog.create(f"sqlite:///{tmp_path}/catalog.sqlite3") as opened:
        for place, path in enumerate(PATHS, 1):
            opened.commit_video(video(path, 10.0 * place, DAY * place), f"{place}.npy", "f" * 64)
        yield opened


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, {1, 2, 3, 4, 5}),
        ({"videos": ["2"]}, {2}),
        ({"videos": ["2", "Beach day"]}, {1, 2}),
        ({"videos": ["beach"]}, {2}),  # a stem before a part of a name
        ({"videos": ["BEACH.MKV"]}, {2}),
        ({"videos": ["bea"]}, {1, 2}),
        ({"videos": ["2024/beach.mkv"]}, {2}),
        ({"videos": ["/films/2024/beach.mkv"]}, {2}),
        ({"videos": ["0%_d"]}, {3}),  # wildcards of LIKE are characters
        ({"videos": ["dog \\ cat"]}, {5}),
        ({"paths": ["2024/"]}, {1, 2}),
        ({"paths": ["2024/", "old"]}, {1, 2, 5}),
        ({"paths": ["FILMS"]}, {1, 2, 3, 4, 5}),
        ({"paths": ["/films"]}, {1, 2, 3, 4, 5}),
        ({"paths": ["/films/*"]}, {1, 2, 3, 4}),
        ({"paths": ["*.mp4"]}, {1, 3, 4}),
        ({"paths": ["100?done.mp4"]}, {4}),
        ({"paths": ["%_done"]}, {3}),
        ({"paths": ["100*done.mp4"]}, {3, 4}),
        ({"paths": ["\\"]}, {5}),
        ({"after": 2 * DAY}, {2, 3, 4, 5}),
        ({"before": 2 * DAY}, {1}),
        ({"after": 2 * DAY, "before": 4 * DAY}, {2, 3}),
        ({"after": -1e12, "before": 1e12}, {1, 2, 3, 4, 5}),  # beyond what 64 bits hold
        ({"longer": 20.0, "shorter": 40.0}, {2, 3, 4}),
        ({"longer": 1e6}, set()),
        ({"videos": ["beach"], "longer": 40.0}, set()),
    ],
)
def test_filters(catalog: Catalog, filters: dict, expected: set[int]):
    assert video_ids(catalog, **filters) == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"videos": ["beech.mkv"]}, "video:beech.mkv: .* nearest is 'beach.mkv'"),
        ({"videos": ["beach", "9" * 30]}, "video:999.*: no video is called so;"),
        ({"videos": ["/nowhere/else.mp4"]}, "no video is called so"),
        ({"paths": ["/films/2023"]}, "path:/films/2023: no video"),
        ({"tags": ["hollidays"]}, "tag:hollidays: .* nearest is 'holidays'"),
        ({"tags": ["x"]}, "tag:x: no video has this tag;"),
    ],
)
def test_what_no_video_has_is_an_error(catalog: Catalog, filters: dict, expected: str):
    change_tags(catalog, [1], add=["holidays"])
    with pytest.raises(QueryError, match=expected):
        video_ids(catalog, **filters)


def test_only_searchable_videos_are_in_scope(catalog: Catalog):
    catalog.mark_missing([2])
    assert video_ids(catalog) == {1, 3, 4, 5}
    assert video_ids(catalog, paths=["2024/"]) == {1}
    with pytest.raises(QueryError, match=r"video:beach: /films/2024/beach.mkv cannot .* is gone"):
        video_ids(catalog, videos=["beach"])


def test_a_path_may_lead_through_a_link(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with Catalog.create(f"sqlite:///{tmp_path}/catalog.sqlite3") as catalog:
        real = os.path.realpath(tmp_path / "real")
        for name in (f"{real}/a.mp4", f"{real}ly/b.mp4"):
            catalog.commit_video(video(name, 5.0, DAY), f"{Path(name).stem}.npy", "f" * 64)
        assert video_ids(catalog, paths=[f"{tmp_path}/link/"]) == {1}
        assert video_ids(catalog, videos=[f"{tmp_path}/link/a.mp4"]) == {1}


def test_tags_must_all_be_there(catalog: Catalog):
    change_tags(catalog, [1, 2], add=["Beach", "family  day"])
    change_tags(catalog, [2, 3], add=["beach", "dog"])
    assert tags_of_videos(catalog) == {
        1: ("beach", "family day"),
        2: ("beach", "dog", "family day"),
        3: ("beach", "dog"),
    }
    assert video_ids(catalog, tags=["BEACH"]) == {1, 2, 3}
    assert video_ids(catalog, tags=["beach", "Family day"]) == {1, 2}
    change_tags(catalog, [2], add=["beach"], remove=["family day", "never there"])
    assert video_ids(catalog, tags=["beach", "family day"]) == {1}
    assert tags_of_videos(catalog)[2] == ("beach", "dog")


def test_tags_stay_with_a_video_and_go_with_it(catalog: Catalog):
    change_tags(catalog, [1, 2], add=["beach"])
    catalog.commit_video(video(PATHS[0], 12.0, 9 * DAY), "new.npy", "f" * 64)
    catalog.mark_failed(Path(PATHS[1]), None, "damaged")
    assert set(tags_of_videos(catalog)) == {1, 2}
    catalog.delete_video(1)
    assert set(tags_of_videos(catalog)) == {2}


def test_tags_that_cannot_be_used(catalog: Catalog):
    for bad in ("", " \n", "x" * 101, "\udcff"):
        with pytest.raises(QueryError, match="tag"):
            normalise_tag(bad)
    with pytest.raises(QueryError, match="'beach' is to be added and removed"):
        change_tags(catalog, [1], add=["beach"], remove=["Beach"])
    with pytest.raises(VideoNotFoundError, match="id 99"):
        change_tags(catalog, [1, 99], add=["beach"])
    assert tags_of_videos(catalog) == {}
