# SPDX-License-Identifier: GPL-2.0
"""One flow in N (--sample): about so many of them, each with all of its packets, both ways."""
import collections
import os
import types

import frames
import lab
import vmlat
from case import case, ensure, equal
from lab import peer, tap9

FLOWS, EACH, SAMPLE = 400, 3, 4
FEWEST, MOST = 66, 134  # of 400 that are taken by a fair die of four sides: four standard deviations


def there_and_back(port):
    """A packet of the flow with this port from each of its ends; both leave by the same NIC."""
    answering = types.SimpleNamespace(ip=peer.ip, mac=tap9.mac)
    asking = types.SimpleNamespace(ip=tap9.ip, sink=peer.sink)
    return (frames.udp(tap9, peer, (port, 5201), bytes(8)),
            frames.udp(answering, asking, (5201, port), bytes(8)))


def not_ip(number):
    """From one of many stations; its length tells which."""
    station = types.SimpleNamespace(mac=f"52:54:00:01:{number >> 8:02x}:{number & 255:02x}")
    return frames.ethernet(station, peer, 0x88b5, bytes(60 + number))


def write(all_frames):
    """They have left by the NIC when this returns."""
    before = lab.counter("eth0", "tx_packets")
    with frames.end_of("tap9") as device:
        for frame in all_frames:
            os.write(device, frame)
    lab.wait_for("the frames to leave",
                 lambda: lab.counter("eth0", "tx_packets") - before >= len(all_frames))


def check_share(what, measured):
    """Packets by flow: each has all of its own, and about one flow in SAMPLE is there."""
    equal(f"packets of each {what} that is measured", set(measured.values()), {EACH})
    ensure(FEWEST <= len(measured) <= MOST, f"{len(measured)} of {FLOWS} {what}s are measured")


@case
def a_sample_has_one_flow_in_so_many_each_wholly_and_both_ways():
    ports = range(30000, 30000 + FLOWS)
    sent = [frame for _ in range(EACH) for port in ports for frame in there_and_back(port)]
    options = ["-d", "tx", "-i", "tap9", "-P", "udp"]
    with tap9.added():
        with vmlat.traces([*options, f"--sample={SAMPLE}"], options) as (sample, everything):
            write(sent)
    there = collections.Counter(p["flow"]["src_port"] for p in sample.packets
                                if p["flow"]["src_ip"] == tap9.ip)
    back = collections.Counter(p["flow"]["dst_port"] for p in sample.packets
                               if p["flow"]["src_ip"] == peer.ip)
    check_share("flow", there)
    equal("flows that are measured from the other end", back, there)
    equal("what the sample counted, all of it completed",
          [sample.end["packets"][name] for name in ("started", "completed")],
          [2 * EACH * len(there)] * 2)
    equal("what was sent", everything.end["packets"]["started"], len(sent))
    equal("what each line says of the sample",
          [line["sample"] for one in (sample, everything)
           for line in (one.header, *one.statistics, one.end)],
          [SAMPLE] * 3 + [1] * 3)


@case
def a_sample_of_what_is_not_ip_goes_by_its_ethernet_addresses():
    sent = [not_ip(number) for _ in range(EACH) for number in range(FLOWS)]
    with tap9.added():
        with vmlat.trace("-d", "tx", "-i", "tap9", f"--sample={SAMPLE}") as sample:
            write(sent)
    equal("flows", {str(packet["flow"]) for packet in sample.packets}, {"None"})
    check_share("station", collections.Counter(packet["length"] for packet in sample.packets))
