# SPDX-License-Identifier: GPL-2.0
"""The lab from inside: its machines, their traffic, Open vSwitch. See docs/lab.md."""
import contextlib
import ctypes
import glob
import itertools
import json
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import time

from case import Failure, ensure, equal

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
LAB = f"{TOP}/tests/lab"
TRAFFIC = f"{TOP}/build/traffic"
AGENT = f"{TOP}/build/lab/agent-exec"
STATE = "/run/vmlat-lab"
PEER = ["ip", "netns", "exec", "peer"]
APART = {"gap_us": 5000}  # each is over before the next one comes, see vmlat.may_skip
KERNEL = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))

_ports = itertools.count(20000)


def port():
    """A port that no other case uses."""
    return next(_ports)


def run(*command, timeout=120):
    """The output of a command that must succeed."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        words = " ".join(map(str, command))
        raise Failure(f"{words[:300]}: status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _read(path):
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def kib_of(process, field):
    """Of its memory, e.g. VmRSS."""
    status = _read(f"/proc/{process.pid}/status")
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M).group(1))


def library(function, *arguments):
    """A function of tests/lab/lib.sh."""
    return run("bash", "-c", f'. {LAB}/lib.sh; "$@"', "lib.sh", function, *arguments)


def wait_for(what, condition, seconds=120):
    """Polls until the condition is true, and returns what it is. The longer it takes, the more seldom:
    to look costs the emulated CPU milliseconds."""
    start = time.monotonic()
    while True:
        result = condition()
        if result:
            return result
        waited = time.monotonic() - start
        if waited > seconds:
            raise Failure(f"waited {seconds} s for {what}")
        time.sleep(min(max(0.02, waited / 20), 0.25))


def _watch(directory):
    """A file that is readable when something has been made in the directory."""
    made = 0x100  # IN_CREATE of include/uapi/linux/inotify.h
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.inotify_init()
    if number < 0 or libc.inotify_add_watch(number, directory.encode(), made) < 0:
        raise OSError(ctypes.get_errno(), f"inotify: {directory}")
    return open(number, "rb", buffering=0)


def wait_for_file(path, process, seconds=300):
    """Until it is there, or the process has ended. To poll meanwhile would take a tenth of the CPU."""
    with _watch(os.path.dirname(path)) as made, \
            os.fdopen(os.pidfd_open(process.pid), "rb", buffering=0) as end:
        while not os.path.exists(path) and process.poll() is None:
            readable = select.select([made, end], [], [], seconds)[0]
            if not readable:
                raise Failure(f"waited {seconds} s for {path}")
            if made in readable:
                made.read(4096)


def in_btf(name, module="vmlinux"):
    """Whether the types of the kernel, or of a module, have this name: a type's or an enumerator's."""
    try:
        with open(f"/sys/kernel/btf/{module}", "rb") as file:
            return f"\0{name}\0".encode() in file.read()
    except FileNotFoundError:
        return False


def has_module_btf():
    """Else fentry finds no function of a module."""
    return os.path.exists("/sys/kernel/btf/openvswitch")


# --- traffic ---

def options(flow):
    """{"dst_port": 1, "vlan": [1, 2], "burst": True} as options of traffic."""
    words = []
    for name, value in flow.items():
        name = "--" + name.replace("_", "-")
        if value is True:
            words.append(name)
        else:
            for item in value if isinstance(value, (list, tuple)) else [value]:
                words += [name, str(item)]
    return words


class Machine:
    """An end of the traffic. `prefix` runs a command there, `interface` is its NIC."""

    def __init__(self, number, prefix, interface, switch_port):
        self.number = number
        self.prefix = prefix
        self.interface = interface
        self.switch_port = switch_port
        self.ip = f"10.0.0.{number}"
        self.ip6 = f"fd00::{number}"
        self.mac = f"52:54:00:00:00:0{number}"
        self.sink = f"52:54:00:00:01:0{number}"  # delivered to it, and no stack takes it

    def traffic(self, *words):
        return [*self.prefix, *words]

    def send_words(self, to, count, flow):
        flow = {"src_ip": self.ip, "dst_ip": to.ip, "src_mac": self.mac, "dst_mac": to.sink,
                "interface": self.interface, **flow}
        return ["send", "--count", str(count), *options(flow)]

    def send(self, to, count, **flow):
        run(*self.traffic(*self.send_words(to, count, flow)))

    def send_all(self, to, flows):
        """Several flows one after the other; each with a count."""
        for flow in flows:
            flow = dict(flow)
            self.send(to, flow.pop("count"), **flow)

    @contextlib.contextmanager
    def counting(self, expect, linger=200, timeout=120, **flow):
        """Counts what arrives until `expect` sequence numbers have; yields the result's dict."""
        result = {}
        words = ["count", "--interface", self.interface, "--expect", str(expect),
                 "--linger", str(linger), "--timeout", str(timeout), *options(flow)]
        with tempfile.TemporaryFile("w+") as errors:
            counter = subprocess.Popen(self.traffic(*words), stdin=subprocess.DEVNULL, text=True,
                                       stdout=subprocess.PIPE, stderr=errors)
            try:
                wait_for("traffic count to be ready", lambda: "ready" in _content(errors))
                yield result
                output, _ = counter.communicate(timeout=timeout + 10)
                result.update(json.loads(output))
            finally:
                counter.kill()
                counter.wait()


