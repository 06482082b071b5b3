# SPDX-License-Identifier: GPL-2.0
"""Two CPUs: packets that cross from one to the other, or come by both at once, are told apart."""
import contextlib
import os
import socket
import threading
import time

import faults
import frames
import lab
import truth
import vmlat
from case import ensure, equal, two_cpus_case
from cases_outcome import check_outcomes
from cases_way import TX as WAY
from lab import Tap, peer, tap9

TX = ["-d", "tx", "-p", "eth0", "--timeout", "60", "--buffer", 1 << 16]
PAYLOAD = bytes(60 + truth.NUMBER.size)
LOOK_AT_PORT = "move:NXM_OF_UDP_DST[]->NXM_NX_REG0[0..15],output:eth0"
PATIENT = ["pfifo", "limit", 50000]  # the usual qdisc drops what waits for long
BACKLOG = "net.core.netdev_max_backlog"

tap8 = Tap("tap8", 8)


def packets_of(machine, port, count):
    return truth.stream(frames.udp(machine, peer, (port, 5201), PAYLOAD), count)


@contextlib.contextmanager
def two_taps():
    with tap8.added(), tap9.added():
        lab.flush()  # of taps of these names there may be flows still
        for tap in tap8, tap9:
            lab.warm(tap, peer, dst_port=lab.port())
        yield


def of_port(trace, port):
    return [packet for packet in trace.packets if packet["flow"]["src_port"] == port]


def cpus(packet):
    """Of its first stage and its last."""
    return packet["stages"][0]["cpu"], packet["stages"][-1]["cpu"]


def check_overlap(written):
    first, second = ((writes[0].before, writes[-1].after) for writes in written)
    ensure(first[0] < second[1] and second[0] < first[1], "one wrote before the other began")


def trace_two(streams, *jobs):
    """Streams that two CPUs write at once, {port: count}; each packet has its own record."""
    with contextlib.ExitStack() as stack:
        departures = [stack.enter_context(truth.departures(port)) for port in streams]
        with vmlat.trace(*TX) as trace:
            sent = lab.counter("eth0", "tx_packets")
            written = truth.write_at_once(*jobs)
            lab.wait_for("the last ones to leave", lambda:
                         lab.counter("eth0", "tx_packets") - sent >= sum(streams.values()))
        left = [seen() for seen in departures]
    check_overlap(written)
    unseen = trace.end["packets"]["in_flight"]
    # where tasks are preempted in BPF programs, those of reinjections too: then each run was missed
    ensure(unseen <= (trace.end["probes"]["missed"] or 0), f"{unseen} are in flight")
    check_outcomes(trace, started=sum(streams.values()), in_flight=unseen,
                   completed=sum(streams.values()) - unseen)
    for port, *of_stream in zip(streams, written, left):
        truth.check_told_apart(of_port(trace, port), *of_stream, unseen)
    return trace


def two_generators(count):
    ports = [lab.port(), lab.port()]
    jobs = [(tap.tap, packets_of(tap, port, count), cpu)
            for cpu, (tap, port) in enumerate(zip((tap8, tap9), ports))]
    with two_taps():
        return trace_two(dict.fromkeys(ports, count), *jobs)


@two_cpus_case
def two_generators_at_once_have_one_record_for_each_packet():
    with lab.qdisc(*PATIENT):
        trace = two_generators(8000)  # all of which may be in flight at once
    equal("CPUs that they began on", {(p["vm_interface"], cpus(p)[0]) for p in trace.packets},
          {("tap8", 0), ("tap9", 1)})


@two_cpus_case
def packets_that_leave_a_queue_on_the_other_cpu_are_told_apart():
    with lab.qdisc("netem", "limit", 50000, "delay", "20ms", "10ms"):
        trace = two_generators(5000)
    crossed = sum(len(set(cpus(p))) == 2 for p in trace.packets)
    ensure(crossed > 100, f"{crossed} packets left on another CPU than they came by")


