"""Features of apps and spaces: none of those that clients can switch is here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Handler
from netlab.capi.errors import missing, unprocessable
from netlab.capi.messages import FeatureUpdate
from netlab.capi.models import App, Record, Space

_OF_APPS = {"ssh": "Enable SSHing into the app.", "revisions": "Enable versioning of an application"}
_OF_SPACES = {"ssh": "Enable SSHing into apps in the space."}


def _endpoints(kind: type[Record], path: str, name: str, descriptions: Mapping[str, str]) -> dict[str, Any]:
    """The endpoints of the features of one kind of resource; `name` is how its list calls them."""

    def feature(call: Call, which: str) -> dict[str, Any]:
        with call.transaction() as transaction:
            transaction.get(kind, call.guid)
        if which not in descriptions:
            raise missing("Feature")
        return {"name": which, "description": descriptions[which], "enabled": False}

    def list_features(call: Call) -> Response:
        return JSONResponse({name: [feature(call, which) for which in descriptions]})

    def show(call: Call) -> Response:
        return JSONResponse(feature(call, call.parameters["name"]))

    def update(call: Call) -> Response:
        message = call.message(FeatureUpdate)
        answer = show(call)
        if message.enabled:
            raise unprocessable(f"Feature '{call.parameters['name']}' is not there: it cannot be enabled")
        return answer

    return {path: {"GET": list_features}, f"{path}/{{name}}": {"GET": show, "PATCH": update}}


def show_ssh_enabled(call: Call) -> Response:
    """GET /v3/apps/:guid/ssh_enabled."""
    with call.transaction() as transaction:
        transaction.get(App, call.guid)
        return JSONResponse({"enabled": False, "reason": "Disabled globally"})


ENDPOINTS: Mapping[str, Mapping[str, Handler]] = {
    **_endpoints(App, "/v3/apps/{guid}/features", "resources", _OF_APPS),
    **_endpoints(Space, "/v3/spaces/{guid}/features", "features", _OF_SPACES),
    "/v3/apps/{guid}/ssh_enabled": {"GET": show_ssh_enabled},
}
