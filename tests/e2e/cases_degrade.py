# SPDX-License-Identifier: GPL-2.0
"""Without a hook: the trace runs, what is missing is named, and every packet ends as it did with it."""
import contextlib
import os
import socket
import subprocess

import lab
import topology
import vmlat
from case import case, ensure, equal
from cases_check import WITHOUT_MODULE_BTF, private
from cases_outcome import check_outcomes
from cases_way import RX, TX, stages
from lab import peer, tap9, web1

REQUIRED = ["netif_receive_skb", "net_dev_start_xmit", "net_dev_xmit", "kfree_skb", "consume_skb"]
REST = ["qdisc_enqueue", "queue_userspace_packet", "ip_defrag", "nf_ct_frag6_gather",
        "ip_do_fragment", "ip6_fragment", "__netif_schedule"]
# a stage that nobody else shows
STAGE = {"netdev_frame_hook": "ovs_in", "ovs_dp_process_packet": "datapath",
         "ovs_flow_key_extract_userspace": "reinject", "ovs_vport_send": "vport"}
# who shows it then
INSTEAD = {"tun_get_user": "netif_receive_skb", "tun_sendmsg": "netif_receive_skb",
           "ovs_dp_upcall": "queue_userspace_packet", "__dev_queue_xmit": "net_dev_queue",
           "tun_net_xmit": "net_dev_start_xmit"}
EVERY = [*STAGE, *INSTEAD, "internal_dev_xmit", ",".join(REST)]
ALL = "completed,dropped,diverted,merged,upcall_lost,expired,evicted,ambiguous"
# without these nobody sees that a packet goes to the host; where that frees it without a word, as
# newer kernels do with UDP, it is evicted
TO_HOST = ["ovs_vport_send", "internal_dev_xmit"]
AT_ONCE = 6


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
                             if not (name in STAGE and entry[1] == name)])
                  for outcome, visits in found]
            for key, found in all_records.items()}


def missing(trace):
    return {one["hook"] for one in trace.header["missing"]
            if one["why"] != "not needed for this direction"}


def check_named(trace, names):
    """The header, and a warning, name these, and no others but one that nobody needs."""
    equal("missing", missing(trace) - {"qdisc_enqueue"}, set(names) - {"qdisc_enqueue"})
    ensure(missing(trace) >= set(names), f"not named: {set(names) - missing(trace)}")
    warned = {line.split()[2] for line in trace.errors().splitlines() if "is not traced" in line}
    equal("warned of", warned, set(names) - {"qdisc_enqueue"})


def check_equal_without(name, got, full):
    wanted = without(name, full)
    for key in wanted:
        equal(f"without {name}, packet {key}", got.get(key), wanted[key])
    equal(f"packets without {name}", got.keys(), wanted.keys())


@contextlib.contextmanager
def each_denied(names, *words):
    """A trace without each of these, and one that has all: the last."""
    with vmlat.running(vmlat.Trace([*words, "--outcome", ALL, "--timeout", "3"], deny=name, odd=True)
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
        check_named(trace, name.split(","))
    check_named(traces[-1], [])


def portions(names):
    return [names[at:at + AT_ONCE] for at in range(0, len(names), AT_ONCE)]


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
    with tap9.added(), to_drop_and_to_host(ports["host"]) as (listener, to_host):
        for names in portions([name for name in EVERY if name != "tun_net_xmit"]):
            lab.flush()
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


@case
def with_tracepoints_alone_the_totals_are_still_there():
    port, count = lab.port(), 20
    names = ",".join(EVERY).split(",")
    lab.warm(web1, peer, dst_port=port)
    lab.warm(peer, web1, dst_port=port)
    with vmlat.trace("-i", "vnet0", deny=",".join(names)) as trace:
        lab.deliver(web1, peer, count, dst_port=port)
        lab.deliver(peer, web1, count, dst_port=port)
    check_outcomes(trace, started=2 * count, completed=2 * count)
    for packet in trace.packets:
        equal("way", stages(packet), {"tx": ["tap", "xmit", "driver"],
                                      "rx": ["nic", "tap"]}[packet["direction"]])
    check_named(trace, names)


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
def a_hook_that_there_is_not_cannot_be_denied():
    done = subprocess.run([vmlat.PROGRAM], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=90, check=False,
                          env={**os.environ, "VMLAT_DENY": "ovs_dp_upcal"})
    equal("status", done.returncode, 2)
    ensure("there is no hook ovs_dp_upcal" in done.stderr, f"stderr: {done.stderr}")
