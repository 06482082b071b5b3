# SPDX-License-Identifier: GPL-2.0
"""The JSON lines of a trace: their shape, and what must be true of every trace."""
import bisect
import collections
import json
import re

from case import Failure, ensure, equal

OUTCOMES = ["completed", "dropped", "diverted", "merged", "upcall_lost", "expired", "evicted",
            "ambiguous", "in_flight"]
FRAGMENTS = [None, "first", "later", "unmatched"]
NONE = type(None)
TEXT, NUMBER, BOOL = (str,), (int,), (bool,)
TEXT_OR_NULL, NUMBER_OR_NULL = (str, NONE), (int, NONE)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")

HEADER = {"type": TEXT, "schema": NUMBER, "vmlat": TEXT, "kernel": TEXT, "host": TEXT,
          "start": TEXT, "filter": (dict,), "sample": NUMBER, "hooks": (list,), "missing": (list,)}
HOOK = {"stage": TEXT_OR_NULL, "hook": TEXT, "attach": TEXT}
PACKET = {"type": TEXT, "time": TEXT, "direction": TEXT, "vm": TEXT_OR_NULL,
          "vm_interface": TEXT_OR_NULL, "phy_interface": TEXT_OR_NULL,
          "peer_vm_interface": TEXT_OR_NULL, "flow": (dict, NONE), "vlan": (list,),
          "length": NUMBER, "ip_id": NUMBER_OR_NULL, "tcp_seq": NUMBER_OR_NULL,
          "fragment": TEXT_OR_NULL, "process": (dict, NONE), "exemplar": TEXT_OR_NULL,
          "outcome": TEXT,
          "reason": TEXT_OR_NULL, "where": TEXT_OR_NULL, "upcall": BOOL, "batch": NUMBER,
          "segments": NUMBER, "segments_lost": NUMBER, "exits": (list,), "stages": (list,),
          "stages_beyond": NUMBER, "exits_beyond": NUMBER, "total_ns": NUMBER}
FLOW = {"protocol": TEXT, "src_ip": TEXT, "src_port": NUMBER_OR_NULL, "dst_ip": TEXT,
        "dst_port": NUMBER_OR_NULL}
PROCESS = {"pid": NUMBER, "comm": TEXT}
EXIT = {"interface": TEXT, "outcome": TEXT_OR_NULL, "offset_ns": NUMBER_OR_NULL,
        "segments": NUMBER, "segments_lost": NUMBER}
STAGE = {"stage": TEXT, "number": NUMBER_OR_NULL, "hook": TEXT, "offset_ns": NUMBER,
         "cpu": NUMBER, "stack": (list, NONE)}
ACCOUNTS = {"sample": NUMBER, "packets": (dict,), "events": (dict,), "probes": (dict,), "not_delivered": NUMBER,
            "unstarted": NUMBER, "drops": (list,), "traffic": (list,), "errors": (dict,),
            "lost": (dict,)}
END = {"type": TEXT, "time": TEXT, **ACCOUNTS}
STATISTICS = {"type": TEXT, "time": TEXT, "interval_s": (float,), "whole": BOOL,
              "segments": (list,), "top": (dict, NONE), **ACCOUNTS}
TOP = {"by": TEXT, "flows": (list,), "others": (dict,)}
TOP_FLOW = {"direction": TEXT, "vm_interface": TEXT_OR_NULL, "vm": TEXT_OR_NULL, "flow": (dict,),
            "packets": NUMBER, "bytes": NUMBER, "mean_ns": NUMBER, "max_ns": NUMBER}
PERCENTILES = {"p50_ns": 500, "p90_ns": 900, "p99_ns": 990, "p999_ns": 999}
SEGMENT = {"direction": TEXT, "vm_interface": TEXT, "vm": TEXT_OR_NULL, "from": TEXT_OR_NULL,
           "to": TEXT_OR_NULL, "total": BOOL, "count": NUMBER, "min_ns": NUMBER,
           "mean_ns": NUMBER, "max_ns": NUMBER, "histogram": (list, NONE),
           **{name: NUMBER for name in PERCENTILES}}
ERROR = 0.03  # of a percentile, at most
DROP = {"where": TEXT, "reason": TEXT_OR_NULL, "count": NUMBER}
TRAFFIC = {"direction": TEXT, "vm_interface": TEXT, "packets": NUMBER, "bytes": NUMBER}


