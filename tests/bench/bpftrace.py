# SPDX-License-Identifier: GPL-2.0
"""What one would write in bpftrace to see where a VM's packets spend their time: an address is
looked up in a map at each stage, and each segment gets a histogram."""

# Functions behind the first stage, and where the skb is among their arguments. netdev_frame_hook
# has a pointer to it, which fentry cannot follow.
FUNCTIONS = {"netdev_frame_hook": ("*(uint64 *)arg0", None),
             "ovs_dp_process_packet": ("arg0", "(uint64)args->skb"),
             "ovs_vport_send": ("arg1", "(uint64)args->skb"),
             "__dev_queue_xmit": ("arg0", "(uint64)args->skb")}
FOUR = list(FUNCTIONS)[1:]


def probe(function, mode):
    """The probe, and the skb in it."""
    by_kprobe, by_fentry = FUNCTIONS[function]
    if mode == "fentry" and by_fentry:
        return f"kfunc:{function}", by_fentry
    return f"kprobe:{function}", by_kprobe


def segment(function, mode):
    where, skb = probe(function, mode)
    return f"""{where} {{
    $at = @at[{skb}];
    if ($at) {{ @{function} = hist(nsecs - $at); @at[{skb}] = nsecs; }}
}}
"""


def four(mode):
    """From the datapath to the driver."""
    where, skb = probe(FOUR[0], mode)
    return (f"{where} {{ @at[{skb}] = nsecs; }}\n"
            + "".join(segment(function, mode) for function in FOUR[1:])
            + """tracepoint:net:net_dev_start_xmit {
    $at = @at[(uint64)args->skbaddr];
    if ($at) { @driver = hist(nsecs - $at); delete(@at[(uint64)args->skbaddr]); }
}
""")


def all_stages(mode, ifindex):
    """From the tap's call to the driver, for one tap, and the total. The call has no skb yet."""
    tun = "kfunc:tun_get_user" if mode == "fentry" else "kprobe:tun_get_user"
    return (f"""{tun} {{ @call[tid] = nsecs; }}
tracepoint:net:netif_receive_skb {{
    $call = @call[tid];
    $skb = (struct sk_buff *)args->skbaddr;
    if ($call && $skb->dev->ifindex == {ifindex}) {{
        @first[(uint64)args->skbaddr] = $call;
        @at[(uint64)args->skbaddr] = $call;
    }}
}}
""" + "".join(segment(function, mode) for function in FUNCTIONS)
            + """tracepoint:net:net_dev_start_xmit {
    $at = @at[(uint64)args->skbaddr];
    if ($at) {
        @driver = hist(nsecs - $at);
        @total = hist(nsecs - @first[(uint64)args->skbaddr]);
        delete(@at[(uint64)args->skbaddr]);
        delete(@first[(uint64)args->skbaddr]);
    }
}
""")
