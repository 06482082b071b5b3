// SPDX-License-Identifier: GPL-2.0
/* traffic send: exactly so many frames, by a packet socket, written to a tap as a VM's user-space back end would, or to
 * a file.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "garbage.h"
#include "options.h"

enum {
	BATCH = 32, /* frames handed over at once with --burst, or the fragments of one */
	RETRY_US = 1000,
	RETRIES_MAX = 30000, /* in a row: half a minute without a frame taken is an error */
	TCP_ACK = 0x10,
	TCP_PSH = 0x08,
};

struct send_options {
	struct flow_options flow;
	struct frame_spec spec;
	const char *interface;
	const char *tap;
	const char *pcap;
	uint64_t count;
	uint64_t gap_us;
	bool burst;
	bool vnet_header;
	bool garbage;
	bool reverse;
	uint32_t seed; /* of the garbage */
	uint16_t fragment; /* bytes of payload in each; 0: the frames are whole */
	uint32_t first_sequence;
	uint32_t tcp_seq;
	uint32_t tcp_seq_step;
	int ip_id; /* < 0: counts up with the sequence number */
};

struct output {
	const char *name;
	int fd;
	enum { TO_INTERFACE, TO_TAP, TO_FILE } kind;
	bool vnet_header;
};

/* Of a packet in a capture file (pcap-savefile(5)); the times are 0. */
struct pcap_packet {
	uint32_t seconds;
	uint32_t microseconds;
	uint32_t captured;
	uint32_t length;
};

struct batch {
	struct virtio_net_hdr header;
	uint8_t whole[FRAME_MAX]; /* of which the frames are fragments */
	uint8_t frames[BATCH][FRAME_MAX];
	struct iovec iov[BATCH][2];
	struct mmsghdr messages[BATCH];
};

enum key {
	KEY_IP_ID = 512,
	KEY_FIRST_SEQ,
	KEY_GAP,
	KEY_BURST,
	KEY_GSO,
	KEY_CSUM,
	KEY_TCP_FLAGS,
	KEY_TCP_SEQ,
	KEY_TCP_SEQ_STEP,
	KEY_TCP_ACK,
	KEY_DSCP,
	KEY_TAP,
	KEY_VNET_HEADER,
	KEY_PCAP,
	KEY_GARBAGE,
	KEY_FRAGMENT,
	KEY_REVERSE,
};

static const struct argp_option send_argp_options[] = {
	{ "interface", 'i', "IFNAME", 0, "Send by a packet socket on this interface", 1 },
	{ "tap", KEY_TAP, "IFNAME", 0,
	  "Write to this tap; it is made if it does not exist, and then ends with us" },
	{ "vnet-hdr", KEY_VNET_HEADER, 0, 0,
	  "Open the tap with IFF_VNET_HDR (implied by --gso, --csum=partial)" },
	{ "pcap", KEY_PCAP, "FILE", 0, "Write them to this capture file instead" },
	{ "count", 'c', "N", 0, "Frames to send (default 1)" },
	{ "payload", 'p', "BYTES", 0,
	  "After the transport's header: 0, or 8 and more (default 64)" },
	{ "first-seq", KEY_FIRST_SEQ, "N", 0, "Sequence number of the first frame (default 0)" },
	{ "gap-us", KEY_GAP, "N", 0, "Pause between two frames" },
	{ "burst", KEY_BURST, 0, 0, "No pause, and many frames in each system call" },
	{ "gso", KEY_GSO, "SIZE", 0,
	  "One super-frame to be cut in segments with SIZE bytes of payload" },
	{ "csum", KEY_CSUM, "HOW", 0,
	  "full (default), or partial: the kernel or the NIC completes it" },
	{ "fragment", KEY_FRAGMENT, "BYTES", 0,
	  "Each frame as IP fragments, with so many bytes (a multiple of 8) behind their IP headers" },
	{ "reverse", KEY_REVERSE, 0, 0, "The last fragment of each frame first" },
	{ "garbage", KEY_GARBAGE, "SEED", 0,
	  "Frames that are cut off, lie about their lengths or are random; SEED and sequence number say which" },
	{ "ip-id", KEY_IP_ID, "N|inc", 0,
	  "IPv4 identification; inc (default): counts with the sequence number" },
	{ "dscp", KEY_DSCP, "N", 0, "Differentiated services code point (default 0)" },
	{ "tcp-flags", KEY_TCP_FLAGS, "LETTERS", 0, "Of FSRPAUEC (default PA)" },
	{ "tcp-seq", KEY_TCP_SEQ, "N", 0, "TCP sequence number (default 1)" },
	{ "tcp-seq-step", KEY_TCP_SEQ_STEP, "N", 0,
	  "Added to it with each frame (default 0: GRO then merges none)" },
	{ "tcp-ack", KEY_TCP_ACK, "N", 0, "TCP acknowledgement number (default 1)" },
	{ 0 },
};

