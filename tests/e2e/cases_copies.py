# SPDX-License-Identifier: GPL-2.0
"""Mirrors, floods, multicast, tcpdump: one record for a packet, whatever is copied from it."""
import contextlib
import os
import socket
import time

import frames
import lab
import sniffer
import topology
import truth
import vmlat
from case import case, ensure, equal
from cases_outcome import check_outcomes
from cases_upcall import numbered, wait_missed, write
from cases_way import RX, TX, stages
from lab import Outside, peer, tap9, web1, web2
from topology import Changes, mac_of

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
def copies_behind_one_that_a_full_queue_takes_are_followed():
    port, count = lab.port(), 40
    packet = frames.udp(tap9, peer, (20000, port), bytes(60))
    # slower than any machine writes
    with dummies("dm0", "dm1"), tap9.added(), lab.full_queue("dm0", "8kbit"), \
            lab.rule(f"udp,tp_dst={port}", "output:dm0,output:dm1,output:eth0"):
        lab.deliver(tap9, peer, 1, dst_port=port)
        lab.in_table("in_port(tap9)", "dm1")
        with vmlat.trace("-d", "tx", "-i", "tap9", "-p", "eth0", "--timeout", 3) as trace:
            with frames.end_of("tap9") as device:
                for _ in range(count):
                    os.write(device, packet)
            trace.wait_lines(count)
    check_outcomes(trace, started=count, completed=count)
    equal("exits", {tuple(sorted(exits(p))) for p in trace.packets}, {("dm0", "dm1", "eth0")})
    equal("what became of those at the others",
          {(exits(p)["dm1"], exits(p)["eth0"]) for p in trace.packets}, {("diverted", "completed")})
    ensure(any(exits(p)["dm0"] == "dropped" for p in trace.packets), "the queue was not full")


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


# --- looked up again ---

@contextlib.contextmanager
def looked_up_again(port):
    """Packets to this port leave by dm0, and a copy of each by eth0, after another lookup, which
    looks at the source port."""
    rules = f"priority=10,udp,tp_src={port}", "priority=1,udp"
    with dummies("dm0"), Changes() as changes:
        for rule in rules:
            changes.do(f"ovs-ofctl add-flow br0 table=10,{rule},actions=output:eth0",
                       f"ovs-ofctl --strict del-flows br0 table=10,{rule}")
        with lab.rule(f"udp,tp_dst={port}", "ct(table=10),output:dm0"):
            yield


@case
def a_copy_that_is_looked_up_again_has_its_exit_unless_it_goes_up():
    port = lab.port()
    with looked_up_again(port):
        with vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "eth0", "--outcome",
                         "completed,diverted", odd=True) as trace:
            lab.deliver(web1, peer, 1, dst_port=port)
            lab.in_table("recirc_id(0)", "dm0")
            lab.in_table("recirc_id(0x", "actions:eth0")
            lab.deliver(web1, peer, 5, dst_port=port, first_seq=1)
            trace.wait_lines(6)
    check_outcomes(trace, started=6, completed=5, diverted=1)
    equal("unstarted: the copy of the first", trace.end["unstarted"], 1)
    for packet in trace.packets:
        if packet["ip_id"] == 0:
            equal("the first", (packet["outcome"], exits(packet).get("eth0")), ("diverted", None))
        else:
            equal("stages", stages(packet), TX)
            equal("exits", exits(packet), {"eth0": "completed", "dm0": "diverted"})


