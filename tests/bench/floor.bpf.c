// SPDX-License-Identifier: GPL-2.0
/* The floor: an empty program at each hook that a packet passes once. TX or RX says which way, KPROBE that functions are
 * not attached by fentry.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

#define EMPTY(kind, name)                     \
	SEC(kind "/" #name)                   \
	int floor_##name(const void *context) \
	{                                     \
		return 0;                     \
	}

#define TRACEPOINT(name) EMPTY("raw_tp", name)
#ifdef KPROBE
#define FUNCTION(name) EMPTY("kprobe", name)
#else
#define FUNCTION(name) EMPTY("fentry", name)
#endif

TRACEPOINT(netif_receive_skb)
FUNCTION(netdev_frame_hook)
FUNCTION(ovs_dp_process_packet)
FUNCTION(ovs_vport_send)
FUNCTION(__dev_queue_xmit)
TRACEPOINT(net_dev_start_xmit)
TRACEPOINT(consume_skb)
TRACEPOINT(kfree_skb)
#ifdef TX
FUNCTION(tun_get_user)
#else
FUNCTION(tun_net_xmit)
TRACEPOINT(net_dev_xmit)
#endif
