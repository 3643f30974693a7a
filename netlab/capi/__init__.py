"""CAPI: the Cloud Controller with a small UAA, and its client."""

ORGANIZATION, SPACE = "netlab", "dev"
"""What the database holds from the first start on, so that a client can start at once."""
