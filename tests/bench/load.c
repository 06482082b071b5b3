// SPDX-License-Identifier: GPL-2.0
/* load: traffic of which each packet takes the same instructions, and how long the CPU was busy with it, whoever it
 * was: the sender, the kernel, a tracer. Where the CPU is the only one and its clock counts instructions, these are
 * nanoseconds and instructions.
 */
#include <argp.h>
#include <bpf/bpf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"

enum {
	BATCH = 64, /* what vhost-net hands to a tap at once, and NAPI to the stack */
	CALL = 15 * BATCH, /* what a tap that nobody reads has room for */
	RING = 256, /* descriptors of a virtio queue */
	PAYLOAD = 100,
	SLOT = 256, /* room for a frame with its virtio header */
	HEADER = sizeof(struct virtio_net_hdr_v1),
	TX_QUEUE = 1, /* of vhost-net */
};

struct load {
	const struct kind *kind;
	const char *tap;
	const char *nic;
	unsigned long count;
	unsigned long warm; /* packets before those that count */
	unsigned long pause_ns; /* of work after each batch */
	unsigned long rest_us; /* of sleep after the last one, while a tracer's work goes on */
	unsigned int from; /* machines of the lab */
	unsigned int to;
	int fd;
	int other_fd; /* the other end, or the XDP program */
	struct vhost *vhost;
	size_t length; /* of a frame */
	uint8_t frames[BATCH][SLOT]; /* each behind its virtio header */
};

struct kind {
	const char *name;
	const char *what;
	void (*open)(struct load *load);
	void (*batch)(struct load *load); /* so many packets */
	unsigned int size;
};

/* Works for so many instructions: two a turn. */
static void spin(unsigned long ns)
{
	unsigned long turns = ns / 2;

	if (turns)
		asm volatile("1: dec %0; jnz 1b" : "+r"(turns) : : "cc");
}

static unsigned long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ul + now.tv_nsec;
}

/* The time that all tasks had of the CPU so far: proc_schedstat's 7th number, which a task adds to when it leaves. */
static long busy_ns(void)
{
	unsigned long busy = 0;
	FILE *file;

	usleep(1000);
	file = fopen("/proc/schedstat", "r");
	if (!file ||
	    fscanf(file, "version %*u timestamp %*u cpu0 %*u %*u %*u %*u %*u %*u %lu", &busy) != 1)
		errx(1, "/proc/schedstat cannot be read (CONFIG_SCHEDSTATS)");
	fclose(file);
	return busy;
}

/* A UDP flow between two machines of the lab; no stack answers it. */
static void make_frames(struct load *load)
{
	struct frame_spec spec = {
		.payload = PAYLOAD,
		.flow = { .src_mac = { 0x52, 0x54, 0, 0, 0, load->from },
			  .dst_mac = { 0x52, 0x54, 0, 0, 1, load->to },
			  .protocol = IPPROTO_UDP,
			  .src_ip = { AF_INET, { 10, 0, 0, load->from } },
			  .dst_ip = { AF_INET, { 10, 0, 0, load->to } },
			  .src_port = 12345,
			  .dst_port = 5201 },
	};
	static uint8_t frame[FRAME_MAX];

	for (unsigned int i = 0; i < BATCH; i++) {
		struct frame_number number = { .sequence = i, .ip_id = i };

		load->length = frame_build(&spec, &number, frame);
		memcpy(load->frames[i] + HEADER, frame, load->length);
	}
}

static int open_tap(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), header = HEADER;

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) || ioctl(fd, TUNSETVNETHDRSZ, &header))
		err(1, "tap %s", name);
	return fd;
}

/* --- a tap, written by a program --- */

static void open_write(struct load *load)
{
	load->fd = open_tap(load->tap);
}

static void write_batch(struct load *load)
{
	ssize_t length = HEADER + load->length;

	for (unsigned int i = 0; i < BATCH; i++)
		if (write(load->fd, load->frames[i], length) != length)
			err(1, "tap %s", load->tap);
}

