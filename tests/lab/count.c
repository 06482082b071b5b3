// SPDX-License-Identifier: GPL-2.0
/* traffic count: what of a flow arrives at an interface, told apart by the sequence numbers of traffic send. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "options.h"

enum {
	SEQUENCES_MAX = 1 << 24, /* above --first-seq; what is beyond counts as foreign */
	RECEIVE_BUFFER = 64 << 20,
};

struct count_options {
	struct flow_options flow;
	const char *interface;
	uint64_t timeout_ms;
	uint64_t linger_ms;
	uint64_t expect;
	uint32_t first_sequence;
};

struct counts {
	uint64_t packets; /* of the flow, with a mark or without */
	uint64_t bytes; /* of their payload */
	uint64_t received; /* with a mark */
	uint64_t distinct;
	uint64_t duplicates;
	uint64_t foreign; /* with a mark, but outside the range of sequence numbers */
	uint64_t reordered;
	uint64_t bad_checksum;
	uint64_t dropped; /* by this program's own socket */
	uint32_t first;
	uint32_t last;
	uint8_t *seen;
};

static volatile sig_atomic_t interrupted;

enum key {
	KEY_LINGER = 512,
	KEY_FIRST_SEQ,
};

static const struct argp_option count_argp_options[] = {
	{ "interface", 'i', "IFNAME", 0, "Where to count", 1 },
	{ "timeout", 't', "SECONDS", 0, "Stop after that long (default 10)" },
	{ "expect", 'e', "N", 0, "Stop as soon as N sequence numbers have arrived" },
	{ "linger", KEY_LINGER, "MS", 0,
	  "After them, go on for that long, to see what is too much (default 0)" },
	{ "first-seq", KEY_FIRST_SEQ, "N", 0, "The lowest sequence number (default 0)" },
	{ 0 },
};

static error_t parse_count(int key, char *arg, struct argp_state *state)
{
	struct count_options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->flow;
		break;
	case 'i':
		options->interface = arg;
		break;
	case 't':
		options->timeout_ms = 1000 * parse_number(state, "--timeout", arg, 1, 86400);
		break;
	case 'e':
		options->expect = parse_number(state, "--expect", arg, 1, SEQUENCES_MAX);
		break;
	case KEY_LINGER:
		options->linger_ms = parse_number(state, "--linger", arg, 0, 86400000);
		break;
	case KEY_FIRST_SEQ:
		options->first_sequence = parse_number(state, "--first-seq", arg, 0, UINT32_MAX);
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s': there are only options", arg);
		break;
	case ARGP_KEY_END:
		if (!options->interface)
			argp_error(state, "--interface is missing");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static void set(int fd, int level, int name, const void *value, socklen_t length, const char *what)
{
	if (setsockopt(fd, level, name, value, length))
		err(1, "%s", what);
}

static int open_socket(const char *interface)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct packet_mreq promiscuous = { .mr_type = PACKET_MR_PROMISC };
	int on = 1, size = RECEIVE_BUFFER, fd;

	at.sll_ifindex = promiscuous.mr_ifindex = if_nametoindex(interface);
	if (!at.sll_ifindex)
		errx(1, "%s: no such interface", interface);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err(1, "packet socket (root is needed)");
	set(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size), "SO_RCVBUFFORCE");
	set(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on), "PACKET_AUXDATA");
	set(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on), "PACKET_IGNORE_OUTGOING");
	/* the lab's sink addresses are nobody's */
	set(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous),
	    "PACKET_MR_PROMISC");
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)))
		err(1, "%s", interface);
	return fd;
}

static bool same_ip(const struct address *a, const struct address *b)
{
	return a->family == b->family && !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static bool same_vlans(const struct flow *a, const struct flow *b)
{
	return a->vlan_count == b->vlan_count &&
	       !memcmp(a->vlans, b->vlans, a->vlan_count * sizeof(a->vlans[0]));
}

/* Whether everything that was asked for is so. */
static bool matches(const struct flow_options *wanted, const struct flow *flow)
{
	const struct flow *want = &wanted->flow;
	unsigned int differs = 0;

	differs |= memcmp(want->src_mac, flow->src_mac, 6) ? GIVEN_SRC_MAC : 0;
	differs |= memcmp(want->dst_mac, flow->dst_mac, 6) ? GIVEN_DST_MAC : 0;
	differs |= same_vlans(want, flow) ? 0 : GIVEN_VLAN;
	differs |= want->vlan_proto != flow->vlan_proto ? GIVEN_VLAN_PROTO : 0;
	differs |= want->protocol != flow->protocol ? GIVEN_PROTOCOL : 0;
	differs |= same_ip(&want->src_ip, &flow->src_ip) ? 0 : GIVEN_SRC_IP;
	differs |= same_ip(&want->dst_ip, &flow->dst_ip) ? 0 : GIVEN_DST_IP;
	differs |= want->src_port != flow->src_port ? GIVEN_SRC_PORT : 0;
	differs |= want->dst_port != flow->dst_port ? GIVEN_DST_PORT : 0;
	return !(differs & wanted->given);
}

static void count_mark(struct counts *counts, uint32_t sequence, uint32_t first_sequence)
{
	uint32_t at = sequence - first_sequence;
	uint8_t bit = 1u << (at % 8);

	if (!counts->received++)
		counts->first = sequence;
	else if (sequence < counts->last)
		counts->reordered++;
	counts->last = sequence;
	if (at >= SEQUENCES_MAX) {
		counts->foreign++;
	} else if (counts->seen[at / 8] & bit) {
		counts->duplicates++;
	} else {
		counts->seen[at / 8] |= bit;
		counts->distinct++;
	}
}

static struct tpacket_auxdata find_auxdata(struct msghdr *message)
{
	struct tpacket_auxdata aux = {};

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
		if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA &&
		    c->cmsg_len >= CMSG_LEN(sizeof(aux)))
			memcpy(&aux, CMSG_DATA(c), sizeof(aux));
	return aux;
}

