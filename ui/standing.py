"""`vidsift standing` and `vidsift alerts`: questions for every new video, and what they found."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from ui.options import JsonOption, LibraryOption, open_library
from ui.terminal import out, print_json
from vidsift.times import clock

if TYPE_CHECKING:
    from vidsift.library import Library
    from vidsift.store.standing import Alert, StandingQuestion

__all__ = ["alert_line", "alerts", "full_alert_json", "local_time", "standing"]

standing = typer.Typer(
    help="Questions that `vidsift watch` asks of every new video.", no_args_is_help=True
)


@standing.command()
def add(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="What to look for, as for `vidsift search`")],
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(
            "--false-alarm-rate",
            metavar="SHARE",
            help="Of videos that have nothing to do with it at most this share alerts"
            " [default: 0.01]",
        ),
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a question of every video that is indexed from now on."""
    from search.standing import DEFAULT_RATE, check_question, check_rate
    from vidsift.store.standing import add_question

    rate = DEFAULT_RATE if false_alarm_rate is None else false_alarm_rate
    check_question(question)
    check_rate(rate)
    with open_library(context, library, create=True) as opened:
        added = add_question(opened.catalog, question, rate)
    if as_json:
        print_json(_question_json(added))
    else:
        out.print(f"standing question {added.id}: {question} (false alarms: at most {rate:.2%})")


@standing.command("list")
def list_(
    context: typer.Context, library: LibraryOption = None, as_json: JsonOption = False
) -> None:
    """The standing questions."""
    from vidsift.store.standing import questions

    with open_library(context, library) as opened:
        found = questions(opened.catalog)
    if as_json:
        print_json([_question_json(each) for each in found])
        return
    if not found:
        out.print("no standing question; `vidsift standing add QUESTION` adds one")
        return
    table = Table("id", Column("question", overflow="fold"), "false alarms", "since")
    for each in found:
        table.add_row(
            str(each.id), each.question, f"{each.false_alarm_rate:.2%}", local_time(each.created_at)
        )
    out.print(table)


@standing.command()
def remove(
    context: typer.Context,
    question_id: Annotated[int, typer.Argument(metavar="ID", help="As `standing list` shows it")],
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a question no more, and forget its alerts."""
    from vidsift.store.standing import remove_question

    with open_library(context, library) as opened:
        remove_question(opened.catalog, question_id)
    if as_json:
        print_json({"removed": question_id})
    else:
        out.print(f"standing question {question_id} is removed, and so are its alerts")


def alerts(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="Only those found from then on")
    ] = None,
    unseen: Annotated[bool, typer.Option("--unseen", help="Only those not marked as seen")] = False,
    mark: Annotated[
        bool, typer.Option("--mark-seen", help="Mark those that are shown as seen")
    ] = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """What standing questions found, the oldest first."""
    from search.filter_values import parse_date
    from vidsift.errors import QuestionSyntaxError
    from vidsift.store.standing import alerts as alerts_of
    from vidsift.store.standing import mark_seen

    moment = None
    if since is not None:
        moment = parse_date(since, 0, lambda at, why: QuestionSyntaxError(since, at, why))
    with open_library(context, library) as opened:
        found = alerts_of(opened.catalog, since=moment, unseen=unseen)
        shown = [full_alert_json(opened, each) for each in found] if as_json else []
        if mark:
            mark_seen(opened.catalog, [each.id for each in found])
    if as_json:
        print_json(shown)
        return
    if not found:
        out.print("no alert" if not unseen and since is None else "no such alert")
        return
    for each in found:
        out.print(f"{each.id}: {alert_line(each)}{' (seen)' if each.seen else ''}")


def alert_line(alert: Alert) -> str:
    """When what was found where, and how sure that is."""
    if alert.false_alarm_rate is None:
        how_sure = f"said: {alert.said}"
    else:
        how_sure = f"false alarms {alert.false_alarm_rate:.1%}"
    where = str(alert.video) if alert.is_current else f"{alert.video} (as it was then)"
    span = f"{clock(alert.span.start)}-{clock(alert.span.end)}"
    return f"{local_time(alert.found_at)} {alert.question}: {where} {span} ({how_sure})"


def full_alert_json(library: Library, alert: Alert) -> dict[str, Any]:
    """An alert as a webhook gets it, and what has become of it."""
    from indexer.alerts import alert_json

    return alert_json(library, alert) | {
        "is_current": alert.is_current,
        "waiting_for": alert.waiting_for,
        "delivered_at": alert.delivered_at,
        "seen": alert.seen,
    }


def _question_json(question: StandingQuestion) -> dict[str, Any]:
    return {
        "question_id": question.id,
        "question": question.question,
        "false_alarm_rate": question.false_alarm_rate,
        "created_at": question.created_at,
    }


def local_time(seconds: float) -> str:
    """Seconds of the epoch as date and time of day."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
