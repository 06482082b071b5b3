# SPDX-License-Identifier: GPL-2.0
"""Through a Linux bridge instead of Open vSwitch, or through both."""
import contextlib
import os
import socket

import frames
import lab
import sniffer
import topology
import truth
import vmlat
from case import case, early_case, ensure, equal
from cases_copies import exits, send_cold_and_warm
from cases_gso import check_cut, check_ends_with, departures, of_port, send_super_frame, SEGMENTS
from cases_outcome import check_outcomes, drop_reason
from cases_paths import check_flights, of_direction
from cases_way import check_all_completed, stages
from lab import peer, tap9, web1, web2

THROUGH = ["br_handle_frame", "br_forward", "br_dev_queue_push_xmit"]
FLOODED = ["br_handle_frame", "br_flood", "br_dev_queue_push_xmit"]
UPCALL = ["ovs_dp_upcall", "ovs_flow_key_extract_userspace"]
OVS = ["netdev_frame_hook", "ovs_dp_process_packet", "ovs_vport_send"]
FROM_GUEST, FROM_TAP, FROM_NIC = "tun_sendmsg", "tun_get_user", "netif_receive_skb"
TO_GUEST, TO_QUEUE, TO_NIC = "tun_net_xmit", "__dev_queue_xmit", "net_dev_start_xmit"
TX = [FROM_GUEST, *THROUGH, TO_QUEUE, TO_NIC]
RX = [FROM_NIC, *THROUGH, TO_GUEST]
STAGES_TX = ["tap", "bridge_in", "bridge_forward", "bridge_out", "xmit", "driver"]
STAGES_RX = ["nic", "bridge_in", "bridge_forward", "bridge_out", "tap"]
HOOKS = {*THROUGH, *FLOODED, "br_multicast_flood"}
BROADCAST, GROUP, NOBODY = "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "52:54:00:00:02:09"
DELAY = 20_000_000  # ns


def modes():
    """Each way to attach to the bridge's functions here, and the words that ask for it: the suite may
    force one."""
    if vmlat.ANY_WAY:
        return [(vmlat.ANY_WAY[1], [])]
    ways = ["kprobe", "fentry"] if os.path.exists("/sys/kernel/btf/bridge") else ["kprobe"]
    return [(way, ["--attach", way]) for way in ways]


def attached(trace):
    return {hook["hook"]: hook["attach"] for hook in trace.header["hooks"]}


def check_attached(trace, mode):
    of_bridge = {hook: how for hook, how in attached(trace).items() if hook in HOOKS}
    equal("hooks of the bridge", of_bridge, dict.fromkeys(HOOKS, mode))


def hooks(packet):
    return [stage["hook"] for stage in packet["stages"]]


def segment(packet, from_, to):
    offset = {stage["stage"]: stage["offset_ns"] for stage in packet["stages"]}
    return offset[to] - offset[from_]


@case
def where_no_selected_device_is_on_a_linux_bridge_none_of_its_hooks_is_used():
    with topology.Changes() as changes:
        topology.empty_bridge(changes, "lbr0")
        with vmlat.trace("-i", "vnet0", *vmlat.QUICK) as trace:
            lab.deliver(web1, peer, 3, dst_port=lab.port())
    check_outcomes(trace, started=3, completed=3)
    named = {hook["hook"] for hook in trace.header["hooks"] + trace.header["missing"]}
    equal("hooks of the bridge", named & HOOKS, set())


@case
def where_a_linux_bridge_comes_later_it_says_so_and_packets_have_no_stages_of_it():
    count = 5
    with vmlat.trace("-i", "vnet0", "-p", "eth0", *vmlat.QUICK) as trace, \
            topology.linux_bridge(web1):
        lab.wait_for("a word about it", lambda: "on a Linux bridge" in trace.errors())
        lab.deliver(web1, peer, count, dst_port=lab.port())
        lab.deliver(peer, web1, count, dst_port=lab.port(), gap_us=2000)
    check_outcomes(trace, started=2 * count, completed=2 * count)
    check_flights(of_direction(trace, "tx"), count, [FROM_GUEST, TO_QUEUE, TO_NIC])
    check_flights(of_direction(trace, "rx"), count, [FROM_NIC, TO_GUEST])
    told = [line.split()[2] for line in trace.errors().splitlines() if "Linux bridge" in line]
    equal("devices named", sorted(told), ["eth0", "vnet0"])


