# SPDX-License-Identifier: GPL-2.0
"""Comma separated values, beside the JSON lines of the same packets."""
import csv
import io
import re

import lab
import vmlat
from case import case, ensure, equal
from lab import peer, web1, web2

ALL = "completed,dropped,diverted,upcall_lost,expired"


def text(value):
    """As a field: empty for null."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def column(stage):
    number = "" if stage["number"] is None else f"{stage['number']}_"
    return f"stage_{number}{stage['stage']}_ns"


def expected(packet):
    """What a row says of this packet, but for times."""
    flow = packet["flow"] or dict.fromkeys(("protocol", "src_ip", "src_port", "dst_ip", "dst_port"))
    process = packet["process"] or {"pid": None, "comm": None}
    same = {name: value for name, value in packet.items()
            if name not in ("type", "time", "flow", "vlan", "process", "exemplar", "exits",
                            "stages", "total_ns")}
    return {**{name: text(value) for name, value in {**same, **flow, **process}.items()},
            "sample": "1",
            "vlan": ".".join(map(str, packet["vlan"])),
            "exits": [(one["interface"], one["outcome"]) for one in packet["exits"]],
            "stages": sorted({column(stage) for stage in packet["stages"]})}


def said(row):
    """The same of a row."""
    stages = sorted(name for name, value in row.items() if name.startswith("stage_") and value)
    rest = {name: value for name, value in row.items()
            if not name.startswith("stage_") and name not in ("time", "total_ns")}
    return {**rest, "exits": [tuple(one.split(":")[:2]) for one in row["exits"].split()],
            "stages": stages}


def check_times(row):
    """Its first stage is at 0, and one that completed ends with its last."""
    offsets = sorted(int(value) for name, value in row.items()
                     if name.startswith("stage_") and value)
    equal("the first offset", offsets[0], 0)
    ensure(offsets[-1] <= int(row["total_ns"]), f"a stage behind the total: {row}")
    if row["outcome"] == "completed":
        equal("the total and the last offset", int(row["total_ns"]), offsets[-1])
        ensure(any(int(one.split(":")[2]) == offsets[-1] for one in row["exits"].split()),
               f"no exit ends at the last offset: {row}")


def check_summary(table, packets):
    """What has no row is text, on stderr, and says what the JSON lines' end says."""
    _, heading, summary = table.errors().partition("=== Summary: ")
    ensure(heading, f"no summary on stderr: {table.errors()}")
    for term, count in packets.items():
        ensure(re.search(rf"\b{count} {term}\b", summary), f"not {count} {term}: {summary}")


def key(packet):
    return sorted((name, str(value)) for name, value in packet.items())


@case
def csv_says_what_json_says():
    """Both ways, from VM to VM, tags, no IP, an upcall, a mirror, drops."""
    port, mirrored, dropped = lab.port(), lab.port(), lab.port()
    words = ["--outcome", ALL]
    with lab.rule(f"udp,tp_dst={mirrored}", "output:eth0,output:vnet1"), \
            lab.rule(f"udp,tp_dst={dropped}", "drop"):
        web1.send(peer, 1, dst_port=dropped)
        lab.in_table("in_port(vnet0)", "actions:drop")  # else they may be dropped above
        with vmlat.trace(*words) as json, vmlat.trace(*words, form="csv") as table:
            for sender, receiver in (web1, peer), (peer, web1), (web1, web2):
                lab.deliver(sender, receiver, 5, dst_port=port)
            lab.deliver(web1, peer, 3, dst_port=port, vlan=[100, 200])
            lab.deliver(web1, peer, 3, dst_port=mirrored)
            web1.send(peer, 3, dst_port=dropped)
            web1.send(peer, 3, protocol="tcp", dst_port=port)
            json.wait_lines(25)
    rows = list(csv.DictReader(io.StringIO(table.text(), newline=""), strict=True))
    ensure(rows and None not in rows[0], f"more fields than names: {rows[:1]}")
    equal("rows", len(rows), len(json.packets))
    for got, wanted in zip(sorted(map(said, rows), key=key),
                           sorted(map(expected, json.packets), key=key)):
        equal("row", got, wanted)
    for row in rows:
        check_times(row)
    check_summary(table, json.end["packets"])
    ensure({row["outcome"] for row in rows} >= {"completed", "dropped"}, "all ended alike")
    equal("upcalls", sum(row["upcall"] == "true" for row in rows) > 0, True)
