/* SPDX-License-Identifier: GPL-2.0 */
/* Statistics by hand, as long as `sample` lives: of several VMs, ways and lengths of time. */
#ifndef VMLAT_UNIT_SAMPLE_STATISTICS_H
#define VMLAT_UNIT_SAMPLE_STATISTICS_H

#include "rows.h"
#include "written.h"

/* `count` packets, each with the same way. */
static inline void add_segment(struct statistics *statistics, const struct device *tap,
			       enum vmlat_direction direction, enum vmlat_stage from,
			       enum vmlat_stage to, size_t count, __u64 first, __u64 step)
{
	add_times(statistics, tap, direction, vmlat_pair(from, to), count, first, step);
}

static inline void add_total(struct statistics *statistics, const struct device *tap,
			     enum vmlat_direction direction, size_t count, __u64 first, __u64 step)
{
	add_times(statistics, tap, direction, VMLAT_TOTAL, count, first, step);
}

/* web1 by two taps, some packets with an upcall; db with a bridge, into it; a tap of nobody. */
static inline struct statistics sample_statistics(struct sample *sample)
{
	struct device *vnet0 = host_device(&sample->devices, "vnet0");
	struct device *vnet1 = host_device(&sample->devices, "vnet1");
	struct device *vnet2 = host_device(&sample->devices, "vnet2");
	struct device *tap9 = host_device(&sample->devices, "tap9");
	struct statistics statistics = { 0 };

	add_segment(&statistics, vnet0, VMLAT_TX, VMLAT_STAGE_TAP_IN, VMLAT_STAGE_DATAPATH, 1000,
		    12000, 10);
	add_segment(&statistics, vnet0, VMLAT_TX, VMLAT_STAGE_DATAPATH, VMLAT_STAGE_VPORT, 980, 812,
		    1);
	add_segment(&statistics, vnet0, VMLAT_TX, VMLAT_STAGE_DATAPATH, VMLAT_STAGE_UPCALL, 20,
		    1500, 50);
	add_segment(&statistics, vnet0, VMLAT_TX, VMLAT_STAGE_UPCALL, VMLAT_STAGE_REINJECT, 20,
		    2000000, 100000);
	add_segment(&statistics, vnet0, VMLAT_TX, VMLAT_STAGE_REINJECT, VMLAT_STAGE_VPORT, 20, 900,
		    10);
	add_segment(&statistics, vnet0, VMLAT_TX, VMLAT_STAGE_VPORT, VMLAT_STAGE_XMIT, 1000, 5, 0);
	add_segment(&statistics, vnet0, VMLAT_TX, VMLAT_STAGE_XMIT, VMLAT_STAGE_DRIVER, 1000, 100,
		    1);
	add_total(&statistics, vnet0, VMLAT_TX, 980, 13000, 11);
	add_total(&statistics, vnet0, VMLAT_TX, 20, 2020000, 100000);
	add_segment(&statistics, vnet1, VMLAT_TX, VMLAT_STAGE_TAP_IN, VMLAT_STAGE_DRIVER, 50, 40000,
		    0);
	add_total(&statistics, vnet1, VMLAT_TX, 50, 40000, 0);
	snprintf(vnet2->vm, VM_NAME, "instance-0000abcd-of-a-tenant");
	add_segment(&statistics, vnet2, VMLAT_RX, VMLAT_STAGE_NIC, VMLAT_STAGE_BRIDGE_IN, 3, 0, 1);
	add_segment(&statistics, vnet2, VMLAT_RX, VMLAT_STAGE_BRIDGE_IN, VMLAT_STAGE_BRIDGE_FORWARD,
		    3, 1000000000, 2000000000);
	add_segment(&statistics, vnet2, VMLAT_RX, VMLAT_STAGE_BRIDGE_FORWARD,
		    VMLAT_STAGE_BRIDGE_OUT, 3, 9994, 1);
	add_segment(&statistics, vnet2, VMLAT_RX, VMLAT_STAGE_BRIDGE_OUT, VMLAT_STAGE_TAP_OUT, 3,
		    999499, 1);
	add_total(&statistics, vnet2, VMLAT_RX, 3, 1001009493, 2000000003);
	add_segment(&statistics, tap9, VMLAT_TX, VMLAT_STAGE_TAP_IN, VMLAT_STAGE_DRIVER, 1, 0, 0);
	add_total(&statistics, tap9, VMLAT_TX, 1, 0, 0);
	statistics__sort(&statistics);
	return statistics;
}

/* With the sample's accounts of 10 s. */

/* Of web1 one by IPv4 and one by IPv6, of a tap that nobody has one, in that order by packets. */
static inline struct flows *sample_flows(struct sample *sample)
{
	const struct device *vnet0 = host_device(&sample->devices, "vnet0");
	const struct device *tap9 = host_device(&sample->devices, "tap9");
	struct vmlat_flow_key keys[] = {
		{ .src = { htonl(0x0a000002) },
		  .dst = { htonl(0x0a000001) },
		  .src_port = 4000,
		  .dst_port = 5000,
		  .interface = vnet0 - sample->devices.all,
		  .family = 4,
		  .protocol = 17,
		  .has_ports = 1,
		  .direction = VMLAT_TX },
		{ .src = { htonl(0xfd000000), 0, 0, htonl(1) },
		  .dst = { htonl(0xfd000000), 0, 0, htonl(2) },
		  .src_port = 443,
		  .dst_port = 40000,
		  .interface = vnet0 - sample->devices.all,
		  .family = 6,
		  .protocol = 6,
		  .has_ports = 1,
		  .direction = VMLAT_RX },
		{ .src = { htonl(0x0a000009) },
		  .dst = { htonl(0x0a000001) },
		  .interface = tap9 - sample->devices.all,
		  .family = 4,
		  .protocol = 1,
		  .direction = VMLAT_TX },
	};
	struct vmlat_flow_count counts[] = {
		{ .packets = 12345678,
		  .bytes = 765432036,
		  .sum_ns = 12345678000 * 9,
		  .max_ns = 9001 },
		{ .packets = 4, .bytes = 6000, .sum_ns = 8002, .max_ns = 3000000 },
		{ .packets = 3, .bytes = 294, .sum_ns = 3, .max_ns = 2 },
	};
	struct flows *flows = flows__new(16, false);

	assert_non_null(flows);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		flows__add(flows, &keys[i], &counts[i]);
	return flows;
}

static inline const char *statistics_written(struct sample *sample, const struct format_ops *format,
					     const struct statistics *statistics, bool whole)
{
	struct accounts accounts = sample_accounts();
	struct interval interval = { .end = sample_time,
				     .seconds = 10.0004,
				     .whole = whole,
				     .statistics = statistics,
				     .flows = sample->flows,
				     .accounts = &accounts };
	size_t size;

	add_drops(&accounts);
	add_traffic(&accounts, sample);
	sample->traffic[5][0] = (struct vmlat_traffic){ 1000, 64000 };
	host_device(&sample->devices, "vnet0")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_START;
	host_device(&sample->devices, "eth0")->roles = VMLAT_ROLE_TX_END;
	open_text(sample, &size);
	format->statistics(&sample->context, &interval);
	fclose(sample->context.out);
	return sample->text;
}

#endif
