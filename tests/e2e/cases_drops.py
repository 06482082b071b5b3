# SPDX-License-Identifier: GPL-2.0
"""Where packets are lost: as many as the device, the qdisc or the filter counts itself."""
import contextlib
import json
import time

import frames
import lab
import topology
import vmlat
import xdp
from case import case, ensure, equal
from cases_outcome import check_outcomes, drop_reason
from lab import peer, tap9, web1


def check_dropped(packets, count, where, reason, last):
    """So many of these packets were dropped: there (functions with one of these beginnings, as the
    kernel's compiler named and inlined them), for this reason, after this stage."""
    dropped = [p for p in packets if p["outcome"] == "dropped"]
    equal("lines that say dropped", len(dropped), count)
    for packet in dropped:
        ensure(packet["where"].startswith(where), f"where: {packet['where']}")
        equal("why, after what", (packet["reason"], packet["stages"][-1]["stage"]), (reason, last))
        ensure(packet["total_ns"] > packet["stages"][-1]["offset_ns"], "it did not live that long")


@case
def packets_that_the_tap_of_a_standing_vhost_drops_are_dropped():
    """The guest stands still: vhost fills what the guest gave it, unless it stands still with it
    (6.4), then the tap's ring fills."""
    port, count = lab.port(), 1800
    lab.warm(peer, web1, dst_port=port)
    dropped, arrived = lab.counter("vnet0", "tx_dropped"), lab.counter("eth0", "rx_packets")
    with vmlat.trace("-d", "rx", "-i", "vnet0", "--dst-port", port) as trace:
        with lab.stopped(web1.qemu()):
            peer.send(web1, count, dst_port=port, gap_us=100)
            lab.wait_for("the packets to arrive",
                         lambda: lab.counter("eth0", "rx_packets") - arrived == count)
    dropped = lab.counter("vnet0", "tx_dropped") - dropped
    ensure(100 < dropped < count, f"the tap counts {dropped} as dropped")
    check_outcomes(trace, started=count, completed=count - dropped, dropped=dropped)
    check_dropped(trace.packets, dropped, "tun_net_xmit", drop_reason("FULL_RING"), "tap")


QDISCS = [("netem", "delay", "300ms", "limit", "10"),
          ("tbf", "rate", "20kbit", "burst", "2000", "limit", "1000")]


@case
def packets_that_a_qdisc_drops_are_dropped():
    count, ports, dropped = 100, [lab.port() for _ in QDISCS], []
    for port in ports:
        lab.warm(web1, peer, dst_port=port)
    with vmlat.trace("-d", "tx", "-i", "vnet0") as trace:
        for port, words in zip(ports, QDISCS):
            with lab.qdisc(*words):
                web1.send(peer, count, dst_port=port, burst=True)
                lab.wait_for("all packets to leave the qdisc", lambda: lab.qdisc_done(count))
                dropped.append(lab.qdisc_root()["drops"])
    ensure(all(0 < drops < count for drops in dropped), f"the qdiscs count {dropped} as dropped")
    check_outcomes(trace, started=2 * count, completed=2 * count - sum(dropped),
                   dropped=sum(dropped))
    for port, drops in zip(ports, dropped):
        check_dropped([p for p in trace.packets if p["flow"]["dst_port"] == port], drops,
                      ("__dev_queue_xmit", "kfree_skb_list", "__tcf_kfree_skb_list"),
                      drop_reason("QDISC_DROP"), "xmit")


@case
def packets_for_a_link_that_is_down_are_dropped():
    port, count = lab.port(), 20
    lab.warm(web1, peer, dst_port=port)
    with vmlat.trace("-d", "tx", "-i", "vnet0", *vmlat.QUICK) as trace:
        with lab.stopped(lab.vswitchd()), topology.down("eth0"):  # its flows would lose the port
            sent = lab.counter("eth0", "tx_packets")
            web1.send(peer, count, dst_port=port)
            trace.wait_lines(count)
            equal("packets that eth0 sent", lab.counter("eth0", "tx_packets"), sent)
    check_outcomes(trace, started=count, dropped=count)
    # with reasons of its own openvswitch says which one this is (6.6)
    reason = "DEV_READY" if drop_reason("LAST_ACTION") else drop_reason("NOT_SPECIFIED")
    check_dropped(trace.packets, count, "do_execute_actions", reason, "datapath")


# --- with all that waits in a queue ---

def wait_in_queue(device, count):
    """That many packets wait, and do so for a while. Returns since when at the latest, ns."""
    lab.wait_for("the packets to wait", lambda: lab.qdisc_root(device)["qlen"] == count)
    waiting = time.monotonic_ns()
    time.sleep(0.3)
    return waiting


