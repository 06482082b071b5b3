/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few types of tun and openvswitch that vmlat reads. Each is the beginning of the real
 * struct, as it has been in every kernel from 4.18 to 7.3: where the module has BTF (5.11 on)
 * the fields are relocated, where it has none these offsets hold.
 */
#ifndef VMLAT_MODULES_H
#define VMLAT_MODULES_H

#define module_type __attribute__((preserve_access_index))

/* drivers/net/tun.c */
struct tun_struct___vmlat {
	void *tfiles[256];
	unsigned int numqueues;
	unsigned int flags;
	unsigned int owner;
	unsigned int group;
	struct net_device *dev;
} module_type;

/*
 * include/linux/if_tun.h: what vhost-net hands to tun_sendmsg as msg_control. Not relocated: it
 * is copied whole, and has been so since vhost-net hands over batches.
 */
enum { TUN_MSG_PTR___vmlat = 2 };
struct tun_msg_ctl___vmlat {
	unsigned short type;
	unsigned short num;
	void *ptr;
};

/* net/openvswitch/vport.h */
struct vport___vmlat {
	struct net_device *dev;
} module_type;

/* net/openvswitch/datapath.h */
struct dp_upcall_info___vmlat {
	void *egress_tun_info;
	const struct nlattr *userdata;
	const struct nlattr *actions;
	int actions_len;
	unsigned int portid;
	unsigned char cmd;
} module_type;

/* net/openvswitch/flow.h */
struct sw_flow_key___vmlat {
	unsigned char tun_opts[255];
	unsigned char tun_opts_len;
	struct ip_tunnel_key tun_key;
	struct {
		unsigned int priority;
		unsigned int skb_mark;
		unsigned short in_port;
	} phy;
} module_type;

/* include/uapi/linux/openvswitch.h */
enum { OVS_PACKET_CMD_MISS___vmlat = 1, OVS_KEY_ATTR_IN_PORT___vmlat = 3 };

#endif
