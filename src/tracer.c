// SPDX-License-Identifier: GPL-2.0
#include "tracer.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "collector.h"
#include "cpus.h"
#include "deny.h"
#include "exit.h"
#include "flow_collector.h"
#include "interfaces.h"
#include "log.h"
#include "obstacle.h"
#include "ring.h"
#include "target.h"
#include "vmlat.skel.h"

enum {
	STACKS = 16384,
	MAX_STACK = 127,
	FLIGHTS_STEP = 256, /* mapped at a time */
};

struct tracer {
	struct vmlat_bpf *object;
	struct ring *ring;
	struct hook_use use;
	bool tunnels_told; /* there are tunnels, but use.tunnels is not */
	struct hook_choice hooks[VMLAT_HOOK_COUNT];
	struct bpf_link *links[VMLAT_HOOK_COUNT];
	flight_handler handler;
	void *context;
	struct vmlat_config *config; /* mapped */
	void *flights; /* mapped: struct vmlat_flight at each stride; NULL: none so far */
	size_t stride;
	size_t flight_count;
	size_t mapped; /* of these */
	const struct vmlat_parked *parked; /* mapped: parked_count of them; NULL: not yet */
	struct cpus cpus;
	struct collector *collector;
	struct flow_collector *flow_collector; /* NULL: flows are not counted */
	__u64 adoptions; /* of the BPF side's count, those that were told */
	__u64 orphans; /* of the BPF side's count, those that a walk was arranged for */
	__u64 forget_ns; /* when that is to be; 0: none is */
};

static size_t page_align(size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

/* The program that libbpf complained of last: nothing else says which one the kernel refused. */
static char blamed[64];

static int libbpf_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char text[128];
	va_list copy;

	va_copy(copy, arguments);
	vsnprintf(text, sizeof(text), format, copy);
	va_end(copy);
	if (level == LIBBPF_WARN)
		sscanf(text, "libbpf: prog '%63[^']'", blamed);
	return log_libbpf((int)level, format, arguments);
}

/* --- what the kernel refuses --- */

enum { REFUSED = -1 }; /* one way of attaching to one hook: another one may do */

/* From now on that way is not chosen for this hook. */
static int note_refusal(const struct tracer *tracer, struct kernel *kernel, enum vmlat_hook id,
			int error)
{
	const struct hook_choice *choice = &tracer->hooks[id];

	if (hook__refuse(kernel, id, choice->way, error))
		log_warn("%s: this kernel attaches %s to no function at all", hooks[id].name,
			 choice->attach);
	else
		log_warn("%s: the kernel refuses %s (%s); -v shows what it says", hooks[id].name,
			 choice->attach, strerror(error));
	return REFUSED;
}

/* --- load --- */

static int turn_on_hooks(struct tracer *tracer)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		const struct hook_choice *choice = &tracer->hooks[id];
		struct bpf_program *program;

		if (!choice->attach)
			continue;
		program = bpf_object__find_program_by_name(tracer->object->obj, choice->program);
		if (!program) {
			log_error("internal: the BPF object has no program %s", choice->program);
			return EXIT_FAILED;
		}
		bpf_program__set_autoload(program, true);
	}
	return 0;
}

static __u32 length_of(char *const *list)
{
	__u32 length = 0;

	while (list && list[length])
		length++;
	return length;
}

static void size_maps(struct tracer *tracer, const struct options *options)
{
	__u32 flights = options->flights;

	bpf_map__set_max_entries(tracer->object->maps.flights, flights);
	bpf_map__set_max_entries(tracer->object->maps.free_slots, flights);
	bpf_map__set_max_entries(tracer->object->maps.parked_lanes,
				 cpus__room(&tracer->cpus) * VMLAT_PARKED_EACH);
	bpf_map__set_max_entries(tracer->object->maps.carriers, flights * 2);
	bpf_map__set_max_entries(tracer->object->maps.upcalls, flights * VMLAT_ANSWERED_WITHIN);
	bpf_map__set_max_entries(tracer->object->maps.shared_flights, flights);
	bpf_map__set_max_entries(tracer->object->maps.segments, flights);
	bpf_map__set_max_entries(tracer->object->maps.stacks, options->stacks ? STACKS : 1);
	bpf_map__set_max_entries(tracer->object->maps.reports, options->buffer_bytes);
	if (options->devices.taps)
		bpf_map__set_max_entries(tracer->object->maps.wanted_taps,
					 length_of(options->devices.taps));
	tracer->flight_count = flights;
}

static int load_failed(const struct tracer *tracer, struct kernel *kernel, int error)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		if (tracer->hooks[id].attach && !strcmp(tracer->hooks[id].program, blamed))
			return note_refusal(tracer, kernel, id, error);
	log_error("the BPF programs cannot be loaded: %s; -v shows what the kernel says",
		  strerror(error));
	return EXIT_HOST;
}

