"""Questions of several parts that are put together from captioned photographs and videos."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from search.rerank import ScoredClips, score_clips
from vidsift.library import Library
from vidsift.models.encoder import Encoder

Array = np.ndarray[Any, Any]


def rank(values: Array, right: int) -> int:
    """How many stand before this one."""
    return int((values > values[right]).sum())


def recalls(ranks: list[int]) -> str:
    """R@1/5/10 and n."""
    found = np.array(ranks)
    return "/".join(f"{np.mean(found < k):.3f}" for k in (1, 5, 10)) + f" (n = {len(found)})"


@dataclass(frozen=True)
class Photos:
    """Features of photographs (p, d), of pictures of two (i, d), and of other two; captions."""

    captions: list[list[str]]
    single: Array
    pairs: list[tuple[int, int]]
    both: Array
    others: Array
    texts: Array  # (p, 5, d)


def load_photos(data: Path, encoder: Encoder, pairings: int) -> list[Photos]:
    """The COCO photographs, put together in pairs at random, so many times."""
    entries = [e for e in json.loads((data / "photos.json").read_text()) if "coco" in e["file"]]
    pictures = [Image.open(data / "photos" / e["file"]).convert("RGB") for e in entries]
    halves = [ImageOps.fit(picture, (320, 160)) for picture in pictures]
    captions = [entry["captions"][:5] for entry in entries]

    def encode(shown: list[Image.Image]) -> Array:
        return encoder.encode_frames(np.stack([np.asarray(each) for each in shown]))

    def together(a: int, b: int) -> Image.Image:
        whole = Image.new("RGB", (320, 320))
        whole.paste(halves[a], (0, 0))
        whole.paste(halves[b], (0, 160))
        return whole

    single = encode([ImageOps.fit(picture, (320, 320)) for picture in pictures])
    texts = encoder.encode_texts(list(itertools.chain.from_iterable(captions)))
    texts = texts.reshape(len(entries), 5, -1)
    random = np.random.default_rng(0)
    made = []
    for _ in range(pairings):
        order = random.permutation(len(entries)).tolist()
        pairs = list(zip(order[::2], order[1::2], strict=False))
        both = encode([together(*pair) for pair in pairs])
        others = [
            together(one, int(random.choice([each for each in order if each not in own])))
            for own in pairs
            for one in own
        ]
        made.append(Photos(captions, single, pairs, both, encode(others), texts))
    return made


@dataclass(frozen=True)
class Case:
    """Two captions' cosines with every picture, and those of both as one text.

    `own` is the first caption's photograph among the pictures, `both` the picture of both.
    """

    values: Array  # (2, x)
    as_one: Array  # (x,)
    own: int
    both: int


def cases_of(photos: Photos, encoder: Encoder) -> list[Case]:
    """Each pair of photographs by five pairs of captions."""
    everything = np.concatenate([photos.single, photos.both, photos.others])
    chosen = [(place, a, b, k) for place, (a, b) in enumerate(photos.pairs) for k in range(5)]
    as_one = encoder.encode_texts(
        [f"{photos.captions[a][k]} and {photos.captions[b][k]}" for _, a, b, k in chosen]
    )
    return [
        Case(
            photos.texts[[a, b], k] @ everything.T,
            everything @ text,
            a,
            len(photos.single) + place,
        )
        for text, (place, a, b, k) in zip(as_one, chosen, strict=True)
    ]


@dataclass(frozen=True)
class Videos:
    """Clips of all videos under each question, the group of duplicates of each clip and question.

    Two questions a video, one after the other; groups are numbered.
    """

    vectors: Array  # (q, d)
    frames: list[Array]
    scored: ScoredClips
    clip_group: Array
    question_group: Array
    clip_video: Array
    question_video: Array

    def best_clip(self, question: int, among: Array) -> int:
        """The clip that answers a question best, of those for which `among` is true."""
        places = np.flatnonzero(among)
        return int(places[np.argmax(self.scored.scores[question][places])])

    def best(self, scores: Array) -> Array:
        """The best clip's score of each group."""
        best = np.full(self.question_group.max() + 1, -np.inf)
        np.maximum.at(best, self.clip_group, scores)
        return best


def load_videos(library: Library, entries: list[dict[str, Any]]) -> Videos:
    """Score every clip under every question."""
    names = [entry["file"] for entry in entries]
    groups = [entry.get("dup_group", entry["file"]) for entry in entries]
    number = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    ids = [library.video(name).id for name in names]
    records = [record for each in ids for record in library.catalog.clips_of_video(each)]
    questions = [text for entry in entries for text in entry["queries"][:2]]
    vectors = library.encoder.encode_texts(questions)
    clip_video = np.array([ids.index(record.video_id) for record in records])
    group_of = np.array([number[group] for group in groups])
    question_video = np.repeat(np.arange(len(entries)), 2)
    return Videos(
        vectors,
        [
            library.features.read(
                each.feature_file, each.clip.first_frame, each.clip.num_frames, vectors.shape[1]
            )
            for each in records
        ],
        score_clips(vectors, records, library.features, library.pooler),
        group_of[clip_video],
        group_of[question_video],
        clip_video,
        question_video,
    )
