# SPDX-License-Identifier: GPL-2.0
"""The command line against a real kernel: when it stops, what it refuses, what it explains."""
import contextlib
import json
import os
import signal
import subprocess
import time

import lab
import vmlat
from case import case, early_case, ensure, equal
from lab import peer, tap9, web1

TX = ["-d", "tx", "-i", "vnet0"]


def check_refusal(words, status, *says, **how):
    """Ends with this status, nothing on stdout, and all of this on stderr."""
    got, out, err = vmlat.fails(*words, **how)
    equal(f"status of {words}; it says {err!r}", got, status)
    equal("stdout", out, "")
    missing = [part for part in says if part not in err]
    ensure(not missing, f"{words} does not say {missing}, but: {err}")


@early_case
def without_the_module_openvswitch_it_says_what_to_load():
    check_refusal([], 3, "tun", "modprobe tun")
    lab.run("modprobe", "tun")
    check_refusal([], 3, "openvswitch", "modprobe openvswitch")


@case
def an_unknown_interface_is_named_with_those_that_there_are():
    check_refusal(["-i", "vnet7"], 2, "vnet7", "vnet0 (web1)", "vnet1 (web2)")
    check_refusal(["-i", "eth0"], 2, "eth0", "vnet0")
    check_refusal(["-p", "eth7"], 2, "eth7", "eth0")
    check_refusal(["-p", "vnet0"], 2, "vnet0", "--vm-interface")


@case
def without_privilege_it_says_what_is_missing():
    check_refusal([], 3, "root", user=65534, group=65534, extra_groups=[])


@case
def an_output_that_cannot_be_written_is_a_failure():
    check_refusal(["-o", "/proc/no/such"], 1, "/proc/no/such")
    status, _, err = vmlat.fails("-f", "json", "-t", "0.1", "-o", "/dev/full")
    equal(f"status; it says {err}", status, 1)
    ensure("/dev/full" in err, f"stderr: {err}")
    status, _, err = vmlat.fails("-f", "json", "-t", "0.1", preexec_fn=lambda: os.close(1))
    equal(f"status of a closed stdout; it says {err}", status, 1)
    ensure("cannot write to stdout" in err, f"stderr: {err}")


@case
def a_trace_that_is_refused_leaves_an_earlier_capture_as_it_was():
    path = f"{vmlat.DIRECTORY}/earlier"
    with open(path, "w", encoding="ascii") as file:
        file.write("a capture\n")
    check_refusal(["-o", path], 3, "net_dev_xmit", env={**os.environ, "VMLAT_DENY": "net_dev_xmit"})
    with open(path, encoding="ascii") as file:
        equal("the earlier capture", file.read(), "a capture\n")


@case
def count_stops_after_that_many_reports():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    with vmlat.trace(*TX, "-c", "10") as trace:
        lab.deliver(web1, peer, 30, dst_port=port)
        trace.process.wait(30)
    equal("reports", len(trace.packets), 10)
    equal("they are the first", [p["ip_id"] for p in trace.packets], list(range(10)))


@case
def duration_ends_the_trace():
    with vmlat.trace(*TX, "-t", "1.5") as trace:
        trace.process.wait(30)
    equal("started", trace.end["packets"]["started"], 0)


@case
def a_command_is_traced_for_as_long_as_it_runs():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    send = web1.traffic(*web1.send_words(peer, 20, {"dst_port": port}))
    with vmlat.trace(*TX, "--", *send, stdout=True) as trace:
        trace.process.wait(120)
    equal("reports", len(trace.packets), 20)
    ensure("sent 20" in trace.errors(), "the command's output is not on stderr")


@case
def a_command_that_cannot_be_run_fails_the_trace():
    status, _, err = vmlat.fails("-f", "json", "--", "/no/such/command")
    equal(f"status; it says {err}", status, 1)
    ensure("cannot run /no/such/command" in err, f"stderr: {err}")


@case
def sigint_and_sigterm_end_a_trace_in_order():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    for by in (signal.SIGINT, signal.SIGTERM):
        with vmlat.trace(*TX) as trace:
            lab.deliver(web1, peer, 10, dst_port=port)
            trace.finish(by)
        equal(f"reports before {by.name}", len(trace.packets), 10)


def is_writing_to_stdout(pid):
    with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
        return file.read().startswith("1 0x1 ")  # of x86-64


