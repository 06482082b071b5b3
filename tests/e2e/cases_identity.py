# SPDX-License-Identifier: GPL-2.0
"""Each packet is itself: one record with its own times and its own flow, whatever else there is."""
import collections
import contextlib
import os
import subprocess
import tempfile

import frames
import lab
import parser
import records
import truth
import vmlat
from case import case, ensure, equal, fails_planted
from cases_paths import fragments
from lab import Tap, peer, tap9, web1

TX = ["-d", "tx", "-i", "tap9", "-p", "eth0", "--timeout", "60"]
NUMBER = bytes(truth.NUMBER.size)
PAYLOAD = bytes(60) + NUMBER


def check_completed(trace, count):
    counted = trace.end["packets"]
    equal("started and completed", (counted["started"], counted["completed"]), (count, count))


# --- in flight together ---

def tell_apart(frame, port, count, *delay):
    """The packets stand in eth0's queue all at once, and leave it in another order."""
    with tap9.added(), truth.departures(port) as departures:
        lab.warm(tap9, peer, dst_port=lab.port())
        with lab.qdisc("netem", "limit", 2 * count, "delay", *delay):
            with vmlat.trace(*TX) as trace:
                writes = truth.write_stream("tap9", truth.stream(frame, count))
                equal("packets in flight at the same time", lab.qdisc_root()["qlen"], count)
                lab.wait_for("all of them to leave", lambda: not lab.qdisc_root()["qlen"])
        left = departures()
    order = sorted(left, key=lambda number: left[number])
    ensure(order != sorted(order), "they leave in the order in which they came")
    check_completed(trace, count)
    truth.check_told_apart(trace.packets, writes, left)
    truth.check_sees_a_mix_up(trace.packets, writes, left)


@fails_planted
@case
def five_thousand_packets_in_flight_of_the_same_headers_are_told_apart():
    port = lab.port()
    tell_apart(frames.udp(tap9, peer, (port, 5201), PAYLOAD), port, 5000, "6s", "1s")


@fails_planted
@case
def pure_acknowledgements_in_flight_are_told_apart():
    """The number is in what pads the frame to Ethernet's 60 bytes: the packets are the same."""
    port = lab.port()
    ack = frames.tcp(tap9, peer, (port, 5201))
    tell_apart(ack + bytes(2) + NUMBER, port, 500, "2s", "500ms")


@fails_planted
@case
def retransmissions_in_flight_are_told_apart():
    """The number is behind the packet, as padding is: all of the packet is the same."""
    port = lab.port()
    segment = frames.tcp(tap9, peer, (port, 5201), payload=bytes(range(200)))
    tell_apart(segment + NUMBER, port, 500, "2s", "500ms")


# --- addresses that are used again ---

tap8 = Tap("tap8", 8)
PING = [*lab.PEER, "ping", "-q", web1.ip]
NEVER = 10 ** 9  # microseconds, as a threshold


@contextlib.contextmanager
def other_traffic():
    """It gets and frees skbs all the time."""
    send = [lab.TRAFFIC, *tap8.send_words(peer, 1 << 31, {"burst": True})]
    started = [subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
               for words in ([*PING, "-f"], ["nice", *send])]
    try:
        yield
        ensure(all(one.poll() is None for one in started), "the other traffic has ended")
    finally:
        for one in started:
            one.kill()
            one.wait()


def write_among_others(port, count):
    """The truth about `count` packets: (writes, departures)."""
    packets = truth.stream(frames.udp(tap9, peer, (port, 5201), PAYLOAD), count)
    with truth.departures(port) as departures:
        with other_traffic():
            writes = truth.write_stream("tap9", packets)
        lab.wait_for("the last ones to leave", lambda: not lab.qdisc_root()["qlen"])
        return writes, departures()