# --- each packet ---

@case
def packets_of_a_guest_have_the_stages_of_its_linux_bridge():
    count = 30
    with topology.linux_bridge(web1):
        for mode, words in modes():
            port = lab.port()
            with vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "eth0", *words) as trace:
                lab.deliver(web1, peer, count, dst_port=port)
                with lab.qdisc("netem", "delay", f"{DELAY // 1_000_000}ms"):
                    lab.deliver(web1, peer, count, dst_port=port, first_seq=count)
            check_attached(trace, mode)
            check_all_completed(trace, 2 * count)
            check_flights(trace.packets, 2 * count, TX, phy_interface="eth0", vm="web1")
            for packet in trace.packets:
                equal("stages", stages(packet), STAGES_TX)
                equal("numbers", [s["number"] for s in packet["stages"]],
                      [0, None, None, None, 6, None])
                if packet["ip_id"] >= count:
                    ensure(segment(packet, "xmit", "driver") >= DELAY - 1_000_000,
                           f"the delay is not between xmit and driver: {packet['stages']}")
                equal("exits", exits(packet), {"eth0": "completed"})


@case
def packets_to_a_guest_have_the_stages_of_its_linux_bridge():
    count = 30
    with topology.linux_bridge(web1):
        for mode, words in modes():
            port = lab.port()
            with vmlat.trace("-d", "rx", "-i", "vnet0", "-p", "eth0", *words) as trace:
                lab.deliver(peer, web1, count, dst_port=port, **lab.APART)
                with lab.qdisc("netem", "delay", f"{DELAY // 1_000_000}ms", device="vnet0"):
                    lab.deliver(peer, web1, count, dst_port=port, first_seq=count,
                                gap_us=DELAY // 1000 + lab.APART["gap_us"])
            check_attached(trace, mode)
            check_all_completed(trace, 2 * count)
            check_flights(trace.packets, 2 * count, RX, phy_interface="eth0", vm="web1")
            for packet in trace.packets:
                equal("stages", stages(packet), STAGES_RX)
                if packet["ip_id"] >= count:
                    ensure(segment(packet, "bridge_out", "tap") >= DELAY - 1_000_000,
                           f"the delay is not between bridge_out and tap: {packet['stages']}")


TEXT = f"""Latencies (us):
  [0->bridge_in] STAGE_0 (tun_get_user) -> BRIDGE_IN (br_handle_frame): T us
  [bridge_in->bridge_forward] BRIDGE_IN (br_handle_frame) -> BRIDGE_FORWARD (br_forward): T us
  [bridge_forward->bridge_out] BRIDGE_FORWARD (br_forward) -> BRIDGE_OUT ({THROUGH[2]}): T us
  [bridge_out->6] BRIDGE_OUT ({THROUGH[2]}) -> STAGE_6 (__dev_queue_xmit): T us
  [6->driver] STAGE_6 (__dev_queue_xmit) -> DRIVER (net_dev_start_xmit): T us
"""


@case
def text_reports_name_the_stages_of_a_linux_bridge():
    port = lab.port()
    with tap9.added(), frames.end_of("tap9") as device, topology.linux_bridge(tap9):
        with vmlat.trace("-d", "tx", "-i", "tap9", *vmlat.QUICK, text=True) as trace:
            sent = lab.counter("eth0", "tx_packets")
            os.write(device, frames.udp(tap9, peer, (12345, port), bytes(8)))
            lab.wait_for("it to leave", lambda: lab.counter("eth0", "tx_packets") > sent)
    found = trace.text().partition("Latencies (us):")[2].partition("\n\n")[0]
    lines = ["".join(line.rpartition(": ")[:2]) + "T us" for line in found.splitlines()[1:]]
    equal("latencies", lines, TEXT.splitlines()[1:])


@case
def through_a_linux_bridge_from_vm_to_vm_is_one_record_from_tap_to_tap():
    count = 20
    with topology.linux_bridge(web1, web2):
        for words, direction, way, ends in (
                (["-d", "both"], "tx", TX, ("vnet0", "vnet1")),
                (["-d", "rx", "-i", "vnet1"], "rx", [FROM_GUEST, *RX[1:]], ("vnet1", "vnet0"))):
            with vmlat.trace(*words) as trace:
                lab.deliver(web1, web2, count, dst_port=lab.port())
            check_outcomes(trace, started=count, completed=count)
            check_flights(trace.packets, count, way, direction=direction, vm_interface=ends[0],
                          peer_vm_interface=ends[1], phy_interface=None)


@case
def packets_in_flight_behind_a_linux_bridge_are_told_apart():
    """They stand in eth0's queue all at once, and leave it in another order."""
    port, count = lab.port(), 2000
    packets = truth.stream(frames.udp(tap9, peer, (port, 5201), bytes(64)), count)
    # the bridge forwards to a port that somebody has open
    with tap9.added("multi_queue"), frames.end_of("tap9", frames.MULTI_QUEUE), \
            topology.linux_bridge(tap9), truth.departures(port) as departures:
        with lab.qdisc("netem", "limit", 2 * count, "delay", "4s", "1s"):
            with vmlat.trace("-d", "tx", "-i", "tap9", "-p", "eth0", "--timeout", "60") as trace:
                writes = truth.write_stream("tap9", packets, flags=frames.MULTI_QUEUE)
                equal("packets in flight at the same time", lab.qdisc_root()["qlen"], count)
                lab.wait_for("all of them to leave", lambda: not lab.qdisc_root()["qlen"])
        left = departures()
    order = sorted(left, key=lambda number: left[number])
    ensure(order != sorted(order), "they leave in the order in which they came")
    check_outcomes(trace, started=count, completed=count)
    equal("ways", {tuple(hooks(packet)) for packet in trace.packets}, {(FROM_TAP, *TX[1:])})
    truth.check_told_apart(trace.packets, writes, left)
    truth.check_sees_a_mix_up(trace.packets, writes, left)


# --- copies ---

@contextlib.contextmanager
def listening():
    """As tcpdump does on the bridge, which is promiscuous then, and on two ports."""
    with topology.Changes() as changes, sniffer.on("vnet0", "lbr0", "eth0"):
        changes.do("ip link set lbr0 promisc on", "ip link set lbr0 promisc off")
        yield


def arrived(*machines, **look):
    """One packet gets to each of them while the context lasts."""
    stack = contextlib.ExitStack()
    for machine in machines:
        stack.enter_context(machine.counting(1, **look))
    return stack


@case
def what_a_linux_bridge_floods_is_one_record_with_all_its_exits():
    unknown, group, all_ = ports = [lab.port() for _ in range(3)]
    with topology.linux_bridge(web1, web2):
        with vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "eth0") as trace:
            for port, mac in zip(ports, (NOBODY, GROUP, BROADCAST)):
                with arrived(peer, web2, dst_port=port):
                    web1.send(peer, 1, dst_port=port, dst_mac=mac)
            trace.wait_lines(3)
    check_outcomes(trace, started=3, completed=3)
    for port in ports:
        packet = of_port(trace, port)[0]
        up = {} if port == unknown else {"lbr0": "dropped"}  # the host has no use for it
        equal("exits", exits(packet), {"eth0": "completed", "vnet1": "diverted", **up})
        equal("way", hooks(packet), [FROM_GUEST, *FLOODED, TO_QUEUE, TO_NIC])
        end = next(one for one in packet["exits"] if one["interface"] == "eth0")
        equal("total", packet["total_ns"], end["offset_ns"])


