# SPDX-License-Identifier: GPL-2.0
"""Packets that GSO cuts and GRO joins: one record for what the sender, or GRO, handed over."""
import contextlib
import json
import math

import lab
import records
import sniffer
import truth
import vmlat
from case import case, ensure, equal
from cases_copies import dummies
from cases_outcome import check_outcomes
from cases_upcall import QUEUED_AT_MOST, fill, two_conntrack_tables, upcalls_at_once
from cases_way import RX, RX_COLD, TX, TX_COLD, AccessPort, stages
from lab import peer, tap9, web1, web2

SIZE, PAYLOAD = 1400, 20000
SEGMENTS = math.ceil(PAYLOAD / SIZE)
HEADERS = 14 + 20 + 20
LAST_CALL = 10_000_000  # ns, from the packet socket to the driver; the emulated CPU may stand still between
SUPER_FRAME = {"protocol": "tcp", "payload": PAYLOAD, "gso": SIZE}
TAP9 = ["-d", "tx", "-i", "tap9", "-p", "eth0"]


def of_port(trace, port):
    return [p for p in trace.packets if p["flow"]["dst_port"] == port]


def the_one(trace, port):
    """The record of the packet to this port."""
    found = of_port(trace, port)
    equal("records", len(found), 1)
    return found[0]


def check_cut(packet, way, outcome="completed", lost=0, segments=SEGMENTS, headers=HEADERS):
    equal("outcome", packet["outcome"], outcome)
    equal("stages", stages(packet), way)
    equal("length", packet["length"], headers + PAYLOAD)
    equal("segments, and those lost", (packet["segments"], packet["segments_lost"]),
          (segments, lost))


@contextlib.contextmanager
def arriving(receiver, port, **look):
    """Yields what `traffic count` says; GRO joins what arrives, so its bytes alone tell."""
    with receiver.counting(1, linger=700, **{"protocol": "tcp", "dst_port": port, **look}) as result:
        yield result


def send_super_frame(sender, receiver, port, arrive=None, **flow):
    """How many segments of it arrived. `arrive`: how they look there."""
    look = {name: value for name, value in flow.items() if name in ("protocol", "dst_ip")}
    with arriving(receiver, port, **look, **(arrive or {})) as result:
        sender.send(receiver, 1, **{**SUPER_FRAME, **flow}, dst_port=port)
    return math.ceil(result["bytes"] / SIZE)


def send_cold_and_warm(sender, receiver, port, **flow):
    """A super-frame that goes up in parts, and one that need not."""
    lab.flush()
    equal("arrived", send_super_frame(sender, receiver, port, **flow), SEGMENTS)
    lab.in_table(f"in_port({sender.switch_port})", f"dst={receiver.sink}")
    equal("arrived", send_super_frame(sender, receiver, port, **flow), SEGMENTS)


def check_cold_and_warm(trace, port, cold, warm, headers=HEADERS):
    """Their two records."""
    packets = sorted(of_port(trace, port), key=truth.begin)
    equal("records", len(packets), 2)
    for packet, way in zip(packets, (cold, warm)):
        check_cut(packet, way, headers=headers)


def departures(wire):
    return [frame.at for frame in wire.frames() if frame.leaves]


def check_ends_with(packet, left):
    """Its end is the departure of its last segment."""
    equal("segments that left", len(left), SEGMENTS)
    ended = truth.begin(packet) + packet["total_ns"]
    ensure(truth.within(left[-1], ended, left[-1] + LAST_CALL),
           f"it ended at {ended}, its segments left at {left}")


@contextlib.contextmanager
def dropping(sequence):
    """The TCP segment of this number does not leave by eth0."""
    lab.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    try:
        lab.run("tc", "filter", "add", "dev", "eth0", "egress", "protocol", "ip", "u32", "match",
                "u32", sequence, "0xffffffff", "at", "24", "action", "drop")
        yield
    finally:
        lab.run("tc", "qdisc", "del", "dev", "eth0", "clsact")


