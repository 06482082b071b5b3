/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A tap's entry functions, tun_get_user and tun_sendmsg: a packet that becomes an skb of that
 * tap, on that thread, in that call, left the VM when the call began. The packet
 * itself is not there yet: vhost-net hands over up to 64 at once (VHOST_NET_BATCH), each
 * already copied (TUN_MSG_PTR, 4.20), and tun_get_user has it in user memory still.
 *
 * One call is remembered per CPU, with its thread: 5.10 has no task storage. It is over when it has
 * brought as many packets as were handed over, or when the next one begins: nobody waits for its
 * return, whose hook each packet would pay for. A call that migrates before its packets appear is a
 * missing stamp: what is remembered where they do appear is an older call of the same thread, which
 * has migrated since (se.nr_migrations, which set_task_cpu counts).
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

/*
 * Its tap: a driver's own part of a device stands right behind it (netdev_priv, as alloc_netdev_mqs
 * aligns it), so that where the pointer back would have to be read by helper there is no need to.
 */
static __always_inline const struct net_device *tun_device(const struct tun_struct___vmlat *tun,
							   bool direct)
{
	enum { NETDEV_ALIGN = 32 }; /* include/linux/netdevice.h */
	const __u64 up = NETDEV_ALIGN - 1;

	if (direct)
		return tun->dev;
	return tun ? (void *)tun - ((bpf_core_type_size(struct net_device) + up) & ~up) : NULL;
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

/* How often the thread that runs here has changed its CPU. */
static __always_inline __u64 migrations(void)
{
	struct task_struct *task;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) /* 5.11 */
		return bpf_get_current_task_btf()->se.nr_migrations;
	task = (struct task_struct *)bpf_get_current_task();
	return BPF_CORE_READ(task, se.nr_migrations);
}

/* A thread seldom gets another name: it is asked for anew some times a second. */
static __always_inline void name_thread(struct tap_call *call)
{
	enum { SOME_JIFFIES = 25 }; /* 25 to 250 ms */
	__u64 now = bpf_jiffies64();

	if (call->named == call->thread && now - call->named_jiffies < SOME_JIFFIES)
		return;
	call->named = call->thread;
	call->named_jiffies = now;
	bpf_get_current_comm(call->comm, sizeof(call->comm));
}

/* The call before is over, whatever it has brought. */
static __always_inline void settle_call(struct cpu_state *cpu)
{
	if (cpu->handed_over) {
		cpu->count.given += cpu->handed_over;
		cpu->count.delivered += cpu->handed_over - cpu->left;
	}
	cpu->handed_over = 0;
	cpu->left = 0; /* until all of the next one is written */
}

/* `packets` 0: another call within this one brings them. */
static __always_inline int tap_call_begins(enum vmlat_hook hook, const struct net_device *device,
					   bool direct, __u16 packets)
{
	const struct vmlat_config *config = &settings;
	const struct vmlat_interface *interface;
	const __u32 starts = VMLAT_ROLE_TX_START | VMLAT_ROLE_RX_START;
	struct tap_call *call;
	struct cpu_state *cpu;
	__u32 ifindex;

	if (!device || !config->armed)
		return 0;
	ifindex = direct ? device->ifindex : BPF_CORE_READ(device, ifindex);
	if (has_no_role(config, ifindex, starts))
		return 0;
	interface = numbered_interface(config, device, ifindex, direct);
	if (!interface)
		interface = new_tap(config, device, direct, true);
	if (!interface || !(interface->roles & starts))
		return 0;
	cpu = this_cpu();
	call = &cpu->tap_call;
	settle_call(cpu);
	call->thread = bpf_get_current_pid_tgid();
	call->migrations = migrations();
	call->device = (__u64)device;
	call->ns = bpf_ktime_get_ns();
	call->hook = hook;
	call->packets = packets ? packets : 1;
	name_thread(call);
	barrier();
	cpu->left = call->packets;
	cpu->handed_over = config->armed == VMLAT_DRAINING ? 0 : packets;
	return 0;
}

/* The call that brings a packet of this device, or NULL. */
static __always_inline struct tap_call *tap_call_of(struct cpu_state *cpu, __u64 device)
{
	struct tap_call *call = &cpu->tap_call;

	if (!cpu->left || call->device != device || call->thread != bpf_get_current_pid_tgid() ||
	    call->migrations != migrations())
		return NULL;
	cpu->left--;
	return call;
}

/* As tap_call_of. A packet that no call brings is that of one which began on another CPU. */
static __always_inline struct tap_call *claim_call(struct cpu_state *cpu, __u64 device)
{
	struct tap_call *call = tap_call_of(cpu, device);

	if (!call && is_attached(VMLAT_HOOK_TUN_GET_USER) && is_attached(VMLAT_HOOK_TUN_SENDMSG))
		cpu->count.delivered++;
	return call;
}

#endif
