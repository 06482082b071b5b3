// SPDX-License-Identifier: GPL-2.0
/* The time from the first stage to the last one, with no other attached: what there is to inflate. TX or RX says which
 * way, KPROBE that functions are not attached by fentry.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

__u64 begin, total, count;

#ifdef KPROBE
#define FUNCTION "kprobe/"
#else
#define FUNCTION "fentry/"
#endif

#ifdef TX
#define FIRST FUNCTION "tun_get_user"
#define LAST  "raw_tp/net_dev_start_xmit"
#else
#define FIRST "raw_tp/netif_receive_skb"
#define LAST  FUNCTION "tun_net_xmit"
#endif

SEC(FIRST)
int first(const void *context)
{
	begin = bpf_ktime_get_ns();
	return 0;
}

SEC(LAST)
int last(const void *context)
{
	if (!begin)
		return 0;
	total += bpf_ktime_get_ns() - begin;
	count++;
	begin = 0;
	return 0;
}
