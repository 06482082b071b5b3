# SPDX-License-Identifier: GPL-2.0
"""Without a hook: the trace runs, what is missing is named, and every packet ends as it did with it."""
import contextlib
import os
import socket
import struct
import subprocess

import frames
import lab
import topology
import vmlat
from case import case, ensure, equal
from cases_check import WITHOUT_MODULE_BTF, WITH_TUN_BUILT_IN, check, private
from cases_gso import SEGMENTS, send_super_frame
from cases_outcome import check_outcomes
from cases_paths import send_fragmented, tracked_tap9
from cases_way import RX, TX, stages
from lab import peer, tap9, web1

REQUIRED = ["netif_receive_skb", "net_dev_start_xmit", "net_dev_xmit", "kfree_skb", "consume_skb"]
# what only some packets need: each has a case of its own below
RARE = ["queue_userspace_packet", "ip_defrag", "nf_ct_frag6_gather", "ip_do_fragment",
        "ip6_fragment"]
# a stage that nobody else shows
STAGE = {"netdev_frame_hook": "ovs_in", "ovs_dp_process_packet": "datapath",
         "ovs_flow_key_extract_userspace": "reinject", "ovs_vport_send": "vport"}
BRIDGE = ["br_handle_frame", "br_forward", "br_flood", "br_multicast_flood",
          "br_dev_queue_push_xmit"]  # the same of a Linux bridge
# who shows it then
INSTEAD = {"tun_get_user": "netif_receive_skb", "tun_sendmsg": "netif_receive_skb",
           "ovs_dp_upcall": "queue_userspace_packet", "__dev_queue_xmit": "net_dev_queue",
           "tun_net_xmit": "net_dev_start_xmit"}
# what spares most packets something, where it is of use
SHORTCUTS = {"qdisc_enqueue", "qdisc_tree_reduce_backlog"}
EVERY = [*STAGE, *INSTEAD, "internal_dev_xmit", *sorted(SHORTCUTS), "__netif_schedule", *RARE]
OF_TUNNELS = ["gro_cells_receive", "napi_gro_receive_entry", "napi_gro_receive_exit"]
OF_RPS = ["netif_receive_skb_entry"]
STAND_IN = ["net_dev_queue"]
# all that the cases below take away; tests/test-denials knows whether a hook is left over
DENIED = [*REQUIRED, *EVERY, *BRIDGE, *OF_TUNNELS, *OF_RPS, *STAND_IN]
ALL = "completed,dropped,diverted,merged,upcall_lost,expired,evicted,ambiguous"
# without these nobody sees that a packet goes to the host; where that frees it without a word, as
# newer kernels do with UDP, it is evicted
TO_HOST = ["ovs_vport_send", "internal_dev_xmit"]


def records(trace, evicted="evicted"):
    """Each packet: what became of it, and its stages with their hooks. `evicted`: this goes as that."""
    found = {}
    for p in trace.packets:
        found.setdefault((p["direction"], p["flow"]["dst_port"], p["ip_id"]), []).append(
            (evicted if p["outcome"] == "evicted" else p["outcome"],
             [(s["stage"], s["hook"]) for s in p["stages"]]))
    return found


def without(name, all_records):
    """These records of a trace that lacks the hook."""
    def stage(entry):
        return (entry[0], INSTEAD[name]) if entry[1] == name else entry
    return {key: [(outcome, [stage(entry) for entry in visits
                             if not (name in [*STAGE, *BRIDGE] and entry[1] == name)])
                  for outcome, visits in found]
            for key, found in all_records.items()}


def missing(trace):
    return {one["hook"] for one in trace.header["missing"]
            if one["why"] != "not needed for this direction"}


def check_named(trace, names):
    """The header, and a warning, name these, and no others but one that nobody needs."""
    equal("missing", missing(trace) - SHORTCUTS, set(names) - SHORTCUTS)
    ensure(missing(trace) >= set(names), f"not named: {set(names) - missing(trace)}")
    warned = {line.split()[2] for line in trace.errors().splitlines() if "is not traced" in line}
    equal("warned of", warned, set(names) - SHORTCUTS)


