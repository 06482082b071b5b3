# SPDX-License-Identifier: GPL-2.0
"""The way of a packet: each one is reported, with the stages that it passed."""
import re

import lab
import records
import vmlat
from case import case, ensure, equal
from lab import peer, tap9, web1, web2

TX = ["tap", "ovs_in", "datapath", "vport", "xmit", "driver"]
RX = ["nic", "ovs_in", "datapath", "vport", "tap"]
TX_COLD = TX[:3] + ["upcall", "reinject"] + TX[3:]
RX_COLD = RX[:3] + ["upcall", "reinject"] + RX[3:]
HOOKS = {"nic": "netif_receive_skb", "ovs_in": "netdev_frame_hook",
         "datapath": "ovs_dp_process_packet", "upcall": "ovs_dp_upcall",
         "reinject": "ovs_flow_key_extract_userspace", "vport": "ovs_vport_send",
         "xmit": "__dev_queue_xmit", "driver": "net_dev_start_xmit"}
NUMBERS = {"nic": 0, "ovs_in": 1, "datapath": 2, "upcall": 3, "reinject": 4, "vport": 5,
           "xmit": 6, "driver": None}


def stages(packet):
    return [stage["stage"] for stage in packet["stages"]]


def flow(sender, receiver, port):
    return {"protocol": "udp", "src_ip": sender.ip, "src_port": 12345, "dst_ip": receiver.ip,
            "dst_port": port}


def check_way(packet, way, first, last):
    """The stages, each by its hook; the tap's, which has several, is `first` or `last`."""
    equal("stages", stages(packet), way)
    for place, stage in enumerate(packet["stages"]):
        tap = (0, first) if place == 0 else (6, last)
        number, hook = NUMBERS.get(stage["stage"], tap[0]), HOOKS.get(stage["stage"], tap[1])
        equal(f"number and hook of {stage['stage']}", (stage["number"], stage["hook"]),
              (number, hook))


def check_all_completed(trace, count):
    """`count` packets, each once, and nothing else was seen."""
    equal("packets reported", len(trace.packets), count)
    equal("their IP identifications", sorted(p["ip_id"] for p in trace.packets), list(range(count)))
    equal("outcomes", {p["outcome"] for p in trace.packets}, {"completed"})
    counted = trace.end["packets"]
    equal("started and completed", (counted["started"], counted["completed"]), (count, count))


def check_tx(trace, sender, port, count, hook, comm, vm):
    check_all_completed(trace, count)
    for packet in trace.packets:
        check_way(packet, TX, hook, None)
        equal("flow", packet["flow"], flow(sender, peer, port))
        equal("direction and ends",
              [packet[name] for name in ("direction", "vm", "vm_interface", "phy_interface",
                                         "peer_vm_interface")],
              ["tx", vm, sender.tap, "eth0", None])
        ensure(packet["process"]["comm"].startswith(comm), f"process {packet['process']}")
        equal("exits", [(one["interface"], one["outcome"]) for one in packet["exits"]],
              [("eth0", "completed")])
        equal("length, tags, segments", (packet["length"], packet["vlan"], packet["segments"]),
              (106, [], 1))
    equal("traffic", records.traffic(trace.end), {("tx", sender.tap): (count, 106 * count)})


def check_rx(trace, receiver, port, count, vm):
    check_all_completed(trace, count)
    for packet in trace.packets:
        check_way(packet, RX, None, "tun_net_xmit")
        equal("flow", packet["flow"], flow(peer, receiver, port))
        equal("direction and ends",
              [packet[name] for name in ("direction", "vm", "vm_interface", "phy_interface",
                                         "peer_vm_interface")],
              ["rx", vm, receiver.tap, "eth0", None])
        equal("exits", [(one["interface"], one["outcome"]) for one in packet["exits"]],
              [(receiver.tap, "completed")])
    equal("traffic", records.traffic(trace.end), {("rx", receiver.tap): (count, 106 * count)})


