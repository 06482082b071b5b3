# SPDX-License-Identifier: GPL-2.0
"""Filters and tags: exactly the matching packets of a mixed traffic, and no other."""
import collections
import fcntl
import ipaddress
import os
import struct

import lab
import topology
import vmlat
from case import case, equal
from lab import Outside, peer, tap9, web1, web2

# protocol, source, port, destination, port, count; an ICMP port is the echo's identifier
WEB1 = [
    ("udp", "10.0.0.2", 4000, "10.0.0.1", 53, 3),
    ("udp", "10.0.0.2", 4001, "10.0.0.1", 5000, 4),
    ("udp", "10.0.0.1", 53, "10.0.0.2", 4000, 5),
    ("tcp", "10.0.0.2", 4000, "10.0.0.1", 80, 6),
    ("tcp", "10.0.0.2", 4010, "10.0.0.1", 443, 7),
    ("tcp", "10.0.0.1", 80, "10.0.0.2", 4000, 8),
    ("icmp", "10.0.0.2", 4000, "10.0.0.1", None, 9),
    ("udp", "10.0.0.77", 4000, "10.9.9.9", 5000, 2),
    ("udp", "10.0.1.2", 65535, "10.0.0.1", 1, 1),
    ("udp", "fd00::2", 4000, "fd00::1", 53, 3),
    ("tcp", "fd00::2", 4000, "fd00::1", 80, 4),
    ("icmp", "fd00::2", 4000, "fd00::1", None, 5),
    ("udp", "fd00:0:0:1::2", 4000, "fd00::1", 53, 2),
    ("tcp", "fd00::1", 80, "fd00::2", 4000, 3),
]
WEB2 = [
    ("udp", "10.0.0.3", 4000, "10.0.0.1", 53, 4),
    ("tcp", "fd00::3", 4000, "fd00::1", 80, 2),
]
Flow = collections.namedtuple("Flow", "protocol src src_port dst dst_port count")
Mixed = collections.namedtuple("Mixed", "machine flow")
MIX = [Mixed(web1, Flow(*one)) for one in WEB1] + [Mixed(web2, Flow(*one)) for one in WEB2]


def words(flow):
    """As traffic send wants it."""
    options = {"protocol": flow.protocol, "src_ip": flow.src, "src_port": flow.src_port,
               "dst_ip": flow.dst, "count": flow.count}
    if flow.dst_port is not None:
        options["dst_port"] = flow.dst_port
    return options


def key(interface, flow):
    """How a record says it."""
    ports = (None, None) if flow.protocol == "icmp" else (flow.src_port, flow.dst_port)
    return (interface, flow.protocol, flow.src, ports[0], flow.dst, ports[1])


def found(trace):
    """How many packets of each flow were reported."""
    names = ("protocol", "src_ip", "src_port", "dst_ip", "dst_port")
    return collections.Counter((packet["vm_interface"], *(packet["flow"][n] for n in names))
                               for packet in trace.packets)


def expected(mix, wanted):
    return collections.Counter({key(one.machine.tap, one.flow): one.flow.count
                                for one in mix if wanted(one)})


def check(table, traces, mix):
    wrong = []
    for (options, wanted), trace in zip(table, traces):
        should, is_ = expected(mix, wanted), found(trace)
        if should != is_:
            wrong.append(f"{options}: not reported {dict(should - is_)}, "
                         f"reported in excess {dict(is_ - should)}")
        counted = trace.end["packets"]
        if (counted["started"], counted["completed"]) != (sum(should.values()),) * 2:
            wrong.append(f"{options}: {sum(should.values())} match, counted {counted}")
    equal("filters that are wrong", wrong, [])


def within(address, prefix):
    return ipaddress.ip_address(address) in ipaddress.ip_network(prefix, strict=False)


def numbered(mix):
    """The mix as traffic send wants it, numbered through; and its number of packets."""
    flows, first = [], 0
    for one in mix:
        flows.append({**words(one.flow), "first_seq": first})
        first += one.flow.count
    return flows, first


def send_mix():
    """All of the mix, sent by the guests; it has arrived at the peer when this returns."""
    for machine in (web1, web2):
        flows, count = numbered(one for one in MIX if one.machine is machine)
        with peer.counting(count, timeout=90):
            machine.send_all(peer, flows)


def send_table(table):
    """All of the table's filters at once, and the mix. What others send, answers for one, may go up
    as well: it comes back unstarted."""
    with vmlat.traces(*[["-d", "tx", *vmlat.QUICK, "--flights", 1024, *options.split()]
                        for options, _ in table], odd=True) as traces:
        send_mix()
    check(table, traces, MIX)


