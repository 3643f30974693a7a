"""The bodies of requests, and what the API demands of them before it looks into the database."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from netlab.capi.labels import annotation_fault, key_fault, value_fault

PORTS_MAX = 10
INSTANCES_MAX = 10_000
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"[\w-]{1,63}|\*", re.ASCII)


class Body(BaseModel):
    """A JSON object of which every field is known, and of the type it should be."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _domain_name(name: str) -> str:
    labels = name.split(".")
    if not 3 <= len(name) <= 253:
        raise ValueError("must be between 3 and 253 characters")
    if len(labels) < 2:
        raise ValueError('must contain at least one "."')
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must consist of labels of 1 to 63 letters, digits and inner hyphens")
    return name.lower()


def checked_host(host: str) -> str:
    """A route's host in small letters; raises ValueError."""
    if host and not _HOST.fullmatch(host):
        raise ValueError('must be either "*" or contain only alphanumeric characters, "_", or "-", at most 63 of them')
    return host.lower()


def checked_path(path: str) -> str:
    """A route's path; raises ValueError."""
    if not path:
        return path
    if path == "/":
        raise ValueError("cannot be exactly '/'")
    if not path.startswith("/"):
        raise ValueError("must begin with a '/'")
    if "?" in path:
        raise ValueError("cannot contain '?'")
    if len(path) > 128:
        raise ValueError("must be no more than 128 characters")
    if not path.isascii() or not path.isprintable() or " " in path or "#" in path:
        raise ValueError("must consist of the printable characters that a URL's path may hold")
    return path


def _environment(environment: dict[str, str | None]) -> dict[str, str | None]:
    for name in environment:
        if not name or "=" in name:
            raise ValueError(f"cannot hold the name {name!r}: it must not be empty nor contain '='")
        if name.startswith("VCAP_"):
            raise ValueError(f"cannot set {name}: names that start with VCAP_ are reserved")
        if name == "PORT":
            raise ValueError("cannot set PORT")
    return environment


Name = Annotated[str, Field(min_length=1, max_length=255)]
Guid = Annotated[str, Field(min_length=1, max_length=255)]
DomainName = Annotated[str, AfterValidator(_domain_name)]
Host = Annotated[str, AfterValidator(checked_host)]
RoutePath = Annotated[str, AfterValidator(checked_path)]
Port = Annotated[int, Field(ge=1024, le=65535)]
Environment = Annotated[dict[str, str | None], AfterValidator(_environment)]
Command = Annotated[str, Field(min_length=1, max_length=4096)]
Instances = Annotated[int, Field(ge=0, le=INSTANCES_MAX)]
Seconds = Annotated[int, Field(ge=1, le=3600)]
Megabytes = Annotated[int, Field(ge=1, le=1024 * 1024)]


class Resource(Body):
    """A reference to one resource."""

    guid: Guid


class ToOne(Body):
    """A relationship to one resource, or to none."""

    data: Resource | None = None


class ToMany(Body):
    """A relationship to several resources."""

    data: list[Resource] = []


class Metadata(Body):
    """Labels and annotations; null removes one."""

    labels: dict[str, str | None] = {}
    annotations: dict[str, str | None] = {}

    @model_validator(mode="after")
    def _words(self) -> Self:
        """Keys and values are such as selectors can name."""
        checks = (("label", self.labels, value_fault), ("annotation", self.annotations, annotation_fault))
        for kind, pairs, value_check in checks:
            for key, value in pairs.items():
                # What is to be removed may be called what it likes.
                key_error = None if value is None else key_fault(key)
                value_error = None if value is None else value_check(value)
                if key_error or value_error:
                    what = "key" if key_error else "value"
                    raise ValueError(f"{kind} {what} error: {key_error or value_error}")
        return self


class SpaceRelationships(Body):
    """What an app belongs to."""

    space: ToOne


class OrganizationRelationships(Body):
    """What a space belongs to."""

    organization: ToOne


class OrganizationCreate(Body):
    """POST /v3/organizations."""

    name: Name
    suspended: bool | None = None
    metadata: Metadata | None = None


class OrganizationUpdate(Body):
    """PATCH /v3/organizations/:guid."""

    name: Name | None = None
    suspended: bool | None = None
    metadata: Metadata | None = None


class SpaceCreate(Body):
    """POST /v3/spaces."""

    name: Name
    relationships: OrganizationRelationships
    metadata: Metadata | None = None


class SpaceUpdate(Body):
    """PATCH /v3/spaces/:guid."""

    name: Name | None = None
    metadata: Metadata | None = None


class FeatureUpdate(Body):
    """PATCH of a feature of an app or a space."""

    enabled: bool


class DomainRelationships(Body):
    """Who owns a domain and who else may use it; clients send null for absent."""

    organization: ToOne | None = None
    shared_organizations: ToMany | None = None


class DomainCreate(Body):
    """POST /v3/domains."""

    name: DomainName
    internal: bool | None = None
    relationships: DomainRelationships | None = None
    router_group: None = None
    metadata: Metadata | None = None


class SharedOrganizations(Body):
    """POST /v3/domains/:guid/relationships/shared_organizations."""

    data: Annotated[list[Resource], Field(min_length=1)]


class Lifecycle(Body):
    """Where an app's bits come from; see `netlab.capi.apps`."""

    type: str
    data: dict[str, Any] = {}