static uint8_t parse_tcp_flags(struct argp_state *state, const char *text)
{
	static const char letters[] = "FSRPAUEC";
	uint8_t flags = 0;
	const char *found;

	for (; *text; text++) {
		found = strchr(letters, *text);
		if (!found)
			argp_error(state, "--tcp-flags: '%c' is none of %s", *text, letters);
		flags |= 1u << (found - letters);
	}
	return flags;
}

static bool parse_partial(struct argp_state *state, const char *text)
{
	if (strcmp(text, "partial") && strcmp(text, "full"))
		argp_error(state, "--csum: '%s' is neither full nor partial", text);
	return !strcmp(text, "partial");
}

static const char *parse_ifname(struct argp_state *state, const char *what, const char *text)
{
	if (!*text || strlen(text) >= IFNAMSIZ)
		argp_error(state, "%s: '%s' cannot be an interface's name", what, text);
	return text;
}

/* The lab's rule: machine N is 10.0.0.N and fd00::N, 52:54:00:00:00:0N, and 52:54:00:00:01:0N where nobody answers. */
static void default_mac(struct argp_state *state, const char *what, const struct address *ip,
			uint8_t kind, uint8_t mac[6])
{
	uint8_t number = ip->bytes[ip->family == AF_INET6 ? 15 : 3];

	if (number < 1 || number > 9)
		argp_error(state, "the address is none of the lab's: say %s", what);
	memcpy(mac, (uint8_t[]){ 0x52, 0x54, 0, 0, kind, number }, 6);
}

static void default_ip(struct address *ip, int family, uint8_t number)
{
	*ip = (struct address){ .family = family };
	if (family == AF_INET6)
		memcpy(ip->bytes, (uint8_t[16]){ [0] = 0xfd, [15] = number }, 16);
	else
		memcpy(ip->bytes, (uint8_t[]){ 10, 0, 0, number }, 4);
}

static void fill_flow(struct argp_state *state, struct flow_options *options)
{
	struct flow *flow = &options->flow;

	if (!(options->given & GIVEN_SRC_IP))
		default_ip(&flow->src_ip,
			   options->given & GIVEN_DST_IP ? flow->dst_ip.family : AF_INET, 2);
	if (!(options->given & GIVEN_DST_IP))
		default_ip(&flow->dst_ip, flow->src_ip.family, 1);
	if (flow->src_ip.family != flow->dst_ip.family)
		argp_error(state, "--src-ip and --dst-ip: one is IPv4, the other IPv6");
	if (!(options->given & GIVEN_SRC_MAC))
		default_mac(state, "--src-mac", &flow->src_ip, 0, flow->src_mac);
	if (!(options->given & GIVEN_DST_MAC))
		default_mac(state, "--dst-mac", &flow->dst_ip, 1, flow->dst_mac);
	if ((options->given & GIVEN_VLAN_PROTO) && !(options->given & GIVEN_VLAN))
		argp_error(state, "--vlan-proto says nothing without --vlan");
}

static void check_fragments(struct argp_state *state, const struct send_options *options)
{
	const struct frame_spec *spec = &options->spec;

	if (options->reverse && !options->fragment)
		argp_error(state, "--reverse is for --fragment");
	if (!options->fragment)
		return;
	if (options->fragment % 8)
		argp_error(state, "--fragment: %u is no multiple of 8", options->fragment);
	if (spec->gso_size || spec->partial_checksum)
		argp_error(state, "--fragment: not with --gso or --csum=partial");
	if (spec->payload + 20 > (uint32_t)BATCH * options->fragment)
		argp_error(state, "--fragment: more than %d of one frame", BATCH);
}