static __u64 attached_hooks(const struct tracer *tracer)
{
	__u64 bits = 0;

	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		bits |= tracer->hooks[id].attach ? 1ULL << id : 0;
	return bits;
}

/*
 * Of the preempt count (include/linux/preempt.h), those that count hard interrupts: from 7.3 on they are
 * behind the ones that count who has disabled interrupts, whose state this variable is.
 */
static __u64 hardirq_bits(const struct kernel *kernel)
{
	return symbols__variable(kernel->symbols, "local_interrupt_disable_state") ? 0xfU << 24
										   : 0xfU << 16;
}

static int load_object(struct tracer *tracer, struct kernel *kernel, const struct options *options)
{
	int error;

	tracer->object = vmlat_bpf__open();
	if (!tracer->object) {
		log_error("the BPF object cannot be opened: %s", strerror(errno));
		return EXIT_FAILED;
	}
	size_maps(tracer, options);
	error = turn_on_hooks(tracer);
	if (error)
		return error;
	tracer->object->rodata->features = (struct vmlat_features){
		.stacks = options->stacks,
		.kfree_skb_reason = kernel->drop_reasons,
		/* one that passes the queue by may be put back, or be kept by a full one, untold */
		.qdisc_enqueue = tracer->hooks[VMLAT_HOOK_QDISC_ENQUEUE].attach &&
				 tracer->hooks[VMLAT_HOOK_NETIF_SCHEDULE].attach &&
				 tracer->hooks[VMLAT_HOOK_QDISC_TREE_REDUCE_BACKLOG].attach,
		.tunnels = !!tracer->hooks[VMLAT_HOOK_GRO_CELLS_RECEIVE].attach,
		.attached = attached_hooks(tracer),
		.sample_below = (1ULL << 32) / options->sample,
		.wake_shift = __builtin_ctzll(options->buffer_bytes / 16),
		.receive_entry = !!tracer->hooks[VMLAT_HOOK_NETIF_RECEIVE_SKB_ENTRY].attach,
		.bridges = tracer->use.bridges,
		.flows = !!options->top,
		.internal_dev_xmit = kernel__function(kernel, VMLAT_HOOK_INTERNAL_DEV_XMIT),
		.tun_net_xmit = kernel__function(kernel, VMLAT_HOOK_TUN_NET_XMIT),
		.vmemmap_base = symbols__variable(kernel->symbols, "vmemmap_base"),
		.page_offset_base = symbols__variable(kernel->symbols, "page_offset_base"),
		.per_cpu_offset = symbols__variable(kernel->symbols, "__per_cpu_offset"),
		.preempt_count = symbols__variable(kernel->symbols, "__preempt_count"),
		.pcpu_hot = symbols__variable(kernel->symbols, "pcpu_hot"),
		.hardirq_bits = hardirq_bits(kernel),
	};
	bpf_program__set_autoload(tracer->object->progs.fill, true);
	bpf_program__set_autoload(tracer->object->progs.expire, true);
	blamed[0] = '\0';
	error = collector__open(&tracer->collector, tracer->object->maps.statistics_maps,
				cpus__room(&tracer->cpus));
	if (!error && options->top)
		error = flow_collector__open(&tracer->flow_collector,
					     tracer->object->maps.flow_maps, tracer->cpus.count);
	if (!error)
		error = vmlat_bpf__load(tracer->object);
	return error ? load_failed(tracer, kernel, -error) : 0;
}

static int load(struct tracer *tracer, struct kernel *kernel, const struct options *options)
{
	struct obstacles obstacles = { 0 };
	int error;

	hooks__choose(tracer->hooks, kernel, &tracer->use);
	obstacles__of_hooks(&obstacles, kernel, tracer->hooks);
	error = obstacles__tell(&obstacles);
	if (error)
		return error;
	error = targets__begin(kernel);
	if (error) {
		log_error("the BPF programs cannot be prepared: %s", strerror(-error));
		error = EXIT_FAILED;
	} else {
		error = load_object(tracer, kernel, options);
	}
	targets__end();
	return error;
}

/* --- fill --- */

static int fill_slots(struct tracer *tracer)
{
	struct vmlat_fill arguments = { .end = tracer->flight_count };
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = &arguments, .ctx_size_in = sizeof(arguments));
	int error = 0;

	for (size_t left = tracer->flight_count; left && !error; left = arguments.first) {
		arguments.first = (left - 1) / VMLAT_FILL * VMLAT_FILL;
		error = bpf_prog_test_run_opts(bpf_program__fd(tracer->object->progs.fill), &run);
		if (!error && run.retval)
			error = -E2BIG;
	}
	return error;
}

static bool has_statistics(const struct device *device)
{
	return device->tap && !device->gone && devices__chosen(device);
}

