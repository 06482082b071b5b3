/* SPDX-License-Identifier: GPL-2.0 */
/* A packet's flight by hand, on the host of host.h, and what a format makes of it. */
#ifndef VMLAT_UNIT_SAMPLE_H
#define VMLAT_UNIT_SAMPLE_H

#include <arpa/inet.h>
#include <netinet/in.h>

#include "by_hand.h"
#include "host.h"
#include "report.h"

#define BEGIN_NS 5000000000ULL
/* 2026-01-15 10:30:45.123456789 UTC is when the sample begins */
#define CLOCK_OFFSET_NS (1768473045123456789LL - (__s64)BEGIN_NS)

static const struct timespec sample_time = { .tv_sec = 1768473045, .tv_nsec = 123456789 };

struct sample {
	struct vmlat_flight flight;
	struct options options;
	struct kernel kernel;
	struct devices devices;
	struct tracer tracer;
	struct report_context context;
	struct flows *flows; /* NULL: not asked for */
	struct vmlat_traffic traffic[16][2]; /* by device: TX, RX */
	char *text; /* what the format wrote */
};

static inline void add_visit(struct vmlat_flight *flight, enum vmlat_stage stage,
			     enum vmlat_hook hook, __u64 offset_ns)
{
	struct vmlat_visit *visit = &flight->visit[flight->visits++];

	visit->stage = stage;
	visit->hook = hook;
	visit->ns = BEGIN_NS + offset_ns;
	visit->cpu = flight->visits;
	visit->skb = 0xffff888000001000 + flight->visits;
	visit->stack = -1;
	flight->last_ns = visit->ns;
}

static inline void add_exit(struct vmlat_flight *flight, __u32 ifindex, __u64 offset_ns,
			    enum vmlat_outcome outcome)
{
	flight->exit[flight->exits++] = (struct vmlat_exit){
		.ns = BEGIN_NS + offset_ns,
		.device = { HOST_NETNS, ifindex },
		.closed = 1,
		.outcome = outcome,
	};
}

/* 192.168.1.10:8080 -> 192.168.1.20:80, from vnet0 to eth0: the manual's example. */
static inline struct vmlat_flight sample_flight(void)
{
	struct vmlat_flight flight = {
		.begin_ns = BEGIN_NS,
		.pid = 1234,
		.comm = "vhost-1201",
		.flow = { .family = 4,
			  .protocol = IPPROTO_TCP,
			  .has_ports = 1,
			  .src_port = 8080,
			  .dst_port = 80,
			  .has_ip_id = 1,
			  .ip_id = 4321,
			  .tcp_seq = 4000000000 },
		.start = { HOST_NETNS, 6 },
		.length = 142,
		.batch = 3,
		.segments = 1,
		.direction = VMLAT_TX,
		.outcome = VMLAT_COMPLETED,
	};

	flight.flow.src[0] = htonl(0xc0a8010a);
	flight.flow.dst[0] = htonl(0xc0a80114);
	add_visit(&flight, VMLAT_STAGE_TAP_IN, VMLAT_HOOK_TUN_SENDMSG, 0);
	add_visit(&flight, VMLAT_STAGE_DATAPATH, VMLAT_HOOK_OVS_DP_PROCESS_PACKET, 12345);
	add_visit(&flight, VMLAT_STAGE_VPORT, VMLAT_HOOK_OVS_VPORT_SEND, 28023);
	add_visit(&flight, VMLAT_STAGE_XMIT, VMLAT_HOOK_DEV_QUEUE_XMIT, 33146);
	add_visit(&flight, VMLAT_STAGE_DRIVER, VMLAT_HOOK_NET_DEV_START_XMIT, 33958);
	add_exit(&flight, 2, 33958, VMLAT_COMPLETED);
	return flight;
}

/* The same seven-tuple from eth0 into vnet0. */
static inline void make_rx(struct vmlat_flight *flight)
{
	flight->direction = VMLAT_RX;
	flight->start.ifindex = 2;
	flight->visits = flight->exits = 0;
	add_visit(flight, VMLAT_STAGE_NIC, VMLAT_HOOK_NETIF_RECEIVE_SKB, 0);
	add_visit(flight, VMLAT_STAGE_OVS_IN, VMLAT_HOOK_NETDEV_FRAME_HOOK, 500);
	add_visit(flight, VMLAT_STAGE_TAP_OUT, VMLAT_HOOK_TUN_NET_XMIT, 1500);
	add_exit(flight, 6, 1500, VMLAT_COMPLETED);
}

static inline int set_up_sample(void **state)
{
	struct sample *sample = calloc(1, sizeof(*sample));

	assert_non_null(sample);
	sample->flight = sample_flight();
	sample->kernel.symbols = host_symbols("ffffffff81000000 T _text\n"
					      "ffffffff81000100 T __dev_queue_xmit\n"
					      "ffffffffc0300000 t tun_net_xmit\t[tun]\n"
					      "ffffffffc0301000 t tun_other\t[tun]\n"
					      "ffffffff81100000 T tun_get_user\n"
					      "ffffffff81200000 T bpf_trace_run1\n"
					      "ffffffff81300000 T ovs_dp_process_packet\n"
					      "ffffffffc0400000 t bpf_prog_1_a\t[bpf]\n"
					      "ffffffffc0401000 t bpf_trampoline_1\t[bpf]\n");
	sample->kernel.btf = host_btf();
	kernel__keep_reasons(&sample->kernel);
	sample->devices = host_devices();
	sample->options.devices.directions = VMLAT_BOTH;
	sample->options.sample = 1;
	sample->options.filter.src_port.high = sample->options.filter.dst_port.high = 65535;
	sample->context = (struct report_context){
		.options = &sample->options,
		.kernel = &sample->kernel,
		.devices = &sample->devices,
		.tracer = &sample->tracer,
		.clock_offset_ns = CLOCK_OFFSET_NS,
	};
	*state = sample;
	return 0;
}

static inline int tear_down_sample(void **state)
{
	struct sample *sample = *state;

	kernel__close(&sample->kernel);
	devices__free(&sample->devices);
	free(sample->text);
	free(sample);
	return 0;
}

#define sample_test(test) cmocka_unit_test_setup_teardown(test, set_up_sample, tear_down_sample)

#endif
