"""Opening the Cloud Controller's database, and what it holds from the first start on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url, select
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import StaticPool

from netlab.capi import ORGANIZATION, SPACE
from netlab.capi.models import Base, Domain, Organization, Space


def open_database(url: str) -> Engine:
    """An engine for the URL with all tables present.

    All sessions share one connection: they live in one thread, one after the other, and a WAL file keeps
    what was committed if the process is killed.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, poolclass=StaticPool) if url.startswith("sqlite") else create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
    Base.metadata.create_all(engine)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=2000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def seed(sessions: sessionmaker[Session], system_domain: str, istio_domains: list[str]) -> None:
    """Make what a client needs to start at once: an organization, a space, and the shared domains.

    The istio domains come first, so that the first external one is the organization's default domain.
    """
    with sessions.begin() as session:
        organization = session.scalar(select(Organization).where(Organization.name == ORGANIZATION))
        if organization is None:
            organization = Organization(name=ORGANIZATION, spaces=[Space(name=SPACE)])
            session.add(organization)
        known = set(session.scalars(select(Domain.name)))
        for name in dict.fromkeys([*istio_domains, system_domain]):
            if name not in known:
                session.add(Domain(name=name, internal=name.endswith(".internal")))
