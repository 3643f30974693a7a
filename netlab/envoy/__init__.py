"""Envoy: bootstrap, launch, access log, admin client."""
