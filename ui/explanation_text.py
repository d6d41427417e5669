"""An explanation in words for people, and in JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vidsift.times import clock
from vidsift.types import Span

if TYPE_CHECKING:
    from search.explain import Explanation, LookedAt, TermExplanation
    from vidsift.models.regions import HeatMap

__all__ = ["explanation_json", "looked_sentence", "said_sentences", "term_sentences"]

_ROWS, _COLUMNS = ("top", "", "bottom"), ("left", "", "right")


def term_sentences(term: TermExplanation) -> list[str]:
    """What the curve tells of one term: where it stands up, and what the score rests on."""
    sentences = [
        f"score {term.score:.2f}, best at {clock(term.best_seconds)}"
        f" ({term.best_similarity:.2f}); usual in this library is {term.background:.2f}"
    ]
    before = f"{term.score:.2f}"
    changed = [part for part in term.without if f"{part.score or 0:.2f}" != before]
    for part in changed:
        where = _span(part.span)
        if part.score is None:
            sentences.append(f"all of it answers alike: without {where} nothing of it is left")
        else:
            change = "falls" if part.score < term.score else "rises"
            sentences.append(
                f"without {where} the score {change} from {before} to {part.score:.2f}"
            )
    if not changed:
        sentences.append(f"no stretch alone carries it: without any one the score stays {before}")
    if term.cross_modal is not None:
        sentences.append(
            f"the picture counts {term.cross_modal.picture:.0%}, what is said in it"
            f" {term.cross_modal.words:.0%}"
        )
    if term.elsewhere is not None:
        sentences.append(f"elsewhere in this video the best is {term.elsewhere:.2f}")
    return sentences


def looked_sentence(looked: LookedAt) -> str:
    """Where in the frame the question is answered."""
    where = _place(looked.heat)
    sentence = f"in the frame at {clock(looked.seconds)} {where} speaks most for it"
    left, _, right, _ = looked.heat.covered
    if right - left < 0.95:
        sentence += f"; the encoder looks at the middle {right - left:.0%} of its width"
    return sentence


def said_sentences(explanation: Explanation) -> list[str]:
    """The lines of subtitles that count, with the words that they share with the question."""
    return [
        f'said at {clock(each.cue.span.start)}: "{each.cue.text}"'
        + (f" (shares {', '.join(each.words)})" if each.words else " (close in meaning)")
        for each in explanation.said
    ]


def explanation_json(explanation: Explanation, looked: Sequence[LookedAt | None]) -> dict[str, Any]:
    """One explanation as `vidsift explain --json` prints it; `looked` has one entry a term."""
    return {
        "video_id": explanation.video.id,
        "video": str(explanation.video.path),
        **_span_json(explanation.moment),
        "terms": [
            _term_json(explanation, term, seen)
            for term, seen in zip(explanation.terms, looked, strict=True)
        ],
        "said": [
            {
                **_span_json(each.cue.span),
                "text": each.cue.text,
                "words": list(each.words),
                "similarity": round(each.similarity, 6),
            }
            for each in explanation.said
        ],
    }


def _term_json(
    explanation: Explanation, term: TermExplanation, looked: LookedAt | None
) -> dict[str, Any]:
    return {
        "text": term.query.text,
        "score": round(term.score, 6),
        "background": round(term.background, 6),
        "cross_modal": term.cross_modal
        and {
            "picture": round(term.cross_modal.picture, 6),
            "words": round(term.cross_modal.words, 6),
        },
        "elsewhere": None if term.elsewhere is None else round(term.elsewhere, 6),
        "best_seconds": round(term.best_seconds, 3),
        "best_similarity": round(term.best_similarity, 6),
        "without": [
            {**_span_json(part.span), "score": None if part.score is None else round(part.score, 6)}
            for part in term.without
        ],
        "curve": {
            "start_seconds": explanation.starts.round(3).tolist(),
            "end_seconds": explanation.ends.round(3).tolist(),
            "similarity": [round(value, 6) for value in term.similarities.tolist()],
            "weight": [round(value, 6) for value in term.weights.tolist()],
        },
        "heat_map": looked
        and {
            "seconds": round(looked.seconds, 3),
            "values": [[round(value, 6) for value in row] for row in looked.heat.values.tolist()],
            "covered": dict(
                zip(("left", "top", "right", "bottom"), looked.heat.covered, strict=True)
            ),
            "exact": looked.heat.exact,
            "baseline": round(looked.heat.baseline, 6),
        },
    }


def _place(heat: HeatMap) -> str:
    """The third of the frame, across and down, in which the warmest region lies."""
    whole = heat.over(90, 90)
    row, column = np.unravel_index(np.nanargmax(whole), whole.shape)
    names = (_ROWS[int(row) // 30], _COLUMNS[int(column) // 30])
    return f"the {' '.join(filter(None, names)) or 'middle'}"


def _span(span: Span) -> str:
    return f"{clock(span.start)} - {clock(span.end)}"


def _span_json(span: Span) -> dict[str, float]:
    return {"start_seconds": round(span.start, 3), "end_seconds": round(span.end, 3)}
