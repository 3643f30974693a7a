"""Pilot: turns Istio configuration into xDS for the Envoys."""