static void check(struct argp_state *state, struct send_options *options)
{
	struct frame_spec *spec = &options->spec;

	if (!!options->interface + !!options->tap + !!options->pcap != 1)
		argp_error(state, "either --interface, or --tap, or --pcap");
	if (options->vnet_header && !options->tap)
		argp_error(state, "--vnet-hdr is for --tap");
	if (options->burst && options->gap_us)
		argp_error(state, "--burst and --gap-us contradict each other");
	if (spec->payload && spec->payload < MARK_BYTES)
		argp_error(state, "--payload: 0, or at least %d for the sequence number",
			   MARK_BYTES);
	fill_flow(state, &options->flow);
	spec->flow = options->flow.flow;
	check_fragments(state, options);
	if (frame_header_length(spec) - 14 - 4 * spec->flow.vlan_count + spec->payload > 65535)
		argp_error(state, "--payload: %u bytes do not fit an IP packet", spec->payload);
	if (!spec->gso_size)
		return;
	if (spec->flow.protocol == IPPROTO_ICMP)
		argp_error(state, "--gso: not for ICMP");
	if (spec->payload <= spec->gso_size)
		argp_error(
			state,
			"--gso: needs a larger --payload than its SIZE, or there is nothing to cut");
	spec->partial_checksum = true;
}

static error_t parse_send(int key, char *arg, struct argp_state *state)
{
	struct send_options *options = state->input;
	struct frame_spec *spec = &options->spec;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->flow;
		break;
	case 'i':
		options->interface = parse_ifname(state, "--interface", arg);
		break;
	case KEY_TAP:
		options->tap = parse_ifname(state, "--tap", arg);
		break;
	case KEY_VNET_HEADER:
		options->vnet_header = true;
		break;
	case KEY_PCAP:
		options->pcap = arg;
		break;
	case KEY_GARBAGE:
		options->garbage = true;
		options->seed = parse_number(state, "--garbage", arg, 0, UINT32_MAX);
		break;
	case KEY_FRAGMENT:
		options->fragment = parse_number(state, "--fragment", arg, 8, 65528);
		break;
	case KEY_REVERSE:
		options->reverse = true;
		break;
	case 'c':
		options->count = parse_number(state, "--count", arg, 1, UINT32_MAX);
		break;
	case 'p':
		spec->payload = parse_number(state, "--payload", arg, 0, 65535);
		break;
	case KEY_FIRST_SEQ:
		options->first_sequence = parse_number(state, "--first-seq", arg, 0, UINT32_MAX);
		break;
	case KEY_GAP:
		options->gap_us = parse_number(state, "--gap-us", arg, 0, 60000000);
		break;
	case KEY_BURST:
		options->burst = true;
		break;
	case KEY_GSO:
		spec->gso_size = parse_number(state, "--gso", arg, MARK_BYTES, 65535);
		break;
	case KEY_CSUM:
		spec->partial_checksum = parse_partial(state, arg);
		break;
	case KEY_IP_ID:
		options->ip_id = strcmp(arg, "inc")
					 ? (int)parse_number(state, "--ip-id", arg, 0, 65535)
					 : -1;
		break;
	case KEY_DSCP:
		spec->dscp = parse_number(state, "--dscp", arg, 0, 63);
		break;
	case KEY_TCP_FLAGS:
		spec->tcp_flags = parse_tcp_flags(state, arg);
		break;
	case KEY_TCP_SEQ:
		options->tcp_seq = parse_number(state, "--tcp-seq", arg, 0, UINT32_MAX);
		break;
	case KEY_TCP_SEQ_STEP:
		options->tcp_seq_step = parse_number(state, "--tcp-seq-step", arg, 0, UINT32_MAX);
		break;
	case KEY_TCP_ACK:
		spec->tcp_ack = parse_number(state, "--tcp-ack", arg, 0, UINT32_MAX);
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s': there are only options", arg);
		break;
	case ARGP_KEY_END:
		check(state, options);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static void open_tap(struct output *output)
{
	int flags = IFF_TAP | IFF_NO_PI | (output->vnet_header ? IFF_VNET_HDR : 0);
	struct ifreq request = {};
	int ret;

	strncpy(request.ifr_name, output->name, IFNAMSIZ - 1);
	output->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (output->fd < 0)
		err(1, "/dev/net/tun (modprobe tun?)");
	request.ifr_flags = flags;
	ret = ioctl(output->fd, TUNSETIFF, &request);
	if (ret && errno == EINVAL) { /* a tap keeps being multi-queue or not */
		request.ifr_flags = flags | IFF_MULTI_QUEUE;
		ret = ioctl(output->fd, TUNSETIFF, &request);
	}
	if (ret)
		err(1, "%s: cannot be opened as a tap%s", output->name,
		    errno == EBUSY ? ", a VM has it" : "");
}

static void open_packet(struct output *output)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_ifindex = if_nametoindex(output->name) };
	int on = 1;

	if (!to.sll_ifindex)
		errx(1, "%s: no such interface", output->name);
	output->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (output->fd < 0)
		err(1, "packet socket (root is needed)");
	if (output->vnet_header &&
	    setsockopt(output->fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)))
		err(1, "%s: PACKET_VNET_HDR", output->name);
	if (bind(output->fd, (struct sockaddr *)&to, sizeof(to)))
		err(1, "%s", output->name);
}