static int set_interface(const struct tracer *tracer, const struct device *device, __u32 index)
{
	struct vmlat_interface entry = { .device = device->id,
					 .roles = device->roles,
					 .index = index };
	int fd = bpf_map__fd(tracer->object->maps.interfaces);
	int error = 0;

	if (has_statistics(device))
		error = collector__add(tracer->collector, index);
	if (error)
		return error;
	if (device->gone)
		interfaces__clear(tracer->config->interfaces, &device->id);
	else if (!interfaces__place(tracer->config->interfaces, &entry))
		return bpf_map_update_elem(fd, &entry.device, &entry, BPF_ANY) ? -errno : 0;
	bpf_map_delete_elem(fd, &entry.device); /* if it is there */
	return 0;
}

int tracer__spare(struct tracer *tracer, __u32 index)
{
	int fd = bpf_map__fd(tracer->object->maps.spare_places);
	int error = collector__add(tracer->collector, index);

	if (error)
		return error;
	return bpf_map_update_elem(fd, NULL, &index, BPF_ANY) ? -errno : 0;
}

static int fill_interfaces(struct tracer *tracer, const struct devices *devices)
{
	int error = 0;

	for (size_t i = 0; i < devices->count && !error; i++) {
		const struct device *device = &devices->all[i];

		if (device->reserved)
			error = tracer__spare(tracer, i);
		else if (device->roles || device->tun)
			error = set_interface(tracer, device, i);
	}
	return error;
}

static int fill_wanted_taps(struct tracer *tracer, char *const *names)
{
	int fd = bpf_map__fd(tracer->object->maps.wanted_taps);
	__u8 wanted = 1;

	for (; names && *names; names++) {
		char name[VMLAT_IFNAME] = "";

		snprintf(name, sizeof(name), "%s", *names);
		if (bpf_map_update_elem(fd, name, &wanted, BPF_ANY))
			return -errno;
	}
	return 0;
}

/* What the BPF side has of the CPU that is the n-th of those there may be. It changes meanwhile. */
static struct vmlat_cpu *cpu_at(const struct tracer *tracer, int n)
{
	return &tracer->object->bss->cpus[tracer->cpus.number[n]].cpu;
}

/* Tells each CPU its number, which costs it a call to find out, and what it is to expect. */
static void fill_cpus(struct tracer *tracer)
{
	for (int n = 0; n < tracer->cpus.count; n++) {
		struct vmlat_cpu *cpu = cpu_at(tracer, n);

		cpu->number = tracer->cpus.number[n];
		cpu->untold = !tracer->hooks[VMLAT_HOOK_OVS_FLOW_KEY_EXTRACT_USERSPACE].attach;
	}
}

static int handle_record(void *context, void *data, size_t size)
{
	const struct tracer *tracer = context;
	const struct vmlat_flight *flight = data;

	if (size < vmlat_flight_size(0) || size < vmlat_flight_size(flight->visits)) {
		log_warn("a record of %zu bytes is too short, and left out", size);
		return 0;
	}
	tracer->handler(tracer->context, flight);
	return 0;
}

static int fill(struct tracer *tracer, const struct options *options, const struct devices *devices)
{
	int error;

	tracer->config = &tracer->object->bss->settings;
	tracer->stride = (bpf_map__value_size(tracer->object->maps.flights) + 7) / 8 * 8;
	tracer->config->filter = options->filter;
	tracer->config->threshold_ns = options->threshold_ns;
	tracer->config->outcomes = options->outcomes;
	tracer->config->summary = options->summary;
	tracer->config->timeout_ns = options->timeout_ns;
	tracer__set_tunnels(tracer, &devices->tunnels);
	tracer->config->new_taps = devices__new_taps(devices, &options->devices);
	error = fill_interfaces(tracer, devices);
	if (!error)
		error = fill_wanted_taps(tracer, options->devices.taps);
	if (!error)
		error = fill_slots(tracer);
	fill_cpus(tracer);
	if (!error && tracer->flow_collector)
		error = flow_collector__begin(tracer->flow_collector);
	if (error)
		return error;
	tracer->ring = ring__open(bpf_map__fd(tracer->object->maps.reports), handle_record, tracer);
	return tracer->ring ? 0 : -errno;
}

static int attach(struct tracer *tracer, struct kernel *kernel)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		const struct hook_choice *choice = &tracer->hooks[id];
		const struct bpf_program *program;

		if (!choice->attach)
			continue;
		program = bpf_object__find_program_by_name(tracer->object->obj, choice->program);
		if (!deny__refuses(kernel, id, choice->way))
			tracer->links[id] = choice->way == BY_TRACING
						    ? bpf_program__attach_trace(program)
						    : bpf_program__attach(program);
		if (!tracer->links[id])
			return note_refusal(tracer, kernel, id, errno);
	}
	return 0;
}

