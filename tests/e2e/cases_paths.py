# SPDX-License-Identifier: GPL-2.0
"""Other ways than tap, one bridge, NIC: routed, bonded, tunnelled, in several queues."""
import collections
import contextlib
import ipaddress
import os
import struct

import frames
import lab
import topology
import vmlat
import xdp
from case import case, ensure, equal
from lab import Outside, peer, tap9, web1

BRIDGE = ["netdev_frame_hook", "ovs_dp_process_packet", "ovs_vport_send"]
FROM_HOST = ["internal_dev_xmit", "ovs_dp_process_packet", "ovs_vport_send"]
UPCALL = ["ovs_dp_upcall", "ovs_flow_key_extract_userspace"]
FROM_GUEST, FROM_TAP, FROM_NIC = "tun_sendmsg", "tun_get_user", "netif_receive_skb"
TO_GUEST, TO_QUEUE, TO_NIC = "tun_net_xmit", "__dev_queue_xmit", "net_dev_start_xmit"


def way(packet):
    """The hooks that saw it; whether it went up on the way is not the question here."""
    return [s["hook"] for s in packet["stages"] if s["hook"] not in UPCALL]


def check_way(packets, hooks):
    for packet in packets:
        equal("outcome and way", (packet["outcome"], way(packet)), ("completed", hooks))


def check_flights(packets, count, hooks, **fields):
    """`count` packets, each once, completed, by this way, with these fields."""
    equal("IP identifications", sorted(p["ip_id"] for p in packets), list(range(count)))
    check_way(packets, hooks)
    for packet in packets:
        equal("fields", {name: packet[name] for name in fields}, fields)


def check_counted(trace, **counted):
    """The accounting says this, and nothing else."""
    equal("the accounting", {name: n for name, n in trace.end["packets"].items() if n}, counted)


def of_direction(trace, direction):
    return [p for p in trace.packets if p["direction"] == direction]


def of_port(trace, direction, port):
    return [p for p in of_direction(trace, direction) if p["flow"]["dst_port"] == port]


@case
def a_packet_that_the_host_routes_to_another_bridge_is_one_record():
    port, count = lab.port(), 30
    with topology.routed():
        out = {"dst_ip": topology.ROUTED, "dst_mac": topology.mac_of("br0"), "dst_port": port}
        back = {"src_ip": topology.ROUTED, "dst_mac": topology.mac_of("br1"), "dst_port": port}
        with vmlat.trace("-i", "vnet0") as trace:
            with peer.counting(count, dst_port=port):
                web1.send(peer, count, **out)
            with web1.counting(count, dst_port=port):
                peer.send(web1, count, **back)
    check_counted(trace, started=2 * count, completed=2 * count)
    tx, rx = (of_direction(trace, direction) for direction in ("tx", "rx"))
    ends = {"vm_interface": "vnet0", "phy_interface": "eth0"}
    check_flights(tx, count,
                  [FROM_GUEST, *BRIDGE, TO_QUEUE, *FROM_HOST, TO_QUEUE, TO_NIC], **ends)
    check_flights(rx, count, [FROM_NIC, *BRIDGE, *FROM_HOST, TO_GUEST], **ends)
    for packets in tx, rx:
        first = min(packets, key=lambda p: p["ip_id"])
        equal("upcalls of the first", sum(s["stage"] == "upcall" for s in first["stages"]), 2)


# --- bond ---

def slaves(name):
    return {slave: lab.counter(slave, name) for slave in ("eth0", "ve0")}


def by_nic(packets):
    return dict(collections.Counter(p["phy_interface"] for p in packets))