static void open_pcap(struct output *output)
{
	static const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, accuracy, longest, link;
	} header = { 0xa1b2c3d4, 2, 4, 0, 0, FRAME_MAX, 1 };

	output->fd = open(output->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (output->fd < 0 || write(output->fd, &header, sizeof(header)) != sizeof(header))
		err(1, "%s", output->name);
}

static struct frame_number number_of(const struct send_options *options, uint64_t index)
{
	uint32_t sequence = options->first_sequence + index;

	return (struct frame_number){
		.sequence = sequence,
		.tcp_seq = options->tcp_seq + (uint32_t)index * options->tcp_seq_step,
		.ip_id = options->ip_id < 0 ? sequence : (uint32_t)options->ip_id,
	};
}

static size_t build(const struct send_options *options, uint64_t index, uint8_t *out)
{
	struct frame_number number = number_of(options, index);

	if (options->garbage)
		return garbage_build(options->seed, number.sequence, &options->spec.flow, out);
	return frame_build(&options->spec, &number, out);
}

static void reverse(struct batch *batch, unsigned int count)
{
	struct iovec first;

	for (unsigned int i = 0; i < count / 2; i++) {
		first = batch->iov[i][1];
		batch->iov[i][1] = batch->iov[count - 1 - i][1];
		batch->iov[count - 1 - i][1] = first;
	}
}

/* Fragments of one frame; how many. */
static unsigned int fill_fragments(const struct send_options *options, struct batch *batch,
				   uint64_t index)
{
	size_t length = build(options, index, batch->whole), part;
	uint32_t id = options->ip_id < 0 ? options->first_sequence + index
					 : (uint32_t)options->ip_id;
	unsigned int count = 0;

	while (count < BATCH) {
		part = frame_fragment(&options->spec.flow, batch->whole, length, options->fragment,
				      count, id, batch->frames[count]);
		if (!part)
			break;
		batch->iov[count][1] = (struct iovec){ batch->frames[count], part };
		count++;
	}
	if (options->reverse)
		reverse(batch, count);
	return count;
}

/* How many frames the batch has now. */
static unsigned int fill_batch(const struct send_options *options, struct batch *batch,
			       uint64_t from, unsigned int count)
{
	if (options->fragment)
		return fill_fragments(options, batch, from);
	for (unsigned int i = 0; i < count; i++)
		batch->iov[i][1].iov_len = build(options, from + i, batch->frames[i]);
	return count;
}

static void set_up_batch(const struct output *output, const struct send_options *options,
			 struct batch *batch)
{
	bool header = output->vnet_header;

	batch->header = frame_vnet_header(&options->spec);
	for (int i = 0; i < BATCH; i++) {
		batch->iov[i][0] = (struct iovec){ &batch->header, sizeof(batch->header) };
		batch->iov[i][1] = (struct iovec){ batch->frames[i], 0 };
		batch->messages[i].msg_hdr.msg_iov = &batch->iov[i][!header];
		batch->messages[i].msg_hdr.msg_iovlen = 1 + header;
	}
}

static void explain(const struct output *output, const struct send_options *options, size_t length)
{
	switch (errno) {
	case EMSGSIZE:
		errx(1, "%s: a frame of %zu bytes is over its MTU: ip link set %s mtu, or --gso",
		     output->name, length, output->name);
	case ENETDOWN:
	case EIO:
		errx(1, "%s is down: ip link set %s up", output->name, output->name);
	case EINVAL:
		if (options->spec.gso_size)
			errx(1, "%s: this kernel does not take such a super-frame%s", output->name,
			     options->spec.flow.protocol == IPPROTO_UDP
				     ? "; for UDP it needs Linux 6.2"
				     : "");
		/* fall through */
	default:
		err(1, "%s", output->name);
	}
}

