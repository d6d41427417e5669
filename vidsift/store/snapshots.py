"""One state of a catalog for as long as a thread reads, the same for all threads of the process.

A search asks the catalog many times. While somebody else indexes, each time could be answered from
another state, and what is put together of them would be neither the old library nor the new one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from vidsift.errors import DamagedLibraryError
from vidsift.store.connection import reading, snapshot
from vidsift.store.records import Generation
from vidsift.store.schema import library

__all__ = ["Snapshots", "generation_of"]

_GENERATION = sa.select(library.c.library_id, library.c.generation, library.c.deletions)


def generation_of(connection: Connection) -> Generation:
    """Which state of the searchable vectors the catalog holds.

    Raises:
        DamagedLibraryError: it does not say.
    """
    row = connection.execute(_GENERATION).one_or_none()
    if row is None or not isinstance(row.generation, int) or not isinstance(row.deletions, int):
        raise DamagedLibraryError(
            "the catalog is damaged: it does not say which state it is in; run `vidsift repair`"
        )
    return Generation(*row)


class Snapshots:
    """The snapshots that the threads of this process hold of one catalog: all of one state.

    What is kept in memory of a library belongs to one state of it (its frames, the index). Threads
    that read different states at the same time would undo each other's work at every step. So who
    finds that the catalog has changed waits until those are done who read what it was before; as
    whoever comes later waits too, that is soon.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._of_thread = threading.local()
        self._ended = threading.Condition()
        self._readers = 0
        self._state: Generation | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Read one state inside; in a snapshot of the same thread, that one."""
        if self._own() is not None:
            yield
            return
        while True:
            with snapshot(self._engine) as connection:
                state = generation_of(connection)
                if self._joins(state):
                    self._of_thread.state = state
                    try:
                        yield
                    finally:
                        self._of_thread.state = None
                        self._leave()
                    return
            with self._ended:
                self._ended.wait_for(lambda: not self._readers)

    def are_held(self) -> bool:
        """Whether this thread holds a snapshot."""
        return self._own() is not None

    def are_old(self) -> bool:
        """Whether this thread holds a snapshot and the catalog has changed since."""
        own = self._own()
        if own is None:
            return False
        with reading(self._engine, live=True) as connection:
            return generation_of(connection) != own

    def _own(self) -> Generation | None:
        return getattr(self._of_thread, "state", None)

    def _joins(self, state: Generation) -> bool:
        with self._ended:
            if self._readers and self._state != state:
                return False
            self._state = state
            self._readers += 1
            return True

    def _leave(self) -> None:
        with self._ended:
            self._readers -= 1
            self._ended.notify_all()
