# SPDX-License-Identifier: GPL-2.0
"""Mirrors, floods, multicast, tcpdump: one record for a packet, whatever is copied from it."""
import contextlib
import time

import lab
import sniffer
import truth
import vmlat
from case import case, ensure, equal
from cases_outcome import check_outcomes
from cases_way import RX, TX, stages
from lab import peer, web1, web2
from topology import Changes

DELAY = 300_000_000  # ns
GROUP = "01:00:5e:00:00:01"


@contextlib.contextmanager
def dummies(*names):
    """Ports of br0 that nobody is behind; they take super-frames."""
    with Changes() as changes:
        for name in names:
            changes.do(f"ip link add {name} up type dummy", f"ip link del {name}")
        ports = [" ".join(f"-- {verb} br0 {name}" for name in names)
                 for verb in ("add-port", "--if-exists del-port")]
        changes.do(*(f"ovs-vsctl -t 30 {each}" for each in ports))
        yield


@contextlib.contextmanager
def mirror(of, to):
    """As `of` says: select-src-port=vnet0 before, select-dst-port=eth0 after the packet itself."""
    how, port = of.split("=")
    with Changes() as changes:
        changes.do(f"ovs-vsctl -t 30 -- --id=@to get port {to} -- --id=@of get port {port} -- "
                   f"--id=@m create mirror name=m0 {how}=@of output-port=@to -- "
                   "set bridge br0 mirrors=@m", "ovs-vsctl -t 30 clear bridge br0 mirrors")
        lab.flush()
        yield


def exits(packet):
    return {one["interface"]: one["outcome"] for one in packet["exits"]}


def offsets(packet):
    return {one["interface"]: one["offset_ns"] for one in packet["exits"]}


def check_copied(packets, count, way, end, others):
    """`count` packets, the first of them cold, each with the stages and the time of its way to
    `end`, and with these exits besides."""
    equal("each once", sorted(p["ip_id"] for p in packets), list(range(count)))
    for packet in packets:
        ways = [way[:3] + ["upcall", "reinject"] + way[3:]] if packet["ip_id"] == 0 else [way]
        ensure(stages(packet) in ways, f"stages {stages(packet)}")
        equal("exits", exits(packet), {end: "completed", **others})
        equal("total", packet["total_ns"], offsets(packet)[end])


def of_port(trace, port):
    return [p for p in trace.packets if p["flow"]["dst_port"] == port]


def send_cold_and_warm(sender, receivers, count, in_table, **flow):
    """One packet, then the others once the datapath has their flow; all arrive everywhere."""
    look = {name: flow[name] for name in ("dst_port",)}
    for first, number in (0, 1), (1, count - 1):
        with contextlib.ExitStack() as stack:
            for one in receivers:
                stack.enter_context(one.counting(number, first_seq=first, **look))
            sender.send(receivers[0], number, first_seq=first, **flow)
        lab.in_table(f"in_port({sender.switch_port})", in_table)


@case
def a_mirror_is_an_exit_of_its_own_whose_delay_is_not_the_packets():
    ports = lab.port(), lab.port()
    with dummies("dm0"), lab.qdisc("netem", "delay", f"{DELAY // 1_000_000}ms", device="dm0"):
        with vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "eth0") as trace:
            for of, port in zip(("select-src-port=vnet0", "select-dst-port=eth0"), ports):
                with mirror(of, "dm0"):
                    send_cold_and_warm(web1, [peer], 10, "dm0", dst_port=port)
            trace.wait_lines(20)
    check_outcomes(trace, started=20, completed=20)
    for port in ports:
        check_copied(of_port(trace, port), 10, TX, "eth0", {"dm0": "diverted"})
        for packet in of_port(trace, port):
            ensure(packet["total_ns"] < DELAY <= offsets(packet)["dm0"], f"the delay: {packet}")


@case
def a_flood_and_a_multicast_are_one_record_with_all_their_exits():
    flood, group = lab.port(), lab.port()
    with dummies("dm0"), lab.rule(f"udp,tp_dst={flood}", "flood"), \
            lab.rule(f"udp,dl_dst={GROUP}", "NORMAL"):
        with vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "eth0") as trace:
            send_cold_and_warm(web1, [peer, web2], 5, "dm0", dst_port=flood)
            send_cold_and_warm(web1, [peer, web2], 5, "dm0", dst_port=group,
                               dst_ip="224.0.0.1", dst_mac=GROUP)
            trace.wait_lines(10)
    check_outcomes(trace, started=10, completed=10)
    for port in flood, group:  # the host's own stack does not want them
        check_copied(of_port(trace, port), 5, TX, "eth0",
                     {"br0": "dropped", "vnet1": "diverted", "dm0": "diverted"})


