# SPDX-License-Identifier: GPL-2.0
"""Packets that go up to ovs-vswitchd: each gets its own way back, or says that it is not known."""
import contextlib
import os
import subprocess
import time

import frames
import lab
import topology
import truth
import vmlat
from case import case, ensure, equal
from cases_outcome import check_outcomes
from cases_way import TX, TX_COLD, check_all_completed, stages
from lab import peer, tap9, web1

TAP9 = ["-d", "tx", "-i", "tap9", "-p", "eth0"]
UP = TX[:3] + ["upcall"]


def stage_time(packet, name):
    """When it passed a stage for the first time, in nanoseconds of CLOCK_REALTIME."""
    offset = next(s["offset_ns"] for s in packet["stages"] if s["stage"] == name)
    return truth.begin(packet) + offset


def wait_missed(before, count):
    lab.wait_for("the packets to miss", lambda: lab.upcalls()[1] - before >= count)


def write(*written):
    """Frames that a VM behind tap9 sends."""
    with frames.end_of("tap9") as device:
        for frame in written:
            os.write(device, frame)


def numbered(port, number, size=64):
    return frames.udp(tap9, peer, (port, port), bytes(size) + truth.NUMBER.pack(number))


# --- a slow ovs-vswitchd ---

@case
def no_packet_is_reinjected_while_ovs_vswitchd_stands_still_and_warm_flows_do_not_wait():
    port, count = lab.port(), 40
    cold = [lab.port() for _ in range(count)]
    with tap9.added():
        lab.flush()
        lab.warm(web1, peer, dst_port=port)
        with vmlat.trace("-d", "tx", "-i", "vnet0,tap9", "-p", "eth0") as trace:
            with lab.stopped(lab.vswitchd()):
                end = time.monotonic() + 0.3
                write(*(numbered(one, 0) for one in cold))
                lab.deliver(web1, peer, count, dst_port=port)
                time.sleep(max(0, end - time.monotonic()))
                resumed = time.time_ns()
            trace.wait_lines(2 * count)
    check_outcomes(trace, started=2 * count, completed=2 * count)
    waited = [p for p in trace.packets if p["vm_interface"] == "tap9"]
    equal("cold flows", sorted(p["flow"]["dst_port"] for p in waited), cold)
    for packet in trace.packets:
        is_cold = packet in waited
        equal("way", stages(packet), TX_COLD if is_cold else TX)
        late = stage_time(packet, "reinject" if is_cold else "driver") - resumed
        ensure((late > 0) == is_cold, f"{late} ns after SIGCONT: {packet}")


# --- many up at once ---

@contextlib.contextmanager
def upcalls_at_once(count):
    """While ovs-vswitchd stands still `count` packets go up, and only then come back."""
    lab.flush()
    before = lab.upcalls()[1]
    with lab.stopped(lab.vswitchd()):
        yield
        wait_missed(before, count)


FILLER = lab.port()
QUEUED_AT_MOST = 4000


def fill(count):
    """Packets whose upcalls fill the queue."""
    tap9.send(peer, count, dst_port=FILLER, payload=1400, burst=True)


@case
def of_30000_cold_packets_those_that_the_kernel_cannot_queue_are_upcall_lost():
    count, (lost, _) = 30000, lab.upcalls()
    with tap9.added():
        with vmlat.trace(*TAP9, "--timeout", "60", "--outcome", "completed,ambiguous") as trace:
            with upcalls_at_once(count):
                fill(count)
            lost = lab.upcalls()[0] - lost
            queued = count - lost
            trace.wait_lines(queued, 60)
    ensure(500 < queued < QUEUED_AT_MOST, f"the kernel queued {queued}")
    check_outcomes(trace, started=count, completed=queued, upcall_lost=lost)
    equal("those that came back", sorted(p["ip_id"] for p in trace.packets), list(range(queued)))
    ensure(all(stages(p) == TX_COLD for p in trace.packets), "a way without an upcall")