# --- cold ---

@case
def a_super_frame_that_goes_up_in_parts_is_one_record_that_ends_with_the_last():
    whole, broken = lab.port(), lab.port()
    with tap9.added(), sniffer.on("eth0") as (wire,), vmlat.trace(*TAP9) as trace:
        lab.flush()
        equal("arrived", send_super_frame(tap9, peer, whole), SEGMENTS)
        left = departures(wire)
        with dropping(1 + 7 * SIZE):
            lab.flush()
            equal("arrived", send_super_frame(tap9, peer, broken), SEGMENTS - 1)
    check_outcomes(trace, started=2, completed=1, dropped=1)
    check_cut(the_one(trace, whole), TX_COLD)
    check_cut(the_one(trace, broken), TX_COLD, "dropped", lost=1)
    check_ends_with(the_one(trace, whole), left)


@case
def parts_that_the_kernel_could_not_queue_are_segments_lost():
    port, lost = lab.port(), lab.upcalls()[0]
    with tap9.added():
        with upcalls_at_once(QUEUED_AT_MOST):
            fill(QUEUED_AT_MOST)
            room = QUEUED_AT_MOST - (lab.upcalls()[0] - lost)
        with vmlat.trace(*TAP9, "--dst-port", port, "--timeout", "60") as trace:
            with arriving(peer, port) as result, upcalls_at_once(room - 5):
                fill(room - 5)
                tap9.send(peer, 1, **SUPER_FRAME, dst_port=port)
            trace.wait_lines(1)
    arrived = math.ceil(result["bytes"] / SIZE)
    ensure(0 < arrived < SEGMENTS, f"{arrived} arrived")
    check_outcomes(trace, started=1, upcall_lost=1)
    check_cut(trace.packets[0], TX_COLD, "upcall_lost", lost=SEGMENTS - arrived)


def known_by_address():
    """skbs and buffers that the one trace of now would know again."""
    return json.loads(lab.run("bpftool", "-j", "map", "dump", "name", "carriers"))


@case
def parts_that_go_up_again_leave_nothing_behind():
    port = lab.port()
    with tap9.added(), two_conntrack_tables(port, "tcp"), vmlat.trace(*TAP9) as trace:
        equal("arrived", send_super_frame(tap9, peer, port), SEGMENTS)
        trace.wait_lines(1)
        equal("addresses still known", known_by_address(), [])
    check_outcomes(trace, started=1, completed=1)
    equal("lengths, segments, lost",
          [(p["length"], p["segments"], p["segments_lost"]) for p in trace.packets],
          [(HEADERS + PAYLOAD, SEGMENTS, 0)])
    ensure(stages(trace.packets[0]).count("upcall") > 1, f"it went up once: {trace.packets[0]}")


# --- warm ---

@case
def a_super_frame_is_one_record_that_ends_with_its_last_segment():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    with sniffer.on("eth0") as (wire,), vmlat.trace("-d", "tx", "-i", "vnet0") as trace:
        equal("arrived", send_super_frame(web1, peer, port), SEGMENTS)
        left = departures(wire)
    check_outcomes(trace, started=1, completed=1)
    check_cut(trace.packets[0], TX)
    check_ends_with(trace.packets[0], left)


@case
def segments_that_a_qdisc_drops_are_segments_lost():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    with lab.qdisc("tbf", "rate", "1mbit", "burst", "3000", "limit", "6000"):
        with vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "eth0") as trace:
            arrived = send_super_frame(web1, peer, port)
    ensure(0 < arrived < SEGMENTS, f"{arrived} arrived")
    check_outcomes(trace, started=1, dropped=1)
    check_cut(trace.packets[0], TX, "dropped", lost=SEGMENTS - arrived)