/* --- a tap, served by vhost-net: this program is the guest --- */

struct vhost {
	struct vring ring;
	int kick, call;
	void *memory;
	uint8_t frames[BATCH][SLOT];
};

static void vhost_set(int fd, unsigned long request, const void *argument)
{
	if (ioctl(fd, request, argument))
		err(1, "vhost-net: request %#lx", request);
}

static struct vhost *make_ring(const struct load *load)
{
	struct vhost *vhost = aligned_alloc(4096, sizeof(*vhost));
	void *memory = aligned_alloc(4096, 4 * 4096);

	if (!vhost || !memory)
		err(1, "no memory");
	memset(memory, 0, 4 * 4096);
	vring_init(&vhost->ring, RING, memory, 4096);
	vhost->memory = memory;
	memcpy(vhost->frames, load->frames, sizeof(vhost->frames));
	for (unsigned int i = 0; i < RING; i++) {
		vhost->ring.desc[i] = (struct vring_desc){
			.addr = (uintptr_t)vhost->frames[i % BATCH],
			.len = HEADER + load->length,
		};
		vhost->ring.avail->ring[i] = i;
	}
	vhost->kick = eventfd(0, EFD_CLOEXEC);
	vhost->call = eventfd(0, EFD_CLOEXEC);
	return vhost;
}

/* Guest addresses are this program's own. */
static void share_memory(int fd)
{
	struct {
		struct vhost_memory memory;
		struct vhost_memory_region region;
	} all = {
		.memory.nregions = 1,
		.region = { .guest_phys_addr = 4096,
			    .userspace_addr = 4096,
			    .memory_size = 0x7ffffffff000 - 4096 },
	};

	vhost_set(fd, VHOST_SET_MEM_TABLE, &all);
}

static void open_vhost(struct load *load)
{
	uint64_t features = 1ull << VIRTIO_F_VERSION_1;
	struct vhost_vring_state state = { .index = TX_QUEUE, .num = RING };
	struct vhost_vring_file file = { .index = TX_QUEUE };
	struct vhost *vhost = make_ring(load);
	struct vhost_vring_addr address = {
		.index = TX_QUEUE,
		.desc_user_addr = (uintptr_t)vhost->ring.desc,
		.avail_user_addr = (uintptr_t)vhost->ring.avail,
		.used_user_addr = (uintptr_t)vhost->ring.used,
	};

	load->vhost = vhost;
	load->fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	if (load->fd < 0)
		err(1, "/dev/vhost-net");
	vhost_set(load->fd, VHOST_SET_OWNER, NULL);
	vhost_set(load->fd, VHOST_SET_FEATURES, &features);
	share_memory(load->fd);
	vhost_set(load->fd, VHOST_SET_VRING_NUM, &state);
	state.num = 0;
	vhost_set(load->fd, VHOST_SET_VRING_BASE, &state);
	vhost_set(load->fd, VHOST_SET_VRING_ADDR, &address);
	file.fd = vhost->kick;
	vhost_set(load->fd, VHOST_SET_VRING_KICK, &file);
	file.fd = vhost->call;
	vhost_set(load->fd, VHOST_SET_VRING_CALL, &file);
	file.fd = open_tap(load->tap);
	vhost_set(load->fd, VHOST_NET_SET_BACKEND, &file);
}

static void vhost_batch(struct load *load)
{
	struct vhost *vhost = load->vhost;
	uint16_t wanted = vhost->ring.avail->idx + BATCH;
	uint64_t one = 1;

	__atomic_store_n(&vhost->ring.avail->idx, wanted, __ATOMIC_SEQ_CST);
	if (write(vhost->kick, &one, sizeof(one)) != sizeof(one))
		err(1, "vhost-net: kick");
	while (__atomic_load_n(&vhost->ring.used->idx, __ATOMIC_SEQ_CST) != wanted)
		if (read(vhost->call, &one, sizeof(one)) != sizeof(one))
			err(1, "vhost-net: call");
}