@case
def the_answer_of_a_copy_that_went_up_is_not_taken_for_that_of_a_twin():
    """The twin's own lookup misses while the copy is up."""
    port, other = lab.port(), lab.port()
    with tap9.added(), looked_up_again(port):
        with vmlat.trace("-d", "tx", "-i", "tap9", "-p", "eth0", "--timeout", "60",
                         "--outcome", "diverted,ambiguous", odd=True) as trace:
            write(frames.udp(tap9, peer, (other, port), bytes(64)))
            lab.in_table("recirc_id(0)", "dm0")
            lab.in_table("recirc_id(0x", "actions:eth0")
            before = lab.upcalls()[1]
            with lab.stopped(lab.vswitchd()):
                for count in 1, 2:
                    write(numbered(port, 0))
                    wait_missed(before, count)
                    lab.run("ovs-dpctl", "del-flows")
            trace.wait_lines(3)
    packets = sorted(trace.packets, key=truth.begin)
    equal("outcomes", [p["outcome"] for p in packets], ["diverted", "diverted", "ambiguous"])


# --- tcpdump ---

def shape(packet):
    """All that has to be the same with tcpdump and without."""
    port = packet["flow"]["dst_port"]
    return (port, packet["direction"], packet["ip_id"], stages(packet), packet["outcome"],
            packet["length"], packet["segments"], exits(packet))


def send_all_kinds(ports, src_port):
    """Cold and warm: both directions, copies, drops, a super-frame. From this port, lest one is the
    twin of another whose upcall is waited for still."""
    plain, dropped, flooded = ports
    source = {"src_port": src_port}
    lab.flush()
    for first, count in (0, 1), (1, 4):
        for sender, receiver in (web1, peer), (peer, web1):
            lab.deliver(sender, receiver, count, dst_port=plain, first_seq=first, **source)
        lab.deliver(web1, peer, count, dst_port=flooded, first_seq=first, **source)
        web1.send(peer, count, dst_port=dropped, first_seq=first, **source)
        with peer.counting(1, protocol="tcp", dst_port=plain, linger=500, **source):
            web1.send(peer, 1, protocol="tcp", payload=20000, gso=1400, dst_port=plain,
                      first_seq=first, **source)


@case
def tcpdump_on_every_device_changes_no_record():
    devices = ["vnet0", "vnet1", "br0", "eth0"]
    ports = _, dropped, flooded = [lab.port() for _ in range(3)]
    with lab.rule(f"udp,tp_dst={dropped}", "drop"), \
            lab.rule(f"udp,tp_dst={flooded}", "output:vnet1,eth0"):
        with vmlat.trace("-i", "vnet0", "-p", "eth0", "--timeout", "2") as trace:
            send_all_kinds(ports, 11111)
            middle = time.time_ns()
            with sniffer.on(*devices) as sniffers:
                send_all_kinds(ports, 22222)
                seen = [len(one.frames()) for one in sniffers]
            trace.wait_lines(44)
    ensure(all(seen[n] > 0 for n in (0, 1, 3)), f"tcpdump saw {seen} packets")
    without, with_ = ([shape(p) for p in trace.packets if (truth.begin(p) > middle) == listening]
                      for listening in (False, True))
    equal("records with tcpdump", sorted(map(str, with_)), sorted(map(str, without)))
    equal("records", len(without), 22)
    check_outcomes(trace, started=44, completed=34, dropped=8, expired=2)


def check_same_with_tcpdump(send, devices, count):
    """`send` gives the same `count` records while somebody listens on these devices."""
    with vmlat.trace("-i", "vnet0") as trace:
        send()
        middle = time.time_ns()
        with sniffer.on(*devices) as sniffers:
            send()
            seen = [len(one.frames()) for one in sniffers]
    ensure(all(seen), f"tcpdump saw {seen} packets on {devices}")
    check_outcomes(trace, started=2 * count, completed=2 * count)
    without, with_ = ([shape(p) for p in trace.packets if (truth.begin(p) > middle) == listening]
                      for listening in (False, True))
    equal("records with tcpdump", sorted(map(str, with_)), sorted(map(str, without)))
    equal("records", len(without), count)


def both_ways(far):
    """A function that sends five packets each way, the first of them cold."""
    port = lab.port()

    def send():
        lab.flush()
        for first, count in (0, 1), (1, 4):
            for sender, receiver in (web1, far), (far, web1):
                lab.deliver(sender, receiver, count, dst_port=port, first_seq=first, **lab.APART)
                lab.in_table(f"in_port({sender.switch_port})", f"dst={receiver.sink}")
    return send


