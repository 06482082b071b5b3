# SPDX-License-Identifier: GPL-2.0
"""A delay is in the segment where it arises, and in no other."""
import collections
import contextlib
import os
import statistics
import threading
import time

import frames
import lab
import truth
import vmlat
from case import counted_case, ensure, equal
from cases_outcome import check_outcomes
from cases_way import RX, TX, TX_COLD
from lab import peer, tap9

TX9 = ["-d", "tx", "-i", "tap9", "-p", "eth0"]
COUNT = 100
TENTH = 0.1


def medians(packets, way):
    """Of each segment, in nanoseconds; all of the packets came this way."""
    segments = {f"{a}->{b}": [] for a, b in zip(way, way[1:])}
    for packet in packets:
        stages = packet["stages"]
        equal("way", [stage["stage"] for stage in stages], way)
        for one, next_ in zip(stages, stages[1:]):
            segments[f"{one['stage']}->{next_['stage']}"].append(
                next_["offset_ns"] - one["offset_ns"])
    return {name: statistics.median(times) for name, times in segments.items()}


def check_delay(packets, way, where, at_least, at_most):
    """The second half of the packets has a delay there, and in no other segment."""
    packets = sorted(packets, key=lambda p: p["time"])
    equal("packets", len(packets), 2 * COUNT)
    usual, delayed = medians(packets[:COUNT], way), medians(packets[COUNT:], way)
    figures = {name: (usual[name], delayed[name]) for name in usual}
    for name, (before, after) in figures.items():
        if name == where:
            ensure(at_least <= after - before <= at_most, f"{where}: {figures}")
        else:
            ensure(abs(after - before) <= TENTH * before, f"{name}: {figures}")


@counted_case
def a_delay_of_the_nics_queue_is_between_xmit_and_driver_alone():
    flow = {"dst_port": lab.port(), "gap_us": 20000}  # each is gone before the next one comes
    with tap9.added():
        lab.warm(tap9, peer, **flow)
        with vmlat.trace(*TX9) as trace:
            lab.deliver(tap9, peer, COUNT, **flow)
            with lab.qdisc("netem", "delay", "10ms"):
                tap9.send(peer, COUNT, first_seq=COUNT, **flow)
                trace.wait_lines(2 * COUNT)
    check_outcomes(trace, started=2 * COUNT, completed=2 * COUNT)
    check_delay(trace.packets, TX, "xmit->driver", 10_000_000, 12_000_000)


Cold = collections.namedtuple("Cold", "before after answerable")  # its write, and from when on


def write_cold(device, port, number, stop):
    """The first packet of a flow."""
    payload = bytes(60) + truth.NUMBER.pack(number)
    with lab.stopped(lab.vswitchd()) if stop else contextlib.nullcontext():
        before = time.time_ns()
        os.write(device, frames.udp(tap9, peer, (port, lab.port()), payload))
        after = time.time_ns()
        time.sleep(0.05 if stop else 0)
        return Cold(before, after, time.time_ns() if stop else after)


def check_answered(packet, cold, departure):
    """Its upcall took from the write until ovs-vswitchd went on, at least; and left before it did."""
    offset = {stage["stage"]: stage["offset_ns"] for stage in packet["stages"]}
    took = offset["reinject"] - offset["upcall"]
    ensure(truth.within(cold.answerable - cold.after, took, departure.at - cold.before),
           f"an upcall of {took} ns: {cold}, {departure}")


@counted_case
def a_delay_of_ovs_vswitchd_is_between_upcall_and_reinject_alone():
    port = lab.port()
    every_port = lab.rule("in_port=tap9,udp",
                          "move:OXM_OF_UDP_DST[]->NXM_NX_REG0[0..15],output:eth0")
    with tap9.added(), every_port, truth.departures(port) as departures, \
            frames.end_of("tap9") as device, vmlat.trace(*TX9) as trace:
        written = []
        for sent in range(2 * COUNT):  # each is gone before the next one comes
            written.append(write_cold(device, port, sent, stop=sent >= COUNT))
            trace.wait_lines(sent + 1)
        left = departures()
    check_outcomes(trace, started=2 * COUNT, completed=2 * COUNT)
    numbers = truth.identify(trace.packets, written, left)
    for packet, number in zip(trace.packets, numbers):
        check_answered(packet, written[number], left[number])
    stopped = [left[number].at - written[number].before for number in range(COUNT, 2 * COUNT)]
    check_delay(trace.packets, TX_COLD, "upcall->reinject", 50_000_000, statistics.median(stopped))


def take(device, count):
    for _ in range(count):
        os.read(device, 4096)


@counted_case
def a_guest_that_does_not_take_its_packets_delays_nothing_up_to_its_tap():
    port = lab.port()
    with tap9.added(), frames.end_of("tap9") as device:
        peer.send(tap9, 1, dst_port=port)
        take(device, 1)
        with vmlat.trace("-d", "rx", "-i", "tap9") as trace:
            taker = threading.Thread(target=take, args=(device, COUNT))
            taker.start()
            peer.send(tap9, COUNT, dst_port=port, gap_us=2000)
            taker.join()
            peer.send(tap9, COUNT, first_seq=COUNT, dst_port=port, gap_us=2000)
            trace.wait_lines(2 * COUNT)
    check_outcomes(trace, started=2 * COUNT, completed=2 * COUNT)
    check_delay(trace.packets, RX, None, 0, 0)
