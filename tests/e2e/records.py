# SPDX-License-Identifier: GPL-2.0
"""The JSON lines of a trace: their shape, and what must be true of every trace."""
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
          "fragment": TEXT_OR_NULL, "process": (dict, NONE), "outcome": TEXT,
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
END = {"type": TEXT, "time": TEXT, "packets": (dict,), "events": (dict,), "probes": (dict,),
       "not_delivered": NUMBER, "unstarted": NUMBER, "drops": (list,), "traffic": (list,),
       "errors": (dict,), "lost": (dict,)}
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


def check_end(end):
    shape("end", end, END)
    shape("end.packets", end["packets"], numbers("started", *OUTCOMES))
    shape("end.events", end["events"], numbers("reported", "lost"))
    shape("end.probes", end["probes"], {"missed": NUMBER_OR_NULL})
    shape("end.errors", end["errors"], numbers("malformed", "truncated"))
    for drop in end["drops"]:
        shape("end.drops", drop, DROP)
    for one in end["traffic"]:
        shape("end.traffic", one, TRAFFIC)


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


def parse(text):
    """(header, packets, end) of an output, each line of which is checked."""
    lines = text.splitlines()
    ensure(len(lines) >= 2, f"{len(lines)} lines of output")
    try:
        records = [json.loads(line) for line in lines]
    except ValueError as error:
        raise Failure(f"a line is no JSON: {error}") from error
    kinds = [record.get("type") for record in records]
    equal("types of the lines", kinds, ["header"] + ["packet"] * (len(lines) - 2) + ["end"])
    header, packets, end = records[0], records[1:-1], records[-1]
    check_header(header)
    for packet in packets:
        check_packet(packet)
    check_end(end)
    check_accounting(packets, end)
    return header, packets, end