def trace_warm(sender, receiver, count, *words, **flow_options):
    """A trace of `count` packets of one warm flow; (trace, port)."""
    port = lab.port()
    lab.warm(sender, receiver, dst_port=port)
    with vmlat.trace(*words) as trace:
        lab.deliver(sender, receiver, count, dst_port=port, **flow_options)
    return trace, port


TEXT_TX = re.compile(r"""=== VM Network Latency Trace: DATE \(TX\) ===
Flow: 10\.0\.0\.2:12345 -> 10\.0\.0\.1:PORT \(UDP\)
VM Device: vnet0 \(web1\) → Physical: eth0
Process: PID=\d+ COMM=vhost-\d+

Latencies \(us\):
  \[0->1\] STAGE_0 \(tun_sendmsg\) -> STAGE_1 \(netdev_frame_hook\): TIME us
  \[1->2\] STAGE_1 \(netdev_frame_hook\) -> STAGE_2 \(ovs_dp_process_packet\): TIME us
  \[2->5\] STAGE_2 \(ovs_dp_process_packet\) -> STAGE_5 \(ovs_vport_send\): TIME us NO_UPCALL
  \[5->6\] STAGE_5 \(ovs_vport_send\) -> STAGE_6 \(__dev_queue_xmit\): TIME us
  \[6->driver\] STAGE_6 \(__dev_queue_xmit\) -> DRIVER \(net_dev_start_xmit\): TIME us

Total Latency: TIME us

""".replace("DATE", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}").replace("TIME", r"\d+\.\d{3}")
                     .replace("NO_UPCALL", r"\(OVS No Upcall\)").replace("PORT", r"(\d+)"))


@case
def each_of_200_packets_of_a_guest_is_reported_once_in_json_and_in_text():
    port = lab.port()
    select = ["-d", "tx", "-i", "vnet0", "-p", "eth0"]
    lab.warm(web1, peer, dst_port=port)
    with vmlat.trace(*select) as trace, vmlat.trace(*select, text=True) as text:
        lab.deliver(web1, peer, 200, dst_port=port)
    check_tx(trace, web1, port, 200, "tun_sendmsg", "vhost-", "web1")
    reports, heading, rest = text.text().partition("=== Statistics of the whole trace: ")
    equal("text reports of the form promised", TEXT_TX.findall(reports), [str(port)] * 200)
    equal("what else is in them", TEXT_TX.sub("", reports), "")
    statistics, summary, rest = rest.partition("=== Summary: ")
    ensure(heading and re.search(r"^web1 +TX +200 ", statistics, re.M),
           f"the statistics say {statistics}")
    ensure(summary and "200 started = 200 completed" in rest, f"the summary says {rest}")


@case
def each_of_200_packets_to_a_guest_is_reported_once():
    trace, port = trace_warm(peer, web1, 200, "-d", "rx", "-i", "vnet0", "-p", "eth0", **lab.APART)
    check_rx(trace, web1, port, 200, "web1")


@case
def a_burst_of_a_guest_is_reported_packet_by_packet():
    with lab.late_vhost(web1):
        trace, port = trace_warm(web1, peer, 200, "-d", "tx", "-i", "vnet0", burst=True)
    check_tx(trace, web1, port, 200, "tun_sendmsg", "vhost-", "web1")
    ensure(max(p["batch"] for p in trace.packets) > 1, "vhost never handed over more than one")


@case
def a_tap_that_a_program_writes_to_starts_in_tun_get_user():
    with tap9.added():
        trace, port = trace_warm(tap9, peer, 200, "-d", "tx", "-i", "tap9")
        check_tx(trace, tap9, port, 200, "tun_get_user", "traffic", None)


@case
def a_guest_without_vhost_starts_in_tun_get_user():
    trace, port = trace_warm(web2, peer, 200, "-d", "tx", "--vm", "web2")
    check_tx(trace, web2, port, 200, "tun_get_user", "qemu-", "web2")
    equal("process", {p["process"]["pid"] for p in trace.packets}, {web2.qemu()})


@case
def packets_to_a_guest_without_vhost_end_at_its_tap():
    trace, port = trace_warm(peer, web2, 200, "-d", "rx", "--vm", "web2")
    check_rx(trace, web2, port, 200, "web2")


