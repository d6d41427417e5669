"""Why a segment was chosen, in a plain sentence: what its terms tell, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from vidsift.types import Cue, SaliencyTerm, Segment

__all__ = ["reason"]

_MOST_CHARACTERS = 60  # of what is said
_LITTLE = 0.01


def reason(
    segment: Segment,
    *,
    matched: bool | None = None,
    cues: Sequence[Cue] = (),
    whole: str = "the film",
) -> str:
    """The term that counts most, in words, and whether someone speaks; empty without terms.

    Args:
        segment: whose terms are shares (see `summarizer.saliency`): of the film that it stands for
            better than the others, of its kinds of thing, of the attention to the question.
        matched: of the summary; only of one that matched is said that it answers the question.
        cues: of the video; the first line that begins in the segment is quoted.
        whole: what the shares are of.
    """
    terms = {term.name: term for term in segment.terms}
    spoken = terms.pop("speech", None)
    said = _said(segment, cues) if spoken is not None and spoken.value > 0 else ""
    most = max(terms.values(), key=lambda term: term.weight * term.value, default=None)
    if most is None or most.value <= 0:
        return said
    if "relevance" in terms:
        whole = "what is near to the question"
    return "; ".join(filter(None, [_sentence(most, whole, matched), said]))


def _sentence(term: SaliencyTerm, whole: str, matched: bool | None) -> str:
    share = _percent(term.value)
    if term.name in ("representativeness", "diversity") and term.value < _LITTLE:
        return "adds little that the other segments do not show"
    if term.name == "representativeness":
        return f"stands for {share} of {whole}"
    if term.name == "diversity":
        return f"shows {share} of the kinds of thing in {whole}"
    if term.name == "learned":
        return "is like what people found important"
    answers = {
        True: "answers the question",
        False: "comes nearest to the question, without a match",
        None: "is near to the question",
    }[matched]
    return f"{answers}: {share} of the attention to it"


def _said(segment: Segment, cues: Sequence[Cue]) -> str:
    inside = [cue for cue in cues if segment.span.start <= cue.span.start < segment.span.end]
    if not inside:
        # The edges of a piece are moved between lines, and it may hold none any more.
        silent = cues and not any(cue.span.overlap(segment.span) > 0 for cue in cues)
        return "" if silent else "someone speaks"
    text = " ".join(min(inside, key=lambda cue: cue.span).text.split())
    if len(text) > _MOST_CHARACTERS:
        text = text[: _MOST_CHARACTERS - 1].rstrip() + "…"
    return f"someone speaks: “{text}”"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %") if share >= _LITTLE else "less than 1 %"