def check_equal_without(name, got, full):
    wanted = without(name, full)
    for key in wanted:
        equal(f"without {name}, packet {key}", got.get(key), wanted[key])
    equal(f"packets without {name}", got.keys(), wanted.keys())


@contextlib.contextmanager
def each_denied(names, *words):
    """A trace without each of these, and one that has all: the last."""
    words = [*words, "--outcome", ALL, "--timeout", "3", "--flights", 1024]
    with vmlat.running(vmlat.Trace(words, deny=name, odd=True)
                       for name in [*names, ""]) as traces:
        yield traces


def check_each(traces, names, **counted):
    full = records(traces[-1])
    check_outcomes(traces[-1], **counted)
    for trace, name in zip(traces, names):
        evicted = trace.end["packets"]["evicted"] if name in TO_HOST else 0
        check_outcomes(trace, **{**counted, "diverted": counted.get("diverted", 0) - evicted,
                                 "evicted": evicted})
        check_equal_without(name, records(trace, evicted="diverted" if evicted else "evicted"), full)
        check_named(trace, name.split(",") if name not in STAND_IN else [])
    check_named(traces[-1], [])


NOWHERE, HOST = "52:54:00:00:09:01", "10.0.0.254"


@contextlib.contextmanager
def to_drop_and_to_host(port):
    """Rules for what Open vSwitch drops, and for what it gives to the host, whose socket is yielded."""
    mac = topology.mac_of("br0")
    with lab.rule(f"dl_dst={NOWHERE}", "drop"), lab.rule(f"dl_dst={mac}", "LOCAL"), \
            topology.Changes() as changes, socket.socket(type=socket.SOCK_DGRAM) as listener:
        changes.do(f"ip addr add {HOST}/24 dev br0", f"ip addr del {HOST}/24 dev br0")
        listener.bind((HOST, port))
        listener.settimeout(30)
        yield listener, {"dst_port": port, "dst_ip": HOST, "dst_mac": mac}


@case
def without_any_one_hook_what_a_vm_sends_ends_as_with_it():
    ports = {name: lab.port() for name in ("vhost", "tap", "cold", "drop", "host")}
    dropped = {"dst_port": ports["drop"], "dst_mac": NOWHERE}
    names = [name for name in EVERY if name not in ["tun_net_xmit", *RARE]] + [",".join(RARE)]
    with tap9.added(), to_drop_and_to_host(ports["host"]) as (listener, to_host):
        for flow in dropped, to_host:
            tap9.send(peer, 1, **flow)
            lab.in_table("in_port(tap9)", f"dst={flow['dst_mac']}")
        listener.recv(2048)
        with each_denied(names, "-d", "tx", "-i", "vnet0,tap9", *vmlat.QUICK) as traces:
            tap9.send(peer, 4, **dropped)
            tap9.send(peer, 3, **to_host)
            for _ in range(3):
                listener.recv(2048)
            for number in range(3):
                lab.flush()
                lab.deliver(tap9, peer, 1, dst_port=ports["cold"], first_seq=number)
            lab.warm(web1, peer, dst_port=lab.port())
            lab.deliver(web1, peer, 10, dst_port=ports["vhost"])
            lab.deliver(tap9, peer, 10, dst_port=ports["tap"])
            traces[-1].wait_lines(31)
    check_each(traces, names, started=31, completed=24, dropped=4, diverted=3)


RX_HOOKS = ["netdev_frame_hook", "ovs_dp_process_packet", "ovs_dp_upcall",
            "ovs_flow_key_extract_userspace", "ovs_vport_send", "tun_net_xmit"]


@case
def without_any_one_hook_what_a_vm_gets_ends_as_with_it():
    warm, cold = lab.port(), lab.port()
    lab.warm(peer, web1, dst_port=warm)
    with each_denied(RX_HOOKS, "-d", "rx", "-i", "vnet0") as traces:
        lab.deliver(peer, web1, 10, dst_port=warm)
        for number in range(3):
            lab.flush()
            lab.deliver(peer, web1, 1, dst_port=cold, first_seq=number)
        traces[-1].wait_lines(13)
    check_each(traces, RX_HOOKS, started=13, completed=13)
    for trace in traces:
        equal("traffic", [(one["packets"], one["bytes"] > 0) for one in trace.end["traffic"]],
              [(13, True)])


