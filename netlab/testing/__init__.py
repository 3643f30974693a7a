"""The pytest plugin: fixtures for labs and namespaces, and a leak check."""