def command_of(pid):
    """The process that it has started; 0: none so far."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return int(file.read() or 0)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def fill(pipe):
    """Whoever writes more to it waits until somebody reads."""
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, bytes(1 << 12))
    os.set_blocking(pipe, True)


@case
def a_second_signal_ends_what_hangs_in_a_write_and_its_command():
    nobody_reads, pipe = os.pipe()
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    words = [*TX, "-q", "-f", "json", "--", "sleep", "12345"]
    with subprocess.Popen([vmlat.PROGRAM, *words], stdout=pipe) as process:
        try:
            command = lab.wait_for("its command", lambda: command_of(process.pid))
            fill(pipe)
            lab.deliver(web1, peer, 3, dst_port=port)
            lab.wait_for("it to write", lambda: is_writing_to_stdout(process.pid))
            for _ in range(2):  # as timeout(1) does
                process.send_signal(signal.SIGTERM)
            time.sleep(5.5)
            equal("status after the first signal", process.poll(), None)
            process.send_signal(signal.SIGTERM)
            equal("status", process.wait(30), -signal.SIGTERM)
            lab.wait_for("its command to end", lambda: not is_running(command))
        finally:
            process.kill()
    os.close(pipe)
    os.close(nobody_reads)


@case
def data_goes_to_stdout_and_the_rest_to_stderr():
    port = lab.port()
    with vmlat.trace(*TX, "-v", stdout=True) as trace:
        lab.deliver(web1, peer, 3, dst_port=port)
    equal("reports", len(trace.packets), 3)
    ensure(all("skb" in stage for p in trace.packets for stage in p["stages"]), "no skb with -v")
    line = next(line for line in trace.errors().splitlines() if "waiting for" in line)
    ensure("vnet0" in line and "vnet1" not in line, f"it waits for vnet0 alone: {line}")
    with vmlat.trace(*TX, "-q") as quiet:
        pass
    equal("stderr with -q", quiet.errors(), "")


@case
def after_five_seconds_without_a_report_it_says_what_was_seen():
    wrong, port = lab.port(), lab.port()
    for summary, what in ([], "no report in 5 s"), (["-S"], "no packet in 5 s"):
        with vmlat.trace(*TX, "-P", "udp", "--dst-port", wrong, *summary, *vmlat.QUICK) as trace:
            lab.deliver(web1, peer, 7, dst_port=port)
            lab.deliver(web1, peer, 4, dst_port=port, protocol="tcp")
            lab.wait_for("a word about it", lambda: len(trace.errors().splitlines()) > 1, 20)
        line = trace.errors().splitlines()[1]
        for part in (what, "11 packets", "4 by --protocol", "7 by --dst-port"):
            ensure(part in line, f"it does not say {part!r}: {line}")


@case
def the_header_names_kernel_filter_and_hooks():
    words = ["-d", "tx", "-i", "vnet0", "-p", "eth0", "-s", "10.0.0.2", "-P", "udp,tcp",
             "--dst-port", "80-90", "-l", "12.5", "-t", "0.1"]
    with vmlat.trace(*words) as trace:
        trace.process.wait(120)
    header = trace.header
    equal("kernel", header["kernel"], os.uname().release)
    wanted = {"direction": "tx", "vm_interface": ["vnet0"], "phy_interface": ["eth0"],
              "src_ip": "10.0.0.2/32", "dst_ip": None, "latency_threshold_ns": 12500}
    equal("filter", {name: header["filter"][name] for name in wanted}, wanted)
    hooks = {hook["hook"] for hook in header["hooks"]}
    for name in ("tun_sendmsg", "ovs_dp_process_packet", "net_dev_start_xmit"):
        ensure(name in hooks, f"{name} is not among {json.dumps(header['hooks'])}")


# --- how it attaches ---

def essence(trace):
    """What does not depend on time."""
    return sorted(json.dumps([packet["ip_id"], packet["flow"], packet["outcome"],
                              packet["process"], packet["length"], packet["exits"][0]["interface"],
                              [(s["stage"], s["hook"]) for s in packet["stages"]]])
                  for packet in trace.packets)


@case
def kprobe_and_fentry_give_the_same_records():
    port = lab.port()
    # without BTF of the modules fentry shows little: both ways together, then
    other, kinds = (("fentry", {"fentry", "fexit"}) if lab.has_module_btf() else
                    ("auto", {"kprobe", "kretprobe", "fentry", "fexit"}))
    lab.flush()
    with vmlat.traces(["-i", "vnet0", "--attach", "kprobe"],
                      ["-i", "vnet0", "--attach", other]) as traces:
        for sender, receiver in (web1, peer), (peer, web1):
            lab.deliver(sender, receiver, 1, dst_port=port)
            lab.deliver(sender, receiver, 20, dst_port=port, **lab.APART)
    equal("records", essence(traces[0]), essence(traces[1]))
    equal("number of them", len(traces[0].packets), 42)
    equal("stages with an upcall", sum(p["upcall"] for p in traces[0].packets), 2)
    for trace, expected in zip(traces, ({"kprobe", "kretprobe"}, kinds)):
        used = {hook["attach"] for hook in trace.header["hooks"]}
        equal("ways of attaching", used, expected | {"tracepoint"})


# --- stacks ---

def caller_is_there(stage, caller):
    """Each entry is name+0xoffset, within a function of a believable size, or an address."""
    stack = [entry.partition("+0x") for entry in stage["stack"] or []]
    far = [name for name, _, offset in stack if offset and int(offset, 16) > 1 << 16]
    ensure(not far, f"names from afar in the stack of {stage['stage']}: {stage['stack']}")
    names = [name for name, _, _ in stack]
    # until 5.14 the unwinder does not see through a probe of a return
    ensure(caller in names or "kretprobe_trampoline" in names,
           f"{caller} is not in the stack of {stage['stage']}: {stage['stack']}")


@case
def stack_shows_who_called_each_stage():
    port = lab.port()
    with tap9.added():
        lab.warm(tap9, peer, dst_port=port)
        with vmlat.trace("-d", "tx", "-i", "tap9", "--stack") as trace:
            lab.deliver(tap9, peer, 5, dst_port=port)
    # ovs_vport_send jumps to dev_queue_xmit, and so is in no stack of it
    callers = {"tap": "tun_chr_write_iter", "ovs_in": "tun_get_user",
               "datapath": "ovs_vport_receive", "vport": "do_execute_actions",
               "xmit": "do_execute_actions", "driver": "dev_hard_start_xmit"}
    for packet in trace.packets:
        for stage in packet["stages"]:
            caller_is_there(stage, callers[stage["stage"]])
    equal("packets", len(trace.packets), 5)


@case
def stack_in_text_stands_below_its_stage():
    port = lab.port()
    lab.warm(web1, peer, dst_port=port)
    with vmlat.trace(*TX, "--stack", text=True) as trace:
        lab.deliver(web1, peer, 2, dst_port=port)
    text = trace.text()
    equal("stacks at the datapath", text.count("stack at ovs_dp_process_packet"), 2)
    ensure("ovs_vport_receive+0x" in text, f"no caller of the datapath: {text[:2000]}")