@case
def both_directions_at_once_are_told_apart():
    lab.warm(web1, peer, dst_port=lab.port())
    lab.warm(peer, web1, dst_port=lab.port())
    port = lab.port()
    with vmlat.trace("-i", "vnet0") as trace:
        with peer.counting(50, dst_port=port), web1.counting(30, dst_port=port):
            web1.send(peer, 50, dst_port=port)
            peer.send(web1, 30, dst_port=port)
    for direction, count, sender, receiver in ("tx", 50, web1, peer), ("rx", 30, peer, web1):
        found = [p for p in trace.packets if p["direction"] == direction]
        equal(f"{direction} packets", sorted(p["ip_id"] for p in found), list(range(count)))
        equal("flows", [p["flow"] for p in found], [flow(sender, receiver, port)] * count)
    equal("completed", trace.end["packets"]["completed"], 80)


def trace_vm_to_vm(*words):
    port = lab.port()
    lab.warm(web1, web2, dst_port=port)
    with vmlat.trace(*words) as trace:
        lab.deliver(web1, web2, 20, dst_port=port)
    check_all_completed(trace, 20)
    return trace.packets


@case
def from_vm_to_vm_is_one_record_from_tap_to_tap():
    for packet in trace_vm_to_vm("-d", "both"):
        equal("direction and ends", [packet[name] for name in ("direction", "vm_interface",
                                                               "peer_vm_interface", "vm")],
              ["tx", "vnet0", "vnet1", "web1"])


@case
def from_vm_to_vm_is_the_same_flight_as_rx_of_the_other():
    for packet in trace_vm_to_vm("-d", "rx", "-i", "vnet1"):
        equal("direction and ends", [packet[name] for name in ("direction", "vm_interface",
                                                               "phy_interface", "vm")],
              ["rx", "vnet1", None, "web2"])


# --- cold flows ---

def check_cold(trace, count, cold, warm):
    """The first has been up in ovs-vswitchd, the others have not."""
    check_all_completed(trace, count)
    packets = sorted(trace.packets, key=lambda p: p["ip_id"])
    equal("way of the first", stages(packets[0]), cold)
    equal("ways of the others", [stages(p) for p in packets[1:]], [warm] * (count - 1))
    equal("upcall", [p["upcall"] for p in packets], [True] + [False] * (count - 1))


def trace_cold(sender, receiver, count, *words, arrive=None):
    """A trace of a flow whose first packet needs an upcall, and the others do not."""
    port = lab.port()
    lab.flush()
    with vmlat.trace(*words) as trace:
        lab.deliver(sender, receiver, 1, arrive, dst_port=port)
        lab.in_table(f"in_port({sender.switch_port})", f"dst={receiver.sink}")
        with receiver.counting(count - 1, first_seq=1, dst_port=port):
            sender.send(receiver, count - 1, first_seq=1, dst_port=port)
    return trace


@case
def only_the_first_packet_of_a_guests_cold_flow_has_an_upcall():
    trace = trace_cold(web1, peer, 10, "-d", "tx", "-i", "vnet0")
    check_cold(trace, 10, TX_COLD, TX)


@case
def only_the_first_packet_of_a_cold_flow_to_a_guest_has_an_upcall():
    trace = trace_cold(peer, web1, 10, "-d", "rx", "-i", "vnet0")
    check_cold(trace, 10, RX_COLD, RX)


@case
def a_cold_burst_has_each_packet_once_with_both_upcall_stages_or_none():
    port = lab.port()
    lab.flush()
    with vmlat.trace("-d", "tx", "-i", "vnet0") as trace:
        lab.deliver(web1, peer, 50, dst_port=port, burst=True)
    check_all_completed(trace, 50)
    ways = [stages(p) for p in trace.packets]
    ensure(all(way in (TX, TX_COLD) for way in ways), f"ways: {ways}")
    ensure(TX_COLD in ways, "no packet had an upcall")


