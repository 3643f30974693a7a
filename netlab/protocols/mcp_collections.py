"""The collections that travel by MCP, and what is in each."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from netlab.protocols import networking_pb2 as istio

GATEWAYS: Final = "istio/networking/v1alpha3/gateways"
VIRTUAL_SERVICES: Final = "istio/networking/v1alpha3/virtualservices"
DESTINATION_RULES: Final = "istio/networking/v1alpha3/destinationrules"
SERVICE_ENTRIES: Final = "istio/networking/v1alpha3/serviceentries"
SIDECARS: Final = "istio/networking/v1alpha3/sidecars"

KINDS: Final[dict[str, type[Message]]] = {
    GATEWAYS: istio.Gateway,
    VIRTUAL_SERVICES: istio.VirtualService,
    DESTINATION_RULES: istio.DestinationRule,
    SERVICE_ENTRIES: istio.ServiceEntry,
    SIDECARS: istio.Sidecar,
}
"""The collections that hold something, by name; the others are always empty here."""

ALL: Final[tuple[str, ...]] = (
    *KINDS,
    "istio/networking/v1alpha3/envoyfilters",
    "istio/rbac/v1alpha1/rbacconfigs",
    "istio/rbac/v1alpha1/clusterrbacconfigs",
    "istio/rbac/v1alpha1/authorizationpolicies",
    "istio/rbac/v1alpha1/serviceroles",
    "istio/rbac/v1alpha1/servicerolebindings",
    "istio/authentication/v1alpha1/policies",
    "istio/authentication/v1alpha1/meshpolicies",
    "istio/mixer/v1/config/client/quotaspecs",
    "istio/mixer/v1/config/client/quotaspecbindings",
    "istio/config/v1alpha2/httpapispecs",
    "istio/config/v1alpha2/httpapispecbindings",
)
"""What a Pilot of that time subscribes to: it is synced once every one was answered, be it with nothing."""

TYPE_PREFIX: Final = "type.googleapis.com/"


def type_url(message: type[Message]) -> str:
    """The type URL of a resource's body."""
    return TYPE_PREFIX + str(message.DESCRIPTOR.full_name)
