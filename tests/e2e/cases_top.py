# SPDX-License-Identifier: GPL-2.0
"""The flows with the most packets or bytes: each as the generator made it, none lost unsaid."""
import collections
import os
import signal

import frames
import lab
import vmlat
from case import case, ensure, equal
from lab import peer, tap9

ROOM = 8192  # flows that the kernel side has a place for until they are taken out
Flow = collections.namedtuple("Flow", "protocol src src_port dst dst_port count payload")

# Those with the most packets are not those with the most bytes.
FLOWS = [
    Flow("udp", "10.0.0.9", 4000, "10.0.0.1", 53, 40, 20),
    Flow("udp", "10.0.0.9", 4001, "10.0.0.1", 53, 30, 40),
    Flow("tcp", "10.0.0.9", 4000, "10.0.0.1", 80, 20, 1000),
    Flow("tcp", "10.0.0.9", 4000, "10.0.0.1", 443, 20, 900),
    Flow("udp", "fd00::9", 4000, "fd00::1", 53, 10, 1200),
    Flow("icmp", "10.0.0.9", None, "10.0.0.1", None, 9, 1300),
    Flow("tcp", "fd00::9", 4000, "fd00::1", 80, 3, 100),
]


def wanted(flow):
    """As traffic send wants it."""
    named = {"protocol": flow.protocol, "src_ip": flow.src, "dst_ip": flow.dst,
             "payload": flow.payload, "src_port": flow.src_port, "dst_port": flow.dst_port}
    return {name: value for name, value in named.items() if value is not None}


def key(flow):
    """Of the five-tuple as vmlat tells it."""
    return tuple(flow[name] for name in ("protocol", "src_ip", "src_port", "dst_ip", "dst_port"))


def send_all():
    """Returns how many packets, and bytes, the tap counted."""
    names = ("rx_packets", "rx_bytes")
    before = [lab.counter("tap9", name) for name in names]
    for flow in FLOWS:
        tap9.send(peer, flow.count, **wanted(flow))
    return [lab.counter("tap9", name) - value for name, value in zip(names, before)]


def lengths(flow):
    """Of its frames: Ethernet, IP, and what the protocol has."""
    return 14 + (40 if ":" in flow.src else 20) + {"udp": 8, "tcp": 20, "icmp": 8}[flow.protocol] \
        + flow.payload


def from_records(packets):
    """What the records of the packets add up to, by five-tuple."""
    totals = collections.defaultdict(list)
    for packet in packets:
        totals[key(packet["flow"])].append((packet["length"], packet["total_ns"]))
    return {flow: {"packets": len(of_flow), "bytes": sum(length for length, _ in of_flow),
                   "mean_ns": sum(ns for _, ns in of_flow) // len(of_flow),
                   "max_ns": max(ns for _, ns in of_flow)}
            for flow, of_flow in totals.items()}


def told(top):
    """The same as vmlat tells it, in its order."""
    for flow in top["flows"]:
        equal("tap of a flow", (flow["direction"], flow["vm_interface"]), ("tx", "tap9"))
    return {key(flow["flow"]): {name: flow[name] for name in
                                ("packets", "bytes", "mean_ns", "max_ns")}
            for flow in top["flows"]}


def by_generator():
    """(packets, bytes) of each."""
    return {(flow.protocol, flow.src, flow.src_port, flow.dst, flow.dst_port):
            (flow.count, flow.count * lengths(flow)) for flow in FLOWS}


def most(count, by, other):
    """The keys of so many of FLOWS that have the most of (packets, bytes)[by], in this order."""
    rows = sorted(by_generator().items(), key=lambda row: (-row[1][by], -row[1][other]))
    return [flow for flow, _ in rows[:count]]