@case
def a_copy_that_is_dropped_is_dropped_alone():
    ports = lab.port(), lab.port()
    with contextlib.ExitStack() as stack:
        stack.enter_context(dropping_all("vnet1"))
        for port, actions in zip(ports, ("output:vnet0,vnet1", "output:vnet1,vnet0")):
            stack.enter_context(lab.rule(f"udp,tp_dst={port}", actions))
        with vmlat.trace("-d", "rx", "-p", "eth0") as trace:
            for port in ports:
                send_cold_and_warm(peer, [web1], 5, "vnet1", dst_port=port)
    check_outcomes(trace, started=10, completed=10)
    for port in ports:
        check_copied(of_port(trace, port), 5, RX, "vnet0", {"vnet1": "dropped"})


@contextlib.contextmanager
def dropping_all(device):
    """Nothing gets out by the device, and no queue is to blame."""
    with Changes() as changes:
        changes.do(f"tc qdisc add dev {device} clsact", f"tc qdisc del dev {device} clsact")
        changes.do(f"tc filter add dev {device} egress matchall action drop")
        yield


@case
def of_more_than_eight_exits_the_selected_one_is_told_and_the_others_are_counted():
    names = [f"dm{number}" for number in range(9)]
    ports = last, copy = lab.port(), lab.port()
    orders = {last: [*names, "eth0"], copy: [*names[:-1], "eth0", names[-1]]}
    with contextlib.ExitStack() as stack:
        stack.enter_context(dummies(*names))
        for port, order in orders.items():
            actions = ",".join(f"output:{name}" for name in order)
            stack.enter_context(lab.rule(f"udp,tp_dst={port}", actions))
        with vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "eth0") as trace:
            for port in ports:
                send_cold_and_warm(web1, [peer], 3, "dm8", dst_port=port)
    check_outcomes(trace, started=6, completed=6)
    for packet in trace.packets:
        told = exits(packet)
        equal("eth0", told.pop("eth0", None), "completed")
        equal("the others", (set(told.values()), len(told) + packet["exits_beyond"]),
              ({"diverted"}, len(names)))
        equal("end", packet["phy_interface"], "eth0")


# --- tcpdump ---

def shape(packet):
    """All that has to be the same with tcpdump and without."""
    port = packet["flow"]["dst_port"]
    return (port, packet["direction"], packet["ip_id"], stages(packet), packet["outcome"],
            packet["length"], packet["segments"], exits(packet))


def send_all_kinds(ports):
    """Cold and warm: both directions, copies, drops, a super-frame."""
    plain, dropped, flooded = ports
    lab.flush()
    for first, count in (0, 1), (1, 4):
        for sender, receiver in (web1, peer), (peer, web1):
            lab.deliver(sender, receiver, count, dst_port=plain, first_seq=first)
        lab.deliver(web1, peer, count, dst_port=flooded, first_seq=first)
        web1.send(peer, count, dst_port=dropped, first_seq=first)
        with peer.counting(1, protocol="tcp", dst_port=plain, linger=500):
            web1.send(peer, 1, protocol="tcp", payload=20000, gso=1400, dst_port=plain,
                      first_seq=first)


@case
def tcpdump_on_every_device_changes_no_record():
    devices = ["vnet0", "vnet1", "br0", "eth0"]
    ports = _, dropped, flooded = [lab.port() for _ in range(3)]
    with lab.rule(f"udp,tp_dst={dropped}", "drop"), \
            lab.rule(f"udp,tp_dst={flooded}", "output:vnet1,eth0"):
        with vmlat.trace("-i", "vnet0", "-p", "eth0", "--timeout", "2") as trace:
            send_all_kinds(ports)
            middle = time.time_ns()
            with sniffer.on(*devices) as sniffers:
                send_all_kinds(ports)
                seen = [len(one.frames()) for one in sniffers]
            trace.wait_lines(44)
    ensure(all(seen[n] > 0 for n in (0, 1, 3)), f"tcpdump saw {seen} packets")
    without, with_ = ([shape(p) for p in trace.packets if (truth.begin(p) > middle) == listening]
                      for listening in (False, True))
    equal("records with tcpdump", sorted(map(str, with_)), sorted(map(str, without)))
    equal("records", len(without), 22)
    check_outcomes(trace, started=44, completed=34, dropped=8, expired=2)
