// SPDX-License-Identifier: GPL-2.0
#include "check.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "exit.h"
#include "log.h"
#include "tracer.h"

/* --- what the formats ask for --- */

/* The last part of what a link of a device's sysfs entry leads to; "" when there is none. */
static const char *link_name(const char *device, const char *entry, char *buffer, size_t size)
{
	char path[256], target[256];
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", device, entry);
	length = readlink(path, target, sizeof(target) - 1);
	target[length > 0 ? length : 0] = '\0';
	snprintf(buffer, size, "%s", strrchr(target, '/') ? strrchr(target, '/') + 1 : "");
	return buffer;
}

const char *check__driver(const char *device, char *buffer, size_t size)
{
	return link_name(device, "device/driver", buffer, size);
}

/* The name of that Linux bridge, if it is one, where it stays. */
static const char *linux_bridge(const struct check *check, const char *master)
{
	for (size_t i = 0; i < check->devices.count; i++)
		if (check->devices.all[i].bridge && !strcmp(check->devices.all[i].name, master))
			return check->devices.all[i].name;
	return NULL;
}

struct check_port check__port(const struct check *check, const char *device)
{
	const struct ovs_interface *interface = ovs__interface(&check->ovs, device);
	struct check_port port = { 0 };

	link_name(device, "master", port.master, sizeof(port.master));
	port.bridge = interface ? interface->bridge : linux_bridge(check, port.master);
	port.port = interface ? interface->port : NULL;
	return port;
}

const char *check__not_needed(const struct check *check, enum vmlat_hook hook)
{
	const struct hook_choice *choice = &check->hooks[hook];

	if (choice->missing == hook_of_other_direction)
		return "for the other direction";
	if (choice->attach || choice->missing)
		return NULL;
	switch (hooks[hook].need) {
	case HOOK_FOR_TUNNELS:
		return "there is no tunnel";
	case HOOK_FOR_RPS:
		return "no traced tap has RPS";
	case HOOK_FOR_BRIDGES:
		return "no traced device leads to a Linux bridge";
	default:
		return "there is a better one";
	}
}

void check__lacks(const struct check *check,
		  void (*found)(void *context, const char *field, const char *why), void *context)
{
	bool probes = false;

	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		probes |= check->hooks[id].way == BY_PROBE;
	if (check->kernel.btf && !check->kernel.drop_reasons)
		found(context, "reason", "skb:kfree_skb has no reason (before 5.17)");
	if (check->kernel.btf && !check->kernel.counts_misses)
		found(context, "probes.missed", "this kernel does not count them (before 5.12)");
	else if (probes)
		found(context, "probes.missed", "of kprobes they are not counted");
}

void check__hidden(const struct check *check,
		   void (*found)(void *context, const char *what, const char *why), void *context)
{
	if (!check->ovs.known)
		found(context, "Open vSwitch's bridges, ports and settings", check->ovs.error);
	if (check->unseen.processes_hidden)
		found(context, "which VM has which tap or macvtap open",
		      "/proc/PID/fd of QEMU: needs CAP_SYS_PTRACE");
	if (check->unseen.offload_unknown)
		found(context, "which flows the NICs work for", "tc filters cannot be listed");
}

void check__modules(const struct check *check,
		    void (*found)(void *context, const char *module, enum module_state state,
				  bool btf),
		    void *context)
{
	for (int i = 0; i < KERNEL_MODULES && check->kernel.modules[i].name; i++) {
		const char *name = check->kernel.modules[i].name;
		enum module_state state = kernel__module_state(&check->kernel, name);

		found(context, name, state,
		      state == MODULE_BUILT_IN ? check->kernel.btf != NULL
					       : kernel__has_module_btf(&check->kernel, name));
	}
}

/* --- looking --- */

static void find_capabilities(struct check *check)
{
	static const struct {
		unsigned int number;
		const char *name, *use;
	} known[] = { { CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "to trace" },
		      { CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "to know which VM a tap is of" } };

	capng_get_caps_process();
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		check->capabilities[i] = (struct check_capability){
			.name = known[i].name,
			.use = known[i].use,
			.present = capng_have_capability(CAPNG_EFFECTIVE, known[i].number),
		};
}

static int find_devices(struct check *check, const struct options *options)
{
	int error = devices__find(&check->devices, NULL);

	if (error) {
		log_error("the network devices cannot be listed: %s", strerror(-error));
		return EXIT_FAILED;
	}
	devices__name_vms(&check->devices);
	return devices__select(&check->devices, &options->devices);
}

static void find_the_rest(struct check *check, const struct options *options)
{
	struct utsname host;
	int error;

	uname(&host);
	snprintf(check->host, sizeof(check->host), "%s", host.nodename);
	find_capabilities(check);
	ovs__ask(&check->ovs, NULL);
	check->use = tracer__use(options, &check->devices);
	hooks__choose(check->hooks, &check->kernel, &check->use);
	obstacles__of_kernel(&check->obstacles, &check->kernel);
	obstacles__of_vms(&check->obstacles, &check->devices, &options->devices);
	obstacles__of_hooks(&check->obstacles, &check->kernel, check->hooks);
	error = unseen__find(&check->unseen, &check->devices, &check->ovs);
	if (error)
		log_warn("the network devices cannot be listed: %s", strerror(-error));
}

static int write_it(struct check *check, const struct options *options)
{
	const char *path = options->output;
	bool failed;

	check->out = path ? fopen(path, "we") : stdout;
	if (!check->out) {
		log_error("--output: cannot create %s: %s", path, strerror(errno));
		return EXIT_FAILED;
	}
	if (options->format == FORMAT_JSON)
		check__write_json(check);
	else
		check__write_text(check);
	failed = fflush(check->out) || ferror(check->out);
	if (failed)
		log_error("cannot write to %s: %s", path ? path : "stdout", strerror(errno));
	if (path)
		fclose(check->out);
	return failed ? EXIT_FAILED : 0;
}

int check(const struct options *options)
{
	struct check *check = calloc(1, sizeof(*check));
	int error;

	if (!check) {
		log_error("out of memory");
		return EXIT_FAILED;
	}
	error = kernel__open(&check->kernel);
	if (!error)
		error = find_devices(check, options);
	if (!error) {
		find_the_rest(check, options);
		error = write_it(check, options);
	}
	if (!error && check->obstacles.count)
		error = EXIT_HOST;
	unseen__free(&check->unseen);
	ovs__free(&check->ovs);
	devices__free(&check->devices);
	kernel__close(&check->kernel);
	free(check);
	return error;
}