class NetlabLifecycle(Body):
    """The data of a lifecycle of type `netlab`."""

    directory: str | None = None
    port: Port = 8080


class AppCreate(Body):
    """POST /v3/apps."""

    name: Name
    relationships: SpaceRelationships
    lifecycle: Lifecycle | None = None
    environment_variables: Environment | None = None
    metadata: Metadata | None = None


class AppUpdate(Body):
    """PATCH /v3/apps/:guid."""

    name: Name | None = None
    lifecycle: Lifecycle | None = None
    metadata: Metadata | None = None


class EnvironmentUpdate(Body):
    """PATCH /v3/apps/:guid/environment_variables; null removes a variable."""

    var: Environment


class HealthCheckData(Body):
    """How long an instance may take to become healthy, and what is asked of it."""

    timeout: Seconds | None = None
    invocation_timeout: Seconds | None = None
    interval: Seconds | None = None
    endpoint: str | None = None


class HealthCheck(Body):
    """When an instance counts as running."""

    type: Literal["port", "process", "http"] | None = None
    data: HealthCheckData | None = None


class ProcessUpdate(Body):
    """PATCH /v3/processes/:guid; a null command goes back to the app's own."""

    command: Command | None = None
    health_check: HealthCheck | None = None
    metadata: Metadata | None = None


class ProcessScale(Body):
    """POST /v3/processes/:guid/actions/scale."""

    instances: Instances | None = None
    memory_in_mb: Megabytes | None = None
    disk_in_mb: Megabytes | None = None
    log_rate_limit_in_bytes_per_second: int | None = None


class AppRelationships(Body):
    """What a package belongs to."""

    app: ToOne


class PackageCreate(Body):
    """POST /v3/packages; what is said of the data is of no use here."""

    type: Literal["bits"]
    relationships: AppRelationships
    data: dict[str, Any] | None = None
    metadata: Metadata | None = None


class ResourceMatches(Body):
    """POST /v3/resource_matches."""

    resources: list[dict[str, Any]]


class BuildCreate(Body):
    """POST /v3/builds; nothing is staged, so how it should be is of no use."""

    package: Resource
    lifecycle: dict[str, Any] | None = None
    staging_memory_in_mb: Megabytes | None = None
    staging_disk_in_mb: Megabytes | None = None
    staging_log_rate_limit_bytes_per_second: int | None = None
    metadata: Metadata | None = None


class CurrentDroplet(Body):
    """PATCH /v3/apps/:guid/relationships/current_droplet."""

    data: Resource | None


class UserCreate(Body):
    """POST /v3/users."""

    guid: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,36}$")] | None = None
    username: Name | None = None
    origin: Name | None = None
    metadata: Metadata | None = None


class RoleUser(Body):
    """A user by guid, or by name and where the name comes from."""

    guid: Guid | None = None
    username: Name | None = None
    origin: Name | None = None


class ToUser(Body):
    """A relationship to a user."""

    data: RoleUser | None = None


class RoleRelationships(Body):
    """Who has a role, and where."""

    user: ToUser
    organization: ToOne | None = None
    space: ToOne | None = None


class RoleCreate(Body):
    """POST /v3/roles."""

    type: Name
    relationships: RoleRelationships


class DeploymentRelationships(Body):
    """The app whose instances are replaced."""

    app: ToOne


class DeploymentOptions(Body):
    """How a deployment goes about it."""

    max_in_flight: Annotated[int, Field(ge=1, le=INSTANCES_MAX)] | None = None
    canary: None = None


class DeploymentCreate(Body):
    """POST /v3/deployments; a droplet that is named becomes the app's current one."""

    relationships: DeploymentRelationships
    strategy: str | None = None
    options: DeploymentOptions | None = None
    droplet: Resource | None = None
    revision: Resource | None = None
    metadata: Metadata | None = None


class RouteRelationships(Body):
    """The space and the domain of a route."""

    space: ToOne
    domain: ToOne


class RouteCreate(Body):
    """POST /v3/routes."""

    relationships: RouteRelationships
    host: Host | None = None
    path: RoutePath | None = None
    port: None = None
    options: None = None
    metadata: Metadata | None = None


class MetadataUpdate(Body):
    """PATCH of a resource of which only the metadata can change."""

    metadata: Metadata | None = None


class DestinationProcess(Body):
    """The process type that a route is mapped to."""

    type: Name = "web"


class DestinationApp(Body):
    """The app that a route is mapped to."""

    guid: Guid
    process: DestinationProcess | None = None


class DestinationEntry(Body):
    """One destination of a route."""

    app: DestinationApp
    weight: Annotated[int, Field(ge=1, le=100)] | None = None
    port: Port | None = None
    protocol: Literal["http1"] | None = None

    @property
    def process_type(self) -> str:
        """The process type; web if none was named."""
        return self.app.process.type if self.app.process is not None else "web"

    @property
    def key(self) -> tuple[str, str, int | None]:
        """What makes two destinations of one route the same."""
        return self.app.guid, self.process_type, self.port


class DestinationsInsert(Body):
    """POST /v3/routes/:guid/destinations."""

    destinations: Annotated[list[DestinationEntry], Field(min_length=1, max_length=100)]


class DestinationsReplace(Body):
    """PATCH /v3/routes/:guid/destinations."""

    destinations: Annotated[list[DestinationEntry], Field(max_length=100)]
