/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the BPF side counts, per CPU. Each is counted where it happens; none is derived. */
#ifndef VMLAT_COUNTERS_H
#define VMLAT_COUNTERS_H

#include "flight.h"

/* Why a packet of a selected interface was not measured. */
/* id, words for the user */
#define VMLAT_REFUSALS(X)                                            \
	X(NOT_IP, "not IP")                                          \
	X(PROTOCOL, "--protocol")                                    \
	X(SRC_IP, "--src-ip")                                        \
	X(DST_IP, "--dst-ip")                                        \
	X(SRC_PORT, "--src-port")                                    \
	X(DST_PORT, "--dst-port")                                    \
	X(FRAGMENT, "a port of a fragment whose first was not seen") \
	X(SAMPLE, "--sample")

enum vmlat_refusal {
#define X(id, name) VMLAT_REFUSED_##id,
	VMLAT_REFUSALS(X)
#undef X
		VMLAT_REFUSAL_COUNT,
	VMLAT_PASSED = VMLAT_REFUSAL_COUNT,
};

struct vmlat_counters {
	__u64 started;
	__u64 outcomes[VMLAT_OUTCOME_COUNT];
	__u64 reported; /* records that the ring buffer took */
	__u64 lost; /* records that it could not take */
	__u64 stacks_lost;
	__u64 drops_lost; /* dropped packets whose place is not in the table: it was full */
	__u64 uncounted; /* completed packets that no statistics were kept of */
	__u64 flows_lost; /* completed packets of flows that there was no room for */
	__u64 unstarted;
	__u64 refused[VMLAT_REFUSAL_COUNT];
	__u64 malformed;
	__u64 truncated;
	__u64 given; /* packets handed to a selected tap, in calls that another one has followed */
	__u64 delivered; /* of these, those that became an skb in the call that handed them over */
	__u64 seen_tap; /* packets of a selected tap that became an skb */
	__u64 seen_nic; /* packets received by a selected NIC */
};

/* Where and why packets were dropped: key of the drops map, value a __u64 per CPU. */
struct vmlat_drop {
	__u64 location; /* code address that freed it; 0: see hook */
	__u32 reason;
	__u8 has_reason;
	__u8 hook; /* where it was last seen */
	__u8 pad[2];
};

struct vmlat_traffic {
	__u64 packets;
	__u64 bytes;
};

#endif
