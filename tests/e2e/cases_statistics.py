# SPDX-License-Identifier: GPL-2.0
"""Statistics that the kernel keeps. records.py compares those of every trace that reports each
packet with the packets; here is what needs a trace of its own."""
import contextlib
import os
import re
import subprocess
import threading
import time

import frames
import lab
import topology
import vmlat
from case import case, ensure, equal
from cases_outcome import check_outcomes
from lab import Guest, Tap, peer, tap9, web1, web2

TX9 = ["-d", "tx", "-i", "tap9", "-p", "eth0"]
NEVER = 10 ** 9  # microseconds, as a threshold
tap8 = Tap("tap8", 8)


@contextlib.contextmanager
def sending(machine, to, **flow):
    """It sends for as long as the context lasts."""
    words = machine.traffic(*machine.send_words(to, 1 << 31, flow))
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
        ensure(process.poll() is None, "the traffic has ended")
    finally:
        process.kill()
        process.wait()


def at_once(*calls):
    """Each in a thread of its own; any of them may fail."""
    failures = []

    def guarded(call):
        try:
            call()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def totals(statistics):
    """{(direction, tap): segment} of the totals."""
    return {(one["direction"], one["vm_interface"]): one
            for one in statistics["segments"] if one["total"]}


def counts(statistics):
    return {tuple(one[name] for name in ("direction", "vm_interface", "from", "to")): one["count"]
            for one in statistics["segments"]}


def intervals_of(trace):
    return [one for one in trace.statistics if not one["whole"]]


# --- what they say ---

def write_cold(count):
    """One packet of each of `count` flows of tap9."""
    with frames.end_of("tap9") as device:
        for _ in range(count):
            os.write(device, frames.udp(tap9, peer, (12345, lab.port()), bytes(64)))
            time.sleep(0.002)  # ovs-vswitchd keeps up


@case
def of_20000_packets_each_percentile_of_each_segment_is_that_of_their_records():
    """records.py has compared them, when the trace has ended."""
    port = lab.port()
    every_port = lab.rule("in_port=tap9,udp",
                          "move:OXM_OF_UDP_DST[]->NXM_NX_REG0[0..15],output:eth0")
    ways = [(tap9, peer, 6500, 0), (tap8, peer, 6000, 0), (peer, web1, 3000, 500),
            (web1, peer, 2000, 0), (web2, web1, 2000, 0)]
    with tap9.added(), tap8.added(), every_port:
        lab.deliver(tap9, peer, 1, dst_port=port)
        lab.in_table("in_port(tap9)", f"dst={port}")
        for sender, receiver, _, _ in ways[1:]:
            lab.warm(sender, receiver, dst_port=port)
        with vmlat.trace("-i", "tap8,tap9,vnet0,vnet1", "--buffer", 1 << 16) as trace:
            write_cold(500)
            at_once(*(lambda way=way: way[0].send(way[1], way[2], dst_port=port, gap_us=way[3])
                      for way in ways))
    whole, = trace.statistics
    packets = trace.end["packets"]
    equal("started", packets["started"], 20000)
    ensure(packets["completed"] > 18000, f"most of them completed: {packets}")
    completed = sum(packet["outcome"] == "completed" for packet in trace.packets)
    equal("records of completed packets, which were compared", completed, packets["completed"])
    equal("counts of the totals", sum(one["count"] for one in totals(whole).values()), completed)
    equal("rows", totals(whole).keys(), {("tx", "tap8"), ("tx", "tap9"), ("tx", "vnet0"),
                                         ("tx", "vnet1"), ("rx", "vnet0")})
    cold = counts(whole)["tx", "tap9", "upcall", "reinject"]
    ensure(cold >= 400, f"only {cold} had an upcall")
    equal("with an upcall and without one",
          cold + counts(whole)["tx", "tap9", "datapath", "vport"],
          totals(whole)["tx", "tap9"]["count"])


@case
def a_summary_has_counts_and_its_slowest_packets_in_json_and_in_text():
    port = lab.port()
    with tap9.added():
        lab.warm(tap9, peer, dst_port=port)
        with vmlat.traces(["-S", *TX9], TX9) as (summary, packets), \
                vmlat.trace("-S", *TX9, text=True) as text:
            tap9.send(peer, 300, dst_port=port)
            packets.wait_lines(300)
    whole, = summary.statistics
    equal("counts", counts(whole), counts(packets.statistics[0]))
    total = totals(whole)["tx", "tap9"]
    equal("count", total["count"], 300)
    examples = {one["exemplar"]: one["total_ns"] for one in summary.packets}
    equal("the slowest", examples["max"], total["max_ns"])
    if "p99" in examples:  # not where it is in the bucket of the slowest
        ensure(total["p99_ns"] * 0.94 <= examples["p99"] < total["max_ns"], f"{examples}, {total}")
    ensure(re.search(r"^tap9 +TX +300 ", text.text(), re.M), f"the overview: {text.text()}")
    equal("reports", len(re.findall("^=== VM Network Latency Trace", text.text(), re.M)),
          len(re.findall(r"^Slowest of the interval \((?:max|p99)\)$", text.text(), re.M)))
    ensure("\nSlowest of the interval (max)\n" in text.text(), "no slowest packet in the text")