static struct outer_tag tag_of(const struct tpacket_auxdata *aux)
{
	if (!(aux->tp_status & TP_STATUS_VLAN_VALID))
		return (struct outer_tag){ -1, 0 };
	return (struct outer_tag){ aux->tp_vlan_tci, aux->tp_status & TP_STATUS_VLAN_TPID_VALID
							     ? aux->tp_vlan_tpid
							     : ETH_P_8021Q };
}

static void count_frame(const struct count_options *options, const uint8_t *frame, size_t length,
			const struct tpacket_auxdata *aux, struct counts *counts)
{
	struct frame_view view;

	if (frame_parse(frame, length, tag_of(aux), &view) || !matches(&options->flow, &view.flow))
		return;
	counts->packets++;
	counts->bytes += view.payload_length;
	/* one that is still to be completed is not wrong */
	if (view.bad_checksum && !(aux->tp_status & TP_STATUS_CSUMNOTREADY))
		counts->bad_checksum++;
	if (view.marked)
		count_mark(counts, view.sequence, options->first_sequence);
}

static void receive(int fd, const struct count_options *options, struct counts *counts)
{
	static uint8_t frame[FRAME_MAX];
	char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct iovec iov = { frame, sizeof(frame) };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct tpacket_auxdata aux;
	ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);

	if (length < 0 && errno != EAGAIN && errno != EINTR)
		err(1, "%s", options->interface);
	if (length < 0)
		return;
	aux = find_auxdata(&message);
	count_frame(options, frame, length, &aux, counts);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

static void receive_all(int fd, const struct count_options *options, struct counts *counts)
{
	int64_t end = now_ms() + options->timeout_ms, left;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	bool complete = false;

	while (!interrupted) {
		if (!complete && options->expect && counts->distinct >= options->expect) {
			complete = true;
			end = now_ms() + options->linger_ms;
		}
		left = end - now_ms();
		if (left <= 0)
			break;
		if (poll(&poll_fd, 1, left) > 0)
			receive(fd, options, counts);
	}
}

static void read_drops(int fd, struct counts *counts)
{
	struct tpacket_stats stats = {};
	socklen_t length = sizeof(stats);

	if (!getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &length))
		counts->dropped = stats.tp_drops;
}

static void print_counts(const struct counts *counts)
{
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
		{ "received", counts->received },     { "distinct", counts->distinct },
		{ "first", counts->first },	      { "last", counts->last },
		{ "duplicates", counts->duplicates }, { "reordered", counts->reordered },
		{ "foreign", counts->foreign },	      { "packets", counts->packets },
		{ "bytes", counts->bytes },	      { "bad_checksum", counts->bad_checksum },
		{ "dropped", counts->dropped },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		printf("%s\"%s\":%llu", i ? "," : "{", fields[i].name,
		       (unsigned long long)fields[i].value);
	puts("}");
}

int traffic_count(int argc, char **argv)
{
	static const struct argp_child children[] = { { &flow_argp }, { 0 } };
	static const struct argp argp = {
		.options = count_argp_options,
		.parser = parse_count,
		.doc = "Count the frames of traffic send that arrive, and print the result as a JSON object. 'ready' on "
		       "standard error says that nothing is missed from now on.\vOnly the options of the flow that are given "
		       "count; --vlan means exactly these tags. Exit status 1: fewer than --expect sequence numbers came.",
		.children = children,
	};
	struct count_options options = { .flow.flow.vlan_proto = ETH_P_8021Q, .timeout_ms = 10000 };
	struct sigaction action = { .sa_handler = on_signal };
	struct counts counts = {};
	int fd;

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	counts.seen = calloc(1, SEQUENCES_MAX / 8);
	if (!counts.seen)
		err(1, "no memory");
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	fd = open_socket(options.interface);
	fputs("ready\n", stderr);
	receive_all(fd, &options, &counts);
	read_drops(fd, &counts);
	print_counts(&counts);
	free(counts.seen);
	close(fd);
	return counts.distinct < options.expect;
}
