# SPDX-License-Identifier: GPL-2.0
"""Other networks than the lab's usual one: each stands while its context lasts."""
import contextlib
import json

import lab
from case import equal
from lab import Outside, run

UNDERLAY_HOST, UNDERLAY_PEER = "10.0.9.2", "10.0.9.1"
ROUTED = "10.0.8.1"  # an address behind the peer that the host routes to

GROUP, MAC_OF_GROUP = "239.1.1.1", "01:00:5e:01:01:01"  # of multicast


class Changes(contextlib.ExitStack):
    """Commands, each with the one that undoes it; at the end all of these, the last one first."""

    def do(self, command, undo=None):
        run(*command.split())
        if undo:
            self.callback(run, *undo.split())


def mac_of(device):
    with open(f"/sys/class/net/{device}/address", encoding="ascii") as file:
        return file.read().strip()


def _silent(changes, device):
    """Up, at the peer, where it sends nothing by itself."""
    changes.do(f"ip -n peer link set {device} addrgenmode none")
    changes.do(f"ip -n peer link set {device} arp off up")


@contextlib.contextmanager
def second_wire(bridge="br0"):
    """A veth pair as a NIC that hands tags over in the skb's metadata: ve0 in a bridge, ve1 and
    ve1.100 at the peer."""
    with Changes() as changes:
        changes.do("ip link add ve0 type veth peer name ve1 netns peer", "ip link del ve0")
        _silent(changes, "ve1")
        changes.do("ip -n peer link add link ve1 name ve1.100 type vlan id 100")
        _silent(changes, "ve1.100")
        changes.do("ip link set ve0 up")
        if bridge:
            changes.do(f"ovs-vsctl -t 30 add-port {bridge} ve0",
                       f"ovs-vsctl -t 30 --if-exists del-port {bridge} ve0")
        yield


def _take_out(changes, port):
    """The rules of br0 know it by its number."""
    number = run("ovs-vsctl", "-t", "30", "get", "interface", port, "ofport").strip()
    changes.do(f"ovs-vsctl -t 30 del-port br0 {port}",
               f"ovs-vsctl -t 30 add-port br0 {port} -- set interface {port} "
               f"ofport_request={number}")


def _take_eth0_out(changes):
    _take_out(changes, "eth0")


@contextlib.contextmanager
def uplink_bridge():
    """eth0 in a bridge of its own, br1, which passes everything to the host's stack and back."""
    with Changes() as changes:
        _take_eth0_out(changes)
        changes.do("ovs-vsctl -t 30 add-br br1 -- set bridge br1 fail-mode=secure",
                   "ovs-vsctl -t 30 del-br br1")
        changes.do("ovs-vsctl -t 30 add-port br1 eth0", "ovs-vsctl -t 30 del-port br1 eth0")
        changes.do("ip link set br1 up")
        changes.do("ovs-ofctl add-flow br1 in_port=eth0,actions=LOCAL")
        changes.do("ovs-ofctl add-flow br1 in_port=LOCAL,actions=output:eth0")
        yield


def _forwards(device):
    with open(f"/sys/class/net/{device}/brport/state", encoding="ascii") as file:
        return file.read() == "3\n"


def join(changes, bridge, *devices):
    """They are ports of this Linux bridge from now on."""
    for device in devices:
        changes.do(f"ip link set {device} master {bridge}", f"ip link set {device} nomaster")
        changes.do(f"ip link set {device} up")
    lab.wait_for("the ports to forward", lambda: all(map(_forwards, devices)))


def empty_bridge(changes, name):
    """A Linux bridge that says nothing by itself, and knows nobody."""
    changes.do("modprobe bridge")
    changes.do(f"ip link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
               f"ip link del {name}")
    changes.do(f"ip link set {name} addrgenmode none up")


@contextlib.contextmanager
def linux_bridge(*machines, over="eth0"):
    """A Linux bridge, lbr0, in br0's place, with the machines behind its ports. `over`: the port
    that leads to the peer, if one does; yields the Changes, for more."""
    ports = {machine.tap: machine for machine in machines}
    if over:
        ports[over] = lab.peer
    with Changes() as changes:
        for port in "eth0", *ports:
            if port in run("ovs-vsctl", "-t", "30", "list-ports", "br0").split():
                _take_out(changes, port)
        empty_bridge(changes, "lbr0")
        join(changes, "lbr0", *ports)
        for port, machine in ports.items():
            for address in machine.mac, machine.sink:
                changes.do(f"bridge fdb replace {address} dev {port} master static")
        yield changes


