# SPDX-License-Identifier: GPL-2.0
"""vmlat check: what it says of this host, and that a trace has just that."""
import contextlib
import json
import os
import re
import subprocess
import sys

import lab
import records
import topology
import vmlat
import xdp
from case import case, early_case, ensure, equal, realtime_case
from lab import tap9

MODULES = ["tun", "openvswitch"]
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}
TYPES = {"traceable": records.BOOL, "obstacles": (list,), "btf": records.BOOL,
         "kprobes": records.BOOL, "preempt_rt": records.BOOL, "open_vswitch": records.TEXT_OR_NULL}


def check(*words, status=0, prefix=(), **how):
    """The object of a check that ends so, with nothing on stderr."""
    done = subprocess.run([*prefix, vmlat.PROGRAM, "check", "-f", "json", *words], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=90, check=False,
                          **how)
    equal(f"status; it says {done.stderr!r} {done.stdout!r}", done.returncode, status)
    equal("stderr", done.stderr, "")
    equal("lines", done.stdout.count("\n"), 1)
    vmlat.keep(done.stdout)
    found = json.loads(done.stdout)
    equal("type", found["type"], "check")
    equal("traceable", (found["traceable"], bool(found["obstacles"])), (not status, bool(status)))
    for name, types in TYPES.items():
        ensure(type(found[name]) in types, f"{name} is {found[name]!r}")
    return found


def text(*words, status=0, prefix=()):
    """The same, for people."""
    done = subprocess.run([*prefix, vmlat.PROGRAM, "check", *words], stdin=subprocess.DEVNULL,
                          text=True, capture_output=True, timeout=90, check=False)
    equal(f"status; it says {done.stderr!r}", done.returncode, status)
    return done.stdout


def ensure_line(output, *words):
    """One line of it has these words, in this order, and nothing else."""
    ensure(list(words) in [line.split() for line in output.splitlines()],
           f"no line {' '.join(words)!r} in:\n{output}")


def says(texts, *parts):
    ensure(any(all(part in one for part in parts) for one in texts), f"none has {parts}: {texts}")


def attached(hooks):
    """As check has them, in the header's words."""
    return [{"stage": h["stage"], "hook": h["hook"], "attach": h["attach"]}
            for h in hooks if h["attach"]]


def missing(hooks):
    return [{"stage": h["stage"], "hook": h["hook"], "why": h["why"]} for h in hooks if h["why"]]


def symbols():
    """What /proc/kallsyms has: {(name, module)}, and the names in any module."""
    with open("/proc/kallsyms", encoding="ascii") as file:
        words = [line.split() for line in file]
    return {(w[2], w[3].strip("[]") if len(w) > 3 else "") for w in words}


@early_case
def check_needs_no_module_and_names_each_that_is_missing():
    loaded = [m for m in MODULES if os.path.exists(f"/sys/module/{m}")]
    found = check(status=3)
    for module in MODULES:
        says([" ".join(found["obstacles"])], *([] if module in loaded else [f"modprobe {module}"]))
    states = {m["module"]: m["state"] for m in found["modules"]}
    equal("modules", {m: states[m] for m in MODULES},
          {m: "loaded" if m in loaded else "absent" for m in MODULES})
    of_ovs = [h for h in found["hooks"] if h["hook"].startswith("ovs_")]
    equal("hooks of Open vSwitch", {(h["attach"], h["why"]) for h in of_ovs},
          {(None, "its module is not loaded")})


@case
def check_names_taps_with_vm_and_port_and_nics():
    found = check()
    equal("taps", sorted(found["taps"], key=lambda tap: tap["vm_interface"]),
          [{"vm_interface": tap, "vm": vm, "traced": True, "master": "ovs-system",
            "bridge": "br0", "ovs_port": tap} for tap, vm in (("vnet0", "web1"), ("vnet1", "web2"))])
    equal("nics", found["nics"],
          [{"phy_interface": "eth0", "driver": "virtio_net", "traced": True,
            "leads_to_switch": True, "master": "ovs-system", "bridge": "br0", "ovs_port": "eth0"}])
    equal("nothing in the way of seeing all", (found["unseen"], found["hidden"]), ([], []))
    version = lab.run("ovs-vsctl", "get", "Open_vSwitch", ".", "ovs_version").strip().strip('"')
    equal("Open vSwitch", found["open_vswitch"], version)
    one = check("--vm", "web2", "-d", "rx")
    equal("traced of --vm", [t["vm_interface"] for t in one["taps"] if t["traced"]], ["vnet1"])
    output = text("-i", "vnet0")
    ensure_line(output, "This", "host", "can", "be", "traced.")
    ensure_line(output, *"vnet0 web1 traced port vnet0 of Open vSwitch's br0".split())
    ensure_line(output, *"vnet1 web2 not traced port vnet1 of Open vSwitch's br0".split())
    ensure_line(output, *"eth0 virtio_net traced port eth0 of Open vSwitch's br0".split())