def numbers(*names):
    return {name: NUMBER for name in names}


def shape(what, record, fields, may_have=()):
    """Exactly these fields, each of one of its types. Words are made when they are needed: there
    are many records."""
    if record.keys() != fields.keys():
        missing = fields.keys() - record.keys()
        surplus = record.keys() - fields.keys() - set(may_have)
        ensure(not missing and not surplus, f"{what}: fields {missing} missing, {surplus} too many")
    for name, types in fields.items():
        value = record[name]
        good = type(value) in types  # a bool is no number here
        if not good or (isinstance(value, int) and value < 0):
            raise Failure(f"{what}.{name} is {value!r}")


def check_header(header):
    shape("header", header, HEADER)
    equal("header.schema", header["schema"], 1)
    ensure(TIME.fullmatch(header["start"]), f"header.start is {header['start']}")
    for hook in header["hooks"]:
        shape("header.hooks", hook, HOOK)


def check_stages(packet):
    offsets = [stage["offset_ns"] for stage in packet["stages"]]
    ensure(offsets, "a packet without stages")
    for stage in packet["stages"]:
        shape("packet.stages", stage, STAGE, may_have=("skb",))
    equal("the first offset", offsets[0], 0)
    ensure(offsets == sorted(offsets), f"offsets go backwards: {offsets}")
    ensure(packet["total_ns"] >= offsets[-1], "the total is less than the last offset")
    if packet["outcome"] == "completed" and packet["stages_beyond"] == 0:
        equal("total_ns of a completed packet", packet["total_ns"], offsets[-1])


def check_packet(packet):
    shape("packet", packet, PACKET)
    ensure(TIME.fullmatch(packet["time"]), f"packet.time is {packet['time']}")
    ensure(packet["direction"] in ("tx", "rx"), f"packet.direction is {packet['direction']}")
    ensure(packet["outcome"] in OUTCOMES, f"packet.outcome is {packet['outcome']}")
    if packet["flow"]:
        shape("packet.flow", packet["flow"], FLOW)
    equal("process is null for RX", packet["process"] is None, packet["direction"] == "rx")
    if packet["process"]:
        shape("packet.process", packet["process"], PROCESS)
    for one in packet["exits"]:
        shape("packet.exits", one, EXIT)
    for one in [packet, *packet["exits"]]:
        ensure(one["segments"] >= 1 and one["segments_lost"] <= one["segments"],
               f"{one['segments_lost']} segments lost of {one['segments']}")
    ensure(packet["fragment"] in FRAGMENTS, f"packet.fragment is {packet['fragment']}")
    if packet["outcome"] == "completed":
        ensure(any(one["outcome"] == "completed" for one in packet["exits"]),
               f"completed, by no exit: {packet['exits']}")
    names = [stage["stage"] for stage in packet["stages"]]
    equal("upcall, and its stage", packet["upcall"], "upcall" in names)
    check_stages(packet)


def check_accounts(what, accounts):
    shape(f"{what}.packets", accounts["packets"], numbers("started", *OUTCOMES))
    shape(f"{what}.events", accounts["events"], numbers("reported", "lost"))
    shape(f"{what}.probes", accounts["probes"], {"missed": NUMBER_OR_NULL})
    shape(f"{what}.errors", accounts["errors"], numbers("malformed", "truncated"))
    shape(f"{what}.lost", accounts["lost"],
          numbers("stacks", "drop_places", "statistics", "segments", "flows"))
    for drop in accounts["drops"]:
        shape(f"{what}.drops", drop, DROP)
    for one in accounts["traffic"]:
        shape(f"{what}.traffic", one, TRAFFIC)


def check_end(end):
    shape("end", end, END)
    check_accounts("end", end)


def check_segment(segment):
    shape("statistics.segments", segment, SEGMENT)
    equal("a total has no stages", segment["total"], segment["from"] is None)
    values = [segment[name] for name in ("min_ns", *PERCENTILES, "max_ns")]
    ensure(values == sorted(values), f"percentiles go backwards: {segment}")
    ensure(segment["min_ns"] <= segment["mean_ns"] <= segment["max_ns"], f"the mean: {segment}")
    if segment["histogram"] is not None:
        equal("the histogram's count", sum(bucket[2] for bucket in segment["histogram"]),
              segment["count"])


