/* SPDX-License-Identifier: GPL-2.0 */
/* What agent-serve (in the guest) and agent-exec (on its host) say to each other over a virtio-serial port.
 *
 * A request is one struct agent_request and its arguments, each ended by a zero byte. The answer is a stream of struct
 * agent_frame, each followed by `length` bytes; AGENT_EXIT is the last. All numbers are big-endian. Both sides repeat
 * the request's nonce: what a client that went away left in the port is recognised by it, and skipped.
 */
#ifndef LAB_AGENT_H
#define LAB_AGENT_H

#include <stdint.h>

enum {
	AGENT_ARGS_MAX = 65536, /* bytes */
	AGENT_CHUNK = 16384,
};

enum agent_type {
	AGENT_BEGIN = 0, /* first frame of an answer, empty */
	AGENT_STDOUT = 1,
	AGENT_STDERR = 2,
	AGENT_EXIT = 3, /* one byte: the exit status as a shell shows it */
};

struct agent_request {
	uint64_t nonce;
	uint32_t length; /* of the arguments that follow */
} __attribute__((packed));

struct agent_frame {
	uint64_t nonce;
	uint32_t type;
	uint32_t length;
} __attribute__((packed));

#endif
