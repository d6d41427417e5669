"""Near-duplicates: is footage found again after an encoding, and is other footage left alone?

    python -m benchmarks.duplicates DATA_FOLDER [--folder DIR] [--videos 24]

DATA_FOLDER is that of `benchmarks.quality_videos`. The first 12 s of videos (drawn at random, none
with a dup_group) are encoded again: at half the size and low quality, cropped to 90 %, lighter with
more contrast, and an excerpt. For each question of a video the best moments in the original and in
its copy are compared where they overlap by 80 %: recall. The 20 best moments of each question,
those of different videos (and groups): false pairs, among all and among those with more than two
frames (shorter ones are mostly black screens, which are alike). Indexed libraries are kept in DIR
for another run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality_videos import groups_of
from indexer import index_videos
from search.duplicates import SAME_FOOTAGE, Whitening, footage_similarity, whitening_of
from search.exact import frame_matrix
from search.moments import find_moments
from search.rerank import rerank
from vidsift.library import Library
from vidsift.media.binary import ffmpeg_binary
from vidsift.types import ClipRecord, Moment, Span, TextQuery

MOST_SECONDS, SHOWN, OVERLAP = 12.0, 20, 0.8
EVEN = "scale=trunc(iw/2)*2:trunc(ih/2)*2"
COPIES = {
    "half the size, low quality": ["-vf", "scale=trunc(iw/4)*2:trunc(ih/4)*2", "-crf", "34"],
    "cropped to 90 %": ["-vf", "crop=trunc(iw*0.45)*2:trunc(ih*0.45)*2", "-crf", "26"],
    "lighter, more contrast": ["-vf", f"eq=brightness=0.06:contrast=1.15,{EVEN}", "-crf", "28"],
    "an excerpt of half": ["-vf", EVEN],
}
EXCERPT = len(COPIES) - 1


def excerpt_of(seconds: float) -> Span:
    """Half of so many seconds, off the grid of frames that are sampled."""
    start = 0.2 * seconds + 0.13
    return Span(start, start + 0.5 * seconds)


def copy(source: Path, seconds: float, number: int, out: Path) -> None:
    """Encode the beginning of a video again, in one of the ways."""
    part = excerpt_of(seconds) if number == EXCERPT else Span(0.0, seconds)
    command = [ffmpeg_binary(), "-nostdin", "-y", "-loglevel", "error"]
    command += ["-ss", f"{part.start}", "-t", f"{part.duration}", "-i", str(source), "-an"]
    command += [*list(COPIES.values())[number], "-pix_fmt", "yuv420p", "-c:v", "libx264"]
    subprocess.run([*command, "-preset", "veryfast", str(out)], check=True)


def make_copies(data: Path, entries: list[dict[str, Any]], folder: Path, count: int) -> None:
    """Copies of some videos: STEM_NUMBER.mp4."""
    alone = [entry for entry in entries if not entry.get("dup_group")]
    for place in np.random.default_rng(0).permutation(len(alone))[:count].tolist():
        source = data / "videos" / alone[place]["file"]
        seconds = min(MOST_SECONDS, alone[place]["duration_s"])
        for number in range(len(COPIES)):
            out = folder / f"{source.stem}_{number}.mp4"
            if not out.exists() and (number != EXCERPT or seconds > 4):
                copy(source, seconds, number, out)


def footage(library: Library, records: list[ClipRecord], span: Span) -> np.ndarray:
    """The features of the frames of one video that lie in a span."""
    frames, times = [], []
    for record in records:
        clip, dimension = record.clip, library.encoder.stamp.dimension
        file = record.feature_file
        frames.append(library.features.read(file, clip.first_frame, clip.num_frames, dimension))
        times.append(record.pts_seconds)
    pts = np.concatenate(times)
    return np.asarray(np.concatenate(frames)[(pts >= span.start - 1e-6) & (pts < span.end)])


def moments(library: Library, records: list[ClipRecord], query: np.ndarray) -> list[Moment]:
    """The best moments of a question among some clips."""
    usual = float(frame_matrix(library).similarities(query[None]).mean())
    ranked = rerank(TextQuery("", query), records, library.features, library.pooler)
    return list(itertools.islice(find_moments(ranked[:100], usual), SHOWN))


def recall(
    originals: Library, copies: Library, entries: list[dict[str, Any]], whiten: Whitening
) -> None:
    """How many copies are found to be the same footage."""
    clips = {
        video.path.stem: copies.catalog.clips_of_video(video.id)
        for video in copies.catalog.videos("searchable")
    }
    found: dict[int, list[float]] = {}
    for entry in entries:
        stem = Path(entry["file"]).stem
        own = originals.catalog.clips_of_video(originals.video(entry["file"]).id)
        for query in originals.encoder.encode_texts(entry["queries"]):
            for number in (n for n in range(len(COPIES)) if f"{stem}_{n}" in clips):
                theirs = clips[f"{stem}_{number}"]
                here, there = (
                    moments(library, records, query)[0].span
                    for library, records in ((originals, own), (copies, theirs))
                )
                seconds = min(MOST_SECONDS, entry["duration_s"])
                offset = excerpt_of(seconds).start if number == EXCERPT else 0.0
                placed = Span(there.start + offset, there.end + offset)
                if here.overlap(placed) < OVERLAP * min(here.duration, placed.duration):
                    continue
                a, b = footage(originals, own, here), footage(copies, theirs, there)
                found.setdefault(number, []).append(footage_similarity(whiten(a), whiten(b)))
    for number, name in enumerate(COPIES):
        values = np.array(found[number])
        print(f"  {name:<28} {np.mean(values >= SAME_FOOTAGE):.3f} of {len(values)} found,"
              f" lowest tenth below {np.quantile(values, 0.1):.2f}")  # fmt: skip


def confusion(library: Library, entries: list[dict[str, Any]], whiten: Whitening) -> None:
    """How many pairs of moments that a page would show are confused."""
    groups = groups_of(entries)
    videos = library.catalog.videos("searchable")
    group = {video.id: groups[video.path.name] for video in videos}
    clips = {video.id: library.catalog.clips_of_video(video.id) for video in videos}
    every = [record for records in clips.values() for record in records]
    pairs: dict[frozenset[int], tuple[float, bool]] = {}
    for entry in entries:
        for query in library.encoder.encode_texts(entry["queries"]):
            shown = [
                (each, whiten(footage(library, clips[each.video_id], each.span)))
                for each in moments(library, every, query)
            ]
            for (a, first), (b, second) in itertools.combinations(shown, 2):
                key = frozenset((a.clip_id, b.clip_id))
                if group[a.video_id] != group[b.video_id] and len(first) and len(second):
                    longer = max(len(first), len(second)) > 2
                    pairs[key] = (footage_similarity(first, second), longer)
    values = np.array([value for value, _ in pairs.values()])
    long = np.array([value for value, longer in pairs.values() if longer])
    for name, some in (("other footage", values), ("of more than two frames", long)):
        share = np.mean(some >= SAME_FOOTAGE)
        print(f"  {name:<28} {share:.5f} of {len(some):,} pairs confused")


def main() -> None:
    """Copy, index and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--videos", type=int, default=24)
    arguments = parser.parse_args()
    entries = json.loads((arguments.data / "videos.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        (folder / "copies").mkdir(parents=True, exist_ok=True)
        make_copies(arguments.data, entries, folder / "copies", arguments.videos)
        with (
            Library.open(folder / "builtin", create=True) as originals,
            Library.open(folder / "copied", create=True) as copies,
        ):
            index_videos(originals, [arguments.data / "videos"])
            index_videos(copies, [folder / "copies"])
            whiten = whitening_of(originals)
            print(f"same footage from a similarity of {SAME_FOOTAGE}")
            recall(originals, copies, entries, whiten)
            confusion(originals, entries, whiten)


if __name__ == "__main__":
    main()
