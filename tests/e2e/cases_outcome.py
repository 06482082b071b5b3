# SPDX-License-Identifier: GPL-2.0
"""What became of the packets: the threshold, losses of the reader, each term of the accounting."""
import contextlib
import re
import signal
import socket
import time

import lab
import vmlat
from case import case, ensure, equal
from lab import peer, tap9, web1, web2

TX = ["-d", "tx", "-i", "vnet0", "-p", "eth0"]


def outcomes(trace):
    """The end's terms that are not 0."""
    return {name: count for name, count in trace.end["packets"].items() if count}


def check_outcomes(trace, **wanted):
    equal("the accounting", outcomes(trace),
          {name: count for name, count in wanted.items() if count})


def check_lines(trace, outcome, count):
    equal(f"lines that say {outcome}", sum(p["outcome"] == outcome for p in trace.packets), count)


# --- threshold ---

@contextlib.contextmanager
def slow_class(port, delay):
    """eth0 delays UDP packets to this port."""
    with lab.qdisc("handle", "1:", "prio"):
        lab.run("tc", "qdisc", "add", "dev", "eth0", "parent", "1:3", "netem", "delay", delay)
        lab.run("tc", "filter", "add", "dev", "eth0", "parent", "1:", "protocol", "ip", "u32",
                "match", "ip", "dport", port, "0xffff", "flowid", "1:3")
        yield


@case
def a_threshold_reports_exactly_the_class_that_the_nic_delays():
    slow, fast = lab.port(), lab.port()
    lab.warm(web1, peer, dst_port=fast)
    with slow_class(slow, "400ms"):
        with vmlat.trace(*TX, "-l", "300000") as trace, vmlat.trace(*TX) as every:
            with peer.counting(30, dst_port=slow):
                for round_ in range(2):
                    lab.deliver(web1, peer, 35, dst_port=fast, first_seq=0)
                    web1.send(peer, 15, dst_port=slow, first_seq=15 * round_)
    slowest = max(p["total_ns"] for p in every.packets if p["flow"]["dst_port"] == fast)
    equal(f"ports of the packets reported (the slowest of the others took {slowest} ns)",
          [p["flow"]["dst_port"] for p in trace.packets], [slow] * 30)
    equal("each once", sorted(p["ip_id"] for p in trace.packets), list(range(30)))
    for packet in trace.packets:
        offset = {stage["stage"]: stage["offset_ns"] for stage in packet["stages"]}
        ensure(offset["driver"] - offset["xmit"] >= 390_000_000,
               f"the delay is not between xmit and driver: {offset}")
    check_outcomes(trace, started=100, completed=100)
    equal("reported without a threshold", len(every.packets), 100)


# --- a reader that is too slow ---

@case
def a_trace_that_cannot_follow_its_packets_ends_when_it_is_told():
    port = lab.port()
    with tap9.added():
        lab.warm(tap9, peer, dst_port=port)
        with vmlat.trace("-d", "tx", "-i", "tap9", "-p", "eth0", "--stack", "--buffer", 1024,
                         *vmlat.QUICK, odd=True) as trace, \
                lab.sending(tap9, peer, dst_port=port):
            time.sleep(3)
            trace.process.send_signal(signal.SIGINT)
            lab.wait_for("its end", trace.ended, 100)


@contextlib.contextmanager
def slow_reader(status, *options):
    """2,000 packets while vmlat stands still, and its buffer holds a few."""
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    with vmlat.trace(*TX, "--buffer", 4, *options, odd=True, status=status) as trace:
        with lab.stopped(trace.process.pid):
            lab.deliver(web1, peer, 2000, dst_port=port)
        yield trace


@case
def what_a_stopped_reader_loses_is_counted_exactly():
    with slow_reader(0) as trace:
        pass
    events = trace.end["events"]
    ensure(events["lost"] > 1000, f"the buffer held too much for this test: {events}")
    equal("reported and lost", events["reported"] + events["lost"], 2000)
    check_outcomes(trace, started=2000, completed=2000)


@case
def strict_says_that_reports_were_lost():
    with slow_reader(4, "--strict") as trace:
        pass
    ensure(trace.end["events"]["lost"] > 0, "nothing was lost")
    ensure("--strict" in trace.errors(), f"stderr: {trace.errors()}")


# --- dropped ---

def drop_reason(name):
    """It is the kernel's name or Open vSwitch's for it; null where this kernel has none."""
    known = lab.in_btf(f"SKB_DROP_REASON_{name}") or lab.in_btf(f"OVS_DROP_{name}", "openvswitch")
    return name if known else None


