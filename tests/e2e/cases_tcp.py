# SPDX-License-Identifier: GPL-2.0
"""TCP of a real stack, compared with what the interface itself counts."""
import contextlib
import subprocess

import lab
import records
import vmlat
from case import case, ensure, equal
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


def transfer(*words):
    """Both directions' traces of up to 1 MB by TCP, and what the tap counted of each."""
    port = lab.port()
    with vmlat.traces(["-d", "tx", "-i", "vnet0", "-P", "tcp", "--dst-port", port],
                      ["-d", "rx", "-i", "vnet0", "-P", "tcp", "--src-port", port]) as traces:
        before = [lab.counter("vnet0", name) for name in ("rx_packets", "tx_packets")]
        with iperf_server(lab.PEER, peer.ip, port):
            lab.run(*web1.prefix, "iperf3", "-c", peer.ip, "-p", port, "-n", "1M", *words)
        lab.wait_for("the connections to be closed", lambda: not any(
            any(open_sockets(prefix, port)) for prefix in (lab.PEER, web1.prefix)))
        after = [lab.counter("vnet0", name) for name in ("rx_packets", "tx_packets")]
    return traces, [now - then for now, then in zip(after, before)]


def check_transfer(traces, counted):
    equal("started: leaving, entering", [t.end["packets"]["started"] for t in traces], counted)
    equal("completed", [t.end["packets"]["completed"] for t in traces], counted)
    equal("reported", [len(t.packets) for t in traces], counted)


@case
def each_packet_of_a_guests_tcp_upload_is_accounted_for():
    traces, counted = transfer()
    check_transfer(traces, counted)
    ensure(records.traffic(traces[0].end)[("tx", "vnet0")][1] > 1 << 16, "hardly anything")
    frames = [(p["length"] > 1514, p["segments"] > 1) for p in traces[0].packets]
    ensure((True, True) in frames, "no packet was a super-frame")
    ensure(all(long == cut for long, cut in frames), "super-frames, and those that were cut")


@case
def each_packet_of_a_guests_tcp_download_is_accounted_for():
    traces, counted = transfer("-R")
    check_transfer(traces, counted)
    ensure(records.traffic(traces[1].end)[("rx", "vnet0")][1] > 1 << 16, "hardly anything")
