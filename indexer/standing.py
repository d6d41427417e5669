"""Ask standing questions of the videos that have not been asked yet, and write down the alerts.

What was asked and what it found are written in one transaction, so that after a crash each question
is asked of each video exactly once, whoever indexed it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from search.standing import standing_matches
from vidsift.errors import QueryError
from vidsift.library import Library
from vidsift.store.standing import Alert, Due, due, record_answer
from vidsift.types import SearchResult

__all__ = ["ask_standing_questions"]


def ask_standing_questions(
    library: Library,
    *,
    waiting_for: Sequence[str] = (),
    on_alert: Callable[[Alert], None],
    say: Callable[[str], None],
) -> None:
    """Put every standing question to every video that it has not been put to.

    Args:
        library: where the videos are; any process may index them.
        waiting_for: the channels that are to get the alerts (see `indexer.alerts`).
        on_alert: told of each new alert when it is safely written.
        say: told in a line of a question that cannot be asked.

    Raises:
        EncoderError, LibraryError: the library cannot be searched or written, and why.
    """
    for each in due(library.catalog):
        try:
            results = standing_matches(
                library, each.question.question, each.question.false_alarm_rate, [each.video_id]
            )
        except QueryError as error:
            # Such as a tag that no video has: so this video does not have it either.
            say(f"standing question {each.question.id} is passed over: {error}")
            results = []
        for alert in record_answer(library.catalog, each, _new(each, results), waiting_for):
            on_alert(alert)


def _new(asked: Due, results: list[SearchResult]) -> list[SearchResult]:
    """Where only words are new, what pictures alone show has been told, or was there before."""
    return [each for each in results if each.cue is not None or not asked.words_only]
