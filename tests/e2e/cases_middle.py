# SPDX-License-Identifier: GPL-2.0
"""What begins or ends in the middle: the trace, an interface, Open vSwitch, a guest."""
import contextlib
import os
import signal

import lab
import records
import vmlat
from case import case, equal
from cases_outcome import check_lines, check_outcomes
from lab import peer, tap9, web1, web2

TX = ["-d", "tx", "-i", "vnet0"]


def numbers(packets):
    return sorted(p["ip_id"] for p in packets)


def wait_for_words(trace, *words):
    """On one line of stderr."""
    lab.wait_for(f"{words} on stderr", lambda: any(
        all(word in line for word in words) for line in trace.errors().splitlines()))


# --- the trace ---

def go_up(count, **flow):
    """Packets of a cold flow, which nobody answers."""
    missed = lab.upcalls()[1]
    web1.send(peer, count, **flow)
    lab.wait_for("the packets to miss", lambda: lab.upcalls()[1] - missed == count)


@case
def upcalls_from_before_the_trace_are_unstarted():
    port, count = lab.port(), 3
    lab.flush()
    with contextlib.ExitStack() as standstill:
        standstill.enter_context(lab.stopped(lab.vswitchd()))
        go_up(count, dst_port=port)
        with vmlat.trace(*TX, *vmlat.QUICK, odd=True) as trace:
            with peer.counting(count, dst_port=port):
                standstill.close()
            lab.deliver(web1, peer, 5, dst_port=port)
    check_outcomes(trace, started=5, completed=5)
    equal("unstarted", trace.end["unstarted"], count)
    equal("reported", numbers(trace.packets), list(range(5)))


@case
def packets_that_waited_in_a_queue_before_the_trace_have_no_record():
    port, count = lab.port(), 20
    lab.warm(web1, peer, dst_port=port)
    sent = lab.counter("eth0", "tx_packets")
    with lab.qdisc("plug"):
        web1.send(peer, count, dst_port=port)
        lab.wait_for("the packets to wait", lambda: lab.qdisc_root()["qlen"] == count)
        with vmlat.trace(*TX, *vmlat.QUICK) as trace:
            equal("packets that had left when it was ready",
                  lab.counter("eth0", "tx_packets") - sent, 0)
            lab.run("tc", "qdisc", "change", "dev", "eth0", "root", "plug", "release_indefinite")
            lab.wait_for("them to leave",
                         lambda: lab.counter("eth0", "tx_packets") - sent == count)
    check_outcomes(trace)
    equal("records, unstarted", (trace.packets, trace.end["unstarted"]), ([], 0))


@case
def upcalls_at_the_end_of_the_trace_are_in_flight():
    port, count = lab.port(), 20
    lab.flush()
    lab.warm(web1, peer, dst_port=port)
    with vmlat.trace(*TX, "--outcome", "completed,in_flight", *vmlat.QUICK) as trace:
        with lab.stopped(lab.vswitchd()):
            lab.deliver(web1, peer, 5, dst_port=port)
            go_up(count, dst_port=port, dst_mac=peer.mac)
            trace.finish()
    check_outcomes(trace, started=5 + count, completed=5, in_flight=count)
    for packet in trace.packets:
        equal("in flight, and last seen in an upcall", packet["outcome"] == "in_flight",
              packet["stages"][-1]["stage"] == "upcall")
    check_lines(trace, "in_flight", count)


# --- an interface ---

@case
def an_interface_that_goes_and_comes_back_is_traced_again():
    port = lab.port()
    with contextlib.ExitStack() as stack:
        stack.enter_context(tap9.added())
        with vmlat.trace("-d", "tx", "-i", "vnet0,tap9", *vmlat.QUICK) as trace:
            lab.deliver(tap9, peer, 10, dst_port=port)
            stack.close()
            wait_for_words(trace, "tap9", "gone")
            lab.deliver(web1, peer, 5, dst_port=port)
            stack.enter_context(tap9.added())
            wait_for_words(trace, "tap9", "traced from now on")
            lab.deliver(tap9, peer, 10, dst_port=port, first_seq=10)
    check_outcomes(trace, started=25, completed=25)
    for tap, wanted in ("tap9", 20), ("vnet0", 5):
        equal(f"packets of {tap}", numbers(p for p in trace.packets if p["vm_interface"] == tap),
              list(range(wanted)))


# --- Open vSwitch ---

@case
def ovs_vswitchd_may_die_and_come_back():
    warm, unanswered, lost, later = (lab.port() for _ in range(4))
    with contextlib.ExitStack() as rules:
        for port in warm, unanswered, lost, later:
            rules.enter_context(lab.rule(f"udp,tp_dst={port}", "output:eth0"))
        lab.deliver(web1, peer, 1, dst_port=warm)
        lab.in_table("in_port(vnet0)", f"dst={warm})")
        with vmlat.trace(*TX, odd=True) as trace:
            with lab.vswitchd_dead(lambda: go_up(3, dst_port=unanswered)):
                before = lab.upcalls()[0]
                go_up(4, dst_port=lost)
                equal("upcalls that the datapath lost", lab.upcalls()[0] - before, 4)
                lab.deliver(web1, peer, 5, dst_port=warm)
            lab.deliver(web1, peer, 6, dst_port=later)
            trace.wait_lines(18)
    check_outcomes(trace, started=18, completed=11, expired=3, upcall_lost=4)
    # a new ovs-vswitchd tries what the kernel can do, with packets of its own
    records.check_nothing_odd({**trace.end, "unstarted": 0})
    outcomes = {(p["flow"]["dst_port"], p["outcome"]) for p in trace.packets}
    equal("outcome of each port", outcomes, {(warm, "completed"), (unanswered, "expired"),
                                             (lost, "upcall_lost"), (later, "completed")})


# --- a guest ---

@case
def a_guest_may_be_killed_and_started_again():
    """A tap that nobody has open has no carrier, and Open vSwitch drops what is for it."""
    port, count = lab.port(), 20
    lab.warm(peer, web2, dst_port=port)
    with vmlat.trace("-d", "rx", "-i", "vnet1") as trace:
        lab.deliver(peer, web2, count, dst_port=port)
        os.kill(web2.qemu(), signal.SIGKILL)
        lab.wait_for("QEMU to end", lambda: not os.path.exists(f"/proc/{web2.qemu()}"))
        peer.send(web2, count, first_seq=count, dst_port=port)
        trace.wait_lines(2 * count)
        lab.run(f"{lab.LAB}/guest", "kill", "web2")
        wait_for_words(trace, "vnet1", "gone")
        web2.start("--vhost=off")
        wait_for_words(trace, "vnet1", "traced from now on")
        lab.deliver(peer, web2, count, first_seq=2 * count, dst_port=port)
    check_outcomes(trace, started=3 * count, completed=2 * count, dropped=count)
    equal("outcomes, in order of the packets",
          [p["outcome"] for p in sorted(trace.packets, key=lambda p: p["ip_id"])],
          ["completed"] * count + ["dropped"] * count + ["completed"] * count)
    equal("VM", {p["vm"] for p in trace.packets if p["outcome"] == "completed"}, {"web2"})