NOT_LEARNT = "52:54:00:00:09:02"


@case
def without_any_one_hook_of_a_linux_bridge_packets_end_as_with_it():
    port = lab.port()
    with topology.linux_bridge_with_a_group(web1):
        with each_denied(BRIDGE, "-i", "vnet0", "-p", "eth0", *vmlat.QUICK) as traces:
            lab.deliver(web1, peer, 5, dst_port=port)
            lab.deliver(peer, web1, 5, dst_port=port, **lab.APART)
            lab.deliver(web1, peer, 2, dst_port=port, first_seq=5, dst_mac=NOT_LEARNT)
            lab.deliver(web1, peer, 2, dst_port=port, first_seq=7, dst_ip=topology.GROUP,
                        dst_mac=topology.MAC_OF_GROUP)
            traces[-1].wait_lines(14)
    check_each(traces, BRIDGE, started=14, completed=14)
    hooks = {stage["hook"] for packet in traces[-1].packets for stage in packet["stages"]}
    ensure(hooks >= set(BRIDGE), f"not met with all: {set(BRIDGE) - hooks}")


# --- rarer packets ---

@contextlib.contextmanager
def one_denied(name, *words):
    with vmlat.trace(*words, "--outcome", ALL, "--timeout", "2", deny=name, odd=True) as trace:
        yield trace
    check_named(trace, [name])


@case
def without_the_hook_of_its_parts_a_super_frame_that_goes_up_expires():
    port = lab.port()
    with tap9.added():
        lab.flush()
        with one_denied("queue_userspace_packet", "-d", "tx", "-i", "tap9", "-p", "eth0") as trace:
            equal("arrived", send_super_frame(tap9, peer, port), SEGMENTS)
            trace.wait_lines(1)
    check_outcomes(trace, started=1, expired=1)


@case
def without_the_hooks_of_fragments_those_that_are_joined_are_not_merged():
    """Of a datagram whose first part comes last the kernel keeps all three, and sends them on."""
    port, numbers = lab.port(), range(3)
    with tracked_tap9():
        for number in numbers:
            send_fragmented(port, [number])
        words = ["-d", "tx", "-i", "tap9", "-p", "eth0"]
        with one_denied("ip_defrag", *words) as joining, \
                one_denied("ip_do_fragment", *words) as cutting:
            send_fragmented(port, numbers)
            joining.wait_lines(9)
            cutting.wait_lines(9)
    check_outcomes(joining, started=9, completed=7, diverted=2)
    check_outcomes(cutting, started=9, completed=3, merged=6)


SIZES6 = [1440, 1000, 496]


def fragments6(sender, receiver, port):
    """A UDP datagram in parts."""
    datagram = struct.pack("!4H", 12345, port, sum(SIZES6), 0xffff) + bytes(sum(SIZES6) - 8)
    for place, size in enumerate(SIZES6):
        at = sum(SIZES6[:place])
        header = struct.pack("!BBHI", frames.UDP, 0, at | (place < len(SIZES6) - 1), port)
        yield frames.ipv6(sender, receiver, frames.FRAGMENT, header + datagram[at:at + size])


def send_fragmented6(port):
    """Its last part comes last; all the parts leave eth0 again."""
    before = lab.counter("eth0", "tx_packets")
    with frames.end_of("tap9") as device:
        for part in fragments6(tap9, peer, port):
            os.write(device, part)
    lab.wait_for("the parts to leave",
                 lambda: lab.counter("eth0", "tx_packets") - before == len(SIZES6))


@case
def without_the_hooks_of_ipv6_fragments_those_that_are_joined_are_not_merged():
    names = ["nf_ct_frag6_gather", "ip6_fragment"]
    with tap9.added(), lab.rule("in_port=tap9,ipv6", "ct(table=1,zone=7)"), \
            lab.rule("table=1,in_port=tap9", "output:eth0"):
        send_fragmented6(lab.port())
        with each_denied(names, "-d", "tx", "-i", "tap9", "-p", "eth0") as traces:
            send_fragmented6(lab.port())
            traces[-1].wait_lines(3)
    for trace, name, outcomes in zip(traces, [*names, None], (
            {"completed": 2, "diverted": 1}, {"completed": 1, "merged": 2}, {"completed": 1, "merged": 2})):
        check_outcomes(trace, started=3, **outcomes)
        check_named(trace, [name] if name else [])


