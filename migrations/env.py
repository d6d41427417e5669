"""Alembic runs this once a command; vidsift.store.upgrade hands it an open transaction."""

from __future__ import annotations

from alembic import context

from vidsift.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,
)
context.run_migrations()