@contextlib.contextmanager
def timer_interrupts():
    """Hundreds a second, in each of which a queue's timer calls __netif_schedule."""
    words = lab.Machine(8, [lab.TRAFFIC], "dum0", None).send_words(peer, 1 << 31, {"gap_us": 100})
    with topology.Changes() as changes:
        changes.do("modprobe dummy")
        changes.do("ip link add dum0 type dummy", "ip link del dum0")
        changes.do("ip link set dum0 up")
        changes.do("tc qdisc add dev dum0 root netem limit 1000 delay 4ms 4ms")
        sender = subprocess.Popen([lab.TRAFFIC, *words], stdin=subprocess.DEVNULL)
        try:
            yield
            ensure(lab.counter("dum0", "tx_packets") > 1000, "there were few interrupts")
        finally:
            sender.kill()
            sender.wait()


@case
def an_interrupt_amid_a_packet_that_goes_up_changes_nothing_of_it():
    """One that comes just when a flight leaves its CPU: one packet in thousands."""
    count, sent = 10000, lab.counter("eth0", "tx_packets")
    with tap9.added(), topology.Changes() as changes:
        changes.callback(lab.run, "ovs-vsctl", "remove", "Open_vSwitch", ".", "other_config",
                         "flow-limit")
        # no flow is installed: each packet goes up
        lab.run("ovs-vsctl", "set", "Open_vSwitch", ".", "other_config:flow-limit=0")
        lab.flush()
        with vmlat.trace(*TAP9, "--timeout", "60", "-S") as trace, timer_interrupts():
            tap9.send(peer, count, dst_port=lab.port(), gap_us=100)
            lab.wait_for("all of them to leave",
                         lambda: lab.counter("eth0", "tx_packets") - sent == count, 60)
    check_outcomes(trace, started=count, completed=count)


@case
def what_ovs_vswitchd_does_not_answer_within_the_timeout_expires_and_stays_so():
    count, sent = 1000, lab.counter("eth0", "tx_packets")
    with tap9.added():
        with vmlat.trace(*TAP9, "--timeout", "1", odd=True) as trace:
            with upcalls_at_once(count):
                fill(count)
                trace.wait_lines(count, 60)
            lab.wait_for("all of them to leave",
                         lambda: lab.counter("eth0", "tx_packets") - sent == count)
    check_outcomes(trace, started=count, expired=count)
    equal("ways", {tuple(stages(p)) for p in trace.packets}, {tuple(UP)})
    ensure(all(p["total_ns"] >= 1_000_000_000 for p in trace.packets), "before the timeout")
    equal("late answers, of no record", trace.end["unstarted"], count)


@case
def the_late_answer_of_an_expired_packet_is_not_taken_for_that_of_its_twin():
    port, sent = lab.port(), lab.counter("eth0", "tx_packets")
    with tap9.added():
        with vmlat.trace(*TAP9, "--timeout", "3") as trace:
            with upcalls_at_once(2):
                write(numbered(port, 0))
                trace.wait_lines(1)
                write(numbered(port, 0))
                trace.wait_lines(2)
            lab.wait_for("both to leave", lambda: lab.counter("eth0", "tx_packets") - sent == 2)
    equal("outcomes", [p["outcome"] for p in trace.packets], ["expired", "ambiguous"])
    check_outcomes(trace, started=2, expired=1, ambiguous=1)
    equal("ways", [stages(p) for p in trace.packets], [UP, UP])


# --- told apart by content ---

