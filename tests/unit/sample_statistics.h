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
static inline const char *statistics_written(struct sample *sample, const struct format_ops *format,
					     const struct statistics *statistics, bool whole)
{
	struct accounts accounts = sample_accounts();
	struct interval interval = { .end = sample_time,
				     .seconds = 10.0004,
				     .whole = whole,
				     .statistics = statistics,
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
