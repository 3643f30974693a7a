"""Cloud Foundry's Istio service mesh on one Linux kernel, and a tracer that proves each request's path."""

__version__ = "0.1.0"