@case
def tcpdump_on_a_bond_and_its_slaves_changes_no_record():
    with topology.bond("active-backup"):
        check_same_with_tcpdump(both_ways(Outside(switch_port="bond0")), ["bond0", "eth0"], 10)


@case
def tcpdump_on_a_tunnel_and_what_is_below_changes_no_record():
    far = topology.Far("vxlan", 4)
    for device, devices in ("eth0", ["eth0"]), ("br1", ["eth0", "br1"]):
        with topology.underlay(device), far.added():
            check_same_with_tcpdump(both_ways(far), [far.switch_port, *devices], 10)


# --- other buffers ---

@case
def what_is_rewritten_between_two_outputs_is_one_record_with_all_its_exits():
    """While a copy waits, rewriting gives the packet another buffer."""
    port, count = lab.port(), 5
    actions = ",".join(f"mod_nw_tos:{tos},output:{device}"
                       for tos, device in ((4, "dm0"), (8, "dm1"), (12, "eth0")))
    with dummies("dm0", "dm1"), lab.qdisc("netem", "delay", "20ms", device="dm0"), \
            lab.qdisc("netem", "delay", "20ms", device="dm1"), \
            lab.rule(f"in_port=vnet0,udp,tp_dst={port}", actions):
        with vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "eth0,dm0,dm1") as trace:
            for first, some in (0, 1), (1, count - 1):
                lab.deliver(web1, peer, some, dst_port=port, first_seq=first)
                lab.in_table("in_port(vnet0)", "dm0")
    check_outcomes(trace, started=count, completed=count)
    for packet in trace.packets:
        equal("exits", exits(packet), dict.fromkeys(("eth0", "dm0", "dm1"), "completed"))


@case
def what_the_host_sends_is_no_copy_of_what_it_has_read():
    """Where the kernel frees what a socket has read without a word, its skb is soon another's: the
    copy has ended before that one's end."""
    port, count, host = lab.port(), 20, "10.0.0.254"
    mac = mac_of("br0")
    with Changes() as changes, socket.socket(type=socket.SOCK_DGRAM) as ours, \
            lab.rule(f"in_port=vnet0,dl_dst={mac}", "output:LOCAL,output:eth0"):
        changes.do(f"ip addr add {host}/24 dev br0", f"ip addr del {host}/24 dev br0")
        changes.do(f"ip neigh replace {peer.ip} lladdr {peer.sink} nud permanent dev br0",
                   f"ip neigh del {peer.ip} dev br0")
        ours.bind((host, port))
        ours.settimeout(30)

        def send_and_read(number):
            web1.send(peer, number, dst_ip=host, dst_mac=mac, dst_port=port)
            for _ in range(number):
                ours.recv(2048)
        send_and_read(1)
        lab.in_table("in_port(vnet0)", f"dst={mac}")
        ours.sendto(bytes(8), (peer.ip, port))
        lab.in_table("in_port(br0)", f"dst={peer.sink}")
        with vmlat.trace("-d", "tx", "-i", "vnet0", "-p", "eth0", "--timeout", "3") as trace:
            send_and_read(count)
            read = time.time_ns()
            sent = lab.counter("eth0", "tx_packets")
            for _ in range(20 * count):
                ours.sendto(bytes(8), (peer.ip, port))
            lab.wait_for("the host's packets to leave",
                         lambda: lab.counter("eth0", "tx_packets") - sent == 20 * count)
            trace.wait_lines(count)
    check_outcomes(trace, started=count, completed=count)
    for packet in trace.packets:
        equal("exits", exits(packet), {"eth0": "completed", "br0": "diverted"})
        ended = truth.begin(packet) + offsets(packet)["br0"]
        ensure(ended < read, f"the copy ended at {ended}, all had been read at {read}")