@contextlib.contextmanager
def linux_bridge_with_a_group(*machines):
    """The same, that knows by which ports GROUP is: eth0, and the first machine's."""
    with linux_bridge(*machines) as changes:
        # so long nobody is believed to have asked for the groups, and all are flooded
        changes.do("ip link set lbr0 type bridge mcast_query_response_interval 1")
        changes.do("ip link set lbr0 type bridge mcast_snooping 1 mcast_querier 1")
        for port in "eth0", machines[0].tap:
            changes.do(f"bridge mdb add dev lbr0 port {port} grp {GROUP} permanent")
        yield


@contextlib.contextmanager
def routed_linux_bridge(guest):
    """The guest is in lbr0; the host routes between that and eth0, for ROUTED behind the peer."""
    with linux_bridge(guest, over=None) as changes:
        changes.do("sysctl -qw net.ipv4.ip_forward=1", "sysctl -qw net.ipv4.ip_forward=0")
        changes.do("ip addr add 10.0.0.254/24 dev lbr0")
        changes.do(f"ip route add {ROUTED}/32 dev eth0", f"ip route del {ROUTED}/32 dev eth0")
        changes.do(f"ip neigh replace {ROUTED} lladdr {lab.peer.sink} nud permanent dev eth0",
                   f"ip neigh del {ROUTED} dev eth0")
        changes.do(f"ip neigh replace {guest.ip} lladdr {guest.sink} nud permanent dev lbr0")
        yield


@contextlib.contextmanager
def hybrid(guest):
    """The guest's tap in a Linux bridge of its own, qbr0, from which a veth pair, qvb0 and qvo0,
    leads to the tap's place in br0."""
    number = run("ovs-vsctl", "-t", "30", "get", "interface", guest.tap, "ofport").strip()
    with Changes() as changes:
        _take_out(changes, guest.tap)
        changes.do("ip link add qvb0 type veth peer name qvo0", "ip link del qvb0")
        changes.do("ip link set qvo0 up")
        empty_bridge(changes, "qbr0")
        join(changes, "qbr0", "qvb0", guest.tap)
        changes.do(f"ovs-vsctl -t 30 add-port br0 qvo0 -- set interface qvo0 "
                   f"ofport_request={number}", "ovs-vsctl -t 30 del-port br0 qvo0")
        for address in lab.peer.mac, lab.peer.sink:
            changes.do(f"bridge fdb replace {address} dev qvb0 master static")
        for address in guest.mac, guest.sink:
            changes.do(f"bridge fdb replace {address} dev {guest.tap} master static")
        yield


@contextlib.contextmanager
def bare_uplink():
    """eth0 in no bridge."""
    with Changes() as changes:
        _take_eth0_out(changes)
        yield


@contextlib.contextmanager
def bond(mode):
    """eth0 and ve0 as slaves of bond0, which is a port of br0 in eth0's place."""
    with second_wire(bridge=None), Changes() as changes:
        _take_eth0_out(changes)
        changes.do(f"ip link add bond0 type bond mode {mode} miimon 100", "ip link del bond0")
        for slave in "eth0", "ve0":
            changes.do(f"ip link set {slave} down", f"ip link set {slave} up")
            changes.do(f"ip link set {slave} master bond0", f"ip link set {slave} nomaster")
        changes.do("ip link set bond0 up")
        changes.do("ovs-vsctl -t 30 add-port br0 bond0 -- set interface bond0 ofport_request=1",
                   "ovs-vsctl -t 30 del-port br0 bond0")
        yield


@contextlib.contextmanager
def routed():
    """The host routes between br0 and br1: the guests' 10.0.0.0/24 and ROUTED behind the peer."""
    with uplink_bridge(), Changes() as changes:
        changes.do("sysctl -qw net.ipv4.ip_forward=1", "sysctl -qw net.ipv4.ip_forward=0")
        changes.do("ip addr add 10.0.0.254/24 dev br0", "ip addr del 10.0.0.254/24 dev br0")
        changes.do(f"ip route add {ROUTED}/32 dev br1")
        changes.do(f"ip neigh replace {ROUTED} lladdr {lab.peer.sink} nud permanent dev br1")
        changes.do(f"ip neigh replace {lab.web1.ip} lladdr {lab.web1.sink} nud permanent dev br0",
                   f"ip neigh del {lab.web1.ip} dev br0")
        changes.do(f"ovs-ofctl add-flow br0 priority=20,dl_dst={mac_of('br0')},actions=LOCAL",
                   f"ovs-ofctl --strict del-flows br0 priority=20,dl_dst={mac_of('br0')}")
        yield