@case
def a_group_that_a_linux_bridge_knows_gets_its_packets_and_nobody_else_does():
    port, group = lab.port(), {"dst_ip": topology.GROUP, "dst_mac": topology.MAC_OF_GROUP}
    with topology.linux_bridge_with_a_group(web1, web2):
        with vmlat.trace("-i", "vnet0", "-p", "eth0") as trace:
            lab.deliver(web1, peer, 3, dst_port=port, **group)
            lab.deliver(peer, web1, 3, dst_port=port, **group, **lab.APART)
    check_outcomes(trace, started=6, completed=6)
    through = ["br_handle_frame", "br_multicast_flood", "br_dev_queue_push_xmit"]
    for direction, way, end in (("tx", [FROM_GUEST, *through, TO_QUEUE, TO_NIC], "eth0"),
                                ("rx", [FROM_NIC, *through, TO_GUEST], "vnet0")):
        packets = of_direction(trace, direction)
        check_flights(packets, 3, way)
        equal("exits", [exits(packet) for packet in packets], 3 * [{end: "completed"}])


@case
def a_broadcast_to_guests_behind_a_linux_bridge_is_one_record():
    port = lab.port()
    with topology.linux_bridge(web1, web2):
        with vmlat.trace("-d", "rx", "-p", "eth0") as trace:
            with arrived(web1, web2, dst_port=port):
                peer.send(web1, 1, dst_port=port, dst_mac=BROADCAST)
    check_outcomes(trace, started=1, completed=1)
    equal("exits", exits(trace.packets[0]),
          {"vnet0": "completed", "vnet1": "completed", "lbr0": "dropped"})
    equal("way", hooks(trace.packets[0]), [FROM_NIC, *FLOODED, TO_GUEST])