def check_top(top):
    shape("statistics.top", top, TOP)
    shape("statistics.top.others", top["others"], numbers("flows", "packets", "bytes"))
    for flow in top["flows"]:
        shape("statistics.top.flows", flow, TOP_FLOW)
        shape("statistics.top.flows.flow", flow["flow"], FLOW)
        ensure(flow["mean_ns"] <= flow["max_ns"], f"the mean: {flow}")
    most = [flow[top["by"]] for flow in top["flows"]]
    equal(f"{top['by']} of the flows", most, sorted(most, reverse=True))


def check_statistics(statistics):
    shape("statistics", statistics, STATISTICS)
    check_accounts("statistics", statistics)
    if statistics["top"]:
        check_top(statistics["top"])
    for segment in statistics["segments"]:
        check_segment(segment)


def times_of(packets):
    """{(direction, tap, from, to): times} of the completed ones; of the total, None twice."""
    times = collections.defaultdict(list)
    for packet in packets:
        if packet["outcome"] != "completed":
            continue
        row, stages = row_of(packet), packet["stages"]
        for one, other in zip(stages, stages[1:]):
            times[(*row, one["stage"], other["stage"])].append(
                other["offset_ns"] - one["offset_ns"])
        times[(*row, None, None)].append(packet["total_ns"])
    return times


