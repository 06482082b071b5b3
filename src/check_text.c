// SPDX-License-Identifier: GPL-2.0
/* A check for people. */
#include <string.h>

#include "check.h"
#include "utf8.h"
#include "version.h"

/* A name that is not ours, between these words. */
static void put_name(const struct check *check, const char *before, const char *name,
		     const char *behind)
{
	char text[256];

	fprintf(check->out, "%s%s%s", before, utf8__printable(text, sizeof(text), name), behind);
}

/* The same in a column. */
static void put_column(const struct check *check, const char *name)
{
	char text[256];

	fprintf(check->out, "%-15s ", utf8__printable(text, sizeof(text), name));
}

static void put_fact(const struct check *check, const char *name, const char *value)
{
	fprintf(check->out, "  %-15s %s\n", name, value);
}

static void put_verdict(const struct check *check)
{
	const struct obstacles *obstacles = &check->obstacles;

	fprintf(check->out, "vmlat %s, kernel %s", VMLAT_VERSION, check->kernel.release);
	put_name(check, ", host ", check->host, "\n");
	fprintf(check->out, "\nThis host %s be traced%s\n", obstacles->count ? "cannot" : "can",
		obstacles->count ? ":" : ".");
	for (size_t i = 0; i < obstacles->count; i++)
		fprintf(check->out, "  %s\n", obstacles->text[i]);
}

static void put_module(void *context, const char *module, enum module_state state, bool btf)
{
	static const char *const states[] = { "not loaded", "loaded", "built in" };
	const struct check *check = context;

	fprintf(check->out, "  %-15s %s%s\n", module, states[state],
		state == MODULE_ABSENT ? ""
		: btf		       ? ", BTF"
				       : ", no BTF");
}

static void put_kernel(const struct check *check)
{
	char text[256];

	fputs("\nKernel\n", check->out);
	put_fact(check, "BTF", check->kernel.btf ? "yes" : "no");
	put_fact(check, "kprobes", check->kernel.kprobes ? "yes" : "no");
	put_fact(check, "PREEMPT_RT", check->kernel.realtime ? "yes" : "no");
	check__modules(check, put_module, (void *)check);
	for (size_t i = 0; i < sizeof(check->capabilities) / sizeof(*check->capabilities); i++) {
		const struct check_capability *capability = &check->capabilities[i];

		snprintf(text, sizeof(text), "%s (%s)", capability->present ? "yes" : "no",
			 capability->use);
		put_fact(check, capability->name, text);
	}
	put_fact(check, "Open vSwitch",
		 check->ovs.known ? utf8__printable(text, sizeof(text), check->ovs.version)
				  : "not known");
}

static void put_port(const struct check *check, const char *device)
{
	struct check_port port = check__port(check, device);

	if (port.port) {
		put_name(check, "port ", port.port, "");
		put_name(check, " of Open vSwitch's ", port.bridge, "\n");
	} else if (port.bridge) {
		put_name(check, "port of the Linux bridge ", port.bridge, "\n");
	} else if (port.master[0]) {
		put_name(check, "below ", port.master, "\n");
	} else {
		fputs("in no switch\n", check->out);
	}
}

static void put_device(const struct check *check, const struct device *device)
{
	char driver[64];

	fputs("  ", check->out);
	put_column(check, device->name);
	if (device->tap)
		put_column(check, device->vm[0] ? device->vm : "VM unknown");
	else
		put_column(check, check__driver(device->name, driver, sizeof(driver)));
	fprintf(check->out, "%-10s ", devices__chosen(device) ? "traced" : "not traced");
	put_port(check, device->name);
}

static void put_devices(const struct check *check, const char *title, bool taps)
{
	bool any = false;

	fprintf(check->out, "\n%s\n", title);
	for (size_t i = 0; i < check->devices.count; i++) {
		const struct device *device = &check->devices.all[i];

		if (!(taps ? device->tap : device->nic || (!device->tap && device->roles)))
			continue;
		put_device(check, device);
		any = true;
	}
	if (!any)
		fputs("  none\n", check->out);
}

static void put_tunnels(const struct check *check)
{
	const struct tunnels *tunnels = &check->devices.tunnels;

	fprintf(check->out, "\nTunnels\n  %s", tunnels->any ? "there are" : "none");
	for (size_t i = 0; i < tunnels->count; i++)
		fprintf(check->out, ", UDP port %u", tunnels->port[i]);
	fputc('\n', check->out);
}

static void put_hook(const struct check *check, enum vmlat_hook id)
{
	const struct hook_choice *choice = &check->hooks[id];
	const char *stage = stage_name(hooks[id].stage);
	const char *not_needed = check__not_needed(check, id);

	fprintf(check->out, "  %-14s %-31s", stage ? stage : "-", hooks[id].name);
	if (choice->attach && choice->passed_over)
		fprintf(check->out, " %-11s not by %s: %s\n", choice->attach,
			hooks[id].kind == VMLAT_RETURN ? "fexit" : "fentry", choice->passed_over);
	else if (choice->attach)
		fprintf(check->out, " %s\n", choice->attach);
	else if (not_needed)
		fprintf(check->out, " %-11s %s\n", "not needed", not_needed);
	else
		fprintf(check->out, " %-11s %s\n", "none", choice->missing);
}

static void put_hooks(const struct check *check)
{
	fputs("\nHooks\n  stage          hook                            by\n", check->out);
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++)
		put_hook(check, id);
}

struct section {
	const struct check *check;
	const char *title;
	bool begun;
};

static void put_entry(void *context, const char *name, const char *why)
{
	struct section *section = context;

	if (!section->begun)
		fprintf(section->check->out, "\n%s\n", section->title);
	section->begun = true;
	fprintf(section->check->out, "  %s", name);
	put_name(section->check, ": ", why, "\n");
}

static void put_unseen(const struct check *check)
{
	fputs("\nTraffic that no hook sees\n", check->out);
	for (size_t i = 0; i < check->unseen.count; i++) {
		const struct unseen *unseen = &check->unseen.all[i];

		fprintf(check->out, "  %-11s ", unseen_name(unseen->kind));
		put_column(check, unseen->what);
		if (unseen->vm[0])
			put_name(check, "VM ", unseen->vm, ": ");
		fputs(unseen_words(unseen->kind), check->out);
		put_name(check, " (", unseen->how, ")\n");
	}
	if (!check->unseen.count)
		fputs("  none found\n", check->out);
}

void check__write_text(const struct check *check)
{
	struct section lacks = { check, "Not told on this kernel", false };
	struct section hidden = { check, "Not looked at", false };

	put_verdict(check);
	put_kernel(check);
	put_devices(check, "Taps", true);
	put_devices(check, "NICs", false);
	put_tunnels(check);
	put_hooks(check);
	check__lacks(check, put_entry, &lacks);
	put_unseen(check);
	check__hidden(check, put_entry, &hidden);
}