def shape(packet):
    """All that has to be the same with tcpdump and without."""
    return (packet["flow"]["dst_port"], packet["direction"], hooks(packet), packet["length"],
            sorted(exits(packet).items()))


@case
def tcpdump_on_a_linux_bridge_and_its_ports_changes_no_record():
    known, flooded = lab.port(), lab.port()
    with topology.linux_bridge(web1, web2), \
            vmlat.trace("-i", "vnet0", "-p", "eth0", "--timeout", "2") as trace:
        for number, context in enumerate((contextlib.nullcontext, listening)):
            with context():
                for sender, receiver in (web1, peer), (peer, web1):
                    with arrived(receiver, dst_port=known):
                        sender.send(receiver, 1, dst_port=known, ip_id=number)
                    with arrived(receiver, web2, dst_port=flooded):
                        sender.send(receiver, 1, dst_port=flooded, dst_mac=NOBODY, ip_id=number)
        trace.wait_lines(8)
    check_outcomes(trace, started=8, completed=8)
    without, with_ = (sorted(shape(p) for p in trace.packets if p["ip_id"] == number)
                      for number in (0, 1))
    equal("records with tcpdump", with_, without)


# --- the host itself ---

@contextlib.contextmanager
def host_listens(changes):
    changes.do("ip addr add 10.0.7.1/24 dev lbr0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("10.0.7.1", lab.port()))
        receiver.settimeout(30)
        yield receiver, {"dst_ip": "10.0.7.1", "dst_mac": topology.mac_of("lbr0"),
                         "dst_port": receiver.getsockname()[1], "gap_us": 1000}


@case
def packets_that_a_linux_bridge_delivers_to_the_host_are_diverted():
    count = 10
    with topology.linux_bridge(web1) as changes, host_listens(changes) as (receiver, flow):
        with vmlat.trace("--outcome", "diverted", "--timeout", "1", "-i", "vnet0",
                         "-p", "eth0") as trace:
            for sender in web1, peer:
                sender.send(peer, count, **flow)
                for _ in range(count):
                    receiver.recv(2000)
            trace.wait_lines(2 * count)
        with vmlat.trace("--outcome", "diverted", "--timeout", "1", *vmlat.QUICK) as waiting:
            web1.send(peer, count, **flow)
            waiting.wait_lines(count)
    check_outcomes(trace, started=2 * count, diverted=2 * count)
    check_outcomes(waiting, started=count, diverted=count)
    for direction, first in ("tx", FROM_GUEST), ("rx", FROM_NIC):
        for packet in of_direction(trace, direction):
            equal("way", hooks(packet), [first, "br_handle_frame"])


# --- dropped ---

def check_dropped(trace, count, where, reason, last):
    """`where`: the function, or those that it may have been called from last (tail calls)."""
    check_outcomes(trace, started=count, dropped=count)
    equal("why, after what", {(p["reason"], p["stages"][-1]["stage"]) for p in trace.packets},
          {(reason, last)})
    ensure({p["where"] for p in trace.packets} <= set(where), f"where: {trace.end['drops']}")


def unsaid():
    """The reason of most drops in a bridge."""
    return drop_reason("NOT_SPECIFIED")


@case
def packets_that_a_linux_bridge_does_not_forward_are_dropped():
    count = dropped = 10
    with topology.linux_bridge(web1) as changes, vmlat.trace("-i", "vnet0", "-p", "eth0") as trace:
        sent, taken = lab.counter("eth0", "tx_packets"), lab.counter("vnet0", "tx_packets")
        web1.send(peer, count, dst_port=lab.port(), dst_mac=web1.sink)  # back where it came from
        for disabled, sender, receiver in ("eth0", web1, peer), ("vnet0", peer, web1):
            changes.do(f"bridge link set dev {disabled} state 0")
            sender.send(receiver, count, dst_port=lab.port())
            dropped += count
            trace.wait_lines(dropped)
            changes.do(f"bridge link set dev {disabled} state 3")
        equal("packets that left", (lab.counter("eth0", "tx_packets") - sent,
                                    lab.counter("vnet0", "tx_packets") - taken), (0, 0))
    check_dropped(trace, 3 * count, ["br_forward", "br_handle_frame_finish"], unsaid(),
                  "bridge_forward")
    equal("directions", [len(of_direction(trace, way)) for way in ("tx", "rx")], [20, 10])


@case
def packets_by_a_port_that_spanning_tree_keeps_closed_are_dropped():
    count = 10
    with topology.linux_bridge(web1) as changes:
        changes.do("ip link set lbr0 type bridge stp_state 1 forward_delay 3000")  # 30 s
        with vmlat.trace("-d", "tx", "-i", "vnet0", *vmlat.QUICK) as trace:
            for words in "nomaster", "master lbr0":
                changes.do(f"ip link set vnet0 {words}")
            web1.send(peer, count, dst_port=lab.port())
            trace.wait_lines(count)
    reason = drop_reason("BRIDGE_INGRESS_STP_STATE") or unsaid()
    check_dropped(trace, count, ["br_handle_frame"], reason, "bridge_in")


@case
def vlan_filtering_of_a_linux_bridge_tags_and_drops():
    count, port = 10, lab.port()
    with topology.linux_bridge(web1) as changes:
        changes.do("ip link set lbr0 type bridge vlan_filtering 1",
                   "ip link set lbr0 type bridge vlan_filtering 0")
        for vlan in "dev vnet0 vid 100 pvid untagged", "dev eth0 vid 100":
            changes.do(f"bridge vlan add {vlan}")
        for device, machine in ("vnet0", web1), ("eth0", peer):
            changes.do(f"bridge fdb replace {machine.sink} dev {device} master static vlan 100")
        with vmlat.trace("-i", "vnet0", "-p", "eth0", "--dst-port", port) as trace:
            lab.deliver(web1, peer, count, {"vlan": 100}, dst_port=port)
            with web1.counting(count, dst_port=port, vlan=[]):
                peer.send(web1, count, dst_port=port, vlan=100)
            changes.do("bridge vlan del dev eth0 vid 100")
            web1.send(peer, count, dst_port=port)
            peer.send(web1, count, dst_port=port, vlan=100)
            trace.wait_lines(4 * count)
    check_outcomes(trace, started=4 * count, completed=2 * count, dropped=2 * count)
    for direction, way, tags, last in ("tx", TX, [], "bridge_forward"), \
                                      ("rx", RX, [100], "bridge_in"):
        packets = of_direction(trace, direction)
        completed = [p for p in packets if p["outcome"] == "completed"]
        check_flights(completed, count, way, vlan=tags)
        equal("dropped after", [stages(p)[-1] for p in packets if p["outcome"] == "dropped"],
              [last] * count)


# --- super-frames, netfilter ---

@case
def a_super_frame_through_a_linux_bridge_is_one_record_that_ends_with_its_last_segment():
    port = lab.port()
    with topology.linux_bridge(web1), sniffer.on("eth0") as (wire,), \
            vmlat.trace("-d", "tx", "-i", "vnet0") as trace:
        equal("arrived", send_super_frame(web1, peer, port), SEGMENTS)
        left = departures(wire)
    check_outcomes(trace, started=1, completed=1)
    check_cut(trace.packets[0], STAGES_TX)
    check_ends_with(trace.packets[0], left)


@case
def with_netfilter_on_a_linux_bridge_the_stages_are_the_same():
    count = 10
    with topology.linux_bridge(web1) as changes:
        changes.do("modprobe br_netfilter", "rmmod br_netfilter")
        changes.do("sysctl -qw net.bridge.bridge-nf-call-iptables=1")
        with vmlat.trace("-i", "vnet0", "-p", "eth0") as trace:
            lab.deliver(web1, peer, count, dst_port=lab.port())
            lab.deliver(peer, web1, count, dst_port=lab.port())
    check_outcomes(trace, started=2 * count, completed=2 * count)
    check_flights(of_direction(trace, "tx"), count, TX)
    check_flights(of_direction(trace, "rx"), count, RX)


# --- other ports, other switches ---

@case
def below_a_linux_bridge_there_may_be_a_vlan():
    count = 10
    with topology.bare_uplink(), topology.Changes() as changes:
        changes.do("ip link add link eth0 name eth0.100 type vlan id 100", "ip link del eth0.100")
        with topology.linux_bridge(web1, over="eth0.100"):
            with vmlat.trace("-i", "vnet0") as trace:
                lab.deliver(web1, peer, count, {"vlan": 100}, dst_port=lab.port())
                port = lab.port()
                with web1.counting(count, dst_port=port):
                    peer.send(web1, count, dst_port=port, vlan=100)
    check_outcomes(trace, started=2 * count, completed=2 * count)
    check_flights(of_direction(trace, "tx"), count,
                  [FROM_GUEST, *THROUGH, TO_QUEUE, TO_QUEUE, TO_NIC], phy_interface="eth0")
    check_flights(of_direction(trace, "rx"), count, RX, phy_interface="eth0", vlan=[100])


@case
def below_a_linux_bridge_there_may_be_a_bond():
    count = 10
    with topology.bond("active-backup"), topology.linux_bridge(web1, over="bond0"):
        with vmlat.trace("-i", "vnet0") as trace:
            lab.deliver(web1, peer, count, dst_port=lab.port())
            lab.deliver(peer, web1, count, dst_port=lab.port())
    check_outcomes(trace, started=2 * count, completed=2 * count)
    check_flights(of_direction(trace, "tx"), count,
                  [FROM_GUEST, *THROUGH, TO_QUEUE, TO_QUEUE, TO_NIC], phy_interface="eth0")
    check_flights(of_direction(trace, "rx"), count, RX, phy_interface="eth0")


@case
def through_a_linux_bridge_and_open_vswitch_a_packet_is_one_record_with_the_stages_of_both():
    count, ports = 20, (lab.port(), lab.port())
    with topology.hybrid(web1):
        with vmlat.trace("-i", "vnet0", "-p", "eth0") as trace:
            lab.deliver(web1, peer, count, dst_port=ports[0])
            lab.deliver(peer, web1, count, dst_port=ports[1])
    check_outcomes(trace, started=2 * count, completed=2 * count)
    check_flights(of_direction(trace, "tx"), count,
                  [FROM_GUEST, *THROUGH, TO_QUEUE, *OVS, TO_QUEUE, TO_NIC], phy_interface="eth0")
    check_flights(of_direction(trace, "rx"), count, [FROM_NIC, *OVS, *THROUGH, TO_GUEST],
                  phy_interface="eth0")


def without_upcall(packet):
    return [hook for hook in hooks(packet) if hook not in UPCALL]


@case
def a_broadcast_goes_through_a_linux_bridge_and_open_vswitch_as_one_record():
    """What the host gets of it is nobody's."""
    port = lab.port()
    with topology.hybrid(web1), lab.rule(f"in_port=qvo0,dl_dst={BROADCAST}", "output:eth0"):
        with vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "eth0") as trace:
            for first, count in (0, 1), (1, 4):
                with peer.counting(count, dst_port=port, first_seq=first):
                    web1.send(peer, count, dst_port=port, dst_mac=BROADCAST, first_seq=first)
                lab.in_table("in_port(qvo0)", "eth0")
    check_outcomes(trace, started=5, completed=5)
    equal("those that went up", [p["ip_id"] for p in trace.packets if p["upcall"]], [0])
    for packet in trace.packets:
        equal("way", without_upcall(packet),
              [FROM_GUEST, *FLOODED, TO_QUEUE, *OVS, TO_QUEUE, TO_NIC])
        equal("exits", exits(packet), {"eth0": "completed"})