static int find_cpus(struct tracer *tracer, const struct options *options)
{
	int error = cpus__find(&tracer->cpus);

	if (error) {
		log_error("the CPUs of this machine cannot be listed: %s", strerror(-error));
		return EXIT_FAILED;
	}
	if (cpus__room(&tracer->cpus) > VMLAT_CPUS) {
		log_error("this machine may have a CPU %u: vmlat knows those below %d",
			  cpus__room(&tracer->cpus) - 1, VMLAT_CPUS);
		return EXIT_HOST;
	}
	if (options->flights > (__u64)tracer->cpus.count)
		return 0;
	log_error("--flights=%llu is too few: each of %d CPUs keeps a place for one",
		  options->flights, tracer->cpus.count);
	return EXIT_USAGE;
}

struct hook_use tracer__use(const struct options *options, const struct devices *devices)
{
	return (struct hook_use){ .attach = options->attach,
				  .directions = options->devices.directions,
				  .tunnels = devices->tunnels.any,
				  .rps = devices__spread(devices),
				  .bridges = devices__bridged(devices) };
}

static int load_and_attach(struct tracer *tracer, const struct options *options,
			   struct kernel *kernel, const struct devices *devices)
{
	int error = load(tracer, kernel, options);

	if (error)
		return error;
	error = fill(tracer, options, devices);
	if (error) {
		log_error("the BPF maps cannot be filled: %s", strerror(-error));
		return EXIT_FAILED;
	}
	return attach(tracer, kernel);
}

static size_t parked_count(const struct tracer *tracer)
{
	return (size_t)cpus__room(&tracer->cpus) * VMLAT_PARKED_EACH;
}

static size_t parked_bytes(const struct tracer *tracer)
{
	return page_align(parked_count(tracer) * sizeof(*tracer->parked));
}

static void unmap_flights(struct tracer *tracer)
{
	if (tracer->flights)
		munmap(tracer->flights, page_align(tracer->stride * tracer->mapped));
	tracer->flights = NULL;
	tracer->mapped = 0;
}

static void unload(struct tracer *tracer)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		bpf_link__destroy(tracer->links[id]);
		tracer->links[id] = NULL;
	}
	ring__close(tracer->ring);
	collector__close(tracer->collector);
	flow_collector__close(tracer->flow_collector);
	unmap_flights(tracer);
	if (tracer->parked)
		munmap((void *)tracer->parked, parked_bytes(tracer));
	vmlat_bpf__destroy(tracer->object);
	tracer->ring = NULL;
	tracer->collector = NULL;
	tracer->flow_collector = NULL;
	tracer->config = NULL;
	tracer->parked = NULL;
	tracer->object = NULL;
}

/* One line for all hooks of a module. */
static void tell_absent(enum vmlat_hook id)
{
	for (int before = 0; before < (int)id; before++)
		if (!strcmp(hooks[before].module, hooks[id].module))
			return;
	log_warn("the module %s is not loaded: nothing of it is traced, even if it is loaded later",
		 hooks[id].module);
}

/* A function's return goes with its beginning. */
static bool is_told(const struct tracer *tracer, enum vmlat_hook id)
{
	for (int before = 0; before < (int)id; before++)
		if (tracer->hooks[before].missing && !strcmp(hooks[before].name, hooks[id].name))
			return true;
	return false;
}

static void tell_missing(const struct tracer *tracer, const struct kernel *kernel)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		const struct hook *hook = &hooks[id];

		if (!tracer->hooks[id].missing || hook->need == HOOK_SHORTCUT ||
		    tracer->hooks[id].missing == hook_of_other_direction || is_told(tracer, id))
			continue;
		if (hook->module[0] && kernel__module_state(kernel, hook->module) == MODULE_ABSENT)
			tell_absent(id);
		else
			log_warn("%s is not traced: %s", hook->name, tracer->hooks[id].missing);
	}
}

int tracer__open(struct tracer **result, const struct options *options, struct kernel *kernel,
		 const struct devices *devices, flight_handler handler, void *context)
{
	struct tracer *tracer = calloc(1, sizeof(*tracer));
	int error;

	*result = tracer;
	if (!tracer) {
		log_error("out of memory");
		return EXIT_FAILED;
	}
	libbpf_set_print(libbpf_message);
	tracer->handler = handler;
	tracer->context = context;
	tracer->use = tracer__use(options, devices);
	error = find_cpus(tracer, options);
	if (error)
		return error;
	/* each time one way less is left */
	while ((error = load_and_attach(tracer, options, kernel, devices)) == REFUSED)
		unload(tracer);
	if (!error)
		tell_missing(tracer, kernel);
	return error;
}

