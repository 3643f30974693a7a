"""The documents that need no token: where everything is."""

from __future__ import annotations

from typing import Any

from netlab.capi.config import CapiConfig
from netlab.capi.endpoints import ENDPOINTS

API_V2 = "2.142.0"
API_V3 = "3.77.0"
NAME = "netlab"
DESCRIPTION = "Cloud Foundry's service mesh on one Linux kernel"
OSBAPI = "2.15"


def root(config: CapiConfig) -> dict[str, Any]:
    """GET /."""
    api, uaa = config.api_url, config.uaa_url
    return {
        "links": {
            "self": {"href": api},
            "bits_service": None,
            "cloud_controller_v2": {"href": f"{api}/v2", "meta": {"version": API_V2}},
            "cloud_controller_v3": {"href": f"{api}/v3", "meta": {"version": API_V3}},
            "network_policy_v0": {"href": f"{api}/networking/v0/external"},
            "network_policy_v1": {"href": f"{api}/networking/v1/external"},
            "login": {"href": uaa},
            "uaa": {"href": uaa},
            "credhub": None,
            "routing": None,
            "logging": None,
            "log_stream": None,
            "app_ssh": None,
        }
    }


def info(config: CapiConfig) -> dict[str, Any]:
    """GET /v2/info."""
    return {
        "name": NAME,
        "build": "",
        "support": "",
        "version": 0,
        "description": DESCRIPTION,
        "authorization_endpoint": config.uaa_url,
        "token_endpoint": config.uaa_url,
        "min_cli_version": None,
        "min_recommended_cli_version": None,
        "app_ssh_endpoint": None,
        "app_ssh_host_key_fingerprint": None,
        "app_ssh_oauth_client": None,
        "doppler_logging_endpoint": None,
        "api_version": API_V2,
        "osbapi_version": OSBAPI,
        "routing_endpoint": None,
    }


def v3(config: CapiConfig) -> dict[str, Any]:
    """GET /v3: a link to every collection."""
    base = f"{config.api_url}/v3"
    collections = sorted(
        path.removeprefix("/v3/") for path in ENDPOINTS if path.startswith("/v3/") and path.count("/") == 2
    )
    return {
        "links": {
            "self": {"href": base},
            **{name: {"href": f"{base}/{name}"} for name in collections},
        }
    }


def v3_info(config: CapiConfig) -> dict[str, Any]:
    """GET /v3/info."""
    return {
        "build": "",
        "cli_version": {"minimum": "", "recommended": ""},
        "custom": {},
        "description": DESCRIPTION,
        "name": NAME,
        "version": 0,
        "osbapi_version": OSBAPI,
        "links": {"self": {"href": f"{config.api_url}/v3/info"}, "support": {"href": ""}},
    }