@case
def an_address_filter_passes_exactly_its_addresses():
    send_table([
        ("-s 10.0.0.2", lambda m: m.flow.src == "10.0.0.2"),
        ("-D 10.0.0.2", lambda m: m.flow.dst == "10.0.0.2"),
        ("-s 10.0.0.0/24", lambda m: within(m.flow.src, "10.0.0.0/24")),
        ("-D 10.8.0.0/13", lambda m: within(m.flow.dst, "10.8.0.0/13")),
        ("-s fd00::2", lambda m: m.flow.src == "fd00::2"),
        ("-s fd00::/64", lambda m: within(m.flow.src, "fd00::/64")),
        ("-D fd00::2", lambda m: m.flow.dst == "fd00::2"),
    ])


@case
def a_port_or_protocol_filter_passes_exactly_its_packets():
    send_table([
        ("--src-port 4000", lambda m: m.flow.protocol != "icmp" and m.flow.src_port == 4000),
        ("--dst-port 4000", lambda m: m.flow.dst_port == 4000),
        ("--dst-port 53-443", lambda m: 53 <= (m.flow.dst_port or 0) <= 443),
        ("--src-port 65535", lambda m: m.flow.src_port == 65535),
        ("-P icmp", lambda m: m.flow.protocol == "icmp"),
        ("-P tcp,icmp", lambda m: m.flow.protocol in ("tcp", "icmp")),
        ("-P any", lambda m: True),
    ])


@case
def two_filters_pass_what_both_pass():
    send_table([
        ("-P udp --dst-port 53", lambda m: m.flow.protocol == "udp" and m.flow.dst_port == 53),
        ("-s 10.0.0.2 -P tcp", lambda m: m.flow.src == "10.0.0.2" and m.flow.protocol == "tcp"),
        ("-s 10.0.0.1 --src-port 80",
         lambda m: m.flow.src == "10.0.0.1" and m.flow.src_port == 80),
        ("-D fd00::/64 -P icmp",
         lambda m: within(m.flow.dst, "fd00::/64") and m.flow.protocol == "icmp"),
        ("--src-port 4000-4009 --dst-port 80",
         lambda m: m.flow.dst_port == 80 and m.flow.src_port == 4000),
        ("-i vnet0 -s 10.0.0.3", lambda m: False),
    ])


@case
def an_interface_or_vm_filter_passes_exactly_its_taps():
    send_table([
        ("-i vnet0", lambda m: m.machine is web1),
        ("-i vnet1", lambda m: m.machine is web2),
        ("-i vnet0,vnet1", lambda m: True),
        ("-i vnet0 -i vnet1 -P udp", lambda m: m.flow.protocol == "udp"),
        ("--vm web2", lambda m: m.machine is web2),
        ("--vm web1,web2 --dst-port 80", lambda m: m.flow.dst_port == 80),
        ("-p eth0 --vm web1", lambda m: m.machine is web1),
    ])


@case
def filters_of_packets_to_a_guest_pass_exactly_their_packets():
    table = [
        ("-s 10.0.0.2", lambda m: m.flow.src == "10.0.0.2"),
        ("-s fd00::/64 -P tcp",
         lambda m: within(m.flow.src, "fd00::/64") and m.flow.protocol == "tcp"),
        ("-D 10.0.0.2 --dst-port 4000",
         lambda m: m.flow.dst == "10.0.0.2" and m.flow.dst_port == 4000),
        ("--src-port 53", lambda m: m.flow.src_port == 53),
        ("-P icmp", lambda m: m.flow.protocol == "icmp"),
        ("-i vnet0", lambda m: True),
    ]
    mix = [Mixed(web1, Flow(*one)) for one in WEB1]
    flows, count = numbered(mix)
    with vmlat.traces(*[["-d", "rx", "--flights", 1024, *options.split()]
                        for options, _ in table]) as traces:
        with web1.counting(count):
            peer.send_all(web1, flows)
    check(table, traces, mix)


@case
def a_named_nic_ends_exactly_the_packets_that_leave_by_it():
    port = lab.port()
    lab.run("ip", "link", "add", "dum0", "type", "dummy")
    try:
        lab.run("ip", "link", "set", "dum0", "up")
        lab.run("ovs-vsctl", "-t", "30", "add-port", "br0", "dum0")
        with lab.rule(f"udp,tp_dst={port}", "output:dum0"):
            with vmlat.traces(["-d", "tx", "-p", "eth0"], ["-d", "tx", "-p", "dum0"],
                              ["-d", "tx", "-p", "eth0,dum0"]) as traces:
                web1.send(peer, 7, dst_port=port)
                lab.deliver(web1, peer, 5, dst_port=port + 1000)
    finally:
        lab.run("ovs-vsctl", "-t", "30", "--if-exists", "del-port", "br0", "dum0")
        lab.run("ip", "link", "del", "dum0")
    for trace, exits in zip(traces, ({"eth0": 5}, {"dum0": 7}, {"eth0": 5, "dum0": 7})):
        equal("reported, by NIC", collections.Counter(p["phy_interface"] for p in trace.packets),
              exits)
        counted = trace.end["packets"]
        equal("started, completed, diverted",
              (counted["started"], counted["completed"], counted["diverted"]),
              (12, sum(exits.values()), 12 - sum(exits.values())))