def check_times(segment, times):
    """The statistics of these times: exact, or within the error by nearest rank."""
    times.sort()
    name = [segment[name] for name in ("direction", "vm_interface", "from", "to")]
    equal(f"{name}: count, min, max, mean",
          [segment[field] for field in ("count", "min_ns", "max_ns", "mean_ns")],
          [len(times), times[0], times[-1], sum(times) // len(times)])
    for field, permille in PERCENTILES.items():
        exact = times[max(1, -(-len(times) * permille // 1000)) - 1]
        ensure(abs(segment[field] - exact) <= ERROR * exact,
               f"{name}: {field} is {segment[field]}, of the packets {exact}")
    for low, high, count in segment["histogram"] or ():
        equal(f"{name}: times from {low} to {high}",
              count, bisect.bisect_right(times, high) - bisect.bisect_left(times, low))


def check_against_packets(statistics, packets):
    """Where each completed packet was reported: the statistics of the kernel are of these. Returns
    whether that could be compared."""
    completed = [packet for packet in packets if packet["outcome"] == "completed"]
    if len(completed) != statistics["packets"]["completed"]:
        return False
    if any(packet["stages_beyond"] for packet in completed):
        return False
    times = times_of(completed)
    segments = {tuple(one[name] for name in ("direction", "vm_interface", "from", "to")): one
                for one in statistics["segments"]}
    if len(segments) < len(statistics["segments"]):
        return False  # a tap that changed hands has a row for each of its VMs
    equal("segments", segments.keys(), times.keys())
    for key, segment in segments.items():
        check_times(segment, times[key])
    return True


def all_counts(statistics):
    """Everything that adds up from interval to interval, by what it is of; what is 0 is left out."""
    counts = collections.Counter()
    for name in "started", *OUTCOMES[:-1]:
        counts[name] = statistics["packets"][name]
    for segment in statistics["segments"]:
        counts[tuple(segment[name] for name in ("direction", "vm_interface", "from", "to"))] += \
            segment["count"]
    for drop in statistics["drops"]:
        counts["dropped", drop["where"], drop["reason"]] += drop["count"]
    for (direction, tap), of_tap in traffic(statistics).items():
        for what, count in zip(("packets", "bytes"), of_tap):
            counts[what, direction, tap] += count
    for kind in "errors", "lost":
        for name, count in statistics[kind].items():
            counts[kind, name] = count
    for name in "unstarted", "not_delivered":
        counts[name] = statistics[name]
    return +counts


def check_intervals(intervals, whole):
    """Each is accounted for, with what was open before it; together they are the whole."""
    open_before = 0
    for one in intervals:
        count = one["packets"]
        equal("started and open, and what became of them: " + json.dumps(count),
              open_before + count["started"], sum(count[outcome] for outcome in OUTCOMES))
        open_before = count["in_flight"]
    equal("open at the end", open_before, whole["packets"]["in_flight"])
    equal("counts of all intervals", sum(map(all_counts, intervals), collections.Counter()),
          all_counts(whole))


def row_of(record):
    return record["direction"], record["vm_interface"]


def check_counted(whole, end):
    """Each packet that completed is in a total, or counted as one that is not."""
    counted = sum(one["count"] for one in whole["segments"] if one["total"])
    equal("in the totals, or lost, and completed", counted + end["lost"]["statistics"],
          end["packets"]["completed"])


def check_p99(packet, total, threshold):
    """It took as long as the p99 says; with a threshold beyond that, it is one of the slower ones."""
    least, most = (1 - 2 * ERROR) * total["p99_ns"], (1 + 2 * ERROR) * total["p99_ns"]
    ensure(least <= packet["total_ns"] < total["max_ns"],
           f"{packet['total_ns']} is no p99 of {total}")
    ensure(packet["total_ns"] <= most or threshold > least,
           f"{packet['total_ns']} is slower than the p99 of {total}")


def check_exemplars(lines):
    """The slowest packets of an interval stand behind its statistics, and are what these say."""
    totals, threshold = {}, lines[0]["filter"]["latency_threshold_ns"]
    for line in lines:
        if line["type"] == "statistics":
            totals = {row_of(one): one for one in line["segments"] if one["total"]}
        elif line["type"] == "packet" and line["exemplar"]:
            total = totals[row_of(line)]
            if line["exemplar"] == "max":
                equal("the slowest of its interval", line["total_ns"], total["max_ns"])
            else:
                check_p99(line, total, threshold)


def check_accounting(packets, end):
    count = end["packets"]
    equal("started, and what became of them: " + json.dumps(count),
          count["started"], sum(count[outcome] for outcome in OUTCOMES))
    equal("events.reported, and lines", end["events"]["reported"], len(packets))
    equal("drops by place, and dropped", sum(d["count"] for d in end["drops"]), count["dropped"])
    for outcome in OUTCOMES:
        lines = sum(packet["outcome"] == outcome for packet in packets)
        ensure(lines <= count[outcome], f"{lines} lines say {outcome}, {count[outcome]} counted")


def check_nothing_odd(end):
    """What is 0 when a test does not provoke it. A probe may be missed: an interrupt that comes
    while a program runs, and whose packet needs the same one (bpf_prog_enter's recursion guard)."""
    odd = {"events.lost": end["events"]["lost"], "not_delivered": end["not_delivered"],
           "unstarted": end["unstarted"], **end["errors"], **end["lost"]}
    odd = {name: value for name, value in odd.items() if value}
    ensure(not odd, f"not 0: {odd}")


def traffic(end):
    """{("tx", "vnet0"): (packets, bytes)}, of those with any."""
    return {(one["direction"], one["vm_interface"]): (one["packets"], one["bytes"])
            for one in end["traffic"] if one["packets"]}


# compared: its statistics with its packets, as a whole
Parsed = collections.namedtuple("Parsed", "header packets statistics end compared")


def parse(text):
    """An output, each line of which is checked. statistics: the intervals', the whole's last."""
    lines = text.splitlines()
    ensure(len(lines) >= 3, f"{len(lines)} lines of output")
    try:
        records = [json.loads(line) for line in lines]
    except ValueError as error:
        raise Failure(f"a line is no JSON: {error}") from error
    kinds = {kind: [record for record in records if record.get("type") == kind]
             for kind in ("header", "packet", "statistics", "end")}
    equal("lines of a known type", sum(map(len, kinds.values())), len(records))
    equal("headers and ends", (kinds["header"], kinds["end"]), (records[:1], records[-1:]))
    header, packets, statistics, end = records[0], kinds["packet"], kinds["statistics"], records[-1]
    check_header(header)
    for packet in packets:
        check_packet(packet)
    check_end(end)
    check_accounting(packets, end)
    for one in statistics:
        check_statistics(one)
    equal("statistics of the whole trace", [one["whole"] for one in statistics],
          [False] * (len(statistics) - 1) + [True])
    check_counted(statistics[-1], end)
    check_exemplars(records)
    compared = False
    if len(statistics) > 1:
        check_intervals(statistics[:-1], statistics[-1])
    elif all(packet["exemplar"] is None for packet in packets):
        compared = check_against_packets(statistics[0], packets)
    return Parsed(header, packets, statistics, end, compared)