@contextlib.contextmanager
def without_tso(tap):
    """The tap is one whose VM takes no super-frames."""
    lab.run("ethtool", "-K", tap, "tso", "off")
    try:
        yield
    finally:
        lab.run("ethtool", "-K", tap, "tso", "on")


@case
def from_vm_to_vm_a_super_frame_is_cut_where_the_tap_takes_none():
    whole, cut = lab.port(), lab.port()
    lab.warm(web1, web2, dst_port=whole)
    with sniffer.on("vnet1") as (wire,), vmlat.trace("-d", "tx", "-i", "vnet0") as trace:
        equal("arrived", send_super_frame(web1, web2, whole), SEGMENTS)
        equal("frames to the guest", len(departures(wire)), 1)
        with without_tso("vnet1"):
            equal("arrived", send_super_frame(web1, web2, cut), SEGMENTS)
            left = departures(wire)
    check_outcomes(trace, started=2, completed=2)
    check_cut(the_one(trace, whole), TX, segments=1)
    check_cut(the_one(trace, cut), TX)
    check_ends_with(the_one(trace, cut), left)


@case
def of_two_equal_super_frames_in_a_qdisc_that_cuts_them_the_second_is_ambiguous():
    """Nothing tells the segments of one from those of the other."""
    port = lab.port()
    with tap9.added():
        lab.warm(tap9, peer, dst_port=port)
        with lab.qdisc("tbf", "rate", "100kbit", "burst", "3000", "limit", "100000"), \
                sniffer.on("eth0") as (wire,), vmlat.trace(*TAP9) as trace:
            tap9.send(peer, 2, **SUPER_FRAME, dst_port=port, burst=True)
            ensure(lab.qdisc_root()["qlen"] > SEGMENTS, "they are not there at once")
            lab.wait_for("all of them to leave", lambda: not lab.qdisc_root()["qlen"])
            left = departures(wire)
    equal("segments that left", len(left), 2 * SEGMENTS)
    check_outcomes(trace, started=2, completed=1, ambiguous=1)
    first, second = sorted(trace.packets, key=truth.begin)
    check_cut(first, TX)
    check_ends_with(first, left[:SEGMENTS])
    equal("the second, and its stages", (second["outcome"], stages(second)), ("ambiguous", TX[:-1]))


# --- of any kind, by any way: each cold and warm ---

def kinds():
    """Of super-frames: how traffic sends them, and the length of their headers."""
    six = {"src_ip": tap9.ip6, "dst_ip": peer.ip6}
    yield six, 14 + 40 + 20
    if lab.KERNEL >= (6, 2):  # a tap takes UDP's from then on
        yield {"protocol": "udp"}, 14 + 20 + 8
        yield {"protocol": "udp", **six}, 14 + 40 + 8


@case
def a_super_frame_of_ipv6_or_udp_is_one_record_that_ends_with_its_last_segment():
    told = [(lab.port(), *kind) for kind in kinds()]
    with tap9.added(), vmlat.trace(*TAP9) as trace:
        for port, flow, _ in told:
            send_cold_and_warm(tap9, peer, port, **flow)
    check_outcomes(trace, started=2 * len(told), completed=2 * len(told))
    for port, _, headers in told:
        check_cold_and_warm(trace, port, TX_COLD, TX, headers)


@case
def a_super_frame_from_an_access_port_is_one_record():
    port = lab.port()
    with AccessPort(), vmlat.trace("-d", "tx", "-i", "vnet0") as trace:
        send_cold_and_warm(web1, peer, port, arrive={"vlan": 100})
    check_outcomes(trace, started=2, completed=2)
    check_cold_and_warm(trace, port, TX_COLD, TX)


# --- joined by GRO ---

TRAIN = 60


@contextlib.contextmanager
def gro_waiting():
    """GRO keeps what it has from one poll to the next (for a jiffy), as slow as the sender may be."""
    def wait(nanoseconds):
        with open("/sys/class/net/eth0/gro_flush_timeout", "w", encoding="ascii") as file:
            file.write(str(nanoseconds))
    wait(20000000)
    try:
        yield
    finally:
        wait(0)