@case
def check_refuses_what_a_trace_refuses():
    status, out, err = vmlat.fails("check", "-i", "vnet7")
    equal("status and stdout", (status, out), (2, ""))
    ensure("vnet7" in err and "vnet0 (web1)" in err, f"stderr: {err}")
    status, out, err = vmlat.fails("check", "-o", "/proc/no/such")
    equal("status and stdout", (status, out), (1, ""))
    ensure("/proc/no/such" in err, f"stderr: {err}")


@case
def a_trace_attaches_as_check_has_said():
    every = [[], ["-d", "tx", "--attach=kprobe"]]
    if os.path.exists("/sys/kernel/btf/openvswitch"):
        every.append(["-d", "rx", "--attach=fentry"])
    said = [check(*words) for words in every]
    for words, found in zip(every, said):
        with vmlat.trace(*words, "-t", "0.1") as trace:
            trace.process.wait(120)
        equal(f"hooks of {words}", trace.header["hooks"], attached(found["hooks"]))
        equal(f"missing of {words}", trace.header["missing"], missing(found["hooks"]))
        told = {one["field"] for one in found["not_told"]}
        equal(f"probes.missed of {words} is null", trace.end["probes"]["missed"] is None,
              "probes.missed" in told)
        warned = [line for line in trace.errors().splitlines() if "is not traced" in line]
        ensure(len(warned) <= len(trace.header["missing"]), f"warnings: {warned}")


@case
def each_hook_is_as_kallsyms_and_btf_have_it():
    names, found = symbols(), check()
    btf = {module: os.path.exists(f"/sys/kernel/btf/{module}") for module in MODULES}
    equal("modules", {m["module"]: (m["state"], m["btf"]) for m in found["modules"]
                      if m["module"] in MODULES}, {m: ("loaded", btf[m]) for m in MODULES})
    modules = {name: module for name, module in names if module in {
        m["module"] for m in found["modules"]}}
    for hook in found["hooks"]:
        if not hook["needed"] or hook["attach"] in (None, "tracepoint"):
            continue
        module = modules.get(hook["hook"], "")
        ensure((hook["hook"], module) in names, f"{hook} is not in kallsyms")
        if module in btf:
            equal(f"by kprobe, for its module has no BTF: {hook}",
                  hook["passed_over"] == "its module has no BTF, which fentry needs",
                  not btf[module])
        equal(f"why not better: {hook}", bool(hook["passed_over"]), "probe" in hook["attach"])
    not_needed = [h["hook"] for h in found["hooks"] if not h["needed"]]
    equal("not needed", not_needed, [
        "gro_cells_receive", "napi_gro_receive_entry", "napi_gro_receive_exit",
        "netif_receive_skb_entry", "br_handle_frame", "br_forward", "br_flood",
        "br_multicast_flood", "br_dev_queue_push_xmit", "net_dev_queue"])


@case
def the_text_has_each_hook_with_its_way_and_why_not_a_better_one():
    output = text("--attach=kprobe", "-d", "tx")
    for line in ("nic netif_receive_skb tracepoint",
                 "tap tun_sendmsg kprobe not by fentry: --attach=kprobe",
                 "- ovs_dp_upcall kretprobe not by fexit: --attach=kprobe",
                 "tap tun_net_xmit not needed for the other direction",
                 "- gro_cells_receive not needed there is no tunnel",
                 "bridge_in br_handle_frame not needed no traced device leads to a Linux bridge",
                 "xmit net_dev_queue not needed there is a better one",
                 "tap netif_receive_skb_entry not needed no traced tap has RPS",
                 "probes.missed: of kprobes they are not counted"):
        if not lab.in_btf("recursion_misses") and line.startswith("probes"):
            line = "probes.missed: this kernel does not count them (before 5.12)"
        ensure_line(output, *line.split())


@case
def words_that_this_kernel_lacks_are_named():
    fields = {one["field"] for one in check()["not_told"]}
    says_reason = lab.run("cat", "/sys/kernel/tracing/events/skb/kfree_skb/format")
    equal("drop reasons", "reason" in fields, "enum skb_drop_reason" not in says_reason)