def slowest_tenth():
    """The time in microseconds that a tenth of the packets needs at least."""
    with vmlat.trace(*TX, "-l", NEVER):
        writes, left = write_among_others(lab.port(), 2000)
    totals = sorted(left[number].at - write.before for number, write in enumerate(writes))
    return totals[len(totals) * 9 // 10] // 1000


def reuse_addresses(count, slowest):
    """A record of two packets would be longer than the longest way. All are reported, or only the
    `slowest`, of which it would be one. Returns the records."""
    with tap9.added(), tap8.added():
        for tap in tap8, tap9:
            lab.warm(tap, peer, dst_port=lab.port())
        lab.run(*PING, "-c", "3")
        threshold = slowest_tenth() if slowest else 0
        with vmlat.trace(*TX, "-v", "-l", threshold, "--buffer", 1 << 16) as trace:
            writes, left = write_among_others(lab.port(), count)
    check_completed(trace, count)
    ensure(trace.packets, f"none needs {threshold} us")
    truth.identify(trace.packets, writes, left)
    longest = max(left[number].before - write.before for number, write in enumerate(writes[:-1]))
    (total,) = (one for one in trace.statistics[-1]["segments"] if one["total"])
    equal("counted", total["count"], count)
    ensure(total["max_ns"] <= longest + truth.CLOCKS_NS, "a record is longer than the longest way")
    return trace.packets


@case
def no_record_spans_two_of_a_hundred_thousand_packets():
    with lab.qdisc("pfifo", "limit", 100000):
        reuse_addresses(100000, slowest=True)


@case
def no_record_spans_two_packets_that_a_queue_held():
    with lab.qdisc("netem", "limit", 100000, "delay", "1ms"):
        packets = reuse_addresses(20000, slowest=False)
    equal("records", len(packets), 20000)
    addresses = {packet["stages"][0]["skb"] for packet in packets}
    ensure(len(addresses) < len(packets), "no address was used again")


# --- garbage ---

SEED = 7
ALL_OUTCOMES = ["--outcome", ",".join(records.OUTCOMES)]


def garbage(machine, first, count):
    """Sends it; the frames."""
    flow = {"garbage": SEED, "first_seq": first}
    with tempfile.NamedTemporaryFile() as file:
        words = machine.send_words(peer, count, {**flow, "pcap": file.name})
        for name in "--interface", "--tap":
            if name in words:
                del words[words.index(name):words.index(name) + 2]
        lab.run(lab.TRAFFIC, *words)
        frames = list(parser.read_capture(file.name))
    equal("frames", len(frames), count)
    before = lab.counter(machine.tap, "rx_packets")
    machine.send(peer, count, **flow, burst=True)
    lab.wait_for("the frames to come out of the machine",
                 lambda: lab.counter(machine.tap, "rx_packets") - before == count)
    return frames


def lengths_of_twins(frames):
    """How many frames of each length are the same as another one, to the last byte."""
    twins = collections.Counter()
    for frame, count in collections.Counter(frames).items():
        twins[len(frame)] += count if count > 1 else 0
    return twins


def facts_of(packet):
    flow = packet["flow"] and tuple(packet["flow"][name] for name in records.FLOW)
    return parser.Facts(flow, tuple(packet["vlan"]), packet["length"], packet["ip_id"],
                        packet["tcp_seq"], packet["fragment"], None)


def check_facts(facts, trace):
    """All that is said of the frames is what the other parser says."""
    should = collections.Counter(fact._replace(error=None) for fact in facts)
    is_ = collections.Counter(facts_of(packet) for packet in trace.packets)
    missing, surplus = should - is_, is_ - should
    equal("frames told otherwise: not reported, reported instead",
          (sum(missing.values()), list(missing)[:3], list(surplus)[:3]), (0, [], []))
    errors = collections.Counter(fact.error for fact in facts)
    equal("truncated and malformed",
          (trace.end["errors"]["truncated"], trace.end["errors"]["malformed"]),
          (errors["truncated"], errors["malformed"]))


@case
def ten_thousand_frames_of_garbage_are_told_as_another_parser_tells_them():
    words = ["-d", "tx", "-i", "tap9,vnet0", "-p", "eth0", "--timeout", "60"]
    with tap9.added():
        with vmlat.traces([*words, *ALL_OUTCOMES], [*words, "-P", "tcp", "--src-port", "0-32767"],
                          odd=True) as (trace, filtered):
            before, lost_before = lab.counter("eth0", "tx_packets"), lab.upcalls()[0]
            frames = garbage(tap9, 0, 5000) + garbage(web1, 5000, 5000)
            trace.wait_lines(len(frames), 60)
        left = lab.counter("eth0", "tx_packets") - before
        lost = lab.upcalls()[0] - lost_before
    facts = [parser.parse(frame) for frame in frames]
    check_facts(facts, trace)
    equal("reports lost, not delivered, unstarted", [trace.end["events"]["lost"],
          trace.end["not_delivered"], trace.end["unstarted"]], [0, 0, 0])
    ended = trace.end["packets"]
    equal("left, upcalls lost", [ended["completed"] + ended["ambiguous"], ended["upcall_lost"]],
          [left, lost])
    ambiguous = collections.Counter(packet["length"] for packet in trace.packets
                                    if packet["outcome"] == "ambiguous")
    equal("ambiguous without a twin, by length", ambiguous - lengths_of_twins(frames),
          collections.Counter())
    equal("TCP from a lower port", filtered.end["packets"]["started"],
          sum(1 for fact in facts if fact.flow and fact.flow[0] == "tcp"
              and fact.flow[2] is not None and fact.flow[2] < 32768))


# --- fragments ---

def send_fragments(count, ports, **flow):
    """Datagrams of three fragments each, to each of the ports."""
    for family in {}, {"src_ip": tap9.ip6, "dst_ip": peer.ip6}:
        for port in ports:
            tap9.send(peer, count, dst_port=port, payload=200, fragment=80, **family, **flow)


@contextlib.contextmanager
def fragments_traced(count, *words):
    """A trace, with every kind of fragment in the datapath's table; `count` leave by eth0."""
    with tap9.added():
        send_fragments(1, [lab.port()])
        lab.wait_for("flows of fragments",
                     lambda: sum("frag=" in flow and "in_port(tap9)" in flow
                                 for flow in lab.flows()) >= 4)
        before = lab.counter("eth0", "tx_packets")
        with vmlat.trace(*TX, *words) as trace:
            yield trace
            lab.wait_for("the fragments to leave",
                         lambda: lab.counter("eth0", "tx_packets") - before == count)


def told(trace):
    """How often: (which fragment, port)."""
    return collections.Counter((p["fragment"], p["flow"]["dst_port"]) for p in trace.packets)


@case
def later_fragments_have_the_ports_of_their_first():
    ports = [lab.port(), lab.port()]
    with fragments_traced(120) as trace:
        send_fragments(10, ports)
    equal("fragments", told(trace), {(which, port): count for port in ports
                                     for which, count in (("first", 20), ("later", 40))})
    check_completed(trace, 120)


@case
def fragments_behind_the_last_and_of_datagrams_that_interleave_have_the_ports_of_their_first():
    ports = one, other = lab.port(), lab.port()
    with fragments_traced(9) as trace, frames.end_of("tap9") as device:
        first, middle, last = fragments(tap9, peer, one, 1)
        firsts, middles, lasts = zip(*(fragments(tap9, peer, port, number)
                                       for number, port in enumerate(ports, 2)))
        for frame in first, last, middle, *firsts, *lasts, *middles:
            os.write(device, frame)
    equal("fragments", told(trace), {("first", one): 2, ("later", one): 4,
                                     ("first", other): 1, ("later", other): 2})
    check_completed(trace, 9)


@case
def fragments_to_a_guest_have_the_ports_of_their_first_if_that_came_before():
    ordered, reverse, count = lab.port(), lab.port(), 5
    flow = {"payload": 200, "fragment": 80, **lab.APART}
    arrived = lab.counter("vnet0", "tx_packets")
    with vmlat.trace("-d", "rx", "-i", "vnet0") as trace:
        peer.send(web1, count, dst_port=ordered, **flow)
        peer.send(web1, count, dst_port=reverse, first_seq=count, reverse=True, **flow)
        lab.wait_for("the fragments to arrive",
                     lambda: lab.counter("vnet0", "tx_packets") - arrived == 6 * count)
    equal("fragments", told(trace), {("first", ordered): count, ("later", ordered): 2 * count,
                                     ("first", reverse): count, ("unmatched", None): 2 * count})
    check_completed(trace, 6 * count)


@case
def fragments_before_their_first_are_named_unmatched():
    port = lab.port()
    with fragments_traced(60) as trace:
        send_fragments(10, [port], reverse=True)
    equal("fragments", told(trace), {("unmatched", None): 40, ("first", port): 20})
    check_completed(trace, 60)


@case
def a_port_filter_takes_the_fragments_that_are_known_to_have_the_port():
    port, other = lab.port(), lab.port()
    with fragments_traced(180, "--dst-port", port) as trace:
        send_fragments(10, [port, other])
        send_fragments(10, [port], reverse=True, first_seq=10)
    equal("fragments", told(trace), {("first", port): 40, ("later", port): 40})
    check_completed(trace, 80)


@case
def fragments_that_a_port_filter_cannot_know_are_named_when_nothing_is_reported():
    port, other = lab.port(), lab.port()
    with fragments_traced(60, "--dst-port", port) as trace:
        send_fragments(10, [other], reverse=True)
        lab.wait_for("the explanation", lambda: "turned away" in trace.errors())
    ensure("40 by a port of a fragment whose first was not seen" in trace.errors()
           and "20 by --dst-port" in trace.errors(), f"stderr: {trace.errors()}")