# --- tags ---

TAGS = [{}, {"vlan": [100]}, {"vlan": [100, 200], "vlan_proto": "802.1ad"}, {"vlan": [100, 200]}]


def check_tags(trace, count):
    """`count` packets with each of the TAGS in turn, in order of their identifications."""
    equal("packets reported", len(trace.packets), count * len(TAGS))
    packets = sorted(trace.packets, key=lambda p: p["ip_id"])
    for place, tags in enumerate(TAGS):
        part = packets[place * count:(place + 1) * count]
        wanted = tags.get("vlan", [])
        equal("tags", [p["vlan"] for p in part], [wanted] * count)
        equal("outcomes", {p["outcome"] for p in part}, {"completed"})
        equal("lengths", {p["length"] for p in part}, {106 + 4 * len(wanted)})


def send_tagged(sender, receiver, count, port):
    for place, tags in enumerate(TAGS):
        first = place * count
        with receiver.counting(count, first_seq=first, dst_port=port, **tags):
            sender.send(receiver, count, first_seq=first, dst_port=port, **tags)
            sender.send(receiver, 1, first_seq=1000, dst_port=port + 1000, **tags)


@case
def tags_of_a_guest_change_no_count_and_are_shown():
    port = lab.port()
    with vmlat.trace("-d", "tx", "-i", "vnet0", "-P", "udp", "--dst-port", port,
                     "-s", "10.0.0.2") as trace:
        send_tagged(web1, peer, 20, port)
    check_tags(trace, 20)


@case
def tags_of_packets_to_a_guest_change_no_count_and_are_shown():
    port = lab.port()
    with vmlat.trace("-d", "rx", "-i", "vnet0", "-P", "udp", "--dst-port", port,
                     "-s", "10.0.0.1") as trace:
        send_tagged(peer, web1, 20, port)
    check_tags(trace, 20)


@case
def a_tag_that_the_nic_took_out_is_shown_like_any_other():
    port = lab.port()
    tagging = Outside("ve1.100", "ve0")
    with topology.second_wire():
        with vmlat.trace("-d", "rx", "-i", "vnet0", "-p", "ve0", "--dst-port", port) as trace:
            with web1.counting(20, dst_port=port, vlan=100):
                tagging.send(web1, 20, dst_port=port)
            with web1.counting(10, dst_port=port, vlan=[100, 200], first_seq=20):
                tagging.send(web1, 10, dst_port=port, vlan=200, first_seq=20)
    equal("tags and NIC",
          collections.Counter((tuple(p["vlan"]), p["phy_interface"]) for p in trace.packets),
          {((100,), "ve0"): 20, ((100, 200), "ve0"): 10})
    equal("lengths", {p["length"] - 4 * len(p["vlan"]) for p in trace.packets}, {106})
    equal("completed", trace.end["packets"]["completed"], 30)


# --- what is not IP ---

def write_frames(tap, frames):
    """Each frame is one packet of this tap (linux/if_tun.h)."""
    set_iff, tap_without_header = 0x400454CA, 0x1002
    device = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(device, set_iff, struct.pack("16sH22x", tap.encode(), tap_without_header))
        for frame in frames:
            os.write(device, frame)
    finally:
        os.close(device)


@case
def what_is_not_ip_is_reported_without_a_flow_and_passes_no_five_tuple_filter():
    addresses = bytes.fromhex(peer.sink.replace(":", "") + tap9.sink.replace(":", ""))
    frames = [addresses + bytes.fromhex("88b5") + bytes([n] * 60) for n in range(6)]
    with tap9.added():
        with vmlat.traces(["-d", "tx", "-i", "tap9"], ["-d", "tx", "-i", "tap9", "-P", "udp"],
                          ["-d", "tx", "-i", "tap9", "--dst-port", "0-65535"]) as traces:
            before = lab.counter("eth0", "tx_packets")
            write_frames("tap9", frames)
            lab.wait_for("the frames to leave",
                         lambda: lab.counter("eth0", "tx_packets") - before == len(frames))
    equal("reported", [len(trace.packets) for trace in traces], [6, 0, 0])
    equal("flows", [p["flow"] for p in traces[0].packets], [None] * 6)
    equal("completed", traces[0].end["packets"]["completed"], 6)
