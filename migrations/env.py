"""Alembic runs this once a command; vidsift.store.upgrade hands it an open transaction."""

from __future__ import annotations

from typing import Any

from alembic import context

from vidsift.store.schema import metadata


def _is_compared(name: str | None, kind: str, _parents: Any) -> bool:
    # The full text index is made by hand for each database, and brings tables of its own.
    return not (name or "").removeprefix("ix_").startswith("cues_words")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_name=_is_compared,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,
)
context.run_migrations()