@case
def a_broadcast_goes_through_open_vswitch_and_a_linux_bridge_as_one_record():
    """The bridge gets a copy of it, or the packet itself."""
    orders = {lab.port(): "output:qvo0,vnet1", lab.port(): "output:vnet1,qvo0"}
    copy, original = orders
    with topology.hybrid(web1), vmlat.trace("-d", "rx", "-i", "vnet0", "-p", "eth0") as trace:
        for port, actions in orders.items():
            with lab.rule(f"in_port=eth0,udp,tp_dst={port}", actions):
                send_cold_and_warm(peer, [web1, web2], 4, "qvo0", dst_port=port, dst_mac=BROADCAST)
    check_outcomes(trace, started=8, completed=8)
    for packet in trace.packets:
        port = packet["flow"]["dst_port"]
        up = {"qbr0": "dropped"} if port == original else {}
        equal("exits", exits(packet), {"vnet0": "completed", "vnet1": "diverted", **up})
        through = [] if port == copy else FLOODED
        equal("way", without_upcall(packet), [FROM_NIC, *OVS, *through, TO_GUEST])


@case
def behind_a_linux_bridge_the_host_may_route():
    count, port = 20, lab.port()
    with topology.routed_linux_bridge(web1):
        out = {"dst_ip": topology.ROUTED, "dst_mac": topology.mac_of("lbr0"), "dst_port": port}
        back = {"src_ip": topology.ROUTED, "dst_mac": topology.mac_of("eth0"), "dst_port": port}
        with vmlat.trace("-i", "vnet0", "-p", "eth0") as trace:
            with peer.counting(count, dst_port=port):
                web1.send(peer, count, **out)
            with web1.counting(count, dst_port=port):
                peer.send(web1, count, **back)
    check_outcomes(trace, started=2 * count, completed=2 * count)
    check_flights(of_direction(trace, "tx"), count,
                  [FROM_GUEST, "br_handle_frame", TO_QUEUE, TO_NIC], phy_interface="eth0")
    check_flights(of_direction(trace, "rx"), count, [FROM_NIC, *THROUGH[1:], TO_GUEST],
                  phy_interface="eth0")