@contextlib.contextmanager
def vswitchd_on(cpu):
    """All its threads but the main one: as many CPUs as that may use, as many handlers it has, and
    starting them anew it empties the datapath's table."""
    main = lab.vswitchd()
    tasks = [int(name) for name in os.listdir(f"/proc/{main}/task") if int(name) != main]
    for task in tasks:
        os.sched_setaffinity(task, [cpu])
    try:
        yield
    finally:
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(task, range(os.cpu_count()))


def to_many_ports(machine, port, count):
    """A stream to 200 ports, one after the other."""
    return [frames.udp(machine, peer, (port, 40000 + number % 200),
                       PAYLOAD[truth.NUMBER.size:] + truth.NUMBER.pack(number))
            for number in range(count)]


@two_cpus_case
def cold_packets_that_come_back_on_the_other_cpu_are_told_apart():
    """The datapath needs a flow for each port, of each tap."""
    ports = [lab.port(), lab.port()]
    jobs = [(tap.tap, to_many_ports(tap, port, 1000), cpu)
            for cpu, (tap, port) in enumerate(zip((tap8, tap9), ports))]
    with two_taps(), vswitchd_on(1), lab.rule(f"udp,dl_dst={peer.sink}", LOOK_AT_PORT):
        trace = trace_two(dict.fromkeys(ports, 1000), *jobs)
    up = [p for p in trace.packets if p["upcall"]]
    ensure(len(up) > 100, f"{len(up)} went up")
    crossed = sum(len(set(cpus(p))) == 2 for p in up)
    ensure(crossed > 50, f"{crossed} of {len(up)} came back on another CPU")


@contextlib.contextmanager
def rps(tap, cpu):
    """What comes by the tap goes on on this CPU, whose backlog has room for it."""
    with open(f"/sys/class/net/{tap}/queues/rx-0/rps_cpus", "w", encoding="ascii") as file:
        file.write(f"{1 << cpu:x}")
    before = lab.run("sysctl", "-n", BACKLOG).strip()
    lab.run("sysctl", "-qw", f"{BACKLOG}=100000")
    try:
        yield
    finally:
        lab.run("sysctl", "-qw", f"{BACKLOG}={before}")


@two_cpus_case
def what_rps_sends_to_the_other_cpu_begins_where_it_was_handed_over():
    port, other = lab.port(), lab.port()
    with two_taps(), rps("tap9", 1), lab.qdisc(*PATIENT):
        trace = trace_two({port: 5000, other: 1000}, ("tap9", packets_of(tap9, port, 5000), 0),
                          ("tap8", packets_of(tap8, other, 1000), 1))
    found = of_port(trace, port)
    equal("hooks and CPUs of the first stage",
          {(p["stages"][0]["hook"], p["stages"][0]["cpu"]) for p in found}, {("tun_get_user", 0)})
    # the last stage is where the queue is run
    equal("CPUs of the others", {s["cpu"] for p in found for s in p["stages"][1:-1]}, {1})


@two_cpus_case
def packets_by_two_queues_of_a_tap_are_told_apart():
    ports = [lab.port(), lab.port()]
    with tap9.added("multi_queue"):
        lab.flush()
        lab.warm(tap9, peer, dst_port=lab.port())
        with lab.qdisc(*PATIENT):
            trace_two(dict.fromkeys(ports, 5000),
                      *(("tap9", packets_of(tap9, port, 5000), cpu, frames.MULTI_QUEUE)
                        for cpu, port in enumerate(ports)))


