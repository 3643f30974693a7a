import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.dns.config import DnsConfig
from netlab.dns.zones import Zones

ZONES = Zones(
    DnsConfig(
        listen=("127.0.0.1:53",),
        zones={"mesh.example.test": "203.0.113.10", "other.mesh.example.test": "203.0.113.20"},
        names={"api.sys.example.test": "203.0.113.11", "copilot.sys.example.test": "10.0.0.12"},
    )
)


def ask(name, kind="A", *, tcp=False, **options):
    wire = ZONES.answer(dns.message.make_query(name, kind, **options).to_wire(), tcp=tcp)
    assert wire is not None
    return dns.message.from_wire(wire)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("hello.mesh.example.test", "203.0.113.10"),
        ("HELLO.Mesh.example.TEST", "203.0.113.10"),
        ("a.b.mesh.example.test", "203.0.113.10"),
        ("mesh.example.test", "203.0.113.10"),
        ("x.other.mesh.example.test", "203.0.113.20"),
        ("api.sys.example.test", "203.0.113.11"),
        ("copilot.sys.example.test", "10.0.0.12"),
    ],
)
@pytest.mark.parametrize("tcp", [False, True])
def test_a_known_name_has_its_address(name, address, tcp):
    response = ask(name, tcp=tcp)
    assert response.rcode() == dns.rcode.NOERROR
    assert response.flags & dns.flags.AA
    assert [str(record) for rrset in response.answer for record in rrset] == [address]


@pytest.mark.parametrize("kind", ["AAAA", "MX", "HTTPS"])
def test_other_types_are_empty_not_missing(kind):
    response = ask("hello.mesh.example.test", kind)
    assert response.rcode() == dns.rcode.NOERROR
    assert response.answer == []
    assert response.authority[0].rdtype == dns.rdatatype.SOA


def test_a_missing_name_of_an_own_zone_does_not_exist():
    response = ask("nobody.sys.example.test")
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert response.authority[0].rdtype == dns.rdatatype.SOA


def test_the_top_of_a_zone_of_single_names_exists():
    assert ask("sys.example.test").rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize("name", ["example.com", "example.test", "xmesh.example.test", "."])
def test_other_zones_are_refused(name):
    response = ask(name)
    assert response.rcode() == dns.rcode.REFUSED
    assert not response.flags & dns.flags.AA


def test_another_class_is_refused():
    assert ask("hello.mesh.example.test", rdclass="CH").rcode() == dns.rcode.REFUSED


def test_edns_is_answered_with_edns():
    assert ask("hello.mesh.example.test", use_edns=0).edns == 0
    assert ask("hello.mesh.example.test").edns == -1


def test_another_opcode_is_not_implemented():
    query = dns.message.make_query("hello.mesh.example.test", "A")
    query.set_opcode(dns.opcode.STATUS)
    wire = ZONES.answer(query.to_wire())
    assert wire is not None
    assert dns.message.from_wire(wire).rcode() == dns.rcode.NOTIMP


def test_no_question_is_a_format_error():
    wire = ZONES.answer(dns.message.Message(id=7).to_wire())
    assert wire is not None
    assert dns.message.from_wire(wire).rcode() == dns.rcode.FORMERR


def test_a_broken_query_gets_its_id_back():
    wire = ZONES.answer(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff\xff")
    assert wire is not None
    response = dns.message.from_wire(wire)
    assert (response.id, response.rcode()) == (0x1234, dns.rcode.FORMERR)


def test_an_answer_is_not_answered():
    assert ZONES.answer(dns.message.make_response(dns.message.make_query("a.test", "A")).to_wire()) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(wire):
    ZONES.answer(wire)
    ZONES.answer(wire, tcp=True)


@given(st.data())
def test_any_damaged_query_is_survived(data):
    wire = bytearray(dns.message.make_query("hello.mesh.example.test", "A", use_edns=0).to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    ZONES.answer(bytes(wire))
