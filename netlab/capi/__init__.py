"""CAPI: the Cloud Controller with a small UAA, and its client."""