def dropped_by_flow(port):
    """Packets of this port as the datapath's flow counts them: the first only made it."""
    found = [line for line in lab.flows() if f"dst={port}" in line and "actions:drop" in line]
    equal("flows that drop them", len(found), 1)
    return int(re.search(r"packets:(\d+)", found[0]).group(1))


@case
def packets_that_ovs_drops_are_dropped():
    port = lab.port()
    with lab.rule(f"udp,tp_dst={port}", "drop"):
        web1.send(peer, 1, dst_port=port)
        lab.in_table("in_port(vnet0)", "actions:drop")
        before = dropped_by_flow(port)
        with vmlat.trace(*TX) as trace:
            web1.send(peer, 20, dst_port=port)
            trace.wait_lines(20)
        equal("packets of the flow", dropped_by_flow(port) - before, 20)
    check_outcomes(trace, started=20, dropped=20)
    check_lines(trace, "dropped", 20)
    equal("stages", {tuple(s["stage"] for s in p["stages"]) for p in trace.packets},
          {("tap", "ovs_in", "datapath")})
    reason = drop_reason("LAST_ACTION")
    equal("reasons", {p["reason"] for p in trace.packets}, {reason})
    # Open vSwitch consumes them before it has reasons (6.6)
    where = "do_execute_actions" if reason else "ovs_dp_process_packet"
    equal("where", {p["where"] for p in trace.packets}, {where})
    equal("drops", trace.end["drops"], [{"where": where, "reason": reason, "count": 20}])


@case
def packets_that_a_full_tap_drops_are_dropped():
    """QEMU stands still, so its tap's ring fills up."""
    port, count = lab.port(), 1500
    lab.warm(peer, web2, dst_port=port)
    names = [("vnet1", "tx_dropped"), ("eth0", "rx_packets"), ("vnet1", "tx_packets")]
    before = [lab.counter(*name) for name in names]
    with vmlat.trace("-d", "rx", "--vm", "web2", "--dst-port", port) as trace:
        with lab.stopped(web2.qemu()):
            peer.send(web2, count, dst_port=port, gap_us=200)
            lab.wait_for("the packets to arrive",
                         lambda: lab.counter("eth0", "rx_packets") - before[1] == count)
        lab.wait_for("QEMU to read what is in its ring",
                     lambda: sum(lab.counter(*names[n]) - before[n] for n in (0, 2)) >= count)
    dropped = lab.counter(*names[0]) - before[0]
    ensure(dropped > 100, f"the tap counts {dropped} as dropped")
    check_outcomes(trace, started=count, completed=count - dropped, dropped=dropped)
    check_lines(trace, "dropped", dropped)
    reason = drop_reason("FULL_RING")
    equal("drops", trace.end["drops"],
          [{"where": "tun_net_xmit", "reason": reason, "count": dropped}])


# --- diverted ---