@case
def of_64_packets_up_at_once_each_gets_its_own_way_back_or_is_ambiguous():
    ports = near, far, same = [lab.port() for _ in range(3)]
    streams = [truth.stream(numbered(port, 0, size), 64) for port, size in ((near, 36), (far, 600))]
    with tap9.added(), truth.departures(near) as near_left, truth.departures(far) as far_left:
        with vmlat.trace(*TAP9) as trace:
            with upcalls_at_once(3 * 64):
                writes = [truth.write_stream("tap9", each) for each in streams]
                write(*[numbered(same, 0)] * 64)
            trace.wait_lines(3 * 64)
        left = near_left(), far_left()
    told = [[p for p in trace.packets
             if p["flow"]["dst_port"] == port and p["outcome"] == "completed"] for port in ports]
    count = sum(map(len, told))
    check_outcomes(trace, started=3 * 64, completed=count, ambiguous=3 * 64 - count)
    for packets, written, departures in zip(told, writes, left):
        truth.identify(packets, written, departures)
    equal("told where bytes 64 to 67 of the IP packet differ", len(told[0]), 64)
    equal("ambiguous there", [p for p in trace.packets if p["flow"]["dst_port"] == near
                              and p["outcome"] == "ambiguous"], [])
    equal("told where only what is behind them does, or nothing", list(map(len, told[1:])), [0, 0])


@case
def a_twin_that_was_lost_does_not_stand_in_for_later_packets():
    kept, gone = lab.port(), lab.port()
    with tap9.added():
        with vmlat.trace(*TAP9, "--dst-port", f"{kept}-{gone}", "--timeout", "60") as trace:
            sent, (empty, _) = lab.counter("eth0", "tx_packets"), lab.upcalls()
            with upcalls_at_once(QUEUED_AT_MOST):
                write(numbered(kept, 0, 1400))
                fill(QUEUED_AT_MOST)
                full, _ = lab.upcalls()
                write(*(numbered(port, 0, 1400) for port in (kept, gone, gone)))
                equal("lost of the twins", lab.upcalls()[0] - full, 3)
            trace.wait_lines(4)
            queued = 1 + QUEUED_AT_MOST - (full - empty)
            lab.wait_for("the queue to be empty",
                         lambda: lab.counter("eth0", "tx_packets") - sent >= queued)
            for port in kept, gone:
                lab.flush()
                write(numbered(port, 0, 1400))
            trace.wait_lines(6)
    packets = sorted(trace.packets, key=truth.begin)
    equal("started", trace.end["packets"]["started"], 6)
    equal("outcomes of the twins", [p["outcome"] for p in packets[1:4]], ["upcall_lost"] * 3)
    ensure(packets[0]["outcome"] in ("completed", "ambiguous"), f"the first: {packets[0]}")
    for packet in packets[4:]:
        equal("a later one", (packet["outcome"], stages(packet)), ("completed", TX_COLD))


@case
def every_kind_of_packet_is_found_again_after_its_upcall():
    kinds = [{"protocol": "tcp"}, {"protocol": "icmp"}, {"payload": 0}, {"payload": 1400},
             {"csum": "partial"}, {"protocol": "tcp", "csum": "partial"}, {"vlan": 7},
             {"vlan": [7, 8], "vlan_proto": "802.1ad"}, {"payload": 9}]
    six = {"src_ip": tap9.ip6, "dst_ip": peer.ip6}
    kinds += [{**kind, **six} for kind in kinds]
    with tap9.added():
        with vmlat.trace(*TAP9) as trace:
            with upcalls_at_once(len(kinds)):
                tap9.send_all(peer, [{"count": 1, "dst_port": lab.port(), **kind}
                                     for kind in kinds])
            trace.wait_lines(len(kinds))
    check_outcomes(trace, started=len(kinds), completed=len(kinds))
    equal("ways", {tuple(stages(p)) for p in trace.packets}, {tuple(TX_COLD)})


# --- several times ---

@contextlib.contextmanager
def two_conntrack_tables(port, protocol="udp"):
    """What is for this port is looked up three times."""
    for table, then in (10, "ct(table=11,zone=2)"), (11, "output:eth0"):
        lab.run("ovs-ofctl", "add-flow", "br0", f"table={table},ip,actions={then}")
    try:
        with lab.rule(f"{protocol},tp_dst={port}", "ct(table=10)"):
            yield
    finally:
        for table in 10, 11:
            lab.run("ovs-ofctl", "del-flows", "br0", f"table={table}")


