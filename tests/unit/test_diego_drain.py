"""Who is connected to a container from outside, read from the kernel's tables."""

from __future__ import annotations

from netlab.diego.rep.drain import from_outside

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(local: str, remote: str, state: str) -> str:
    return (
        f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  1337        0 1234 1 0 20 4 30 10 -1\n"
    )


SIDECAR = "0201FF0A:3A99"
"""10.255.1.2:15001."""


def test_live_connections_of_other_hosts_count() -> None:
    table = HEAD + row(SIDECAR, "0101000A:C350", "01") + row(SIDECAR, "0201000A:C351", "03")
    assert list(from_outside(table)) == [15001, 15001]


def test_listeners_ends_and_connections_within_the_container_do_not() -> None:
    table = HEAD + "".join(
        (
            row("00000000:3A99", "00000000:0000", "0A"),
            row(SIDECAR, "0101000A:C350", "06"),
            row(SIDECAR, "0101000A:C350", "08"),
            row("0100007F:1F90", "0100007F:C350", "01"),
            row("0201FF0A:1F90", "0201FF0A:C350", "01"),
        )
    )
    assert list(from_outside(table)) == []


def test_an_ipv6_socket_may_have_an_ipv4_client() -> None:
    mapped = "0000000000000000FFFF0000"
    table = HEAD + row(f"{mapped}0201FF0A:1F90", f"{mapped}0101000A:C350", "01")
    assert list(from_outside(table)) == [8080]