@contextlib.contextmanager
def host_answers(port):
    """Packets to this port reach a socket of the host itself, by br0."""
    with open("/sys/class/net/br0/address", encoding="ascii") as file:
        mac = file.read().strip()
    lab.run("ip", "addr", "add", "10.0.7.1/24", "dev", "br0")
    try:
        with lab.rule(f"udp,tp_dst={port}", f"mod_dl_dst:{mac},LOCAL"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
                receiver.bind(("10.0.7.1", port))
                receiver.settimeout(30)
                yield receiver
    finally:
        lab.run("ip", "addr", "del", "10.0.7.1/24", "dev", "br0")


@case
def packets_to_the_hosts_own_stack_are_diverted():
    """When they are freed; or at the timeout, where the kernel frees without a word what a socket
    has read (skb_attempt_defer_free in skb_consume_udp, seen in 7.2)."""
    port = lab.port()
    with host_answers(port) as receiver:
        with vmlat.trace(*TX, "--outcome", "diverted", "--timeout", "1") as trace:
            web1.send(peer, 20, dst_ip="10.0.7.1", dst_port=port, gap_us=1000)
            for _ in range(20):
                receiver.recv(2000)
            trace.wait_lines(20)
    check_outcomes(trace, started=20, diverted=20)
    check_lines(trace, "diverted", 20)


@case
def packets_that_wait_in_the_hosts_stack_are_diverted_at_the_timeout():
    port = lab.port()
    with host_answers(port) as receiver:
        with vmlat.trace(*TX, "--outcome", "diverted", "--timeout", "1") as trace:
            web1.send(peer, 5, dst_ip="10.0.7.1", dst_port=port, gap_us=1000)
            trace.wait_lines(5)
        for _ in range(5):
            receiver.recv(2000)
    check_outcomes(trace, started=5, diverted=5)


# --- with ovs-vswitchd ---

@case
def a_packet_that_ovs_vswitchd_answers_with_a_drop_expires():
    ports = [lab.port() for _ in range(5)]
    with contextlib.ExitStack() as rules:
        for port in ports:
            rules.enter_context(lab.rule(f"udp,tp_dst={port}", "drop"))
        with vmlat.trace(*TX, "--timeout", "1") as trace, \
                vmlat.trace(*TX, "--timeout", "1", text=True) as text:
            web1.send_all(peer, [{"dst_port": port, "count": 1} for port in ports])
            trace.wait_lines(5)
            lab.wait_for("the text", lambda: text.text().count("===\n") >= 5)
    check_outcomes(trace, started=5, expired=5)
    for packet in trace.packets:
        equal("the last stage", packet["stages"][-1]["stage"], "upcall")
        ensure(packet["total_ns"] >= 1_000_000_000, "it expired before the timeout")
    equal("reports that say so", text.text().count("no reinjection"), 5)


@case
def three_packets_of_one_content_in_flight_are_ambiguous():
    port, other = lab.port(), lab.port()
    lab.flush()
    with vmlat.trace(*TX, "--timeout", "60") as trace:
        with peer.counting(1, linger=1000, dst_port=port) as result:
            with lab.stopped(lab.vswitchd()):
                same = {"dst_port": port, "count": 1, "ip_id": 7}
                web1.send_all(peer, [same, same, same, {"dst_port": other, "count": 1}])
            trace.wait_lines(4)
    equal("copies that arrived", result["received"], 3)
    check_outcomes(trace, started=4, completed=1, ambiguous=3)
    equal("the other is told", [p["flow"]["dst_port"] for p in trace.packets
                                if p["outcome"] == "completed"], [other])


# --- the records ---

@case
def packets_for_which_there_is_no_record_are_evicted():
    port = lab.port()
    with vmlat.trace(*TX, "--flights", "16", odd=True) as trace:
        lab.flush()
        with peer.counting(100, dst_port=port), lab.stopped(lab.vswitchd()):
            web1.send(peer, 100, dst_port=port)
    completed = trace.end["packets"]["completed"]
    ensure(1 <= completed <= 16, f"{completed} completed with room for 16")
    check_outcomes(trace, started=100, completed=completed, evicted=100 - completed)
    check_lines(trace, "completed", completed)


@case
def packets_that_wait_when_the_trace_ends_are_in_flight():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    with lab.qdisc("netem", "delay", "100s"):
        with vmlat.trace(*TX, "--timeout", "60") as trace, \
                vmlat.trace(*TX, "--timeout", "60", "--outcome", "in_flight") as told:
            web1.send(peer, 20, dst_port=port)
            lab.wait_for("20 packets to wait", lambda: lab.qdisc_root()["qlen"] == 20)
    check_outcomes(trace, started=20, in_flight=20)
    equal("reported by default", len(trace.packets), 0)
    check_lines(told, "in_flight", 20)


@case
def a_packet_that_waits_longer_than_the_timeout_expires():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    with lab.qdisc("netem", "delay", "4s"):
        with vmlat.trace(*TX, "--timeout", "0.5") as trace:
            web1.send(peer, 10, dst_port=port)
            trace.wait_lines(10)
    check_outcomes(trace, started=10, expired=10)
    equal("the last stages", {p["stages"][-1]["stage"] for p in trace.packets}, {"xmit"})


@case
def outcome_reports_only_what_it_names():
    drop, pass_ = lab.port(), lab.port()
    with lab.rule(f"udp,tp_dst={drop}", "drop"):
        for port in (drop, pass_):
            web1.send(peer, 1, dst_port=port)
        lab.in_table("in_port(vnet0)", "actions:drop")
        lab.in_table("in_port(vnet0)", "actions:eth0")
        with vmlat.traces([*TX, "--outcome", "dropped"], [*TX, "--outcome", "completed"],
                          [*TX, "--outcome", "completed,dropped"]) as traces:
            web1.send(peer, 7, dst_port=drop)
            lab.deliver(web1, peer, 5, dst_port=pass_)
            traces[2].wait_lines(12)
    for trace, wanted in zip(traces, (["dropped"] * 7, ["completed"] * 5, None)):
        got = sorted(p["outcome"] for p in trace.packets)
        equal("reported", got, wanted or ["completed"] * 5 + ["dropped"] * 7)
        check_outcomes(trace, started=12, completed=5, dropped=7)