/* --- from a NIC's driver to a tap: frames of XDP that it passed on (from 5.18 on) --- */

static void inject(struct load *load, int count)
{
	struct xdp_md context = { .data_end = load->length,
				  .ingress_ifindex = if_nametoindex(load->nic) };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = load->frames[0] + HEADER,
		    .data_size_in = load->length, .ctx_in = &context,
		    .ctx_size_in = sizeof(context), .repeat = count, .batch_size = BATCH,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);

	if (bpf_prog_test_run_opts(load->other_fd, &options))
		err(1, "frames of XDP by %s", load->nic);
}

static void take(struct load *load, int count)
{
	uint8_t taken[SLOT];

	for (int i = 0; i < count; i++)
		if (read(load->fd, taken, sizeof(taken)) != (ssize_t)(HEADER + load->length))
			err(1, "tap %s: packet %d", load->tap, i);
}

/*
 * A tap that was closed a moment ago has no queueing discipline until the kernel has looked at its carrier,
 * which it does once a second (net/core/link_watch.c): what is sent there meanwhile is lost.
 */
static void wait_for_carrier(const char *tap)
{
	enum { A_WHILE_US = 10000 };
	char path[64], state[32] = "";

	snprintf(path, sizeof(path), "/sys/class/net/%s/operstate", tap);
	do {
		FILE *file = fopen(path, "re");

		if (!file || !fgets(state, sizeof(state), file))
			err(1, "%s", path);
		fclose(file);
	} while (strstr(state, "down") && !usleep(A_WHILE_US));
}

/* The first frame may need an upcall. When it is back, the datapath has its flow. */
static void open_receive(struct load *load)
{
	const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	load->fd = open_tap(load->tap);
	load->other_fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "GPL", pass, 2, NULL);
	if (load->other_fd < 0)
		err(1, "XDP program");
	wait_for_carrier(load->tap);
	inject(load, 1);
	take(load, 1);
	if (fcntl(load->fd, F_SETFL, O_NONBLOCK)) /* no later one is missing */
		err(1, "tap %s", load->tap);
}

static void receive_batch(struct load *load)
{
	inject(load, CALL);
	take(load, CALL);
}

/* --- what never reaches a switch --- */

static void open_loopback(struct load *load)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);

	load->fd = socket(AF_INET, SOCK_DGRAM, 0);
	load->other_fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(load->other_fd, (struct sockaddr *)&address, size) ||
	    getsockname(load->other_fd, (struct sockaddr *)&address, &size) ||
	    connect(load->fd, (struct sockaddr *)&address, size))
		err(1, "loopback");
}

static void open_unix(struct load *load)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
		err(1, "socketpair");
	load->fd = pair[0];
	load->other_fd = pair[1];
}

static void socket_batch(struct load *load)
{
	uint8_t taken[SLOT];

	for (unsigned int i = 0; i < BATCH; i++)
		if (write(load->fd, load->frames[i], PAYLOAD) != PAYLOAD ||
		    read(load->other_fd, taken, sizeof(taken)) != PAYLOAD)
			err(1, "%s", load->kind->name);
}

static void open_nothing(struct load *load)
{
	(void)load;
}

static void no_batch(struct load *load)
{
	(void)load;
}

static const struct kind kinds[] = {
	{ "write", "to --tap, by write(2)", open_write, write_batch, BATCH },
	{ "vhost", "to --tap, by vhost-net", open_vhost, vhost_batch, BATCH },
	{ "receive", "from --nic to --tap, where they are read", open_receive, receive_batch,
	  CALL },
	{ "loopback", "UDP of this host to itself", open_loopback, socket_batch, BATCH },
	{ "unix", "datagrams of a socket pair", open_unix, socket_batch, BATCH },
	{ "nothing", "no packets", open_nothing, no_batch, BATCH },
};

