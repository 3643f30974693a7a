"""Copilot: turns Cloud Foundry routes and Diego instances into Istio configuration."""