@case
def top_flows_have_the_packets_and_times_of_their_records():
    with tap9.added():
        lab.warm(tap9, peer, dst_port=lab.port())
        words = ["-d", "tx", "-i", "tap9", *vmlat.QUICK]
        with vmlat.traces([*words, "--top", 4],
                          [*words, "--top", 3, "--top-by", "bytes", "-S", "--interval", 0.5],
                          [*words, "--top", 100, "-S"]) as traces:
            packets, size = send_all()
            by_bytes = traces[1]
            lab.wait_for("two intervals", lambda: by_bytes.text().count('"type":"statistics"') > 1)
    packet_top, byte_top, whole_top = (trace.statistics[-1]["top"] for trace in traces)
    records = from_records(traces[0].packets)
    equal("packets and bytes of all flows",
          (sum(one["packets"] for one in records.values()),
           sum(one["bytes"] for one in records.values())), (packets, size))
    equal("flows by packets", list(told(packet_top).items()),
          [(flow, records[flow]) for flow in most(4, 0, 1)])
    equal("flows by bytes", [(flow, (one["packets"], one["bytes"]))
                             for flow, one in told(byte_top).items()],
          [(flow, by_generator()[flow]) for flow in most(3, 1, 0)])
    equal("all flows", {flow: (one["packets"], one["bytes"])
                        for flow, one in told(whole_top).items()}, by_generator())
    equal("of what", [top["by"] for top in (packet_top, byte_top)], ["packets", "bytes"])
    for top, kept in (packet_top, 4), (byte_top, 3), (whole_top, len(FLOWS)):
        shown = told(top).values()
        equal("others", top["others"], {
            "flows": len(FLOWS) - kept, "packets": packets - sum(one["packets"] for one in shown),
            "bytes": size - sum(one["bytes"] for one in shown)})
    check_intervals(traces[1], packets)


def check_intervals(trace, packets):
    """Those of the intervals add up to the whole trace's."""
    *intervals, whole = trace.statistics
    ensure(len(intervals) > 1, "there was one interval only")
    counted = sum(sum(flow["packets"] for flow in one["top"]["flows"]) + one["top"]["others"]["packets"]
                  for one in intervals)
    equal("packets of all intervals' flows", counted, packets)
    equal("packets of the whole trace", sum(flow["packets"] for flow in whole["top"]["flows"]) +
          whole["top"]["others"]["packets"], packets)


@case
def text_tells_the_top_flows_as_json_does():
    with tap9.added():
        lab.warm(tap9, peer, dst_port=lab.port())
        words = ["-d", "tx", "-i", "tap9", "-S", "--top", 2, *vmlat.QUICK]
        with vmlat.trace(*words, text=True) as text:
            send_all()
    lines = text.text().partition("The flows with the most packets\n")[2].splitlines()
    shown = [" ".join(line.split()) for line in lines[1:6]]
    first, second = FLOWS[:2]
    rest = by_generator().values()
    expected = ["10.0.0.9:4000 -> 10.0.0.1:53 (UDP)", f"{first.count} {first.count * lengths(first)}",
                "10.0.0.9:4001 -> 10.0.0.1:53 (UDP)",
                f"{second.count} {second.count * lengths(second)}",
                f"others: {len(FLOWS) - 2} flows, "
                f"{sum(count for count, _ in rest) - first.count - second.count} packets, "]
    for line, start in zip(shown, expected, strict=True):
        ensure(line.startswith(start), f"{line!r} does not begin with {start!r}")
    equal("tap and direction", [line.split()[-2:] for line in shown[1:4:2]], [["TX", "tap9"]] * 2)


@case
def flows_that_have_no_room_are_counted():
    count = ROOM + 808
    with tap9.added():
        lab.warm(tap9, peer, dst_port=lab.port())
        with frames.end_of("tap9") as device, \
                vmlat.trace("-d", "tx", "-i", "tap9", "-S", "--top", 1000, *vmlat.QUICK,
                            odd=True) as trace:
            os.kill(trace.process.pid, signal.SIGSTOP)  # nobody takes flows out
            try:
                for number in range(count):
                    os.write(device, frames.udp(tap9, peer, (1024 + number, 53), bytes(8)))
            finally:
                os.kill(trace.process.pid, signal.SIGCONT)
    top, lost = trace.statistics[-1]["top"], trace.end["lost"]
    equal("lost", lost, {**dict.fromkeys(lost, 0), "flows": count - ROOM})
    equal("told flows, and packets of each", [one["packets"] for one in top["flows"]], [1] * 1000)
    equal("others", (top["others"]["flows"], top["others"]["packets"]), (ROOM - 1000,) * 2)
    equal("completed", trace.end["packets"]["completed"], count)