void tracer__close(struct tracer *tracer)
{
	if (!tracer)
		return;
	unload(tracer);
	free(tracer);
}

/* --- change --- */

int tracer__set_device(struct tracer *tracer, const struct devices *devices,
		       const struct device *device)
{
	if (!tracer->use.rps && !device->gone && device->spreads &&
	    device->roles & (VMLAT_ROLE_TX_START | VMLAT_ROLE_RX_START))
		log_warn("%s spreads its packets over CPUs (RPS), as no tap did when the trace "
			 "began: packets that it does are not traced",
			 device->name);
	if (!tracer->use.bridges && !device->gone && device->leads_to_bridge &&
	    device->roles & ~VMLAT_ROLE_BRIDGE)
		log_warn("%s is on a Linux bridge, as no selected device was when the trace began: "
			 "the bridge's stages are missing",
			 device->name);
	return set_interface(tracer, device, device - devices->all);
}

bool tracer__adopted(struct tracer *tracer,
		     void (*handler)(void *context, const struct vmlat_device *id,
				     const struct vmlat_adopted *adopted),
		     void *context)
{
	int fd = bpf_map__fd(tracer->object->maps.adopted_taps);
	__u64 adoptions = tracer->object->bss->adoptions;
	struct vmlat_adopted adopted;
	struct vmlat_device id;

	if (adoptions == tracer->adoptions)
		return false;
	tracer->adoptions = adoptions;
	while (!bpf_map_get_next_key(fd, NULL, &id)) {
		bool there = !bpf_map_lookup_elem(fd, &id, &adopted);

		bpf_map_delete_elem(fd, &id);
		if (there)
			handler(context, &id, &adopted);
	}
	return true;
}

void tracer__set_tunnels(struct tracer *tracer, const struct tunnels *tunnels)
{
	if (tunnels->any && !tracer->use.tunnels && !tracer->tunnels_told) {
		log_warn("there is a tunnel now, and was none when the trace began: what comes in "
			 "by it is taken as it is, not unpacked");
		tracer->tunnels_told = true;
	}
	for (int i = 0; i < VMLAT_TUNNEL_PORTS; i++)
		__atomic_store_n(&tracer->config->tunnel_port[i], tunnels->port[i],
				 __ATOMIC_RELAXED);
}

/* --- run --- */

static void set_armed(struct tracer *tracer, enum vmlat_armed armed)
{
	__atomic_store_n(&tracer->config->armed, armed, __ATOMIC_RELEASE);
}

void tracer__arm(struct tracer *tracer)
{
	const struct timespec longer_than_a_call = { .tv_nsec = 10000000 };

	set_armed(tracer, VMLAT_ARMING); /* else packets would come of calls that nobody noted */
	nanosleep(&longer_than_a_call, NULL);
	set_armed(tracer, VMLAT_ARMED);
}

void tracer__disarm(struct tracer *tracer)
{
	set_armed(tracer, VMLAT_DRAINING);
}

int tracer__watch(struct tracer *tracer, int fd)
{
	return ring__watch(tracer->ring, fd);
}

int tracer__wait(struct tracer *tracer, int timeout_ms)
{
	return ring__wait(tracer->ring, timeout_ms);
}

int tracer__handle(struct tracer *tracer, bool all)
{
	return ring__read(tracer->ring, all);
}

static __u64 monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

enum { ANY_CPU = -1 };

/* Runs the program that ends flights, on that CPU. */
static void run_expire(const struct tracer *tracer, struct vmlat_expire *arguments, int cpu)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = arguments, .ctx_size_in = sizeof(*arguments));
	int fd = bpf_program__fd(tracer->object->progs.expire), error;

	if (cpu != ANY_CPU) {
		run.flags = BPF_F_TEST_RUN_ON_CPU;
		run.cpu = cpu;
	}
	error = bpf_prog_test_run_opts(fd, &run);
	if (error == -ENXIO) { /* that CPU is offline: nobody is there to be disturbed */
		run.flags = run.cpu = 0;
		arguments->anywhere = cpu;
		error = bpf_prog_test_run_opts(fd, &run);
	}
	if (error)
		log_debug("a flight cannot be ended: %s", strerror(-error));
}

static void expire(const struct tracer *tracer, const struct vmlat_flight *flight, size_t slot,
		   __u64 last_ns, enum vmlat_outcome outcome)
{
	struct vmlat_expire arguments = { .slot = slot,
					  .generation = flight->generation,
					  .last_ns = last_ns,
					  .outcome = outcome,
					  .anywhere = ANY_CPU };
	bool here = flight->place == VMLAT_ON_CPU || flight->place == VMLAT_DRIVING;

	run_expire(tracer, &arguments, here ? flight->cpu : ANY_CPU);
}

