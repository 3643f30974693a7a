"""What `netlab doctor` asks, and the figures of `netlab bench fabric`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from netlab.bench import fabric
from netlab.kernel import probe
from tests.integration.workplace import Workplace, workplace

pytestmark = pytest.mark.root
__all__ = ["workplace"]


def test_features(workplace: Workplace) -> None:
    features = {feature.name: feature for feature in probe.features()}
    assert [feature for feature in features.values() if feature.needed == "required" and not feature.ok] == []
    for feature in features.values():
        assert feature.detail
        assert feature.purpose
        assert "\n" not in feature.detail
    assert probe.feature("veth_bridge") == features["veth_bridge"]
    assert not Path("/sys/fs/cgroup/unified/netlab-probe").exists()


def test_a_missing_feature_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe.legacy, "why_not", lambda: "Protocol not available")
    by_name = {feature.name: feature for feature in probe.features()}
    assert by_name["legacy_iptables"].detail == "the kernel has no legacy nat table (Protocol not available)"
    assert not by_name["python_iptables"].ok
    assert by_name["rules"].ok


def test_figures(workplace: Workplace) -> None:
    figures = fabric.run(counts=(10,), runs=1)
    wanted = {"floor_up_10_ms", "netlab_up_10_ms", "netlab_down_10_ms", "netlab_to_floor_10_ratio"}
    if shutil.which("ip"):
        wanted |= {"ip_shell_up_10_ms", "ip_shell_to_netlab_10_ratio"}
    assert wanted <= set(figures)
    assert all(value > 0 for value in figures.values())
    assert not [name for name in os.listdir("/run") if name.startswith("nlb")]