@case
def filters_choose_what_is_counted_and_a_threshold_what_is_reported():
    ports = lab.port(), lab.port()
    chosen = [*TX9, "--dst-port", ports[0]]
    with tap9.added():
        for port in ports:
            lab.warm(tap9, peer, dst_port=port)
        with vmlat.traces([*chosen, "-S"], [*chosen, "-S", "-l", NEVER], chosen,
                          [*chosen, "-l", NEVER]) as started:
            for port in ports:
                tap9.send(peer, 200, dst_port=port)
            started[2].wait_lines(200)
    for one in started:
        equal("completed", one.end["packets"]["completed"], 200)
        equal("counts", counts(one.statistics[-1]), counts(started[2].statistics[0]))
        equal("traffic", one.end["traffic"], started[2].end["traffic"])
    ensure(started[0].packets, "no example of the slowest")
    equal("reports beyond the threshold", (started[1].packets, started[3].packets), ([], []))


@case
def with_summary_no_event_is_lost_at_the_highest_rate():
    port = lab.port()
    with tap9.added():
        lab.warm(tap9, peer, dst_port=port)
        with vmlat.trace(*TX9, "-S", "--buffer", "128") as trace:
            tap9.send(peer, 30000, dst_port=port, burst=True)
            lab.wait_for("the last ones to leave", lambda: not lab.qdisc_root()["qlen"])
    equal("started", trace.end["packets"]["started"], 30000)
    equal("completed, and counted", totals(trace.statistics[-1])["tx", "tap9"]["count"],
          trace.end["packets"]["completed"])
    equal("events lost", trace.end["events"]["lost"], 0)
    ensure(len(trace.packets) <= 2, f"{len(trace.packets)} lines of packets")


# --- intervals ---

@case
def each_interval_is_accounted_for_and_together_they_are_the_trace():
    """records.py has checked the equation of each, and their sum."""
    port = lab.port()
    with tap9.added(), lab.qdisc("netem", "limit", 10000, "delay", "400ms"):
        lab.warm(tap9, peer, dst_port=port)
        with vmlat.trace(*TX9, "-S", "--interval", "1") as trace:
            with sending(tap9, peer, dst_port=port, gap_us=2000):
                time.sleep(5)
            time.sleep(2.5)
    intervals, whole = intervals_of(trace), trace.statistics[-1]
    ensure(len(intervals) >= 6, f"{len(intervals)} intervals")
    ensure(any(one["packets"]["in_flight"] for one in intervals), "nothing was in flight at an end")
    ensure(any(not one["segments"] and not one["packets"]["started"] for one in intervals[1:]),
           "no interval without packets")
    check_lengths(intervals, whole)
    check_extremes(intervals, whole)


def check_lengths(intervals, whole):
    """Each begins where the one before it ends."""
    length = sum(one["interval_s"] for one in intervals)
    ensure(abs(length - whole["interval_s"]) < 0.5, f"{length} s of {whole['interval_s']}")


def check_extremes(intervals, whole):
    """Minimum, maximum and slowest packet of each interval are its own."""
    found = [totals(one)["tx", "tap9"] for one in intervals if one["segments"]]
    total = totals(whole)["tx", "tap9"]
    equal("the least and the most of all", (min(one["min_ns"] for one in found),
                                            max(one["max_ns"] for one in found)),
          (total["min_ns"], total["max_ns"]))
    ensure(len({one["max_ns"] for one in found}) > 1, "each interval has the same maximum")


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return int(re.search(r"^VmRSS:\s+(\d+) kB", file.read(), re.M).group(1))


@contextlib.contextmanager
def clock_set_back(seconds):
    """As `date -s` does."""
    before = time.clock_gettime(time.CLOCK_REALTIME), time.monotonic()
    lab.run("date", "-s", f"@{before[0] - seconds:.3f}")
    try:
        yield
    finally:
        lab.run("date", "-s", f"@{before[0] + time.monotonic() - before[1]:.3f}")


@case
def over_sixty_intervals_memory_does_not_grow_and_a_clock_set_back_changes_no_time():
    port = lab.port()

    def done(count):
        return lambda: trace.text().count('"type":"statistics"') >= count

    with tap9.added():
        lab.warm(tap9, peer, dst_port=port)
        with vmlat.trace(*TX9, "-S", "--interval", "0.25", "--histogram") as trace, \
                sending(tap9, peer, dst_port=port, gap_us=1000):
            lab.wait_for("5 intervals", done(5))
            early = resident_kib(trace.process.pid)
            lab.wait_for("30 intervals", done(30), 60)
            with clock_set_back(3600):
                lab.wait_for("60 intervals", done(60), 60)
                late = resident_kib(trace.process.pid)
    ensure(late - early <= 256, f"{early} KiB after 5 intervals, {late} after 60")
    for one in intervals_of(trace):
        ensure(0 < one["interval_s"] < 10, f"an interval of {one['interval_s']} s")
        for segment in one["segments"]:
            ensure(segment["max_ns"] < 60_000_000_000, f"a time that is none: {segment}")
    check_lengths(intervals_of(trace), trace.statistics[-1])
    times = [one["time"] for one in trace.statistics]
    ensure(times != sorted(times), "the clock was not set back")


