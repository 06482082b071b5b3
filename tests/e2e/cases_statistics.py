# SPDX-License-Identifier: GPL-2.0
"""Statistics that the kernel keeps. records.py compares those of every trace that reports each
packet with the packets; here is what needs a trace of its own."""
import contextlib
import csv
import io
import json
import os
import re
import subprocess
import threading
import time

import frames
import lab
import records
import topology
import vmlat
from case import case, ensure, equal
from cases_outcome import check_outcomes, slow_class
from cases_way import TX
from lab import Guest, Tap, peer, tap9, web1, web2
from records import ERROR

TX9 = ["-d", "tx", "-i", "tap9", "-p", "eth0"]
NEVER = 10 ** 9  # microseconds, as a threshold
tap8 = Tap("tap8", 8)


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
    return {records.row_of(one): one for one in statistics["segments"] if one["total"]}


def counts(statistics):
    return {tuple(one[name] for name in ("direction", "vm_interface", "from", "to")): one["count"]
            for one in statistics["segments"]}


def intervals_of(trace):
    return [one for one in trace.statistics if not one["whole"]]


def told_intervals(trace):
    """How many there are so far."""
    return trace.text().count('"type":"statistics"')


# --- what they say ---

def write_cold(count):
    """One packet of each of `count` flows of tap9."""
    with frames.end_of("tap9") as device:
        for _ in range(count):
            os.write(device, frames.udp(tap9, peer, (12345, lab.port()), bytes(64)))
            time.sleep(0.002)  # ovs-vswitchd keeps up


@case
def of_20000_packets_each_percentile_of_each_segment_is_that_of_their_records():
    """records.py has compared them, and each bucket, when the trace has ended."""
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
        with vmlat.trace("-i", "tap8,tap9,vnet0,vnet1", "--histogram", "--buffer",
                         1 << 16) as trace:
            write_cold(500)
            at_once(*(lambda way=way: way[0].send(way[1], way[2], dst_port=port, gap_us=way[3])
                      for way in ways))
    whole, = trace.statistics
    packets = trace.end["packets"]
    missed = trace.end["probes"]["missed"] or 0  # runs, where the kernel preempts programs
    ensure(20000 - missed <= packets["started"] <= 20000, f"started: {packets}, missed: {missed}")
    ensure(packets["completed"] > 18000, f"most of them completed: {packets}")
    completed = sum(packet["outcome"] == "completed" for packet in trace.packets)
    equal("records of completed packets", completed, packets["completed"])
    ensure(trace.compared, "they were not compared with the statistics")
    ensure(all(one["histogram"] for one in whole["segments"]), "a segment without its distribution")
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
    if total["p99_ns"] * 1.07 < total["max_ns"]:  # else it may be in the bucket of the slowest
        ensure("p99" in examples, f"{examples}, {total}")
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
def with_a_threshold_the_slowest_are_beyond_it_and_all_are_counted():
    slow, fast = lab.port(), lab.port()
    with tap9.added():
        for port in slow, fast:
            lab.warm(tap9, peer, dst_port=port)
        with slow_class(slow, "400ms"), vmlat.traces(
                [*TX9, "-S", "-l", 300000], [*TX9, "-S"]) as (trace, every):
            lab.deliver(tap9, peer, 60, dst_port=fast)
            lab.deliver(tap9, peer, 15, dst_port=slow)
    for one in trace, every:
        check_outcomes(one, started=75, completed=75)
    equal("counts", counts(trace.statistics[-1]), counts(every.statistics[-1]))
    total = totals(trace.statistics[-1])["tx", "tap9"]
    equal("of all", (total["count"], total["p50_ns"] < 300_000_000), (75, True))
    equal("ports of the slowest, all of which are beyond it",
          {(one["flow"]["dst_port"], one["total_ns"] >= 300_000_000) for one in trace.packets},
          {(slow, True)})


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