@two_cpus_case
def maps_that_are_swapped_while_two_cpus_count_lose_no_packet_and_count_none_twice():
    ports, count = [lab.port(), lab.port()], 8000
    with tap9.added("multi_queue"), lab.qdisc(*PATIENT):
        lab.flush()
        lab.warm(tap9, peer, dst_port=lab.port())
        with vmlat.trace(*TX, "-i", "tap9", "-S", "--interval", 0.1) as trace:
            sent = lab.counter("eth0", "tx_packets")
            written = truth.write_at_once(
                *(("tap9", packets_of(tap9, port, count), cpu, frames.MULTI_QUEUE)
                  for cpu, port in enumerate(ports)))
            lab.wait_for("the last ones to leave", lambda:
                         lab.counter("eth0", "tx_packets") - sent >= 2 * count)
    check_overlap(written)
    packets, missed = trace.end["packets"], trace.end["probes"]["missed"] or 0
    ensure(packets["started"] == 2 * count and packets["completed"] >= 2 * count - missed,
           f"{packets}, {missed} runs were missed")
    equal("counts of the segments, of all of the only way",
          [one["count"] for one in trace.statistics[-1]["segments"]],
          [packets["completed"]] * len(WAY))
    swaps = sum(bool(one["segments"]) for one in trace.statistics[:-1])
    ensure(swaps >= 5, f"only {swaps} intervals had packets")


def send_from_the_host(ended):
    """By CPU 0, which so is the one that takes packets out of the queue."""
    os.sched_setaffinity(0, [0])
    frame = frames.ethernet(tap9, peer, 0x88b5, bytes(60))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("eth0", 0))
        while not ended.wait(0.002):
            with contextlib.suppress(OSError):  # what has no room
                sender.send(frame)


@contextlib.contextmanager
def by_cpu(cpu):
    """What this thread does meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [cpu])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def in_thread(function):
    ended = threading.Event()
    thread = threading.Thread(target=function, args=[ended])
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@two_cpus_case
def what_a_full_queue_keeps_leaves_on_the_other_cpu_and_is_followed():
    """fq_codel drops others and keeps the last one of each burst, of which no tracepoint tells."""
    port, bursts, each = lab.port(), 20, 30
    with tap9.added():
        lab.flush()
        lab.warm(tap9, peer, dst_port=lab.port())
        with lab.full_queue(), vmlat.trace("-d", "tx", "-p", "eth0", "-i", "tap9", "--timeout", 3) as trace:
            with in_thread(send_from_the_host), by_cpu(1), frames.end_of("tap9") as device:
                for _ in range(bursts):
                    for packet in packets_of(tap9, port, each):
                        os.write(device, packet)
                    time.sleep(0.3)
            lab.wait_for("the queue to run empty", lambda: not lab.qdisc_root()["qlen"])
    packets = trace.end["packets"]
    equal("started", packets["started"], bursts * each)
    check_outcomes(trace, started=bursts * each, completed=packets["completed"],
                   dropped=bursts * each - packets["completed"])
    ensure(packets["completed"] >= bursts, f"not one of each burst has left: {packets}")
    ensure(packets["dropped"] > bursts, f"the queue was not full: {packets}")
    crossed = sum(len(set(cpus(p))) == 2 for p in trace.packets if p["outcome"] == "completed")
    ensure(crossed > bursts, f"{crossed} packets left on the other CPU")


@two_cpus_case
def a_call_that_goes_on_on_the_other_cpu_lends_no_later_packet_its_start():
    """Each write changes its CPU amid tun_get_user: of the call that is noted where its packet appears
    another one, of the same thread, has not come there either."""
    pause, count = 0.3, 4
    with tap9.added():
        lab.flush()
        lab.warm(tap9, peer, dst_port=lab.port())
        with vmlat.trace(*TX, "-i", "tap9") as trace:
            with by_cpu(0), frames.end_of("tap9") as device:
                for number, packet in enumerate(packets_of(tap9, lab.port(), count)):
                    faults.write_across(device, packet, cpu=(number + 1) % 2)
                    time.sleep(pause)
    check_outcomes(trace, started=count, completed=count)
    equal("their first stages", [(p["stages"][0]["hook"], p["stages"][0]["cpu"]) for p in trace.packets],
          [("netif_receive_skb", number % 2) for number in range(1, count + 1)])
    longest = max(packet["total_ns"] for packet in trace.packets)
    ensure(longest < pause * 1e9, f"one took {longest} ns, and was written in less")
