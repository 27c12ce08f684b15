"""`orchestrator db`: the registry's schema and its copies."""

from __future__ import annotations

import click

from orchestrator import human
from orchestrator.cli.command import group
from orchestrator.cli.session import Session
from orchestrator.domain.errors import IntegrityError

DAMAGED = "ORC4011"


@group(examples=("orchestrator db check", "orchestrator db backup -o registry.backup"))
def db() -> None:
    """Migrate, check and back up the registry."""


@db.command(examples=("orchestrator db migrate", "orchestrator db migrate --sql > migrate.sql"))
@click.option("--sql", is_flag=True, help="print the SQL for a DBA, change nothing")
@click.pass_obj
def migrate(session: Session, sql: bool) -> None:
    """Bring the registry's schema up to date; an SQLite one is backed up first."""
    from orchestrator.app import App  # noqa: PLC0415 - help needs none of it
    from orchestrator.registry import migrate as migrations  # noqa: PLC0415
    from orchestrator.registry.tables import SCHEMA  # noqa: PLC0415

    with App(session.configuration) as app:
        registry = app.registry
        found = migrations.current(registry)
        if sql:
            text = migrations.upgrade_sql(registry) if found != SCHEMA else ""
            data = {"from": found, "to": SCHEMA, "sql": text}
            session.console.document("db.migrate", data, lambda console: console.say(text.rstrip()))
            return
        known = found is None or found in migrations.known_versions()
        kept = None
        if known and found not in (None, SCHEMA) and registry.path is not None:
            kept = migrations.backup(registry, now=app.clock.now())
        if known and found != SCHEMA:
            migrations.upgrade(registry)
        migrations.check(registry)
        data = {"from": found, "to": SCHEMA, "backup": str(kept) if kept else None}
        if found == SCHEMA:
            text = f"nothing to do: the registry has schema {SCHEMA}"
        elif found is None:
            text = f"made the registry, schema {SCHEMA}: {registry.describe()}"
        else:
            text = f"migrated from schema {found} to {SCHEMA}"
            text += f"; the old one is {kept}" if kept else ""
        session.console.result("db.migrate", text, data)


@db.command(examples=("orchestrator db check",))
@click.pass_obj
def check(session: Session) -> None:
    """Check the schema and, on SQLite, the file itself and every reference in it."""
    from orchestrator.app import App  # noqa: PLC0415 - help needs none of it
    from orchestrator.registry.tables import SCHEMA  # noqa: PLC0415
    from orchestrator.service.doctor import damage  # noqa: PLC0415

    with App(session.configuration) as app:
        registry = app.reading()
        found = damage(registry)
        if found:
            raise IntegrityError(
                f"the registry is damaged in {human.plural(len(found), 'place')}",
                code=DAMAGED,
                where=registry.describe(),
                next="stop every daemon, keep a copy of the file, then restore a backup",
                details=found,
            )
        data = {"registry": registry.describe(), "schema": SCHEMA, "damage": found}
        text = f"ok: schema {SCHEMA}, no damage: {registry.describe()}"
        session.console.result("db.check", text, data)


@db.command(examples=("orchestrator db backup", "orchestrator db backup -o registry.backup"))
@click.option("-o", "--output", metavar="FILE", help="else beside the registry, with the time")
@click.pass_obj
def backup(session: Session, output: str | None) -> None:
    """Copy an SQLite registry, consistent while others write to it."""
    from orchestrator.app import App  # noqa: PLC0415 - help needs none of it
    from orchestrator.registry import migrate as migrations  # noqa: PLC0415

    with App(session.configuration) as app:
        to = session.world.cwd / output if output else None
        path = migrations.backup(app.reading(), now=app.clock.now(), to=to)
        size = path.stat().st_size
        text = f"backed up to {path}, {human.size(size)}"
        session.console.result("db.backup", text, {"path": path, "bytes": size}, piped=str(path))