# --- without Open vSwitch ---

@contextlib.contextmanager
def lone_bridge():
    """tap9 and eth0 in a Linux bridge, on a host that has no other switch yet."""
    with topology.Changes() as changes:
        lab.run("modprobe", "-a", "tun", "virtio_net")
        changes.do("sysctl -qw net.ipv6.conf.default.disable_ipv6=1",
                   "sysctl -qw net.ipv6.conf.default.disable_ipv6=0")
        changes.do("ip tuntap add tap9 mode tap", "ip link del tap9")
        tap = changes.enter_context(frames.end_of("tap9"))
        topology.empty_bridge(changes, "lbr0")
        # both ends of the wire: virtio_net sends no more than somebody takes (BQL, since 6.11)
        for device in "eth0", "eth1":
            changes.do(f"ip link set {device} up", f"ip link set {device} down")
        topology.join(changes, "lbr0", "tap9", "eth0")
        changes.do(f"bridge fdb replace {peer.sink} dev eth0 master static")
        yield tap


@early_case
def without_open_vswitch_linux_bridges_are_traced_and_it_says_so():
    count, port = 20, lab.port()
    with lone_bridge() as device, sniffer.on("eth0") as (wire,):
        with vmlat.trace("-d", "tx", "-i", "tap9", "--dst-port", port) as trace:
            for _ in range(count):
                os.write(device, frames.udp(tap9, peer, (12345, port), bytes(8)))
        left = [one.head[36:38] for one in wire.frames() if one.leaves]
        equal("packets that left", left.count(port.to_bytes(2, "big")), count)
    check_outcomes(trace, started=count, completed=count)
    for packet in trace.packets:
        equal("way", (packet["phy_interface"], hooks(packet)), ("eth0", [FROM_TAP, *TX[1:]]))
    told = [line for line in trace.errors().splitlines() if "openvswitch is not loaded" in line]
    equal("lines about it", len(told), 1)
    missing = {hook["hook"]: hook["why"] for hook in trace.header["missing"]}
    equal("why", {missing[hook] for hook in OVS}, {"its module is not loaded"})