/* When the packet passed its last stage; 0: none is there. */
static __u64 last_stamp(const struct vmlat_lane *lane)
{
	__u32 visits = __atomic_load_n(&lane->visits, __ATOMIC_ACQUIRE);

	return lane->key && visits >= 1 && visits <= VMLAT_LANE_STAMPS ? lane->stamp[visits - 1].ns
								       : 0;
}

static bool is_silent(__u64 last_ns, __u64 now, __u64 timeout_ns)
{
	return !timeout_ns || (now > last_ns && now - last_ns >= timeout_ns);
}

/*
 * What is in a CPU's lane for so long has left its call stack unseen, and may be met on another CPU:
 * it gets a record.
 */
static void clear_lanes(const struct tracer *tracer)
{
	enum { LONG_NS = 50000000 };
	__u64 now = monotonic_ns();

	for (int n = 0; n < tracer->cpus.count; n++) {
		struct vmlat_expire arguments = { .slot = VMLAT_LANE,
						  .last_ns = last_stamp(&cpu_at(tracer, n)->lane),
						  .anywhere = ANY_CPU };

		if (arguments.last_ns && is_silent(arguments.last_ns, now, LONG_NS))
			run_expire(tracer, &arguments, tracer->cpus.number[n]);
	}
}

/* The value of this entry that each CPU has, `*stride` bytes apart; NULL: errno says why. */
static char *cpu_values(const struct tracer *tracer, const struct bpf_map *map, const void *key,
			size_t *stride)
{
	char *values;

	*stride = (bpf_map__value_size(map) + 7) / 8 * 8;
	values = calloc(tracer->cpus.count, *stride);
	if (values && !bpf_map_lookup_elem(bpf_map__fd(map), key, values))
		return values;
	free(values);
	return NULL;
}

/* All flights that there ever were are in slots below this one. */
static size_t used_slots(const struct tracer *tracer)
{
	size_t used = 0;

	for (int n = 0; n < tracer->cpus.count; n++) {
		size_t slots = __atomic_load_n(&cpu_at(tracer, n)->slots, __ATOMIC_RELAXED);

		used = slots > used ? slots : used;
	}
	return used;
}

/*
 * Maps the slots that may be in use, since what is mapped is resident. Where that fails the others
 * are looked at.
 */
static void map_flights(struct tracer *tracer)
{
	size_t count = (used_slots(tracer) + FLIGHTS_STEP - 1) / FLIGHTS_STEP * FLIGHTS_STEP;
	void *memory;

	count = count < tracer->flight_count ? count : tracer->flight_count;
	if (count <= tracer->mapped)
		return;
	memory = mmap(NULL, page_align(tracer->stride * count), PROT_READ, MAP_SHARED,
		      bpf_map__fd(tracer->object->maps.flights), 0);
	if (memory == MAP_FAILED) {
		log_debug("the flights cannot be mapped: %s", strerror(errno));
		return;
	}
	unmap_flights(tracer);
	tracer->flights = memory;
	tracer->mapped = count;
}

/* What is parked is seldom asked for, and not mapped before any CPU has parked something. */
static bool map_parked(struct tracer *tracer)
{
	__u64 any = 0;
	void *memory;

	for (int n = 0; n < tracer->cpus.count; n++)
		any |= __atomic_load_n(&cpu_at(tracer, n)->parked, __ATOMIC_RELAXED);
	if (tracer->parked || !any)
		return tracer->parked;
	memory = mmap(NULL, parked_bytes(tracer), PROT_READ, MAP_SHARED,
		      bpf_map__fd(tracer->object->maps.parked_lanes), 0);
	if (memory == MAP_FAILED) {
		log_debug("what waits in queues cannot be mapped: %s", strerror(errno));
		return false;
	}
	tracer->parked = memory;
	return true;
}

/* Has the BPF side see to all that was parked that long ago (0: ever); how many these are. */
static size_t end_parked(const struct tracer *tracer, __u64 timeout_ns, enum vmlat_outcome outcome)
{
	__u64 now = monotonic_ns();
	size_t count = 0;

	for (size_t i = 0; i < parked_count(tracer); i++) {
		struct vmlat_expire arguments = { .slot = VMLAT_PARKED,
						  .parked = i,
						  .last_ns = last_stamp(&tracer->parked[i].lane),
						  .outcome = outcome,
						  .anywhere = ANY_CPU };

		if (!arguments.last_ns || !is_silent(arguments.last_ns, now, timeout_ns))
			continue;
		run_expire(tracer, &arguments, ANY_CPU);
		count++;
	}
	return count;
}

/*
 * The same, to their end. First they are given up, so that no CPU takes one any more, and then those
 * programs are waited for that may have one in hand.
 */