@case
def without_the_hook_of_unpacked_packets_a_tunnels_packet_is_taken_as_it_is():
    port, far, count = lab.port(), topology.Far("vxlan", 4), 10
    with topology.underlay("eth0"), far.added():
        lab.deliver(far, web1, 1, dst_port=port)
        with one_denied("gro_cells_receive", "-d", "rx", "-i", "vnet0") as trace:
            lab.deliver(far, web1, count, dst_port=port, **lab.APART)
            trace.wait_lines(count)
    check_outcomes(trace, started=count, completed=count)
    equal("flows", {packet["flow"]["dst_port"] for packet in trace.packets}, {4789})


OF_GRO = OF_TUNNELS[1:]


@case
def without_the_hooks_of_gro_a_tunnels_packets_are_unpacked_and_what_it_joins_is_lost():
    """It joins what comes in one go. Most of these skbs go without a word, and their addresses may
    be another packet's before the timeout; some are freed later."""
    port, far, count = lab.port(), topology.Far("vxlan", 4), 64
    burst = {"protocol": "tcp", "payload": 1000, "burst": True, "tcp_flags": "A",
             "tcp_seq_step": 1000}
    with topology.underlay("eth0"), far.added(), topology.without_gro("eth0"):
        lab.deliver(far, web1, 1, protocol="tcp", dst_port=port)
        with each_denied(OF_GRO, "-d", "rx", "-i", "vnet0") as traces:
            lab.deliver(far, web1, 10, dst_port=port, **lab.APART)
            received = lab.counter("eth0", "rx_packets")
            far.send(web1, count, dst_port=port, **burst)
            lab.wait_for("the packets to arrive",
                         lambda: lab.counter("eth0", "rx_packets") - received == count)
            for trace in traces:
                trace.wait_lines(10 + count)
    counted = traces[-1].end["packets"]
    ensure(counted["merged"] > 0, f"GRO joined none: {counted}")
    equal("with all", (counted["started"], counted["completed"] + counted["merged"]),
          (10 + count, 10 + count))
    for trace, name in zip(traces, [*OF_GRO, None]):
        found = trace.end["packets"]
        if name:
            lost = {one: found[one] for one in ("expired", "evicted", "dropped", "diverted")}
            equal(f"joined, without {name}", sum(lost.values()), counted["merged"])
            ensure(lost["dropped"] < counted["merged"], f"all were dropped: {lost}")
        else:
            lost = {"merged": counted["merged"]}
        check_outcomes(trace, started=10 + count, completed=counted["completed"], **lost)
        check_named(trace, [name] if name else [])
        equal(f"ports without {name}", {p["flow"]["dst_port"] for p in trace.packets}, {port})


@case
def with_tracepoints_alone_the_totals_are_still_there():
    port, count = lab.port(), 20
    lab.warm(web1, peer, dst_port=port)
    lab.warm(peer, web1, dst_port=port)
    with vmlat.trace("-i", "vnet0", deny=",".join(EVERY)) as trace:
        lab.deliver(web1, peer, count, dst_port=port)
        lab.deliver(peer, web1, count, dst_port=port)
    check_outcomes(trace, started=2 * count, completed=2 * count)
    for packet in trace.packets:
        equal("way", stages(packet), {"tx": ["tap", "xmit", "driver"],
                                      "rx": ["nic", "tap"]}[packet["direction"]])
    check_named(trace, EVERY)


