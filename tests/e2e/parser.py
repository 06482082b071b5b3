# SPDX-License-Identifier: GPL-2.0
"""What a record has to say of a frame, from the RFCs alone: 791, 768, 9293, 8200, 4443, 802.1Q."""
import collections
import ipaddress
import struct

VLANS = (0x8100, 0x88a8)
IPV4, IPV6 = 0x0800, 0x86dd
TCP, UDP, FRAGMENT = 6, 17, 44
EXTENSIONS = (0, 43, FRAGMENT, 60)  # hop-by-hop, routing, fragment, destination
HEADERS = {TCP: 20, UDP: 8}
NAMES = {(4, 1): "icmp", (6, 58): "icmp", (4, TCP): "tcp", (6, TCP): "tcp", (4, UDP): "udp",
         (6, UDP): "udp"}

# what vmlat looks at, as its documentation says
TAGS, EXTENSIONS_MAX, BYTES = 2, 4, 128

Facts = collections.namedtuple("Facts", "flow vlan length ip_id tcp_seq fragment error")


class Truncated(Exception):
    """The frame, or what is looked at of it, ends within a header."""


class Malformed(Exception):
    """Headers contradict each other."""


class Cursor:
    """Reads the headers of a packet; its end is known once its IP header is."""

    def __init__(self, packet):
        self.packet = packet
        self.seen = packet[:BYTES]
        self.at = 0
        self.end = len(packet)

    def peek(self, size):
        if self.at + size > len(self.seen):
            raise Truncated()
        if self.at + size > self.end:
            raise Malformed()
        return self.seen[self.at:self.at + size]

    def take(self, size):
        header = self.peek(size)
        self.at += size
        return header

    def ends_at(self, end):
        if end > len(self.packet):
            raise Malformed()
        self.end = end


def _tags(cursor, ethertype, vlan):
    """The EtherType behind the tags, which go to `vlan`."""
    while ethertype in VLANS and len(vlan) < TAGS:
        tag, ethertype = struct.unpack("!HH", cursor.take(4))
        vlan.append(tag & 0xfff)
    return ethertype


def _ports(cursor, protocol):
    """(source port, destination port, TCP's sequence number)"""
    if protocol not in HEADERS:
        return None, None, None
    header = cursor.take(HEADERS[protocol])
    source, destination = struct.unpack_from("!HH", header)
    if protocol == UDP:
        return source, destination, None
    if header[12] >> 4 < 5:
        raise Malformed()
    return source, destination, struct.unpack_from("!I", header, 4)[0]


def _which(offset, more):
    if offset:
        return "unmatched"
    return "first" if more else None


def _facts(version, addresses, protocol, fragment, ports):
    half = len(addresses) // 2
    flow = (NAMES.get((version, protocol), str(protocol)),
            str(ipaddress.ip_address(addresses[:half])), ports[0],
            str(ipaddress.ip_address(addresses[half:])), ports[1])
    return {"flow": flow, "tcp_seq": ports[2], "fragment": fragment}


def _ipv4(cursor):
    header = cursor.peek(20)
    total, ip_id, fragment = struct.unpack_from("!HHH", header, 2)
    size = (header[0] & 15) * 4
    if header[0] >> 4 != 4 or size < 20 or total < size:
        raise Malformed()
    cursor.ends_at(cursor.at + total)
    cursor.take(size)
    protocol, which = header[9], _which(fragment & 0x1fff, fragment & 0x2000)
    ports = (None,) * 3 if which == "unmatched" else _ports(cursor, protocol)
    return {**_facts(4, header[12:20], protocol, which, ports), "ip_id": ip_id}


def _ipv6(cursor):
    header = cursor.take(40)
    if header[0] >> 4 != 6:
        raise Malformed()
    cursor.ends_at(cursor.at + struct.unpack_from("!H", header, 4)[0])
    protocol, which = header[6], None
    for _ in range(EXTENSIONS_MAX):
        if protocol not in EXTENSIONS or which == "unmatched":
            break
        kind, extension = protocol, cursor.peek(8)
        protocol = extension[0]
        cursor.take(8 if kind == FRAGMENT else 8 + 8 * extension[1])
        if kind == FRAGMENT:
            field, = struct.unpack_from("!H", extension, 2)
            which = _which(field & 0xfff8, field & 1)
    if which == "unmatched":
        return _facts(6, header[8:40], protocol, which, (None,) * 3)
    if protocol in EXTENSIONS:
        raise Truncated()
    return _facts(6, header[8:40], protocol, which, _ports(cursor, protocol))


def parse(frame):
    """The Facts of an Ethernet frame; error: None, "truncated" or "malformed"."""
    cursor, vlan = Cursor(frame[14:]), []
    facts = {"flow": None, "ip_id": None, "tcp_seq": None, "fragment": None}
    error = None
    try:
        ethertype = _tags(cursor, *struct.unpack("!H", frame[12:14]), vlan)
        if ethertype in (IPV4, IPV6):
            facts.update(_ipv4(cursor) if ethertype == IPV4 else _ipv6(cursor))
    except (Truncated, Malformed) as what:
        error = type(what).__name__.lower()
    return Facts(vlan=tuple(vlan), length=len(frame), error=error, **facts)


def read_capture(path):
    """The frames of a capture file (pcap-savefile(5))."""
    with open(path, "rb") as file:
        file.read(24)
        while header := file.read(16):
            yield file.read(struct.unpack("=4I", header)[2])