@case
def without_privilege_check_says_what_it_could_not_see():
    found, full = check(status=3, **NOBODY), check()
    says(found["obstacles"], "root", "CAP_SYS_ADMIN")
    says(found["obstacles"], "kptr_restrict")
    equal("hooks", found["hooks"], full["hooks"])
    equal("taps", sorted((t["vm_interface"], t["vm"], t["master"]) for t in found["taps"]),
          [("vnet0", None, "ovs-system"), ("vnet1", None, "ovs-system")])
    says([h["what"] for h in found["hidden"]], "which VM")
    equal("capabilities", {c["capability"]: c["present"] for c in found["capabilities"]},
          {"CAP_SYS_ADMIN": False, "CAP_SYS_PTRACE": False})
    says([h["why"] for h in found["hidden"]], "db.sock", "Permission denied")


@case
def without_cap_sys_admin_other_capabilities_do_not_do():
    prefix = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"]
    found = check(status=3, prefix=prefix)
    equal("obstacles", len(found["obstacles"]), 1)
    says(found["obstacles"], "CAP_SYS_ADMIN", "modules' BTF")
    equal("hidden", found["hidden"], [])
    done = subprocess.run([*prefix, vmlat.PROGRAM, "-t", "1"], stdin=subprocess.DEVNULL,
                          text=True, capture_output=True, timeout=90, check=False)
    equal("status and stdout", (done.returncode, done.stdout), (3, ""))
    equal("the trace says the same", done.stderr, f"vmlat: error: {found['obstacles'][0]}\n")


@case
def hidden_symbols_are_an_obstacle():
    before = lab.run("sysctl", "-n", "kernel.kptr_restrict").strip()
    full = check()
    lab.run("sysctl", "-qw", "kernel.kptr_restrict=2")
    try:
        found = check(status=3)
        status, _, err = vmlat.fails("-t", "1")
    finally:
        lab.run("sysctl", "-qw", f"kernel.kptr_restrict={before}")
    says(found["obstacles"], "kptr_restrict")
    equal("hooks", found["hooks"], full["hooks"])
    equal(f"status of a trace, which says {err}", status, 3)


# --- kernels that this one is not ---

def private(script):
    """A prefix: the command runs behind these mounts, which nobody else sees."""
    return ["unshare", "-m", "sh", "-ec", f'{script}; exec "$@"', "sh"]


WITHOUT_BTF = "mount -t tmpfs none /sys/kernel/btf"
WITHOUT_MODULE_BTF = (f"mkdir -p /run/btf; mount --bind /sys/kernel/btf /run/btf; {WITHOUT_BTF}; "
                      "touch /sys/kernel/btf/vmlinux; "
                      "mount --bind /run/btf/vmlinux /sys/kernel/btf/vmlinux")
WITH_TUN_BUILT_IN = (r"sed 's/\t\[tun]$//' /proc/kallsyms >/run/kallsyms; "
                     "mount --bind /run/kallsyms /proc/kallsyms")


def refused(prefix, *parts):
    """Check and trace are refused there, with these words."""
    found = check(status=3, prefix=prefix)
    says(found["obstacles"], *parts)
    done = subprocess.run([*prefix, vmlat.PROGRAM, "-t", "1"], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=90, check=False)
    equal("status and stdout of a trace", (done.returncode, done.stdout), (3, ""))
    says([done.stderr], *parts)
    return found


@case
def a_kernel_without_btf_cannot_be_traced():
    found = refused(private(WITHOUT_BTF), "no BTF", "CONFIG_DEBUG_INFO_BTF")
    equal("btf", found["btf"], False)


@realtime_case
def a_realtime_kernel_is_refused_with_the_reason():
    found = refused([], "PREEMPT_RT", "each other's times")
    equal("preempt_rt", found["preempt_rt"], True)


@case
def modules_without_btf_are_traced_by_kprobes():
    found = check(prefix=private(WITHOUT_MODULE_BTF))
    of_modules = [h for h in found["hooks"]
                  if h["hook"].startswith(("ovs_", "tun_")) and h["attach"]]
    ensure(of_modules, "no hook of a module")
    equal("by", {(h["attach"], h["passed_over"]) for h in of_modules},
          {(way, "its module has no BTF, which fentry needs") for way in ("kprobe", "kretprobe")})
    equal("traceable", found["traceable"], True)


# --- what no hook sees ---