static int write_capture(int fd, const struct iovec *frame)
{
	struct pcap_packet header = { .captured = frame->iov_len, .length = frame->iov_len };
	struct iovec iov[] = { { &header, sizeof(header) }, *frame };

	return writev(fd, iov, 2) == (ssize_t)(sizeof(header) + frame->iov_len) ? 0 : -1;
}

/* How many were taken, or -1 and errno. */
static int hand_over(const struct output *output, struct batch *batch, unsigned int from,
		     unsigned int count)
{
	const struct msghdr *message = &batch->messages[from].msg_hdr;

	switch (output->kind) {
	case TO_TAP:
		return writev(output->fd, message->msg_iov, message->msg_iovlen) < 0 ? -1 : 1;
	case TO_FILE:
		return write_capture(output->fd, &batch->iov[from][1]) ? -1 : 1;
	default:
		return sendmmsg(output->fd, &batch->messages[from], count - from, 0);
	}
}

/* A full queue refuses a frame, which then was not sent: try again, so that exactly count leave. */
static void send_batch(const struct output *output, const struct send_options *options,
		       struct batch *batch, unsigned int count)
{
	unsigned int done = 0, retries = 0;
	int taken;

	while (done < count) {
		taken = hand_over(output, batch, done, count);
		if (taken > 0) {
			done += taken;
			retries = 0;
			continue;
		}
		if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
			explain(output, options, batch->iov[done][1].iov_len);
		if (++retries > RETRIES_MAX)
			errx(1, "%s takes no more frames", output->name);
		usleep(RETRY_US);
	}
}

static void pause_for(uint64_t us)
{
	struct timespec gap = { us / 1000000, us % 1000000 * 1000 };

	while (us && nanosleep(&gap, &gap) && errno == EINTR)
		;
}

static void send_all(const struct output *output, const struct send_options *options)
{
	unsigned int size = options->burst && !options->fragment ? BATCH : 1, frames;
	struct batch *batch = calloc(1, sizeof(*batch));
	uint64_t left;

	if (!batch)
		err(1, "no memory");
	set_up_batch(output, options, batch);
	for (uint64_t done = 0; done < options->count; done += size) {
		left = options->count - done;
		if (size > left)
			size = left;
		if (done)
			pause_for(options->gap_us);
		frames = fill_batch(options, batch, done, size);
		send_batch(output, options, batch, frames);
	}
	free(batch);
}

static struct output choose_output(const struct send_options *options)
{
	struct output output = { .vnet_header = options->vnet_header ||
						options->spec.partial_checksum };

	if (options->tap) {
		output.kind = TO_TAP;
		output.name = options->tap;
		open_tap(&output);
	} else if (options->pcap) {
		output.kind = TO_FILE;
		output.name = options->pcap;
		open_pcap(&output);
	} else {
		output.name = options->interface;
		open_packet(&output);
	}
	return output;
}

int traffic_send(int argc, char **argv)
{
	static const struct argp_child children[] = { { &flow_argp }, { 0 } };
	static const struct argp argp = {
		.options = send_argp_options,
		.parser = parse_send,
		.doc = "Send exactly --count frames, each with its sequence number in the payload."
		       "\vDefaults: one UDP frame from machine 2 of the lab, 10.0.0.2 port 12345, to machine 1, 10.0.0.1 "
		       "port 5201; an address ending in 1 to 9 gives the lab's MAC address, the destination's being the one "
		       "where no stack answers (52:54:00:00:01:0N).",
		.children = children,
	};
	struct send_options options = {
		.flow.flow = { .vlan_proto = ETH_P_8021Q,
			       .protocol = IPPROTO_UDP,
			       .src_port = 12345,
			       .dst_port = 5201 },
		.spec = { .payload = 64, .tcp_flags = TCP_PSH | TCP_ACK, .tcp_ack = 1 },
		.count = 1,
		.tcp_seq = 1,
		.ip_id = -1,
	};
	struct output output;

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	output = choose_output(&options);
	send_all(&output, &options);
	printf("sent %llu\n", (unsigned long long)options.count);
	close(output.fd);
	return 0;
}
