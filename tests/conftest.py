"""The tests use the plugin that users get; from a checkout, where no entry point names it, it is named here."""

from importlib.metadata import entry_points

if not any(point.value == "netlab.testing.plugin" for point in entry_points(group="pytest11")):
    pytest_plugins = ["netlab.testing.plugin"]