# --- many VMs ---

def many(*commands):
    """Words of one command each, `-batch` as ip and tc have it."""
    return "\n".join(" ".join(map(str, one)) for one in commands) + "\n"


def batch(program, *commands):
    done = subprocess.run([program, "-batch", "-"], input=many(*commands), text=True, check=False,
                          capture_output=True, timeout=60)
    equal(f"{program}: {done.stderr}", done.returncode, 0)


@contextlib.contextmanager
def delayed_ports(taps):
    """What leaves the Nth tap goes to a dummy, dumN, that it reaches N ms later."""
    numbers = range(1, len(taps) + 1)
    with topology.Changes() as changes:
        changes.do("modprobe dummy")
        batch("ip", *(["link", "add", f"dum{n}", "type", "dummy"] for n in numbers),
              *(["link", "set", f"dum{n}", "up"] for n in numbers))
        changes.callback(batch, "ip", *(["link", "del", f"dum{n}"] for n in numbers))
        ports = [word for n in numbers for word in ("--", "add-port", "br0", f"dum{n}")]
        lab.run("ovs-vsctl", "-t", "30", *ports[1:])
        changes.callback(lab.run, "ovs-vsctl", "-t", "30",
                         *[word.replace("add", "del") for word in ports[1:]])
        # after that: ovs-vswitchd takes away what a new port has
        batch("tc", *(["qdisc", "replace", "dev", f"dum{n}", "root", "netem", "limit", 1000,
                       "delay", f"{n}ms"] for n in numbers))
        for n, tap in zip(numbers, taps):
            changes.enter_context(lab.rule(f"in_port={tap},udp", f"output:dum{n}"))
        yield [f"dum{n}" for n in numbers]


@contextlib.contextmanager
def ten_taps(guests):
    """The guests', and as many that a program writes to."""
    taps = [Tap(f"many{n}", 9) for n in range(len(guests) + 1, 11)]
    with contextlib.ExitStack() as stack:
        batch("ip", *(["tuntap", "add", one.tap, "mode", "tap", "vnet_hdr"] for one in taps),
              *(["link", "set", one.tap, "up"] for one in taps))
        stack.callback(batch, "ip", *(["link", "del", one.tap] for one in taps))
        ports = [word for one in taps for word in ("--", "add-port", "br0", one.tap)]
        lab.run("ovs-vsctl", "-t", "30", *ports[1:])
        stack.callback(lab.run, "ovs-vsctl", "-t", "30",
                       *[word.replace("add-port", "del-port") for word in ports[1:]])
        yield [*guests, *taps]


@contextlib.contextmanager
def third_guest():
    web3 = Guest("web3", "vnet2", 4)
    web3.start()
    try:
        yield web3
    finally:
        lab.run(f"{lab.LAB}/guest", "stop", "web3", timeout=60)


@case
def each_of_ten_taps_has_a_row_with_its_own_delay_and_the_slowest_is_the_first():
    port, count = lab.port(), 100
    with third_guest() as web3, ten_taps([web1, web2, web3]) as machines, \
            delayed_ports([machine.tap for machine in machines]) as ends:
        words = ["-d", "tx", "-i", ",".join(machine.tap for machine in machines), "-p",
                 ",".join(ends)]
        with vmlat.trace("-S", *words) as trace, vmlat.trace("-S", *words, text=True) as text:
            at_once(*(lambda one=one: one.send(peer, count, dst_port=port, gap_us=3000)
                      for one in machines))
            time.sleep(0.2)
    check_outcomes(trace, started=10 * count, completed=10 * count)
    rows = totals(trace.statistics[-1])
    queues = {one["vm_interface"]: one for one in trace.statistics[-1]["segments"]
              if (one["from"], one["to"]) == ("xmit", "driver")}
    for n, machine in enumerate(machines, 1):
        equal(f"count of {machine.tap}", rows["tx", machine.tap]["count"], count)
        least = queues[machine.tap]["min_ns"]
        # never less; and not much more, though ten senders share one emulated CPU
        ensure(n * 1_000_000 <= least < (n + 9) * 1_000_000, f"{machine.tap}: {n} ms is {least}")
    worst = [one["p99_ns"] for one in rows.values()]
    equal("rows, by p99", worst, sorted(worst, reverse=True))
    equal("VMs", [rows["tx", tap]["vm"] for tap in ("vnet0", "vnet1", "vnet2", "many4")],
          ["web1", "web2", "web3", None])
    overview = re.findall(r"^(\w+) +TX +(\d+) ", text.text(), re.M)
    equal("rows of the text", sorted(overview),
          sorted((machine.name if isinstance(machine, Guest) else machine.tap, str(count))
                 for machine in machines))