def _content(file):
    file.seek(0)
    return file.read()


class Guest(Machine):
    """A nested KVM guest."""

    def __init__(self, name, tap, number):
        # what "guest exec" comes to, without a shell
        super().__init__(number, [AGENT, f"{STATE}/guest/{name}"], "eth0", tap)
        self.name = name
        self.tap = tap

    def traffic(self, *words):
        return [*self.prefix, "traffic", *words]

    def send_all(self, to, flows):
        lines = []
        for flow in flows:
            flow = dict(flow)
            count = flow.pop("count")
            lines.append(" ".join(["traffic", *self.send_words(to, count, flow)]))
        run(*self.prefix, " && ".join(lines))

    def start(self, *words):
        run(f"{LAB}/guest", "start", self.name, self.tap, *words, timeout=500)

    def qemu(self):
        return int(_read(f"{STATE}/guest/{self.name}/pid"))


def vhost_thread(guest):
    """A kernel thread until 6.3, a thread of QEMU since (6e890c5d5021)."""
    wanted = f"vhost-{guest.qemu()}\n"
    for path in glob.glob("/proc/[0-9]*/comm") + glob.glob(f"/proc/{guest.qemu()}/task/*/comm"):
        with contextlib.suppress(OSError):
            if _read(path) == wanted:
                return int(path.split("/")[-2])
    raise Failure(f"{guest.name} has no vhost thread")


@contextlib.contextmanager
def late_vhost(guest):
    """The guest's vhost thread runs when nothing else does, and so finds many packets at once."""
    thread = vhost_thread(guest)
    os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


class Outside(Machine):
    """The peer at the other end of eth0's wire, or of another one."""

    def __init__(self, interface="eth1", switch_port="eth0", number=1):
        super().__init__(number, [*PEER, TRAFFIC], interface, switch_port)


class Tap(Machine):
    """A tap that a program writes to. It only sends."""

    def __init__(self, name, number):
        super().__init__(number, [TRAFFIC], None, name)
        self.tap = name

    def send_words(self, to, count, flow):
        words = super().send_words(to, count, {"tap": self.tap, **flow})
        at = words.index("--interface")
        return words[:at] + words[at + 2:]

    @contextlib.contextmanager
    def added(self, *words):
        library("tap_add", self.tap, self.mac, *words)
        try:
            yield self
        finally:
            library("tap_del", self.tap)


web1 = Guest("web1", "vnet0", 2)
web2 = Guest("web2", "vnet1", 3)
peer = Outside()
tap9 = Tap("tap9", 9)


def deliver(sender, receiver, count, arrive=None, **flow):
    """Sends `count` packets, which all arrive, once each. `arrive`: how they look there."""
    look = {name: value for name, value in flow.items()
            if name in ("protocol", "src_port", "dst_port", "src_ip", "dst_ip", "vlan")}
    with receiver.counting(count, **{**look, **(arrive or {})}) as result:
        sender.send(receiver, count, **flow)
    equal("packets that arrived, and sequence numbers of them",
          (result["received"], result["distinct"]), (count, count))


@contextlib.contextmanager
def sending(machine, to, **flow):
    """It sends for as long as the context lasts."""
    words = machine.traffic(*machine.send_words(to, 1 << 31, flow))
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
        ensure(process.poll() is None, "the traffic has ended")
    finally:
        process.kill()
        process.wait()


def warm(sender, receiver, **flow):
    """One packet, so that the next ones of this flow need no upcall."""
    deliver(sender, receiver, 1, **flow)
    in_table(f"in_port({sender.switch_port})", f"dst={receiver.sink}")


# --- Open vSwitch ---