@contextlib.contextmanager
def underlay(device):
    """The host's and the peer's addresses of tunnels. `device` of the host: br1, which has eth0,
    or eth0 itself."""
    with (uplink_bridge() if device == "br1" else bare_uplink()), Changes() as changes:
        changes.do(f"ip addr add {UNDERLAY_HOST}/24 dev {device}",
                   f"ip addr del {UNDERLAY_HOST}/24 dev {device}")
        changes.do(f"ip neigh replace {UNDERLAY_PEER} lladdr {lab.peer.mac} nud permanent "
                   f"dev {device}", f"ip neigh del {UNDERLAY_PEER} dev {device}")
        changes.do(f"ip -n peer addr add {UNDERLAY_PEER}/24 dev eth1",
                   f"ip -n peer addr del {UNDERLAY_PEER}/24 dev eth1")
        changes.do(f"ip -n peer neigh replace {UNDERLAY_HOST} lladdr {mac_of(device)} "
                   "nud permanent dev eth1", f"ip -n peer neigh del {UNDERLAY_HOST} dev eth1")
        yield


class Far(Outside):
    """A machine behind a tunnel from br0 to the peer."""

    def __init__(self, kind, number):
        super().__init__(f"{kind}0", {"vxlan": "vxlan_sys_4789", "geneve": "genev_sys_6081"}[kind],
                         number)
        self.kind = kind

    @contextlib.contextmanager
    def added(self):
        """On top of an underlay."""
        peers_end = {"vxlan": f"local {UNDERLAY_PEER} dstport 4789 nolearning",
                     "geneve": "dstport 6081"}[self.kind]
        with Changes() as changes:
            changes.do(f"ip -n peer link add {self.interface} type {self.kind} id 42 "
                       f"remote {UNDERLAY_HOST} {peers_end}",
                       f"ip -n peer link del {self.interface}")
            _silent(changes, self.interface)
            changes.do(f"ovs-vsctl -t 30 add-port br0 {self.kind} -- set interface {self.kind} "
                       f"type={self.kind} options:remote_ip={UNDERLAY_PEER} options:key=42",
                       f"ovs-vsctl -t 30 del-port br0 {self.kind}")
            changes.enter_context(lab.rule(f"dl_dst={self.sink}", f"output:{self.kind}"))
            yield self


@contextlib.contextmanager
def without_gro(device):
    with Changes() as changes:
        changes.do(f"ethtool -K {device} gro off", f"ethtool -K {device} gro on")
        yield


@contextlib.contextmanager
def tunnel_to(guest):
    """The host has a VXLAN port, but this tunnel of the peer's ends in the guest, at an address
    that is yielded with the peer's end."""
    address, host = f"10.0.0.{20 + guest.number}", "10.0.0.1"
    with Changes() as changes:
        changes.do("ovs-vsctl -t 30 add-port br0 vxlan -- set interface vxlan type=vxlan "
                   f"options:remote_ip={UNDERLAY_PEER} options:key=42",
                   "ovs-vsctl -t 30 del-port br0 vxlan")
        changes.do(f"ip -n peer neigh replace {address} lladdr {guest.sink} nud permanent dev eth1",
                   f"ip -n peer neigh del {address} dev eth1")
        changes.do(f"ip -n peer link add vxlan0 type vxlan id 42 local {host} remote {address} "
                   "dstport 4789 nolearning", "ip -n peer link del vxlan0")
        _silent(changes, "vxlan0")
        yield Outside("vxlan0", "eth0"), address


@contextlib.contextmanager
def down(device):
    with Changes() as changes:
        changes.do(f"ip link set {device} down", f"ip link set {device} up")
        yield


@contextlib.contextmanager
def classified(device):
    """It may have filters at its ingress and egress."""
    with Changes() as changes:
        changes.do(f"tc qdisc add dev {device} clsact", f"tc qdisc del dev {device} clsact")
        yield


def _number(device, *prefix):
    return json.loads(run(*prefix, "ip", "-j", "link", "show", device))[0]["ifindex"]


@contextlib.contextmanager
def twins(tap, nic):
    """A namespace with a tap and a NIC of these names and numbers; the NIC's other end is `wire`.
    Yields what runs a command there."""
    there = ["ip", "netns", "exec", "twin"]
    with Changes() as changes:
        changes.do("ip netns add twin", "ip netns del twin")
        changes.do("ip netns exec twin sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
        changes.do(f"ip -n twin link add {nic} index {_number(nic)} type veth "
                   "peer name wire index 1000")
        changes.do(f"ip -n twin tuntap add {tap} mode tap")
        while _number(tap, *there) < _number(tap):  # each new one has the next number
            changes.do(f"ip -n twin link del {tap}")
            changes.do(f"ip -n twin tuntap add {tap} mode tap")
        equal("number of the twin", _number(tap, *there), _number(tap))
        for device in tap, nic, "wire":
            changes.do(f"ip -n twin link set {device} arp off up")
        yield there