def check_freed_with_the_queue(trace, count, last, waited, elapsed):
    """All of them were dropped, and each lived as long as it waited, no longer than all of this took."""
    check_outcomes(trace, started=count, dropped=count)
    for packet in trace.packets:
        equal("outcome, last stage", (packet["outcome"], packet["stages"][-1]["stage"]),
              ("dropped", last))
        ensure(waited <= packet["total_ns"] <= elapsed,
               f"it lived {packet['total_ns']} ns; waited {waited}, in all {elapsed}")
    equal("places", len(trace.end["drops"]), 1)


@case
def packets_that_wait_when_their_queue_goes_are_dropped():
    port, count = lab.port(), 20
    lab.warm(web1, peer, dst_port=port)
    with vmlat.trace("-d", "tx", "-i", "vnet0", "--timeout", "60") as trace:
        start = time.monotonic_ns()
        with lab.qdisc("netem", "delay", "10s"):
            web1.send(peer, count, dst_port=port)
            waiting = wait_in_queue("eth0", count)
            waited = time.monotonic_ns() - waiting
        elapsed = time.monotonic_ns() - start
    check_freed_with_the_queue(trace, count, "xmit", waited, elapsed)


@case
def packets_that_wait_when_their_link_goes_down_are_dropped():
    port, count = lab.port(), 20
    lab.warm(web1, peer, dst_port=port)
    with lab.qdisc("netem", "delay", "10s"), \
            vmlat.trace("-d", "tx", "-i", "vnet0", "--timeout", "60") as trace:
        start = time.monotonic_ns()
        web1.send(peer, count, dst_port=port)
        waiting = wait_in_queue("eth0", count)
        waited = time.monotonic_ns() - waiting
        with topology.down("eth0"):
            elapsed = time.monotonic_ns() - start
    check_freed_with_the_queue(trace, count, "xmit", waited, elapsed)


@case
def packets_that_wait_when_their_tap_goes_are_dropped():
    port, count = lab.port(), 20
    with contextlib.ExitStack() as stack:
        stack.enter_context(tap9.added())
        stack.enter_context(frames.end_of("tap9"))  # else it has no carrier
        lab.run("tc", "qdisc", "add", "dev", "tap9", "root", "netem", "delay", "10s")
        with vmlat.trace("-d", "rx", "-i", "tap9", "--timeout", "60") as trace:
            start = time.monotonic_ns()
            peer.send(tap9, count, dst_port=port, gap_us=5000)
            waiting = wait_in_queue("tap9", count)
            waited = time.monotonic_ns() - waiting
            stack.close()
            elapsed = time.monotonic_ns() - start
    check_freed_with_the_queue(trace, count, "vport", waited, elapsed)


@contextlib.contextmanager
def refused(device, side):
    """tc drops every packet at this side of the device; yields how many it says it did."""
    where = ["dev", device, side]
    lab.run("tc", "filter", "add", *where, "matchall", "action", "drop")
    try:
        yield lambda: json.loads(lab.run("tc", "-s", "-j", "filter", "show", *where))[1][
            "options"]["actions"][0]["stats"]["drops"]
    finally:
        lab.run("tc", "filter", "del", *where)


@case
def packets_that_tc_drops_at_the_tap_are_dropped():
    port, count = lab.port(), 20
    with topology.classified("vnet0"), vmlat.trace("-i", "vnet0") as trace:
        with refused("vnet0", "ingress") as ingress:
            web1.send(peer, count, dst_port=port)
            lab.wait_for("packets that leave to be dropped", lambda: ingress() == count)
        with refused("vnet0", "egress") as egress:
            peer.send(web1, count, dst_port=port)
            lab.wait_for("packets that enter to be dropped", lambda: egress() == count)
    check_outcomes(trace, started=2 * count, dropped=2 * count)
    for direction, last, reason, where in (("tx", "tap", "TC_INGRESS", "__netif_receive_skb_core"),
                                           ("rx", "vport", "TC_EGRESS", "__dev_queue_xmit")):
        packets = [p for p in trace.packets if p["direction"] == direction]
        check_dropped(packets, count, where, drop_reason(reason), last)


@case
def packets_that_xdp_drops_at_the_tap_were_never_delivered():
    port, count = lab.port(), 20
    with tap9.added(), vmlat.trace("-d", "tx", "-i", "vnet0,tap9", *vmlat.QUICK,
                                     odd=True) as trace:
        with xdp.drops_all("vnet0"), xdp.drops_all("tap9"):
            dropped = lab.counter("vnet0", "rx_dropped")
            web1.send(peer, count, dst_port=port)
            lab.wait_for("the packets to be dropped",
                         lambda: lab.counter("vnet0", "rx_dropped") - dropped == count)
            tap9.send(peer, count, dst_port=port)  # of which the tap counts nothing
        lab.deliver(web1, peer, 3, dst_port=port)
        lab.deliver(tap9, peer, 3, dst_port=port)
    check_outcomes(trace, started=6, completed=6)
    equal("not delivered", trace.end["not_delivered"], 2 * count)
