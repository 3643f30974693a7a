"""The Cloud Controller's tables.

A process of type `web` has the guid of its app, as in Cloud Foundry: Copilot's subsets and the policies of the
container network rely on it. `Process.version` changes whenever its instances must be made anew, and
`<guid>-<version>` is the process guid that Diego sees.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, configure_mappers, mapped_column, relationship

DEFAULT_PORT = 8080


def now() -> datetime:
    """The present time in UTC, without zone: what the columns hold."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def new_guid() -> str:
    """A fresh random guid."""
    return str(uuid.uuid4())


def diego_guid(process_guid: str, version: str) -> str:
    """The guid of one version of a process in Diego."""
    return f"{process_guid}-{version}"


_last_position = 0


def _next_position() -> int:
    """The time in nanoseconds, or one more than the last if the clock did not advance."""
    global _last_position
    _last_position = max(time.time_ns(), _last_position + 1)
    return _last_position


class Base(DeclarativeBase):
    """The root of the tables."""

    type_annotation_map = {  # noqa: RUF012
        dict[str, Any]: JSON,
        dict[str, str]: JSON,
        list[str]: JSON,
        list[dict[str, Any]]: JSON,
    }


class Record(Base):
    """What every row of the API has; rows are listed in the order of `position`, that is of their making."""

    __abstract__ = True

    # The key is what others refer to, so that a session finds the row of a reference that it holds already.
    guid: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_guid)
    position: Mapped[int] = mapped_column(BigInteger, index=True, default=_next_position)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class Labelled(Record):
    """A row that clients may put labels and annotations on."""

    __abstract__ = True

    labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    annotations: Mapped[dict[str, str]] = mapped_column(default=dict)


class Organization(Labelled):
    """An organization: owns spaces and private domains."""

    __tablename__ = "organizations"

    name: Mapped[str] = mapped_column(String(255), unique=True)
    suspended: Mapped[bool] = mapped_column(default=False)
    spaces: Mapped[list[Space]] = relationship(back_populates="organization", cascade="all, delete-orphan")
    domains: Mapped[list[Domain]] = relationship(back_populates="organization", cascade="all, delete-orphan")
    roles: Mapped[list[Role]] = relationship(back_populates="organization", cascade="all, delete-orphan")


class Space(Labelled):
    """A space: holds apps and routes."""

    __tablename__ = "spaces"
    __table_args__ = (UniqueConstraint("organization_guid", "name"),)

    name: Mapped[str] = mapped_column(String(255))
    organization_guid: Mapped[str] = mapped_column(ForeignKey("organizations.guid"))
    organization: Mapped[Organization] = relationship(back_populates="spaces")
    apps: Mapped[list[App]] = relationship(back_populates="space", cascade="all, delete-orphan")
    routes: Mapped[list[Route]] = relationship(back_populates="space", cascade="all, delete-orphan")
    roles: Mapped[list[Role]] = relationship(back_populates="space", cascade="all, delete-orphan")


class Domain(Labelled):
    """A domain; without an organization it is shared by all."""

    __tablename__ = "domains"

    name: Mapped[str] = mapped_column(String(253), unique=True)
    internal: Mapped[bool] = mapped_column(default=False)
    organization_guid: Mapped[str | None] = mapped_column(ForeignKey("organizations.guid"))
    shared_organization_guids: Mapped[list[str]] = mapped_column(default=list)
    organization: Mapped[Organization | None] = relationship(back_populates="domains")
    routes: Mapped[list[Route]] = relationship(back_populates="domain", cascade="all, delete-orphan")


