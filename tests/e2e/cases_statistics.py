# SPDX-License-Identifier: GPL-2.0
"""Statistics that the kernel keeps, against each packet's own record (records.py compares them)."""
import lab
import records
import vmlat
from case import case, ensure, equal
from lab import peer, tap9, web1, web2


@case
def a_summary_has_counts_and_its_slowest_packets():
    port = lab.port()
    with tap9.added():
        lab.warm(tap9, peer, dst_port=port)
        with vmlat.traces(["-S", "-d", "tx", "-i", "tap9", "-p", "eth0"],
                          ["-d", "tx", "-i", "tap9", "-p", "eth0"]) as (summary, packets):
            tap9.send(peer, 300, dst_port=port)
            packets.wait_lines(300)
    whole, = summary.statistics
    equal("total", [one["count"] for one in whole["segments"] if one["total"]], [300])
    records.check_against_packets(packets.statistics[0], packets.packets)
    longest = max(one["total_ns"] for one in summary.packets)
    total, = (one for one in whole["segments"] if one["total"])
    equal("the slowest", longest, total["max_ns"])