def send_train(port, delay=contextlib.nullcontext()):
    """Segments that GRO joins; all of them come within the delay."""
    with arriving(web1, port) as result, delay, gro_waiting():
        before = lab.counter("eth0", "rx_packets")
        peer.send(web1, TRAIN, protocol="tcp", payload=SIZE, tcp_seq_step=SIZE, tcp_flags="A",
                  dst_port=port, burst=True)
        lab.wait_for("all of it", lambda: lab.counter("eth0", "rx_packets") - before == TRAIN)
    equal("bytes that arrived", result["bytes"], TRAIN * SIZE)


def joined(frames, port):
    """{TCP sequence number: length} of those to this port, as GRO made them."""
    return {int.from_bytes(one.head[38:42], "big"): one.length for one in frames
            if one.head[36:38] == port.to_bytes(2, "big")}


def check_joined(packets, lengths, whole):
    """One record for each of what GRO made; cut again where it did not stay whole."""
    equal("lengths by number", {p["tcp_seq"]: p["length"] for p in packets}, lengths)
    equal("records", len(packets), len(lengths))
    ensure(max(lengths.values()) > HEADERS + SIZE, "GRO joined none")
    for packet in packets:
        up = "upcall" in stages(packet)
        equal("stages", stages(packet), RX_COLD if up else RX)
        parts = 1 if whole and not up else math.ceil((packet["length"] - HEADERS) / SIZE)
        equal("segments, and those lost", (packet["segments"], packet["segments_lost"]), (parts, 0))
        equal("exits' times", [one["offset_ns"] for one in packet["exits"]], [packet["total_ns"]])


@case
def what_gro_joined_is_one_record_of_its_length_and_may_be_cut_again():
    whole, cut, cold = ports = [lab.port() for _ in range(3)]
    lab.warm(peer, web1, dst_port=whole)
    with sniffer.on("eth0") as (wire,), vmlat.trace("-d", "rx", "-i", "vnet0") as trace:
        send_train(whole)
        with without_tso("vnet0"):
            send_train(cut)
        send_train(cold, upcalls_at_once(1))
        frames = wire.frames()
    for port in ports:
        check_joined(of_port(trace, port), joined(frames, port), port != cut)
    equal("those that went up", {p["upcall"] for p in of_port(trace, cold)}, {True})
    count, length = len(frames), sum(frame.length for frame in frames)
    check_outcomes(trace, started=count, completed=count)
    equal("traffic", records.traffic(trace.end), {("rx", "vnet0"): (count, length)})


# --- copies ---

@case
def of_a_flooded_super_frame_each_exit_has_its_own_segments():
    ports = [lab.port() for _ in range(4)]
    with dummies("dm0"), tap9.added():
        with vmlat.trace("-d", "tx", "-i", "tap9", "-p", "eth0,dm0") as trace:
            for actions, two in ("output:dm0,eth0", ports[:2]), ("output:eth0,dm0", ports[2:]):
                with lab.rule("tcp,in_port=tap9", actions):
                    for port in two:
                        equal("arrived", send_super_frame(tap9, peer, port), SEGMENTS)
                        lab.in_table("in_port(tap9)", "dm0")
    check_outcomes(trace, started=4, completed=4)
    for port in ports:
        packet = the_one(trace, port)
        parts = SEGMENTS if packet["upcall"] else 1  # which nobody joins again
        equal("exits", {one["interface"]: (one["outcome"], one["segments"], one["segments_lost"])
                        for one in packet["exits"]},
              {"eth0": ("completed", SEGMENTS, 0), "dm0": ("completed", parts, 0)})
        equal("stages", stages(packet), TX_COLD if packet["upcall"] else TX)
    equal("cold ones", [the_one(trace, port)["upcall"] for port in ports], [True, False] * 2)