@case
def without_the_hook_that_stands_in_for_it_too_there_is_no_xmit():
    port, alone, both = lab.port(), "net_dev_queue", "__dev_queue_xmit,net_dev_queue"
    lab.warm(web1, peer, dst_port=port)
    with each_denied([alone, both], "-d", "tx", "-i", "vnet0", *vmlat.QUICK) as traces:
        lab.deliver(web1, peer, 10, dst_port=port)
        traces[-1].wait_lines(10)
    check_each([traces[0], traces[-1]], [alone], started=10, completed=10)
    check_outcomes(traces[1], started=10, completed=10)
    check_named(traces[1], both.split(","))
    equal("ways", {tuple(stages(p)) for p in traces[1].packets},
          {tuple(stage for stage in TX if stage != "xmit")})


@contextlib.contextmanager
def rps(tap):
    """Its packets go through a CPU's backlog."""
    with open(f"/sys/class/net/{tap}/queues/rx-0/rps_cpus", "w", encoding="ascii") as file:
        file.write("1")
    yield


@case
def without_the_hook_before_rps_a_packet_begins_behind_it():
    """On this one CPU that may still be in its tap's call."""
    port = lab.port()
    with tap9.added(), rps("tap9"):
        lab.warm(tap9, peer, dst_port=port)
        with each_denied(OF_RPS, "-d", "tx", "-i", "tap9", *vmlat.QUICK) as traces:
            lab.deliver(tap9, peer, 10, dst_port=port, **lab.APART)
            traces[-1].wait_lines(10)
    behind = {"netif_receive_skb", "tun_get_user"}
    for trace, names, firsts in zip(traces, (OF_RPS, []), (behind, {"tun_get_user"})):
        check_outcomes(trace, started=10, completed=10)
        check_named(trace, names)
        equal("ways", {tuple(stages(p)) for p in trace.packets}, {tuple(TX)})
        equal("other first hooks", {p["stages"][0]["hook"] for p in trace.packets} - firsts, set())


@case
def without_the_beginning_or_the_end_of_a_direction_there_is_no_trace():
    for name in REQUIRED:
        for command in [], ["check"]:
            done = subprocess.run([vmlat.PROGRAM, *command], stdin=subprocess.DEVNULL, text=True,
                                  capture_output=True, timeout=90, check=False,
                                  env={**os.environ, "VMLAT_DENY": name})
            equal(f"status without {name}", done.returncode, 3)
            what = "beginning" if name == "netif_receive_skb" else "end"
            words = (f"no packet's {what} can be told without {name}: this kernel has no such "
                     "tracepoint; use a kernel that has it")
            ensure(words in done.stderr + done.stdout, f"without {name}: {done.stderr}")


@case
def a_way_that_the_kernel_refuses_is_followed_by_the_next():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    denials = ["__dev_queue_xmit:fentry", "__dev_queue_xmit:fentry,__dev_queue_xmit:kprobe"]
    with vmlat.running(vmlat.Trace(["-d", "tx", "-i", "vnet0"], deny=deny)
                       for deny in denials) as traces:
        lab.deliver(web1, peer, 10, dst_port=port)
    ways = [("__dev_queue_xmit", "kprobe"), ("net_dev_queue", "tracepoint")]
    for trace, deny, way in zip(traces, denials, ways):
        check_outcomes(trace, started=10, completed=10)
        equal("stages", {tuple(stages(p)) for p in trace.packets}, {tuple(TX)})
        of_xmit = [(h["hook"], h["attach"]) for h in trace.header["hooks"] if h["stage"] == "xmit"]
        equal(f"xmit, {deny} refused", of_xmit, [way])
        refused = [line for line in trace.errors().splitlines() if "the kernel refuses" in line]
        equal("warnings", len(refused), deny.count(":"))
    equal("without either way", [m for m in traces[1].header["missing"] if m["stage"] == "xmit"],
          [{"stage": "xmit", "hook": "__dev_queue_xmit", "why": "the kernel refused it"}])


@case
def fentry_that_the_kernel_has_for_no_function_is_tried_once():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    with vmlat.trace("-d", "tx", "-i", "vnet0", deny="fentry") as trace:
        lab.deliver(web1, peer, 10, dst_port=port)
    check_outcomes(trace, started=10, completed=10)
    equal("stages", {tuple(stages(p)) for p in trace.packets}, {tuple(TX)})
    equal("by", {h["attach"] for h in trace.header["hooks"]}, {"tracepoint", "kprobe", "kretprobe"})
    warned = [line for line in trace.errors().splitlines() if "to no function at all" in line]
    equal("warnings", len(warned), 1)
    equal("refused", [line for line in trace.errors().splitlines() if "the kernel refuses" in line], [])


