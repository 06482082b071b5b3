/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A tap's entry functions, tun_get_user and tun_sendmsg: a packet that becomes an skb of that
 * tap, on that thread, before the call is over, left the VM when the call began. The packet
 * itself is not there yet: vhost-net hands over up to 64 at once (VHOST_NET_BATCH), each
 * already copied (TUN_MSG_PTR, 4.20), and tun_get_user has it in user memory still.
 *
 * One call is remembered per CPU, with its thread: 5.10 has no task storage. A call that
 * migrates before its packets appear is a missing stamp. One that migrates to a CPU where an
 * older call of the same thread never ended, since that one migrated too, would get the older
 * one's: it is not taken when it is too old.
 */
#ifndef VMLAT_TAP_H
#define VMLAT_TAP_H

/* The module's types are in BTF from 5.11 on; before, their layout is as in modules.h. */
#define READ_MODULE(to, from, field, direct)                                                       \
	do {                                                                                       \
		if (bpf_core_field_exists((from)->field))                                          \
			(to) = (direct) ? (from)->field : BPF_CORE_READ(from, field);              \
		else                                                                               \
			bpf_probe_read_kernel(&(to), sizeof(to),                                   \
					      (void *)(from) +                                     \
						      __builtin_offsetof(typeof(*(from)), field)); \
	} while (0)

static __always_inline const struct net_device *tun_device(const struct tun_struct___vmlat *tun,
							   bool direct)
{
	struct net_device *device = NULL;

	READ_MODULE(device, tun, dev, direct);
	return device;
}

/* tun_sendmsg's socket is that of the tun_file, whose tun pointer stands right behind it. */
static __always_inline const struct net_device *tun_device_of_socket(const struct socket *socket)
{
	struct tun_struct___vmlat *tun = NULL;

	bpf_probe_read_kernel(&tun, sizeof(tun),
			      (void *)socket + bpf_core_type_size(struct socket));
	return tun_device(tun, false);
}

/* How many packets a tun_sendmsg brings: a batch, or 0: one that tun_get_user is to get. */
static __always_inline __u16 batched_packets(const struct msghdr *message)
{
	struct tun_msg_ctl___vmlat control = {};
	const void *pointer = BPF_CORE_READ(message, msg_control);

	if (!pointer || BPF_CORE_READ(message, msg_controllen) != sizeof(control) ||
	    bpf_probe_read_kernel(&control, sizeof(control), pointer) ||
	    control.type != TUN_MSG_PTR___vmlat)
		return 0;
	return control.num;
}

/* A thread seldom gets another name: it is asked for anew some times a second. */
static __always_inline void name_thread(struct tap_call *call)
{
	enum { SOME_JIFFIES = 25 }; /* 25 to 250 ms */

	if (call->named == call->thread && call->jiffies - call->named_jiffies < SOME_JIFFIES)
		return;
	call->named = call->thread;
	call->named_jiffies = call->jiffies;
	bpf_get_current_comm(call->comm, sizeof(call->comm));
}

static __always_inline int tap_call_begins(enum vmlat_hook hook, const struct net_device *device,
					   bool direct, __u16 packets)
{
	const struct vmlat_config *config = configuration();
	const struct vmlat_interface *interface;
	struct tap_call *call;
	struct cpu_state *cpu;

	if (!config || !config->armed || !device)
		return 0;
	interface = selected_interface(config, device, direct);
	if (!interface)
		interface = new_tap(config, device, direct, true);
	if (!interface || !(interface->roles & (VMLAT_ROLE_TX_START | VMLAT_ROLE_RX_START)))
		return 0;
	cpu = this_cpu();
	if (!cpu)
		return 0;
	call = &cpu->tap_call;
	call->thread = bpf_get_current_pid_tgid();
	call->device = (__u64)device;
	call->ns = bpf_ktime_get_ns();
	call->jiffies = bpf_jiffies64();
	call->hook = hook;
	call->packets = packets ? packets : 1;
	call->given = packets;
	call->delivered = 0;
	name_thread(call);
	return 0;
}

/* A packet that is in this CPU's slot still has left its call stack unseen. */
static __always_inline int tap_call_ends(void)
{
	const struct vmlat_config *config;
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu || !cpu->tap_call.thread || cpu->tap_call.thread != bpf_get_current_pid_tgid())
		return 0;
	cpu->tap_call.thread = 0;
	config = configuration();
	if (config && config->armed) { /* else its packets may not have been looked at */
		cpu->count.given += cpu->tap_call.given;
		cpu->count.delivered += cpu->tap_call.delivered;
	}
	flight = current_flight(cpu);
	if (flight && !flight->candidate)
		publish_late(cpu, flight);
	return 0;
}

/* The running call that brought a packet of this device, or NULL. */
static __always_inline struct tap_call *tap_call_of(struct cpu_state *cpu, __u64 device)
{
	enum { TOO_OLD_JIFFIES = 1000 }; /* 1 to 10 s */

	if (cpu->tap_call.device != device || cpu->tap_call.thread != bpf_get_current_pid_tgid() ||
	    bpf_jiffies64() - cpu->tap_call.jiffies > TOO_OLD_JIFFIES)
		return NULL;
	return &cpu->tap_call;
}

#endif