@case
def a_packet_through_two_conntrack_tables_goes_up_three_times_in_one_record():
    port = lab.port()
    with two_conntrack_tables(port), vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "eth0") as trace:
        lab.deliver(web1, peer, 1, dst_port=port)
        lab.in_table("recirc_id(0)", "actions:ct")
        lab.wait_for("all three flows", lambda: len(lab.flows()) == 3)
        with peer.counting(9, first_seq=1, dst_port=port):
            web1.send(peer, 9, first_seq=1, dst_port=port)
    check_all_completed(trace, 10)
    once, end = ["datapath", "upcall", "reinject"], ["vport", "xmit", "driver"]
    for packet in trace.packets:
        looked_up = once * 3 if packet["ip_id"] == 0 else ["datapath"] * 3
        equal("way", stages(packet), ["tap", "ovs_in", *looked_up, *end])


# --- not this packet ---

def packet_out(frame):
    """A packet that the switch makes, as if from tap9."""
    lab.run("ovs-ofctl", "packet-out", "br0",
            f"in_port=tap9,packet={frame.hex()},actions=output:eth0")


@case
def a_packet_that_ovs_makes_itself_is_no_record_and_gives_none_its_times():
    waiting, made = lab.port(), lab.port()
    sent = lab.counter("eth0", "tx_packets")
    with tap9.added(), lab.rule(f"udp,tp_dst={waiting}", "drop"):
        with vmlat.trace(*TAP9, "--timeout", "2", odd=True) as trace:
            packet_out(numbered(made, 0))
            write(numbered(waiting, 0))
            for number in 1, 2, 3:
                packet_out(numbered(made, number))
            trace.wait_lines(1)
    equal("packets that left", lab.counter("eth0", "tx_packets") - sent, 4)
    check_outcomes(trace, started=1, expired=1)
    equal("its way", stages(trace.packets[0]), UP)
    equal("its port", trace.packets[0]["flow"]["dst_port"], waiting)
    equal("unstarted: what the switch made", trace.end["unstarted"], 4)


# --- up by an action ---

@case
def a_packet_that_the_controller_gets_completes_only_by_a_way_of_its_own():
    actions = "controller", "controller,output:eth0", "output:eth0,controller"
    ports = [lab.port() for _ in actions]
    with tap9.added(), contextlib.ExitStack() as rules:
        for port, action in zip(ports, actions):
            rules.enter_context(lab.rule(f"udp,tp_dst={port}", action))
        with vmlat.trace(*TAP9, "--timeout", "1") as trace:
            for number in range(3):
                write(*(numbered(port, number) for port in ports))
                lab.wait_for("their flows", lambda: len(lab.flows()) == len(ports))
            trace.wait_lines(9)
    check_outcomes(trace, started=9, completed=6, expired=3)
    for packet in trace.packets:
        port, way = packet["flow"]["dst_port"], stages(packet)
        equal("outcome", packet["outcome"], "expired" if port == ports[0] else "completed")
        if port == ports[0]:
            equal("the last stage", way[-1], "upcall")
        else:
            equal("way", [name for name in way if name not in ("upcall", "reinject")], TX)


@case
def a_packet_of_a_slow_path_flow_goes_up_each_time_and_completes():
    """Only user space can set an ICMP type: it executes both outputs, the first as it was."""
    actions = "output:eth0,set_field:0->icmp_type,output:vnet1"
    with tap9.added(), lab.rule("icmp", actions):
        with vmlat.trace(*TAP9, "--timeout", "1", odd=True) as trace:
            for number in range(3):
                tap9.send(peer, 1, protocol="icmp", first_seq=number)
                lab.in_table("in_port(tap9)", "slow_path(action)")
            trace.wait_lines(3)
    check_all_completed(trace, 3)
    equal("ways", [stages(p) for p in trace.packets], [TX_COLD] * 3)
    equal("what user space made of them", trace.end["unstarted"], 3)