class App(Labelled):
    """An app; what runs is its web process."""

    __tablename__ = "apps"
    __table_args__ = (UniqueConstraint("space_guid", "name"),)

    name: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(16), default="STOPPED")
    space_guid: Mapped[str] = mapped_column(ForeignKey("spaces.guid"))
    lifecycle_type: Mapped[str] = mapped_column(String(32))
    lifecycle_data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    environment: Mapped[dict[str, str]] = mapped_column(default=dict)
    current_droplet_guid: Mapped[str | None] = mapped_column(String(36))
    """The droplet that a client made the current one; an app runs without as well."""
    space: Mapped[Space] = relationship(back_populates="apps")
    processes: Mapped[list[Process]] = relationship(
        back_populates="app", cascade="all, delete-orphan", order_by="Process.position"
    )
    destinations: Mapped[list[Destination]] = relationship(
        back_populates="app", cascade="all, delete-orphan", order_by="Destination.position"
    )
    deployments: Mapped[list[Deployment]] = relationship(
        back_populates="app", cascade="all, delete-orphan", order_by="Deployment.position"
    )
    packages: Mapped[list[Package]] = relationship(back_populates="app", cascade="all, delete-orphan")
    builds: Mapped[list[Build]] = relationship(back_populates="app", cascade="all, delete-orphan")
    droplets: Mapped[list[Droplet]] = relationship(back_populates="app", cascade="all, delete-orphan")

    @property
    def directory(self) -> str | None:
        """The directory that holds the app's bits; None stands for the built-in demo app."""
        directory = self.lifecycle_data.get("directory") if self.lifecycle_type == "netlab" else None
        return directory if isinstance(directory, str) else None

    @property
    def own_port(self) -> int | None:
        """The port that the app's bits listen on, if the lifecycle tells it."""
        port = self.lifecycle_data.get("port") if self.lifecycle_type == "netlab" else None
        return port if isinstance(port, int) else None

    @property
    def port(self) -> int:
        """The port that routes without one of their own lead to."""
        return self.own_port or DEFAULT_PORT


class Process(Labelled):
    """One process type of an app and how it is to run."""

    __tablename__ = "processes"
    __table_args__ = (UniqueConstraint("app_guid", "type"),)

    app_guid: Mapped[str] = mapped_column(ForeignKey("apps.guid"))
    type: Mapped[str] = mapped_column(String(255), default="web")
    command: Mapped[str | None] = mapped_column(default=None)
    instances: Mapped[int] = mapped_column(default=1)
    memory_in_mb: Mapped[int] = mapped_column(default=256)
    disk_in_mb: Mapped[int] = mapped_column(default=1024)
    health_check_type: Mapped[str] = mapped_column(String(16), default="port")
    health_check_data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    version: Mapped[str] = mapped_column(String(36), default=new_guid)
    app: Mapped[App] = relationship(back_populates="processes", lazy="joined", innerjoin=True)

    @property
    def diego_guid(self) -> str:
        """The process guid that Diego and Copilot's associations use."""
        return diego_guid(self.guid, self.version)


class Deployment(Labelled):
    """A rolling replacement of a web process's instances by those of another version.

    While `status_value` is ACTIVE, `versions` holds how many instances of each version Diego is to run, the oldest
    version first; `Process.version` is the one that all of them become.
    """

    __tablename__ = "deployments"

    app_guid: Mapped[str] = mapped_column(ForeignKey("apps.guid"), index=True)
    strategy: Mapped[str] = mapped_column(String(16), default="rolling")
    max_in_flight: Mapped[int] = mapped_column(default=1)
    status_value: Mapped[str] = mapped_column(String(16), default="ACTIVE", index=True)
    status_reason: Mapped[str] = mapped_column(String(16), default="DEPLOYING")
    status_changed_at: Mapped[datetime] = mapped_column(default=now)
    healthy_at: Mapped[datetime] = mapped_column(default=now)
    """When the last new instance was seen to run that let the deployment go on."""
    droplet_guid: Mapped[str | None] = mapped_column(String(36))
    previous_droplet_guid: Mapped[str | None] = mapped_column(String(36))
    versions: Mapped[dict[str, Any]] = mapped_column(default=dict)
    app: Mapped[App] = relationship(back_populates="deployments", lazy="joined", innerjoin=True)