@contextlib.contextmanager
def fake_qemu(*arguments, opened=None):
    """A process with a QEMU's command line, which has this file open."""
    code = ("import sys, time\nfile = open(sys.argv[1], 'rb')\n"
            "print('ready', flush=True)\ntime.sleep(600)")
    process = subprocess.Popen(["qemu-system-x86_64", "-c", code, opened or "/dev/null",
                                *arguments], executable=sys.executable, text=True,
                               stdout=subprocess.PIPE)
    try:
        equal("its first line", process.stdout.readline(), "ready\n")
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def unseen(found, kind):
    return [(one["what"], one["vm"]) for one in found["unseen"] if one["kind"] == kind]


@case
def macvtap_is_traffic_that_no_hook_sees():
    lab.run("modprobe", "macvtap")
    with topology.Changes() as changes:
        changes.do("ip link add base type dummy", "ip link del base")
        changes.do("ip link add link base name mv0 type macvtap", "ip link del mv0")
        number = json.loads(lab.run("ip", "-j", "link", "show", "mv0"))[0]["ifindex"]
        equal("nobody has it", unseen(check(), "macvtap"), [("mv0", None)])
        lab.wait_for("its device", lambda: os.path.exists(f"/dev/tap{number}"))
        with fake_qemu("-name", "guest=db,debug-threads=on", opened=f"/dev/tap{number}"):
            found = check()
    equal("of the VM", unseen(found, "macvtap"), [("mv0", "db")])
    ensure(found["traceable"], "it does not keep the rest from being traced")


@case
def a_vhost_user_interface_is_traffic_that_no_hook_sees():
    with fake_qemu("-name", "db", "-netdev", "vhost-user,chardev=c0,id=hostnet0") as pid:
        found, output = check(), text()
    equal("what", unseen(found, "vhost_user"), [("hostnet0", "db")])
    says([one["how"] for one in found["unseen"]], f"process {pid}")
    ensure(re.search(r"vhost_user +hostnet0 +VM db: ", output), f"not in the text:\n{output}")


# eth0's device is one with virtual functions, then; and two PCI devices of which one is a NIC
VIRTUAL_FUNCTIONS = ("device=$(readlink -f /sys/class/net/eth0/device); mkdir -p /run/device; "
                     "mount --rbind $device /run/device; mount -t tmpfs none $device; "
                     "mkdir $device/net; mount --bind /run/device/net $device/net; "
                     "echo 4 >$device/sriov_numvfs")
PCI_DEVICES = ("at=/sys/bus/pci/devices; mount -t tmpfs none $at; "
               "mkdir $at/0000:3b:02.1 $at/0000:01:00.0; "
               "echo 0x020000 >$at/0000:3b:02.1/class; echo 0x030000 >$at/0000:01:00.0/class")


@case
def a_nic_that_is_passed_through_is_traffic_that_no_hook_sees():
    equal("before", unseen(check(), "passthrough"), [])
    found = check(prefix=private(VIRTUAL_FUNCTIONS))
    equal("SR-IOV", unseen(found, "passthrough"), [("eth0", None)])
    says([one["how"] for one in found["unseen"]], "4 virtual functions")
    with fake_qemu("-name", "db", "-device", "vfio-pci,host=3b:02.1,id=hostdev0",
                   "-device", "vfio-pci,host=0000:01:00.0,id=hostdev1"):
        found = check(prefix=private(PCI_DEVICES))
    equal("of a VM", unseen(found, "passthrough"), [("0000:3b:02.1", "db")])


@case
def open_vswitch_that_offloads_or_forwards_itself_is_named():
    equal("before", unseen(check(), "offload") + unseen(check(), "user_space"), [])
    # ovs-vswitchd is not to know: it would offload to tc, until it is started again
    with lab.stopped(lab.vswitchd()), topology.Changes() as changes:
        changes.do("ovs-vsctl --no-wait set Open_vSwitch . other_config:hw-offload=true",
                   "ovs-vsctl --no-wait remove Open_vSwitch . other_config hw-offload")
        changes.do("ovs-vsctl --no-wait add-br br9 -- set bridge br9 datapath_type=netdev",
                   "ovs-vsctl --no-wait del-br br9")
        found = check()
    equal("offload", unseen(found, "offload"), [(None, None)])
    equal("user_space", unseen(found, "user_space"), [("br9", None)])


@case
def xdp_on_a_tap_is_named():
    with tap9.added(), xdp.drops_all("tap9"):
        equal("what", unseen(check(), "xdp"), [("tap9", None)])
    equal("after", unseen(check(), "xdp"), [])
