/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages of a packet's way, and the kernel hooks that tell of them. One line each: what is
 * loaded, the header record and the names in every report come from these two tables.
 * Numbers are part of the event ABI: append only.
 */
#ifndef VMLAT_HOOKS_H
#define VMLAT_HOOKS_H

enum vmlat_direction {
	VMLAT_TX = 1, /* leaving the VM */
	VMLAT_RX = 2, /* entering it */
	VMLAT_BOTH = VMLAT_TX | VMLAT_RX,
};

/* clang-format off: tables */
/* id, number in the report (-1: it has a name only), name */
#define VMLAT_STAGES(X)                         \
	X(TAP_IN, 0, "tap")                     \
	X(NIC, 0, "nic")                        \
	X(OVS_IN, 1, "ovs_in")                  \
	X(DATAPATH, 2, "datapath")              \
	X(UPCALL, 3, "upcall")                  \
	X(REINJECT, 4, "reinject")              \
	X(VPORT, 5, "vport")                    \
	X(XMIT, 6, "xmit")                      \
	X(TAP_OUT, 6, "tap")                    \
	X(DRIVER, -1, "driver")                 \
	X(BRIDGE_IN, -1, "bridge_in")           \
	X(BRIDGE_FORWARD, -1, "bridge_forward") \
	X(BRIDGE_OUT, -1, "bridge_out")
/* clang-format on */

enum vmlat_stage {
#define X(id, number, name) VMLAT_STAGE_##id,
	VMLAT_STAGES(X)
#undef X
		VMLAT_STAGE_COUNT,
	VMLAT_STAGE_NONE = VMLAT_STAGE_COUNT, /* the hook is no stage: it opens or ends one */
};

enum vmlat_hook_kind {
	VMLAT_TRACEPOINT, /* program NAME__tp */
	VMLAT_FUNCTION, /* NAME__fentry or NAME__kprobe */
	VMLAT_RETURN, /* NAME__fexit or NAME__kretprobe */
};

/*
 * Without a REQUIRED hook no packet could be told begun or ended: no trace. Without an
 * OPTIONAL one its stage is missing from every report, which the header says. Without a
 * SHORTCUT each packet costs a little more. What is FOR_TUNNELS is used where this host has
 * tunnel devices, FOR_RPS where a selected tap spreads its packets over CPUs, and FOR_BRIDGES where
 * a selected device leads to a Linux bridge; else nobody misses it. A STAND_IN is used where the
 * hook that shows its stage better is missing, or its stage not asked for.
 *
 * The functions have a symbol of exactly this name on every kernel from 4.18 to 7.3 that was
 * looked at (Debian's and Ubuntu's); the tracepoints and their first arguments as well.
 */