static size_t expire_parked(struct tracer *tracer, __u64 timeout_ns, enum vmlat_outcome outcome)
{
	const struct timespec longer_than_a_program = { .tv_nsec = 10000000 };

	if (!map_parked(tracer) || !end_parked(tracer, timeout_ns, VMLAT_OUTCOME_COUNT))
		return 0;
	nanosleep(&longer_than_a_program, NULL);
	return end_parked(tracer, timeout_ns, outcome);
}

static const struct vmlat_flight *flight_at(const struct tracer *tracer, size_t slot)
{
	return (void *)((char *)tracer->flights + slot * tracer->stride);
}

size_t tracer__expire(struct tracer *tracer, __u64 timeout_ns)
{
	enum vmlat_outcome outcome = timeout_ns ? VMLAT_EXPIRED : VMLAT_IN_FLIGHT;
	__u64 now = monotonic_ns(), last_ns;
	size_t count = expire_parked(tracer, timeout_ns, outcome);

	clear_lanes(tracer);
	map_flights(tracer);
	for (size_t slot = 0; slot < tracer->mapped; slot++) {
		const struct vmlat_flight *flight = flight_at(tracer, slot);

		last_ns = __atomic_load_n(&flight->last_ns, __ATOMIC_ACQUIRE);
		if (flight->place == VMLAT_FREE ||
		    (flight->place == VMLAT_ON_CPU && flight->candidate))
			continue; /* a CPU's own slot, which holds nothing that counts */
		if (!is_silent(last_ns, now, timeout_ns))
			continue;
		expire(tracer, flight, slot, last_ns, outcome);
		count++;
	}
	return count;
}

/* An entry of the map of upcalls, as it begins. */
struct upcall_entry {
	__u32 slot;
	__u32 generation;
	__u32 ambiguous;
	__u32 pending;
	__u64 ns; /* when the last packet of this content went up */
};

static bool is_up(const struct tracer *tracer, const struct upcall_entry *entry)
{
	const struct vmlat_flight *flight = flight_at(tracer, entry->slot);

	return entry->slot < tracer->mapped && flight->generation == entry->generation &&
	       (flight->place == VMLAT_UPCALLED || flight->place == VMLAT_PARTED);
}

static void forget_before(const struct tracer *tracer, __u64 before_ns)
{
	const struct bpf_map *map = tracer->object->maps.upcalls;
	size_t size = bpf_map__key_size(map), left = bpf_map__max_entries(map);
	cleanup_free char *keys = calloc(2, size), *value = calloc(1, bpf_map__value_size(map));
	const struct upcall_entry *entry = (const void *)value;
	char *key = keys, *next = keys ? keys + size : NULL;
	int fd = bpf_map__fd(map), error;

	if (!keys || !value)
		return;
	error = bpf_map_get_next_key(fd, NULL, key);
	while (!error && left--) { /* an entry that goes in between starts the walk anew */
		error = bpf_map_get_next_key(fd, key, next);
		if (!bpf_map_lookup_elem(fd, key, value) && entry->ns < before_ns &&
		    !is_up(tracer, entry))
			bpf_map_delete_elem(fd, key);
		memcpy(key, next, size);
	}
}

/* By then all that was left behind until now is old enough: one walk for all of it. */
void tracer__forget_upcalls(struct tracer *tracer, __u64 timeout_ns)
{
	__u64 now = monotonic_ns(), orphans = tracer->object->bss->orphans;
	__u64 kept_ns = VMLAT_ANSWERED_WITHIN * timeout_ns;

	if (!tracer->forget_ns && orphans != tracer->orphans) {
		tracer->orphans = orphans;
		tracer->forget_ns = now + kept_ns;
	}
	if (!tracer->forget_ns || now < tracer->forget_ns)
		return;
	tracer->forget_ns = 0;
	map_flights(tracer);
	forget_before(tracer, now - kept_ns);
}

/* --- read --- */

const struct hook_choice *tracer__hook(const struct tracer *tracer, enum vmlat_hook hook)
{
	return &tracer->hooks[hook];
}

/* Adds up the __u64 numbers that each CPU's value of this entry begins with, into `sums`. */
static int sum_cpus(const struct tracer *tracer, const struct bpf_map *map, const void *key,
		    __u64 *sums, size_t numbers)
{
	size_t stride;
	cleanup_free char *values = cpu_values(tracer, map, key, &stride);

	memset(sums, 0, numbers * sizeof(*sums));
	if (!values)
		return -errno;
	for (int cpu = 0; cpu < tracer->cpus.count; cpu++)
		for (size_t i = 0; i < numbers; i++)
			sums[i] += ((__u64 *)(values + cpu * stride))[i];
	return 0;
}

/* None follows it any more. */
static void add_last_call(struct vmlat_counters *counters, const struct vmlat_cpu *cpu)
{
	__u32 given = cpu->handed_over, left = cpu->left;

	counters->given += given;
	counters->delivered += given > left ? given - left : 0;
}