enum key { KEY_WARM = 256, KEY_PAUSE, KEY_REST, KEY_FROM, KEY_TO };

static const struct argp_option table[] = {
	{ "tap", 't', "IFNAME", 0, "The tap", 0 },
	{ "nic", 'n', "IFNAME", 0, "The NIC", 0 },
	{ "count", 'c', "N", 0, "Packets, rounded up to whole batches: 64, or 960 to receive", 0 },
	{ "warm", KEY_WARM, "N", 0, "Packets before those that count", 0 },
	{ "from", KEY_FROM, "N", 0, "Machine of the lab (9)", 0 },
	{ "to", KEY_TO, "N", 0, "Machine of the lab (1)", 0 },
	{ "pause", KEY_PAUSE, "NS", 0, "Work that does not count behind each batch", 0 },
	{ "rest", KEY_REST, "US", 0, "Sleep behind the last one", 0 },
	{ 0 },
};

static const struct kind *find_kind(struct argp_state *state, const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(name, kinds[i].name))
			return &kinds[i];
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		fprintf(stderr, "%-10s%s\n", kinds[i].name, kinds[i].what);
	argp_error(state, "'%s' is none of these", name);
	return NULL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct load *load = state->input;

	switch (key) {
	case 't':
		load->tap = arg;
		return 0;
	case 'n':
		load->nic = arg;
		return 0;
	case 'c':
		load->count = strtoul(arg, NULL, 10);
		return 0;
	case KEY_WARM:
		load->warm = strtoul(arg, NULL, 10);
		return 0;
	case KEY_FROM:
		load->from = strtoul(arg, NULL, 10);
		return 0;
	case KEY_TO:
		load->to = strtoul(arg, NULL, 10);
		return 0;
	case KEY_PAUSE:
		load->pause_ns = strtoul(arg, NULL, 10);
		return 0;
	case KEY_REST:
		load->rest_us = strtoul(arg, NULL, 10);
		return 0;
	case ARGP_KEY_ARG:
		load->kind = find_kind(state, arg);
		return 0;
	case ARGP_KEY_END:
		if (!load->kind)
			find_kind(state, "");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Returns how many packets these were. */
static unsigned long send_packets(struct load *load, unsigned long count)
{
	unsigned long done;

	for (done = 0; done < count; done += load->kind->size) {
		load->kind->batch(load);
		spin(load->pause_ns);
	}
	return done;
}

/* vmlat asks whose tap it is that was opened: 0.1 s after that, 0.3, 0.7, 1.5, 3.1, 6.3 and so on. */
enum { SETTLE_US = 3500000, PATIENCE_S = 600 };

/* A packet that is lost would be waited for until all ends. */
static void give_up(int signal)
{
	static const char why[] = "load: not done after ten minutes: a packet is lost\n";

	(void)signal;
	if (write(STDERR_FILENO, why, sizeof(why) - 1) < 0)
		_exit(3);
	_exit(2);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = table,
		.parser = parse,
		.args_doc = "write|vhost|receive|loopback|unix|nothing",
		.doc = "Send packets and print a JSON object: their count, the nanoseconds that the "
		       "CPU was busy from the first of them on, and those that passed up to the last.",
	};
	static struct load load = { .from = 9, .to = 1 };
	unsigned long begin, took, count;
	long busy;

	argp_parse(&argp, argc, argv, 0, NULL, &load);
	make_frames(&load);
	load.kind->open(&load);
	signal(SIGALRM, give_up);
	alarm(PATIENCE_S);
	usleep(SETTLE_US);
	send_packets(&load, load.warm);
	busy = busy_ns();
	begin = now_ns();
	count = send_packets(&load, load.count);
	took = now_ns() - begin;
	usleep(load.rest_us);
	busy = busy_ns() - busy - count / load.kind->size * load.pause_ns;
	printf("{\"count\":%lu,\"busy_ns\":%ld,\"took_ns\":%lu}\n", count, busy, took);
	return 0;
}