@case
def a_required_hook_that_the_kernel_refuses_ends_the_trace():
    done = subprocess.run([vmlat.PROGRAM, "-t", "1"], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=120, check=False,
                          env={**os.environ, "VMLAT_DENY": "consume_skb:tracepoint"})
    equal(f"status; it says {done.stderr}", (done.returncode, done.stdout), (3, ""))
    ensure("no packet's end can be told without consume_skb: the kernel refused it" in done.stderr,
           f"stderr: {done.stderr}")


@case
def modules_without_btf_are_traced_as_with_it():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    lab.warm(peer, web1, dst_port=port)
    with vmlat.trace("-i", "vnet0", prefix=private(WITHOUT_MODULE_BTF)) as one:
        lab.deliver(web1, peer, 10, dst_port=port)
        lab.deliver(peer, web1, 10, dst_port=port)
    check_outcomes(one, started=20, completed=20)
    equal("ways", {tuple(stages(p)) for p in one.packets}, {tuple(TX), tuple(RX)})
    ways = {h["attach"] for h in one.header["hooks"] if h["hook"].startswith(("ovs_", "tun_"))}
    equal("by", ways, {"kprobe", "kretprobe"})


@case
def modules_without_btf_are_not_traced_by_fentry_alone():
    """The kernel's own hooks are, and the accounting is exact."""
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    lab.warm(peer, web1, dst_port=port)
    with vmlat.trace("-i", "vnet0", "--attach", "fentry", odd=True,
                     prefix=private(WITHOUT_MODULE_BTF)) as one:
        lab.deliver(web1, peer, 10, dst_port=port)
        lab.deliver(peer, web1, 10, dst_port=port)
    check_outcomes(one, started=20, completed=20)
    ways = {"tx": ("tap", "xmit", "driver"), "rx": ("nic", "tap")}
    equal("ways", {(p["direction"], tuple(stages(p))) for p in one.packets}, set(ways.items()))
    equal("by", {h["attach"] for h in one.header["hooks"]} - {"tracepoint", "fexit"}, {"fentry"})
    equal("why", {h["why"] for h in one.header["missing"] if h["hook"] not in SHORTCUTS},
          {"its module has no BTF, which fentry needs"})
    ensure(missing(one) > set(STAGE), f"missing: {missing(one)}")


@case
def a_kernel_with_tun_built_in_is_traced():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    lab.warm(peer, web1, dst_port=port)
    prefix = private(f"{WITHOUT_MODULE_BTF}; {WITH_TUN_BUILT_IN}")
    found = check(prefix=prefix)
    equal("tun", [m["state"] for m in found["modules"] if m["module"] == "tun"], ["built_in"])
    equal("its hooks", {(h["attach"], h["passed_over"]) for h in found["hooks"]
                        if h["hook"].startswith("tun_") and h["attach"]},
          {("kprobe", "it is not in BTF, which fentry needs")})
    with vmlat.trace("-i", "vnet0", prefix=prefix) as one:
        lab.deliver(web1, peer, 10, dst_port=port)
        lab.deliver(peer, web1, 10, dst_port=port)
    check_outcomes(one, started=20, completed=20)
    equal("ways", {tuple(stages(p)) for p in one.packets}, {tuple(TX), tuple(RX)})
    equal("hooks of tun", {s["hook"] for p in one.packets for s in p["stages"]
                           if s["hook"].startswith("tun_")}, {"tun_sendmsg", "tun_net_xmit"})


@case
def a_hook_that_there_is_not_cannot_be_denied():
    done = subprocess.run([vmlat.PROGRAM], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=90, check=False,
                          env={**os.environ, "VMLAT_DENY": "ovs_dp_upcal"})
    equal("status", done.returncode, 2)
    ensure("there is no hook ovs_dp_upcal" in done.stderr, f"stderr: {done.stderr}")
