# SPDX-License-Identifier: GPL-2.0
"""TCP of a real stack, compared with what the interface itself counts."""
import contextlib
import subprocess

import lab
import records
import vmlat
from case import case, ensure, equal
from cases_outcome import check_outcomes
from lab import peer, web1


@contextlib.contextmanager
def iperf_server(machine_prefix, address, port):
    """Serves one client."""
    server = subprocess.Popen([*machine_prefix, "iperf3", "-s", "-1", "-B", address, "-p",
                               str(port), "--forceflush"], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for line in server.stdout:
            if "listening" in line:
                break
        yield
        server.communicate(timeout=60)
    finally:
        server.kill()
        server.wait()


def open_sockets(prefix, port):
    """TCP sockets with this port at either end that may still send; 06 is TIME_WAIT."""
    for line in lab.run(*prefix, "cat", "/proc/net/tcp").splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        if f"{port:04X}" in (local.rpartition(":")[2], remote.rpartition(":")[2]) and state != "06":
            yield line


COUNTERS = "rx_packets", "tx_packets", "rx_bytes", "tx_bytes"


def transfer(*words, **how):
    """Both directions' traces of up to 1 MB by TCP; packets and bytes that the tap counted."""
    port = lab.port()
    with vmlat.traces(["-d", "tx", "-i", "vnet0", "-P", "tcp", "--dst-port", port],
                      ["-d", "rx", "-i", "vnet0", "-P", "tcp", "--src-port", port], **how) as traces:
        before = [lab.counter("vnet0", name) for name in COUNTERS]
        with iperf_server(lab.PEER, peer.ip, port):
            lab.run(*web1.prefix, "iperf3", "-c", peer.ip, "-p", port, "-n", "1M", *words)
        lab.wait_for("the connections to be closed", lambda: not any(
            any(open_sockets(prefix, port)) for prefix in (lab.PEER, web1.prefix)))
        after = [lab.counter("vnet0", name) for name in COUNTERS]
    grown = [now - then for now, then in zip(after, before)]
    return traces, list(zip(grown[:2], grown[2:]))


def check_transfer(traces, counted):
    """One record for each packet that the tap counted, each of its length."""
    directions = [("tx", "vnet0"), ("rx", "vnet0")]
    equal("packets and bytes: leaving, entering",
          [records.traffic(t.end)[d] for t, d in zip(traces, directions)], counted)
    for trace, (packets, _) in zip(traces, counted):
        check_outcomes(trace, started=packets, completed=packets)
        equal("reported", len(trace.packets), packets)


def super_frames(packets):
    return [p for p in packets if p["length"] > 1514]


@case
def each_packet_of_a_guests_tcp_upload_is_accounted_for():
    traces, counted = transfer()
    check_transfer(traces, counted)
    equal("super-frames, and those that were cut", super_frames(traces[0].packets),
          [p for p in traces[0].packets if p["segments"] > 1])
    ensure(super_frames(traces[0].packets), "no packet was a super-frame")


@case
def each_packet_of_a_guests_tcp_download_is_accounted_for():
    traces, counted = transfer("-R")
    check_transfer(traces, counted)
    ensure(super_frames(traces[1].packets), "GRO joined none")


@contextlib.contextmanager
def no_flow_is_installed():
    """Every packet goes up."""
    lab.run("ovs-vsctl", "set", "Open_vSwitch", ".", "other_config:flow-limit=0")
    try:
        lab.wait_for("the limit", lambda: "(limit 0)" in lab.ask_vswitchd("upcall/show"))
        lab.flush()
        yield
    finally:
        lab.run("ovs-vsctl", "remove", "Open_vSwitch", ".", "other_config", "flow-limit")


@case
def super_frames_of_an_upload_that_go_up_are_all_accounted_for():
    with no_flow_is_installed():
        traces, counted = transfer(odd=True)
    for trace, (packets, _) in zip(traces, counted):  # acknowledgements may be twins
        count, unstarted = trace.end["packets"], trace.end["unstarted"]
        records.check_nothing_odd({**trace.end, "unstarted": 0})
        # whose way up interrupted a kprobe's program is not seen before it comes back
        ensure(not unstarted or vmlat.may_skip(trace), f"{unstarted} unstarted")
        equal("started, and completed or ambiguous",
              (count["started"], count["completed"] + count["ambiguous"]),
              (packets - unstarted,) * 2)
    equal("all went up", {p["upcall"] for trace in traces for p in trace.packets}, {True})
    up = super_frames(traces[0].packets)
    ensure(up, "no packet was a super-frame")
    ensure(all(p["segments"] > 1 and not p["segments_lost"] for p in up), f"segments of {up}")