/* clang-format off */
/* id, stage, directions, kind, need, module ("" is the kernel itself), name */
#define VMLAT_HOOKS(X)                                                                      \
	X(NETIF_RECEIVE_SKB, NIC, BOTH, TRACEPOINT, REQUIRED, "", netif_receive_skb)        \
	X(TUN_GET_USER, TAP_IN, BOTH, FUNCTION, OPTIONAL, "tun", tun_get_user)              \
	X(TUN_SENDMSG, TAP_IN, BOTH, FUNCTION, OPTIONAL, "tun", tun_sendmsg)                \
	X(INTERNAL_DEV_XMIT, OVS_IN, BOTH, FUNCTION, OPTIONAL, "openvswitch",               \
	  internal_dev_xmit)                                                                \
	X(NETDEV_FRAME_HOOK, OVS_IN, BOTH, FUNCTION, OPTIONAL, "openvswitch",               \
	  netdev_frame_hook)                                                                \
	X(OVS_DP_PROCESS_PACKET, DATAPATH, BOTH, FUNCTION, OPTIONAL, "openvswitch",         \
	  ovs_dp_process_packet)                                                            \
	X(OVS_DP_UPCALL, UPCALL, BOTH, FUNCTION, OPTIONAL, "openvswitch", ovs_dp_upcall)    \
	X(OVS_DP_UPCALL_RETURN, NONE, BOTH, RETURN, OPTIONAL, "openvswitch", ovs_dp_upcall) \
	X(OVS_FLOW_KEY_EXTRACT_USERSPACE, REINJECT, BOTH, FUNCTION, OPTIONAL, "openvswitch", \
	  ovs_flow_key_extract_userspace)                                                   \
	X(OVS_VPORT_SEND, VPORT, BOTH, FUNCTION, OPTIONAL, "openvswitch", ovs_vport_send)   \
	X(DEV_QUEUE_XMIT, XMIT, BOTH, FUNCTION, OPTIONAL, "", __dev_queue_xmit)             \
	X(TUN_NET_XMIT, TAP_OUT, RX, FUNCTION, OPTIONAL, "tun", tun_net_xmit)               \
	X(NET_DEV_START_XMIT, DRIVER, BOTH, TRACEPOINT, REQUIRED, "", net_dev_start_xmit)   \
	X(NET_DEV_XMIT, NONE, BOTH, TRACEPOINT, REQUIRED, "", net_dev_xmit)                 \
	X(KFREE_SKB, NONE, BOTH, TRACEPOINT, REQUIRED, "", kfree_skb)                       \
	X(CONSUME_SKB, NONE, BOTH, TRACEPOINT, REQUIRED, "", consume_skb)                   \
	X(QDISC_ENQUEUE, NONE, BOTH, TRACEPOINT, SHORTCUT, "", qdisc_enqueue)               \
	X(QUEUE_USERSPACE_PACKET, NONE, BOTH, FUNCTION, OPTIONAL, "openvswitch",            \
	  queue_userspace_packet)                                                           \
	X(IP_DEFRAG, NONE, BOTH, FUNCTION, OPTIONAL, "", ip_defrag)                         \
	X(IP_DEFRAG_RETURN, NONE, BOTH, RETURN, OPTIONAL, "", ip_defrag)                    \
	X(NF_CT_FRAG6_GATHER, NONE, BOTH, FUNCTION, OPTIONAL, "nf_defrag_ipv6",             \
	  nf_ct_frag6_gather)                                                               \
	X(NF_CT_FRAG6_GATHER_RETURN, NONE, BOTH, RETURN, OPTIONAL, "nf_defrag_ipv6",        \
	  nf_ct_frag6_gather)                                                               \
	X(IP_DO_FRAGMENT, NONE, BOTH, FUNCTION, OPTIONAL, "", ip_do_fragment)               \
	X(IP6_FRAGMENT, NONE, BOTH, FUNCTION, OPTIONAL, "", ip6_fragment)                   \
	X(NETIF_SCHEDULE, NONE, BOTH, FUNCTION, OPTIONAL, "", __netif_schedule)             \
	X(GRO_CELLS_RECEIVE, NONE, RX, FUNCTION, FOR_TUNNELS, "", gro_cells_receive)        \
	X(NAPI_GRO_RECEIVE_ENTRY, NONE, RX, TRACEPOINT, FOR_TUNNELS, "",                    \
	  napi_gro_receive_entry)                                                           \
	X(NAPI_GRO_RECEIVE_EXIT, NONE, RX, TRACEPOINT, FOR_TUNNELS, "",                     \
	  napi_gro_receive_exit)                                                            \
	X(NETIF_RECEIVE_SKB_ENTRY, TAP_IN, BOTH, TRACEPOINT, FOR_RPS, "",                   \
	  netif_receive_skb_entry)                                                          \
	X(BR_HANDLE_FRAME, BRIDGE_IN, BOTH, FUNCTION, FOR_BRIDGES, "bridge", br_handle_frame) \
	X(BR_FORWARD, BRIDGE_FORWARD, BOTH, FUNCTION, FOR_BRIDGES, "bridge", br_forward)    \
	X(BR_FLOOD, BRIDGE_FORWARD, BOTH, FUNCTION, FOR_BRIDGES, "bridge", br_flood)        \
	X(BR_MULTICAST_FLOOD, BRIDGE_FORWARD, BOTH, FUNCTION, FOR_BRIDGES, "bridge",        \
	  br_multicast_flood)                                                               \
	X(BR_DEV_QUEUE_PUSH_XMIT, BRIDGE_OUT, BOTH, FUNCTION, FOR_BRIDGES, "bridge",        \
	  br_dev_queue_push_xmit)                                                           \
	X(NET_DEV_QUEUE, XMIT, BOTH, TRACEPOINT, STAND_IN, "", net_dev_queue)               \
	X(QDISC_TREE_REDUCE_BACKLOG, NONE, BOTH, FUNCTION, SHORTCUT, "",                    \
	  qdisc_tree_reduce_backlog)
/* clang-format on */

enum vmlat_hook {
#define X(id, stage, directions, kind, need, module, name) VMLAT_HOOK_##id,
	VMLAT_HOOKS(X)
#undef X
		VMLAT_HOOK_COUNT,
};

_Static_assert(VMLAT_HOOK_COUNT <= 64, "vmlat_features.attached has a bit for each");

#endif