@case
def the_end_behind_a_bond_is_its_slave():
    port, count = lab.port(), 20
    other = Outside("ve1", "bond0")
    with topology.bond("balance-rr"):
        before = slaves("tx_packets")
        with vmlat.trace("-i", "vnet0", "-p", "eth0,ve0") as trace:
            web1.send(peer, count, dst_port=port)
            lab.wait_for("the packets to leave", lambda: sum(slaves("tx_packets").values()) ==
                         sum(before.values()) + count)
            with web1.counting(count, dst_port=port):
                peer.send(web1, count // 2, dst_port=port)
                other.send(web1, count // 2, dst_port=port, first_seq=count // 2)
        sent = {name: n - before[name] for name, n in slaves("tx_packets").items()}
    check_counted(trace, started=2 * count, completed=2 * count)
    tx, rx = (of_direction(trace, direction) for direction in ("tx", "rx"))
    check_flights(tx, count, [FROM_GUEST, *BRIDGE, TO_QUEUE, TO_QUEUE, TO_NIC])
    equal("sent by", by_nic(tx), sent)
    check_flights(rx, count, [FROM_NIC, *BRIDGE, TO_GUEST])
    equal("received by", [p["phy_interface"] for p in sorted(rx, key=lambda p: p["ip_id"])],
          ["eth0"] * (count // 2) + ["ve0"] * (count // 2))


@case
def where_a_bond_is_the_end_what_waits_in_its_slaves_queue_is_over():
    port, count = lab.port(), 20
    with topology.bond("active-backup"), lab.qdisc("netem", "delay", "100s"):
        with vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "bond0") as trace:
            web1.send(peer, count, dst_port=port)
            lab.wait_for("all of them to wait", lambda: lab.qdisc_root()["qlen"] == count)
    check_counted(trace, started=count, completed=count)
    check_flights(trace.packets, count, [FROM_GUEST, *BRIDGE, TO_QUEUE, TO_NIC])
    equal("sent by", {p["phy_interface"] for p in trace.packets}, {"bond0"})
    exits = {one["interface"] for p in trace.packets for one in p["exits"]}
    equal("exits", exits, {"bond0"})


# --- tunnels ---

TO_TUNNEL = [FROM_GUEST, *BRIDGE, TO_QUEUE]


def exchange(fars, ports, count):
    """`count` packets each way through each tunnel, the second way round."""
    for far, port in zip(fars, ports):
        lab.deliver(web1, far, count, dst_port=port)
        lab.deliver(far, web1, count, dst_port=port, **lab.APART)


def check_tunnelled(trace, fars, ports, count, tx, rx):
    for far, port in zip(fars, ports):
        for direction, ends, hooks in ("tx", (web1, far), tx), ("rx", (far, web1), rx):
            flow = {"protocol": "udp", "src_ip": ends[0].ip, "src_port": 12345,
                    "dst_ip": ends[1].ip, "dst_port": port}
            check_flights(of_port(trace, direction, port), count, hooks, flow=flow, length=106,
                          vm_interface="vnet0", phy_interface="eth0")


OVER_BRIDGE = ([*TO_TUNNEL, TO_QUEUE, *FROM_HOST, TO_QUEUE, TO_NIC],
               [FROM_NIC, *BRIDGE, *BRIDGE, TO_GUEST])
OVER_NIC = [*TO_TUNNEL, TO_QUEUE, TO_NIC], [FROM_NIC, *BRIDGE, TO_GUEST]


@case
def through_a_tunnel_over_a_second_bridge_the_inner_packet_is_measured():
    fars, ports = (topology.Far("vxlan", 4), topology.Far("geneve", 5)), (lab.port(), lab.port())
    with topology.underlay("br1"), fars[0].added(), fars[1].added():
        exchange(fars, ports, 1)
        with vmlat.traces(["-i", "vnet0"], ["-d", "rx", "-s", fars[0].ip, "-i", "vnet0"],
                          ["-d", "tx", "-D", fars[1].ip, "-i", "vnet0"]) as traces:
            exchange(fars, ports, 20)
    check_counted(traces[0], started=80, completed=80)
    check_tunnelled(traces[0], fars, ports, 20, *OVER_BRIDGE)
    for trace, direction, port in zip(traces[1:], ("rx", "tx"), ports):
        check_counted(trace, started=20, completed=20)
        check_flights(of_port(trace, direction, port), 20, OVER_BRIDGE[direction == "rx"])


def check_cold_tunnel(device, bridges, ways):
    """The first packet each way has been up in each bridge that has no flow for it yet."""
    fars, ports = (topology.Far("vxlan", 4), topology.Far("geneve", 5)), (lab.port(), lab.port())
    with topology.underlay(device), fars[0].added(), fars[1].added():
        with vmlat.trace("-i", "vnet0") as trace:
            for far, port in zip(fars, ports):
                lab.flush()
                exchange([far], [port], 20)
    check_counted(trace, started=80, completed=80)
    check_tunnelled(trace, fars, ports, 20, *ways)
    for direction in "tx", "rx":
        for port in ports:
            first = min(of_port(trace, direction, port), key=lambda p: p["ip_id"])
            hooks = [s["hook"] for s in first["stages"] if s["hook"] in UPCALL]
            equal(f"the upcalls of the first {direction} packet", hooks, UPCALL * bridges)


@case
def the_first_packets_through_a_tunnel_over_a_second_bridge_go_up_in_both():
    check_cold_tunnel("br1", 2, OVER_BRIDGE)


@case
def the_first_packets_through_a_tunnel_over_the_nic_itself_go_up_once():
    check_cold_tunnel("eth0", 1, OVER_NIC)


@case
def through_a_tunnel_over_the_nic_itself_the_inner_packet_is_measured():
    fars, ports = (topology.Far("vxlan", 4), topology.Far("geneve", 5)), (lab.port(), lab.port())
    with topology.underlay("eth0"), fars[0].added(), fars[1].added():
        exchange(fars, ports, 1)
        with vmlat.traces(["-i", "vnet0"], ["-d", "rx", "-i", "vnet0", "-s",
                                            topology.UNDERLAY_PEER]) as traces:
            exchange(fars, ports, 20)
            peer.send(web1, 10, dst_ip=topology.UNDERLAY_HOST, dst_mac=topology.mac_of("eth0"))
    check_counted(traces[0], started=80, completed=80)
    check_tunnelled(traces[0], fars, ports, 20, *OVER_NIC)
    check_counted(traces[1])  # the outer packets' address: no packet of a VM has it


@case
def segments_that_gro_joins_after_the_tunnel_are_merged():
    port, far, count = lab.port(), topology.Far("vxlan", 4), 64
    names = ("eth0", "rx_packets"), ("vnet0", "tx_packets")
    with topology.underlay("eth0"), far.added(), topology.without_gro("eth0"):
        lab.deliver(far, web1, 1, protocol="tcp", dst_port=port)
        with vmlat.trace("-d", "rx", "-i", "vnet0") as trace:
            before = [lab.counter(*name) for name in names]
            far.send(web1, count, protocol="tcp", dst_port=port, payload=1000, burst=True,
                     tcp_flags="A", tcp_seq_step=1000)
            lab.wait_for("the packets to arrive",
                         lambda: lab.counter(*names[0]) - before[0] == count)
        received, delivered = (lab.counter(*name) - n for name, n in zip(names, before))
    ensure(0 < delivered < received, f"GRO made {delivered} of {received}")
    check_counted(trace, started=received, completed=delivered, merged=received - delivered)
    check_way(trace.packets, [FROM_NIC, *BRIDGE, TO_GUEST])
    equal("ports", {p["flow"]["dst_port"] for p in trace.packets}, {port})
    ensure(trace.packets[0]["tcp_seq"] == 1, "the first segment is not told")


@case
def tunnels_that_end_in_the_guest_are_not_unpacked():
    port, count = lab.port(), 20
    with topology.tunnel_to(web1) as (sender, address):
        with vmlat.traces(["-i", "vnet0", "--dst-port", "4789"],
                          ["-i", "vnet0", "--dst-port", port, *vmlat.QUICK]) as traces:
            before = lab.counter("vnet0", "tx_packets")
            sender.send(web1, count, dst_port=port)
            lab.wait_for("the packets to arrive",
                         lambda: lab.counter("vnet0", "tx_packets") - before == count)
            lab.deliver(web1, peer, count, dst_port=4789)
    check_counted(traces[0], started=2 * count, completed=2 * count)
    check_way(of_direction(traces[0], "rx"), [FROM_NIC, *BRIDGE, TO_GUEST])
    equal("outer flows", {p["flow"]["dst_ip"] for p in of_direction(traces[0], "rx")}, {address})
    check_way(of_direction(traces[0], "tx"), [FROM_GUEST, *BRIDGE, TO_QUEUE, TO_NIC])
    check_counted(traces[1])


# --- a NIC that leaves the headers in a page ---

@case
def packets_of_any_length_that_a_nic_received_have_their_flow():
    port, count = lab.port(), 20
    flow = {"dst_port": port, "payload": 1000, **lab.APART}
    lab.warm(peer, web1, dst_port=port)
    with vmlat.trace("-d", "rx", "-i", "vnet0", "--dst-port", port) as trace:
        lab.deliver(peer, web1, count, **flow)
        with topology.without_gro("eth0"):
            lab.deliver(peer, web1, count, **flow)
    check_counted(trace, started=2 * count, completed=2 * count)
    check_way(trace.packets, [FROM_NIC, *BRIDGE, TO_GUEST])


@case
def packets_behind_generic_xdp_are_followed():
    """Each has another buffer than net:netif_receive_skb has seen."""
    port, count = lab.port(), 20
    lab.warm(peer, web1, dst_port=port)
    with xdp.passes_all("eth0"), vmlat.trace("-d", "rx", "-i", "vnet0") as trace:
        lab.deliver(peer, web1, count, dst_port=port, **lab.APART)
    check_counted(trace, started=count, completed=count)
    check_way(trace.packets, [FROM_NIC, *BRIDGE, TO_GUEST])


# --- a tap of several queues ---

def waiting(device):
    """Reads the packets that this end of a tap has for its VM: how many."""
    os.set_blocking(device, False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while os.read(device, 4096):
            count += 1
    return count


def add_waiting(queues, *devices):
    queues[:] = [before + waiting(device) for before, device in zip(queues, devices)]
    return sum(queues)


@case
def each_queue_of_a_tap_is_measured():
    ports, count = (lab.port(), lab.port()), 40
    with tap9.added("multi_queue"), frames.end_of("tap9", frames.MULTI_QUEUE) as one, \
            frames.end_of("tap9", frames.MULTI_QUEUE) as other:
        with vmlat.trace("-i", "tap9") as trace:
            for number in range(count):
                for device, port in zip((one, other), ports):
                    os.write(device, frames.udp(tap9, peer, (number, port), bytes(8)))
            peer.send_all(tap9, [{"count": 1, "src_port": 3000 + n} for n in range(count)])
            queues = [0, 0]
            lab.wait_for("the packets to arrive", lambda: add_waiting(queues, one, other) == count)
    ensure(all(queues), f"read from the queues: {queues}")
    check_counted(trace, started=3 * count, completed=3 * count)
    equal("sent", collections.Counter(p["flow"]["dst_port"] for p in of_direction(trace, "tx")),
          dict.fromkeys(ports, count))
    equal("received", sorted(p["flow"]["src_port"] for p in of_direction(trace, "rx")),
          [3000 + n for n in range(count)])


# --- namespaces ---

@case
def the_same_names_and_numbers_in_another_namespace_are_other_devices():
    port, count = lab.port(), 20
    with topology.twins("vnet0", "eth0") as there:
        send = [*there, lab.TRAFFIC, "send", "--count", count, "--dst-port", port]
        with vmlat.trace("-i", "vnet0", *vmlat.QUICK) as trace:
            lab.run(*send, "--tap", "vnet0")
            lab.run(*send, "--interface", "wire")
            lab.deliver(web1, peer, 3, dst_port=port)
            received = [lab.run(*there, "cat", f"/sys/class/net/{device}/statistics/rx_packets")
                        for device in ("vnet0", "eth0")]
    equal("packets of the twins", [int(number) for number in received], [count, count])
    check_counted(trace, started=3, completed=3)


# --- fragments that conntrack puts together ---

SIZES = [1480, 1000, 496]


def fragments(sender, receiver, port, identification):
    """A UDP datagram in parts."""
    datagram = struct.pack("!4H", 12345, port, sum(SIZES), 0) + bytes(sum(SIZES) - 8)
    addresses = ipaddress.ip_address(sender.ip).packed + ipaddress.ip_address(receiver.ip).packed
    for place, size in enumerate(SIZES):
        at = sum(SIZES[:place])
        more = 0x2000 if place < len(SIZES) - 1 else 0
        header = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, identification, more | at // 8, 64,
                             frames.UDP)
        header += struct.pack("!H", frames.checksum(header + addresses)) + addresses
        yield frames.ethernet(sender, receiver, 0x0800, header + datagram[at:at + size])


def send_fragmented(port, numbers):
    """Datagrams whose parts come in another order each; all the parts leave eth0 again."""
    sent, before = 0, lab.counter("eth0", "tx_packets")
    with frames.end_of("tap9") as device:
        for number in numbers:
            parts = list(fragments(tap9, peer, port, number))
            for place in range(len(parts)):
                os.write(device, parts[(number + place) % len(parts)])
                sent += 1
    lab.wait_for("the parts to leave", lambda: lab.counter("eth0", "tx_packets") - before == sent)


@contextlib.contextmanager
def tracked_tap9():
    """Open vSwitch puts the fragments of tap9 together, and takes them apart at eth0."""
    with tap9.added(), lab.rule("in_port=tap9,ip", "ct(table=1,zone=7)"), \
            lab.rule("table=1,in_port=tap9", "output:eth0"):
        yield


def check_joined(trace, numbers):
    """Of each datagram, the part that came last went on."""
    check_counted(trace, started=len(SIZES) * len(numbers), completed=len(numbers),
                  merged=(len(SIZES) - 1) * len(numbers))
    last = {p["ip_id"]: p["length"] for p in trace.packets if p["outcome"] == "completed"}
    equal("lengths of the parts that went on", last,
          {number: 34 + SIZES[(number + len(SIZES) - 1) % len(SIZES)] for number in numbers})


@case
def fragments_that_conntrack_joins_are_merged_and_the_last_to_come_goes_on():
    port, numbers = lab.port(), range(1, 13)
    with tracked_tap9():
        for number in range(len(SIZES)):  # as each part may be the one that goes on
            send_fragmented(port, [number])
        with vmlat.trace("-d", "tx", "-i", "tap9", "--outcome", "completed,merged") as trace:
            send_fragmented(port, numbers)
    check_joined(trace, numbers)
    check_way([p for p in trace.packets if p["outcome"] == "completed"],
              [FROM_TAP, *BRIDGE[:2], *BRIDGE[1:], TO_QUEUE, TO_NIC])


@case
def fragments_that_conntrack_joins_may_go_up_as_one():
    port = lab.port()
    with tracked_tap9():
        with vmlat.trace("-d", "tx", "-i", "tap9", "--outcome", "completed,merged",
                         *vmlat.QUICK) as trace:
            send_fragmented(port, [0])
    check_joined(trace, [0])
