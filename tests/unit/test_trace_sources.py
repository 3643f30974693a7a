"""Reading what the probes have gathered: frames and access logs."""

import json
import threading
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, IPerror, TCPerror
from scapy.layers.l2 import Ether

from netlab.kernel.capture import Packet
from netlab.kernel.nflog import TraceRecord
from netlab.trace import dissect
from netlab.trace.accesslogs import AccessLogs

ID = "0b0e7a52-6f1c-4c3c-9d6a-1f9f6e0c2a11"
REQUEST = f"GET / HTTP/1.1\r\nhost: h\r\nx-request-id: {ID}\r\n\r\n".encode()
ANSWER = f"HTTP/1.1 200 OK\r\nx-request-id: {ID}\r\n\r\n".encode()
CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.2", 80)


def frame(source, destination, flags="PA", payload=b"", seq=1):
    return bytes(
        Ether()
        / IP(src=source[0], dst=destination[0])
        / TCP(sport=source[1], dport=destination[1], flags=flags, seq=seq)
        / payload
    )


def packet(data, at=0, *, outgoing=False, interface="eth0"):
    return Packet(at, interface, outgoing, data, len(data))


def exchange():
    return [
        packet(frame(CLIENT, SERVER, "S"), 1),
        packet(frame(SERVER, CLIENT, "SA"), 2, outgoing=True),
        packet(frame(CLIENT, SERVER, "A"), 3),
        packet(frame(CLIENT, SERVER, "PA", REQUEST), 4),
        packet(frame(SERVER, CLIENT, "PA", ANSWER), 5, outgoing=True),
    ]


def test_the_client_of_a_connection_is_who_sent_the_request():
    other = packet(frame(("10.0.0.9", 1), SERVER, "PA", b"GET / HTTP/1.1\r\n\r\n"), 0)
    assert dissect.initiators({"n": [other, *reversed(exchange())]}, ID) == {"n": {"10.0.0.1:40000"}}


def test_segments_of_the_request_only():
    noise = packet(frame(("10.0.0.9", 1), SERVER, "S"), 0)
    found = dissect.segments("n", [noise, *exchange()], {"10.0.0.1:40000"}, ID)
    assert [(each.flags, each.carries, each.http) for each in found] == [
        ("S", False, ""),
        ("SA", False, ""),
        ("PA", True, "GET / HTTP/1.1"),
        ("PA", True, "HTTP/1.1 200 OK"),
    ]
    assert found[2].payload == len(REQUEST)


def test_the_padding_of_a_short_frame_is_no_payload():
    data = frame(CLIENT, SERVER, "S") + bytes(6)
    assert dissect.segments("n", [packet(data)], {"10.0.0.1:40000"}, ID)[0].payload == 0


def test_a_long_stream_is_cut_short_but_the_request_stays():
    stream = [packet(frame(CLIENT, SERVER, "PA", b"x", seq=n), n) for n in range(500)]
    found = dissect.segments("n", [*stream, packet(frame(CLIENT, SERVER, "PA", REQUEST), 999)], {"10.0.0.1:40000"}, ID)
    assert len(found) == dissect.AROUND + 1
    assert found[-1].carries


def test_an_icmp_error_is_about_the_packet_it_quotes():
    quoted = IPerror(src=CLIENT[0], dst=SERVER[0]) / TCPerror(sport=CLIENT[1], dport=SERVER[1])
    data = bytes(Ether() / IP(src="10.0.0.254", dst=CLIENT[0]) / ICMP(type=3, code=3) / quoted)[: 14 + 20 + 8 + 28]
    found = dissect.segments("n", [packet(data)], {"10.0.0.1:40000"}, ID)
    assert [(each.source, each.destination) for each in found] == [("10.0.0.1:40000", "10.0.0.2:80")]
    assert "unreachable" in found[0].icmp


@pytest.mark.parametrize("data", [b"", bytes(13), bytes(60), b"\xff" * 60, bytes(Ether() / IP())[:34]])
def test_other_frames_are_passed_over(data):
    assert dissect.segments("n", [packet(data)], {"10.0.0.1:40000"}, ID) == []


def test_attempts_are_first_packets_towards_an_upstream():
    began = packet(frame(CLIENT, SERVER, "S"), 10, outgoing=True)
    late = packet(frame(("10.0.0.1", 2), SERVER, "S"), 1, outgoing=True)
    answer = packet(frame(("10.0.0.1", 3), SERVER, "SA"), 11, outgoing=True)
    assert dissect.attempts([began, late, answer], {"10.0.0.2:80"}, 5) == {"10.0.0.1:40000"}


def test_steps_take_the_header_from_the_step_before_where_nftables_leaves_it_out():
    header = frame(CLIENT, SERVER, "S")[14:]
    records = [
        TraceRecord("nft", "nat", "PREROUTING", "rule", 1, header, "JUMP", 1, 0, 0),
        TraceRecord("nft", "nat", "MINE", "rule", 2, b"", "ACCEPT", 1, 0, 0),
        TraceRecord("legacy", "nat", "OTHER", "rule", 3, frame(("9.9.9.9", 9), SERVER, "S")[14:], "", 1, 0, 0),
    ]
    found = dissect.steps("n", records, {"10.0.0.1:40000"})
    assert [(step.chain, step.source, step.destination) for step in found] == [
        ("PREROUTING", "10.0.0.1:40000", "10.0.0.2:80"),
        ("MINE", "10.0.0.1:40000", "10.0.0.2:80"),
    ]


def line(request_id=ID, **fields):
    return json.dumps({"request_id": request_id, "response_code": 200, **fields}) + "\n"


def test_only_new_lines_of_the_request_are_taken(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(line(path="/old"))
    logs = AccessLogs({"router-1": ("ingress", log)}, ID)
    with log.open("a") as file:
        file.write(line("another", path=f"/?{ID}") + "not json " + ID + "\n" + line(path="/new"))
    logs.read()
    assert [(each.node, each.proxy, each.get("path")) for each in logs.lines] == [("router-1", "ingress", "/new")]


def test_half_a_line_is_read_when_it_is_whole(tmp_path):
    log = tmp_path / "a.log"
    log.touch()
    logs = AccessLogs({"n": ("sidecar", log)}, ID)
    text = line(path="/x")
    for part in (text[:20], text[20:-1], "\n"):
        with log.open("a") as file:
            file.write(part)
        logs.read()
        assert bool(logs.lines) == (part == "\n")


def test_waiting_ends_with_the_line_or_the_deadline(tmp_path):
    log = tmp_path / "a.log"
    log.touch()
    logs = AccessLogs({"n": ("sidecar", log)}, ID)
    assert not logs.wait(lambda: bool(logs.lines), 0.01)
    writer = threading.Timer(0.05, lambda: log.write_text(line()))
    writer.start()
    began = time.monotonic()
    assert logs.wait(lambda: logs.has("n"), 5)
    assert time.monotonic() - began < 2
    writer.join()


def test_a_log_that_is_not_there_is_a_problem_not_a_failure(tmp_path):
    logs = AccessLogs({"n": ("sidecar", tmp_path / "none.log")}, ID)
    logs.read()
    assert "No such file" in logs.problems["n"]
