"""Benchmarks: each measures netlab beside a peer or the kernel's floor in the same run."""