def check_one_way(trace, count, pairs):
    """Each segment of the only way has every packet that completed; there is no other segment."""
    whole, packets = trace.statistics[-1], trace.end["packets"]
    equal("started", packets["started"], count)
    ensure(packets["completed"] > count // 2, f"most of them completed: {packets}")
    equal("counts of the segments", [one["count"] for one in whole["segments"]],
          [packets["completed"]] * (pairs + 1))
    equal("events lost", trace.end["events"]["lost"], 0)


@case
def at_the_highest_rate_no_swap_of_the_maps_loses_a_packet_or_counts_it_twice():
    port, count = lab.port(), 50000
    with tap9.added():
        lab.warm(tap9, peer, dst_port=port)
        with vmlat.trace(*TX9, "-S", "--interval", 0.1) as trace:
            tap9.send(peer, count, dst_port=port, burst=True)
            lab.wait_for("the last ones to leave", lambda: not lab.qdisc_root()["qlen"])
    check_one_way(trace, count, len(TX) - 1)
    swaps = sum(bool(one["segments"]) for one in intervals_of(trace))
    ensure(swaps >= 5, f"only {swaps} intervals had packets")


# --- intervals ---

@case
def each_interval_is_accounted_for_and_together_they_are_the_trace():
    """records.py has checked the equation of each, and their sum."""
    port = lab.port()
    with tap9.added(), lab.qdisc("netem", "limit", 10000, "delay", "400ms"):
        lab.warm(tap9, peer, dst_port=port)
        with vmlat.trace(*TX9, "-S", "--interval", "1") as trace:
            given, left = lab.counter("tap9", "rx_packets"), lab.counter("eth0", "tx_packets")
            with lab.sending(tap9, peer, dst_port=port, gap_us=2000):
                time.sleep(5)
            time.sleep(2.5)
            given = lab.counter("tap9", "rx_packets") - given
            left = lab.counter("eth0", "tx_packets") - left
    check_outcomes(trace, started=given, completed=left)
    ensure("no packet" not in trace.errors(), f"there were packets: {trace.errors()}")
    intervals, whole = intervals_of(trace), trace.statistics[-1]
    ensure(len(intervals) >= 6, f"{len(intervals)} intervals")
    ensure(any(one["packets"]["in_flight"] for one in intervals), "nothing was in flight at an end")
    ensure(any(not one["segments"] and not one["packets"]["started"] for one in intervals[1:]),
           "no interval without packets")
    check_lengths(intervals, whole)
    check_extremes(intervals, whole)


@case
def packets_that_stay_on_their_way_are_in_flight_in_each_interval():
    """Nobody computed that: it is what the NIC's queue holds."""
    port, count = lab.port(), 20
    with tap9.added():
        lab.warm(tap9, peer, dst_port=port)
        with lab.qdisc("netem", "delay", "100s"), \
                vmlat.trace(*TX9, "-S", "--interval", 0.5, "--timeout", 60) as trace:
            tap9.send(peer, count, dst_port=port)
            lab.wait_for("all to be in the queue", lambda: lab.qdisc_root()["qlen"] == count)
            told = told_intervals(trace)
            lab.wait_for("4 intervals", lambda: told_intervals(trace) >= told + 4)
            equal("packets in the queue", lab.qdisc_root()["qlen"], count)
    check_outcomes(trace, started=count, in_flight=count)
    *_, last = (at for at, one in enumerate(intervals_of(trace)) if one["packets"]["started"])
    later = intervals_of(trace)[last + 1:]
    ensure(len(later) >= 3, f"only {len(later)} intervals later")
    for one in later:
        equal("packets of a later interval", {name: n for name, n in one["packets"].items() if n},
              {"in_flight": count})


def swapped_maps():
    """Which maps the kernel side counts in, of the one vmlat that runs."""
    return lab.run("bpftool", "-j", "map", "dump", "name", "statistics_maps")


@case
def an_interval_that_is_collected_in_between_is_one_interval():
    """As the kernel counts in 32 bits, user space collects every 10 s; records.py adds up."""
    port, count = lab.port(), 100
    with tap9.added():
        lab.warm(tap9, peer, dst_port=port)
        with vmlat.trace(*TX9, "-S", "--interval", 12) as trace:
            tap9.send(peer, count, dst_port=port)
            before = swapped_maps()
            lab.wait_for("user space to collect", lambda: swapped_maps() != before)
            equal("intervals that are over", told_intervals(trace), 0)
            tap9.send(peer, count, first_seq=count, dst_port=port)
            lab.wait_for("the interval to end", lambda: told_intervals(trace))
    first, *_ = intervals_of(trace)
    equal("packets of the interval", (first["packets"]["completed"],
                                      totals(first)["tx", "tap9"]["count"]), (2 * count,) * 2)
    ensure(any(packet["exemplar"] == "max" for packet in trace.packets), "no slowest packet")


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


@contextlib.contextmanager
def clock_set(seconds):
    """So much later, as `date -s` does."""
    before = time.clock_gettime(time.CLOCK_REALTIME), time.monotonic()
    lab.run("date", "-s", f"@{before[0] + seconds:.3f}")
    try:
        yield
    finally:
        lab.run("date", "-s", f"@{before[0] + time.monotonic() - before[1]:.3f}")


def rounds(trace, count):
    """In each a tap comes, sends 5 packets, and goes; an interval ends."""
    for _ in range(count):
        gone = trace.errors().count("tap8: gone")
        with tap8.added():
            lab.deliver(tap8, peer, 5, dst_port=lab.port())
        lab.wait_for("tap8 to be gone", lambda: trace.errors().count("tap8: gone") > gone)
        intervals = told_intervals(trace)
        lab.wait_for("another interval", lambda: told_intervals(trace) > intervals)


def kernel_maps():
    """What the statistics of the interfaces take, while none of them is just being swapped."""
    looks = [json.loads(lab.run("bpftool", "-j", "map", "show")) for _ in range(5)]
    return min(sum(one.get("name") == "vmlat_interface" for one in maps) for maps in looks)


@case
def over_many_intervals_memory_does_not_grow_and_a_clock_that_is_set_changes_no_time():
    """A tap comes and goes in each round, and the flows are told."""
    port = lab.port()
    with tap9.added():
        lab.warm(tap9, peer, dst_port=port)
        with vmlat.trace("-d", "tx", "-p", "eth0", "-S", "--interval", 0.25, "--histogram",
                         "--top", 1000) as trace, \
                lab.sending(tap9, peer, dst_port=port, gap_us=1000):
            rounds(trace, 2)
            # what it has from the start is used for the first time within these
            lab.wait_for("40 intervals", lambda: told_intervals(trace) >= 40)
            early = lab.kib_of(trace.process, "VmRSS"), kernel_maps()
            with clock_set(-3600):
                rounds(trace, 3)
            with clock_set(7200):
                rounds(trace, 2)
            lab.wait_for("100 intervals", lambda: told_intervals(trace) >= 100)
            late = lab.kib_of(trace.process, "VmRSS"), kernel_maps()
    ensure(late[0] - early[0] <= 256, f"{early[0]} KiB after 40 intervals, {late[0]} after 100")
    equal("maps of the kernel side", late[1], early[1])
    for one in intervals_of(trace):
        ensure(0 < one["interval_s"] < 10, f"an interval of {one['interval_s']} s")
        for segment in one["segments"]:
            ensure(segment["max_ns"] < 60_000_000_000, f"a time that is none: {segment}")
    check_lengths(intervals_of(trace), trace.statistics[-1])
    times = [one["time"] for one in trace.statistics]
    ensure(times != sorted(times), "the clock was not set back")
    equal("packets of the tap that came and went",
          totals(trace.statistics[-1])["tx", "tap8"]["count"], 7 * 5)


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


UNITS = {"n": 1, "u": 1e3, "m": 1e6, "s": 1e9}


def overview_of(text):
    """[(VM or tap, packets, p99 in ns)] in the order of the lines, of the last statistics."""
    last = text.rpartition("=== Statistics")[2]
    lines = re.findall(r"^(\w+) +TX +(\d+) +\S+ +([\d.]+)([nums]) ", last, re.M)
    return [(name, int(count), float(p99) * UNITS[unit]) for name, count, p99, unit in lines]


@case
def each_of_ten_taps_has_a_row_with_its_own_delay_and_the_slowest_is_the_first():
    port, count = lab.port(), 100
    with third_guest() as web3, ten_taps([web1, web2, web3]) as machines, \
            delayed_ports([machine.tap for machine in machines]) as ends:
        words = ["-d", "tx", "-i", ",".join(machine.tap for machine in machines), "-p",
                 ",".join(ends), "-S"]
        with vmlat.trace(*words, "--interval", 1) as trace, vmlat.trace(*words, text=True) as text:
            at_once(*(lambda one=one: one.send(peer, count, dst_port=port, gap_us=3000)
                      for one in machines))
            time.sleep(0.2)
    check_outcomes(trace, started=10 * count, completed=10 * count)
    whole = trace.statistics[-1]
    rows = totals(whole)
    queues = {one["vm_interface"]: one for one in whole["segments"]
              if (one["from"], one["to"]) == ("xmit", "driver")}
    for n, machine in enumerate(machines, 1):
        equal(f"count of {machine.tap}", rows["tx", machine.tap]["count"], count)
        least = queues[machine.tap]["min_ns"]
        # never less; and once at least not as much as the next one's
        ensure(n * 1_000_000 <= least < (n + 1) * 1_000_000, f"{machine.tap}: {n} ms is {least}")
    worst = [one["p99_ns"] for one in rows.values()]
    equal("rows, by p99", worst, sorted(worst, reverse=True))
    equal("VMs", [rows["tx", tap]["vm"] for tap in ("vnet0", "vnet1", "vnet2", "many4")],
          ["web1", "web2", "web3", None])
    overview = overview_of(text.text())
    equal("rows of the text", sorted((name, packets) for name, packets, _ in overview),
          sorted((machine.name if isinstance(machine, Guest) else machine.tap, count)
                 for machine in machines))
    worst = [p99 for _, _, p99 in overview]
    equal("rows of the text, by p99", worst, sorted(worst, reverse=True))


# --- formats ---

def segments_of_text(text):
    """As `counts`, but by VM, of the tables of the last statistics."""
    found, row = {}, None
    for line in text.rpartition("=== Statistics")[2].splitlines():
        title = re.fullmatch(r"(\S+) (TX|RX)(: .*)?", line)
        segment = re.match(r"  (?:\[\S+\] )?(?:(\w+) -> (\w+)|total) +(\d+) +[\d.]+[nums] ", line)
        if title:
            row = title.group(2).lower(), title.group(1)
        elif segment:
            found[(*row, segment.group(1), segment.group(2))] = int(segment.group(3))
    return found


def segments_of_csv(text):
    """As `counts`."""
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    equal("rows of the whole trace", {row["whole"] for row in rows}, {"true"})
    return {(row["direction"], row["vm_interface"], row["from"] or None, row["to"] or None):
            int(row["count"]) for row in rows}


def said_of(end):
    """What a summary in words has to say, of the reports apart: lines, and parts of them."""
    lines = {f"  Dropped in {drop['where']}" + (f" ({drop['reason']})" if drop["reason"] else "") +
             f": {drop['count']}" for drop in end["drops"]}
    lines |= {f"  Traffic: {tap} {direction.upper()}: {packets} packets, {size} bytes"
              for (direction, tap), (packets, size) in records.traffic(end).items()}
    parts = [f"{count} {term}" for term, count in end["packets"].items()]
    parts += [f"{name}: {count}" for name, count in end["errors"].items()]
    parts += [f"{name.replace('_', ' ')}: {count}" for name, count in end["lost"].items()]
    return lines, [*parts, f"Not delivered: {end['not_delivered']}",
                   f"unstarted: {end['unstarted']}"]


def check_summary(name, text, end):
    summary = text.rpartition("=== Summary: ")[2]
    lines, parts = said_of(end)
    found = [line for line in summary.splitlines() if re.match("  (Dropped in|Traffic:) ", line)]
    equal(f"{name}: drops and traffic", sorted(found), sorted(lines))
    words = " ".join(summary.split())
    for part in parts:
        ensure(re.search(rf"\b{part}\b", words), f"{name}: not {part!r}: {words}")


@case
def text_json_and_csv_say_the_same_of_one_load():
    port, dropped = lab.port(), lab.port()
    words = ["-i", "tap9,vnet0,vnet1", "-S"]
    with tap9.added(), lab.rule(f"udp,tp_dst={dropped}", "drop"):
        ways = [(tap9, peer, 200), (web1, peer, 50), (peer, web2, 50), (web1, web2, 20)]
        for sender, receiver, _ in ways:
            lab.warm(sender, receiver, dst_port=port)
        tap9.send(peer, 1, dst_port=dropped)
        lab.in_table("in_port(tap9)", "actions:drop")
        with vmlat.traces(words) as (json_trace,), vmlat.trace(*words, form="csv") as table, \
                vmlat.trace(*words, text=True) as text:
            for sender, receiver, count in ways:
                lab.deliver(sender, receiver, count, dst_port=port)
            tap9.send(peer, 7, dst_port=dropped)
    end, whole = json_trace.end, json_trace.statistics[-1]
    equal("dropped", end["packets"]["dropped"], 7)
    equal("CSV's counts", segments_of_csv(table.text()), counts(whole))
    names = {one["vm_interface"]: one["vm"] or one["vm_interface"] for one in whole["segments"]}
    equal("the text's counts", segments_of_text(text.text()),
          {(direction, names[tap], *stages): count
           for (direction, tap, *stages), count in counts(whole).items()})
    check_summary("text", text.text(), end)
    check_summary("CSV", table.errors(), end)