class Route(Labelled):
    """A host (empty: the domain itself) and path of a domain."""

    __tablename__ = "routes"
    __table_args__ = (UniqueConstraint("domain_guid", "host", "path"),)

    host: Mapped[str] = mapped_column(String(63))
    path: Mapped[str] = mapped_column(String(128), default="")
    domain_guid: Mapped[str] = mapped_column(ForeignKey("domains.guid"))
    space_guid: Mapped[str] = mapped_column(ForeignKey("spaces.guid"), index=True)
    vip_offset: Mapped[int | None] = mapped_column(unique=True)
    """1-based place of an internal route's address in the VIP range; it never changes."""
    domain: Mapped[Domain] = relationship(back_populates="routes", lazy="joined", innerjoin=True)
    space: Mapped[Space] = relationship(back_populates="routes")
    destinations: Mapped[list[Destination]] = relationship(
        back_populates="route", cascade="all, delete-orphan", order_by="Destination.position", lazy="selectin"
    )

    @property
    def fqdn(self) -> str:
        """The host name that requests carry."""
        return f"{self.host}.{self.domain.name}" if self.host else self.domain.name


class Destination(Record):
    """A route mapped to a process type of an app, with a port of its own and a weight if either was given."""

    __tablename__ = "destinations"

    route_guid: Mapped[str] = mapped_column(ForeignKey("routes.guid"), index=True)
    app_guid: Mapped[str] = mapped_column(ForeignKey("apps.guid"), index=True)
    process_type: Mapped[str] = mapped_column(String(255), default="web")
    port: Mapped[int | None]
    weight: Mapped[int | None]
    route: Mapped[Route] = relationship(back_populates="destinations")
    app: Mapped[App] = relationship(back_populates="destinations", lazy="joined", innerjoin=True)


class Package(Labelled):
    """What a client says it uploads; the bits are taken and not kept."""

    __tablename__ = "packages"

    app_guid: Mapped[str] = mapped_column(ForeignKey("apps.guid"), index=True)
    type: Mapped[str] = mapped_column(String(16), default="bits")
    state: Mapped[str] = mapped_column(String(32), default="AWAITING_UPLOAD")
    app: Mapped[App] = relationship(back_populates="packages")


class Droplet(Labelled):
    """What a build left: a name for the bits that the app has, whatever was uploaded."""

    __tablename__ = "droplets"

    app_guid: Mapped[str] = mapped_column(ForeignKey("apps.guid"), index=True)
    package_guid: Mapped[str | None] = mapped_column(String(36))
    lifecycle_type: Mapped[str] = mapped_column(String(32))
    lifecycle_data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    process_types: Mapped[dict[str, str]] = mapped_column(default=dict)
    app: Mapped[App] = relationship(back_populates="droplets")


class Build(Labelled):
    """The staging of a package, which is over at once as there is nothing to stage."""

    __tablename__ = "builds"

    app_guid: Mapped[str] = mapped_column(ForeignKey("apps.guid"), index=True)
    package_guid: Mapped[str] = mapped_column(String(36))
    droplet_guid: Mapped[str] = mapped_column(String(36))
    app: Mapped[App] = relationship(back_populates="builds")


class User(Labelled):
    """Somebody whom the Cloud Controller was told of, or who has logged in."""

    __tablename__ = "users"

    username: Mapped[str | None] = mapped_column(String(255))
    origin: Mapped[str | None] = mapped_column(String(255))
    roles: Mapped[list[Role]] = relationship(back_populates="user", cascade="all, delete-orphan")


class Role(Record):
    """What a user is in an organization or a space; kept for clients, and decides nothing here."""

    __tablename__ = "roles"
    __table_args__ = (UniqueConstraint("type", "user_guid", "organization_guid", "space_guid"),)

    type: Mapped[str] = mapped_column(String(64))
    user_guid: Mapped[str] = mapped_column(ForeignKey("users.guid"), index=True)
    organization_guid: Mapped[str | None] = mapped_column(ForeignKey("organizations.guid"))
    space_guid: Mapped[str | None] = mapped_column(ForeignKey("spaces.guid"))
    user: Mapped[User] = relationship(back_populates="roles")
    organization: Mapped[Organization | None] = relationship(back_populates="roles")
    space: Mapped[Space | None] = relationship(back_populates="roles")


class Job(Record):
    """What was asked for and need not be awaited; here it is over by the time a client can ask after it."""

    __tablename__ = "jobs"

    operation: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default="COMPLETE")
    errors: Mapped[list[dict[str, Any]]] = mapped_column(default=list)


class SigningKey(Base):
    """The key that signs the UAA's tokens, so that they outlive a restart."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    private_pem: Mapped[str]


# At import, which the fork server does for every lab's start, instead of at the first query.
configure_mappers()