def ask_vswitchd(method, *parameters):
    """What ovs-appctl would print, without a shell and a process."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(f"/run/openvswitch/ovs-vswitchd.{vswitchd()}.ctl")
        connection.sendall(json.dumps({"id": 0, "method": method, "params": parameters}).encode())
        text, answer = b"", None
        while not answer:
            part = connection.recv(1 << 20)
            ensure(part, f"ovs-vswitchd has no answer to {method}")
            text += part
            with contextlib.suppress(ValueError):  # of a part
                answer = json.loads(text)
    ensure(answer["error"] is None, f"{method}: {answer['error']}")
    return answer["result"]


def flows():
    return ask_vswitchd("dpctl/dump-flows", "-m", "--names").splitlines()


def in_table(*parts):
    """Waits until the datapath has a flow with all these parts in its description."""
    def is_there():
        return any(all(part in line for part in parts) for line in flows())
    try:
        wait_for(f"a datapath flow with {parts}", is_there)
    except Failure as failure:
        raise Failure("\n    ".join([f"{failure}; there are:", *flows()])) from None


def flush():
    """As flow_flush of tests/lab/lib.sh, which says why."""
    def is_empty():
        ask_vswitchd("revalidator/purge")
        return not flows()
    wait_for("the datapath's table to be empty", is_empty)


@contextlib.contextmanager
def rule(match, actions, priority=100):
    """An OpenFlow rule of br0 while the context lasts; the datapath has no flow from before."""
    run("ovs-ofctl", "add-flow", "br0", f"priority={priority},{match},actions={actions}")
    flush()
    try:
        yield
    finally:
        run("ovs-ofctl", "--strict", "del-flows", "br0", f"priority={priority},{match}")
        flush()


def upcalls():
    """(lost, missed) as the datapath counts them; asks the kernel: ovs-vswitchd may be stopped."""
    shown = run("ovs-dpctl", "show")
    return tuple(int(re.search(name + r":(\d+)", shown).group(1)) for name in ("lost", "missed"))


def vswitchd():
    return int(_read("/run/openvswitch/ovs-vswitchd.pid"))


@contextlib.contextmanager
def vswitchd_dead(before):
    """ovs-vswitchd stands still, `before` runs, it is killed; at the end it comes back, and with it
    the rules of br0."""
    rules = run("ovs-ofctl", "dump-flows", "--no-stats", "br0")
    with stopped(vswitchd()):
        before()
        os.kill(vswitchd(), signal.SIGKILL)
    wait_for("ovs-vswitchd to die", lambda: not os.path.exists(f"/proc/{vswitchd()}"))
    try:
        yield
    finally:
        run("ovs-vswitchd", "unix:/run/openvswitch/db.sock", "--mlockall", "--no-chdir", "--detach",
            "--log-file=/var/log/openvswitch/ovs-vswitchd.log",
            "--pidfile=/run/openvswitch/ovs-vswitchd.pid")
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(rules)
            file.flush()
            run("ovs-ofctl", "replace-flows", "br0", file.name)


# --- the host ---

@contextlib.contextmanager
def stopped(pid):
    """The process stands still."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(f"process {pid} to stop", lambda: _state(pid) == "T")
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _state(pid):
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0]


def counter(device, name):
    """The interface's own, e.g. ("vnet0", "tx_dropped"), as the host sees it."""
    return int(_read(f"/sys/class/net/{device}/statistics/{name}"))


@contextlib.contextmanager
def qdisc(*words, device="eth0"):
    """A root qdisc of the device."""
    run("tc", "qdisc", "replace", "dev", device, "root", *words)
    try:
        yield
    finally:
        run("tc", "qdisc", "del", "dev", device, "root")


@contextlib.contextmanager
def full_queue(device="eth0", rate="80kbit"):
    """It has room for eight, and sends one each 10 ms or so at that rate: fq_codel drops others, and
    keeps the new one."""
    with qdisc("handle", "1:", "tbf", "rate", rate, "burst", 1600, "limit", 100000, device=device):
        run("tc", "qdisc", "add", "dev", device, "parent", "1:", "handle", "2:", "fq_codel",
            "limit", 8)
        yield


def qdisc_root(device="eth0"):
    """Statistics of the device's root qdisc."""
    found = json.loads(run("tc", "-s", "-j", "qdisc", "show", "dev", device))
    roots = [one for one in found if one.get("root")]
    ensure(len(roots) == 1, f"{device} has {len(roots)} root qdiscs")
    return roots[0]


def qdisc_done(count):
    """So many packets came to eth0's qdisc, and none is in it."""
    root = qdisc_root()
    return root["packets"] + root["drops"] == count and not root["qlen"]


_whole = {}  # what there is once it is up


def _look():
    """What every case finds, and leaves."""
    pids = {"ovs-vswitchd": vswitchd(),
            **{path: int(_read(path)) for path in glob.glob(f"{STATE}/guest/*/pid")}}
    devices = [path for path in glob.glob("/sys/class/net/*") if os.path.isdir(path)]
    return {"devices": sorted(map(os.path.basename, devices)),
            "processes": {name: os.path.exists(f"/proc/{pid}") for name, pid in pids.items()}}


def host_up():
    run(f"{LAB}/host-up", timeout=2000)
    _whole.update(_look())


def up():
    host_up()
    web1.start()
    web2.start("--vhost=off")
    _whole.update(_look())


def check_whole():
    """That the next case finds what it needs: of a case that failed nobody knows how far it came."""
    if not _whole:
        return
    equal("what there is of the lab", _look(), _whole)
    run("ovs-vsctl", "--timeout=60", "set", "Open_vSwitch", ".", "external_ids:whole=1")
    ask_vswitchd("version")
    for guest in (web1, web2):
        if guest.tap in _whole["devices"]:
            run(*guest.prefix, "true", timeout=60)
    disk = os.statvfs(STATE)
    ensure(disk.f_bavail > disk.f_blocks // 10, f"{STATE} is full: {disk.f_bavail} of {disk.f_blocks}")