class AccessPort:
    """vnet0 in VLAN 100, with eth0 as the trunk, by OVS's own means; nothing is flooded."""

    def __enter__(self):
        lab.run("ovs-vsctl", "set", "port", "vnet0", "tag=100")
        for rule in ("in_port=vnet0", "in_port=eth0,dl_vlan=100"):
            lab.run("ovs-ofctl", "add-flow", "br0", f"priority=100,{rule},actions=NORMAL")
        for port, machine in ("eth0", peer), ("vnet0", web1):
            lab.ask_vswitchd("fdb/add", "br0", port, "100", machine.sink)

    def __exit__(self, *_):
        for rule in ("in_port=vnet0", "in_port=eth0,dl_vlan=100"):
            lab.run("ovs-ofctl", "--strict", "del-flows", "br0", f"priority=100,{rule}")
        lab.run("ovs-vsctl", "clear", "port", "vnet0", "tag")
        lab.ask_vswitchd("fdb/flush", "br0")


@case
def a_guest_behind_an_access_port_is_followed_through_tag_and_upcall():
    with AccessPort():
        port = lab.port()
        lab.flush()
        with vmlat.trace("-d", "tx", "-i", "vnet0", "--dst-port", port) as trace:
            lab.deliver(web1, peer, 1, {"vlan": 100}, dst_port=port)
            lab.in_table("in_port(vnet0)", "push_vlan(vid=100")
            with peer.counting(9, vlan=100, first_seq=1, dst_port=port):
                web1.send(peer, 9, first_seq=1, dst_port=port)
        check_cold(trace, 10, TX_COLD, TX)
        equal("tags at the start", {tuple(p["vlan"]) for p in trace.packets}, {()})


@case
def a_packet_to_an_access_port_is_followed_through_tag_and_upcall():
    with AccessPort():
        port = lab.port()
        lab.flush()
        with vmlat.trace("-d", "rx", "-i", "vnet0", "--dst-port", port) as trace:
            with web1.counting(1, dst_port=port, vlan=[]):
                peer.send(web1, 1, vlan=100, dst_port=port)
            lab.in_table("in_port(eth0)", "pop_vlan")
            with web1.counting(9, dst_port=port, first_seq=1):
                peer.send(web1, 9, vlan=100, dst_port=port, first_seq=1)
        check_cold(trace, 10, RX_COLD, RX)
        equal("tags at the start", {tuple(p["vlan"]) for p in trace.packets}, {(100,)})


# --- on every kernel the same: `same` compares what this case has captured there ---

SAME = {  # by port, which is the same everywhere
    7001: ("tx", TX_COLD, 1), 7002: ("tx", TX, 10), 7003: ("rx", RX_COLD, 1), 7004: ("rx", RX, 10),
    7005: ("rx", RX, 10), 7006: ("tx", TX, 5),
    7007: ("tx", TX, 3), 7008: ("tx", TX[:3], 4)}


@case
def the_same_traffic_gives_the_same_records_on_every_kernel():
    lab.flush()
    with vmlat.trace("-i", "vnet0", "-i", "vnet1") as trace:
        lab.warm(web1, peer, dst_port=7001)
        lab.deliver(web1, peer, 10, dst_port=7002)
        lab.deliver(web1, peer, 3, dst_port=7007, protocol="tcp", payload=300)
        lab.warm(peer, web1, dst_port=7003)
        lab.deliver(peer, web1, 10, dst_port=7004, **lab.APART)
        lab.deliver(peer, web1, 10, dst_port=7005, payload=1000, **lab.APART)
        lab.warm(web1, web2, dst_port=7000)
        lab.deliver(web1, web2, 5, dst_port=7006)
        with lab.rule("udp,tp_dst=7008", "drop"):
            web1.send(peer, 1, dst_port=7008)
            lab.in_table("in_port(vnet0)", "actions:drop")
            web1.send(peer, 4, dst_port=7008, src_port=7008)
            trace.wait_lines(sum(count for _, _, count in SAME.values()) + 2)
    for port, (direction, way, count) in SAME.items():
        found = [p for p in trace.packets if p["flow"]["dst_port"] == port and
                 (port != 7008 or p["flow"]["src_port"] == port)]
        equal(f"directions and stages of port {port}",
              [(p["direction"], stages(p)) for p in found], [(direction, way)] * count)