int tracer__counters(const struct tracer *tracer, struct vmlat_counters *counters)
{
	__u64 *sums = (__u64 *)counters;

	memset(counters, 0, sizeof(*counters));
	for (int n = 0; n < tracer->cpus.count; n++) {
		const __u64 *numbers = (const __u64 *)&cpu_at(tracer, n)->count;

		for (size_t i = 0; i < sizeof(*counters) / sizeof(*sums); i++)
			sums[i] += __atomic_load_n(&numbers[i], __ATOMIC_RELAXED);
		if (tracer->config->armed == VMLAT_DRAINING)
			add_last_call(counters, cpu_at(tracer, n));
	}
	return 0;
}

int tracer__traffic(const struct tracer *tracer, size_t device, int direction,
		    struct vmlat_traffic *traffic)
{
	__u32 key = device * 2 + (direction == VMLAT_RX);

	return sum_cpus(tracer, tracer->object->maps.traffic, &key, (__u64 *)traffic,
			sizeof(*traffic) / sizeof(__u64));
}

struct taking {
	struct tracer *tracer;
	const struct devices *devices;
	struct statistics *statistics;
	size_t last; /* device */
	int error;
};

static void add_times(void *context, size_t index, unsigned int pair,
		      const struct vmlat_distribution *times)
{
	struct taking *taking = context;

	/* each takes as long as a grace period: the ring buffer is not to overflow meanwhile */
	if (!taking->error && index != taking->last)
		taking->error = tracer__handle(taking->tracer, false);
	taking->last = index;
	if (!taking->error && index < taking->devices->count)
		taking->error = statistics__add(taking->statistics, &taking->devices->all[index],
						pair, times);
}

/* The BPF side has given it a place, and nobody has taken it over yet: its times have no name. */
static bool is_known(void *context, size_t index)
{
	const struct devices *devices = ((struct taking *)context)->devices;

	return index < devices->count && !devices->all[index].reserved;
}

int tracer__statistics(struct tracer *tracer, const struct devices *devices,
		       struct statistics *statistics)
{
	struct taking taking = {
		.tracer = tracer, .devices = devices, .statistics = statistics, .last = SIZE_MAX
	};
	int error = collector__take(tracer->collector, is_known, add_times, &taking,
				    &statistics->unkept);

	for (size_t i = 0; i < devices->count && !error; i++)
		if (devices->all[i].gone)
			error = collector__remove(tracer->collector, i, add_times, &taking,
						  &statistics->unkept);
	return error ? error : taking.error;
}

static void add_flow(void *context, const struct vmlat_flow_key *key,
		     const struct vmlat_flow_count *counted)
{
	flows__add(context, key, counted);
}

int tracer__flows(struct tracer *tracer, struct flows *flows)
{
	return flow_collector__take(tracer->flow_collector, add_flow, flows);
}

__u32 tracer__interval(const struct tracer *tracer)
{
	return collector__interval(tracer->collector);
}

void tracer__drops(const struct tracer *tracer,
		   void (*handler)(void *context, const struct vmlat_drop *drop, __u64 count),
		   void *context)
{
	const struct bpf_map *map = tracer->object->maps.drops;
	struct vmlat_drop key, *previous = NULL;
	__u64 count;

	while (!bpf_map_get_next_key(bpf_map__fd(map), previous, &key)) {
		if (!sum_cpus(tracer, map, &key, &count, 1))
			handler(context, &key, count);
		previous = &key;
	}
}

bool tracer__missed(const struct tracer *tracer, __u64 *missed)
{
	__u64 sum = 0;

	*missed = 0;
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		struct bpf_prog_info info = { 0 };
		__u32 size = sizeof(info);
		const struct bpf_program *program;

		if (!tracer->links[id])
			continue;
		if (tracer->hooks[id].way == BY_PROBE)
			return false; /* what a kprobe skips is not counted on every kernel */
		program = bpf_object__find_program_by_name(tracer->object->obj,
							   tracer->hooks[id].program);
		/* recursion_misses came with 5.12 (9ed9e9ba2337) */
		if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) ||
		    size < offsetof(struct bpf_prog_info, recursion_misses) + sizeof(__u64))
			return false;
		sum += info.recursion_misses;
	}
	*missed = sum;
	return true;
}

size_t tracer__stack(const struct tracer *tracer, __s32 id, __u64 *addresses, size_t room)
{
	__u64 stack[MAX_STACK] = { 0 };
	size_t count = 0;

	if (id < 0 || bpf_map_lookup_elem(bpf_map__fd(tracer->object->maps.stacks), &id, stack))
		return 0;
	while (count < MAX_STACK && count < room && stack[count]) {
		addresses[count] = stack[count];
		count++;
	}
	return count;
}
