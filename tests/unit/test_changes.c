// SPDX-License-Identifier: GPL-2.0
/* What is said, and told to the tracer, of devices that come and go. */
#include "host.h"

#include <errno.h>

#include "changes.h"

/* Stands in for src/tracer.c, which would need the kernel. */
struct tracer {
	int error;
	size_t set, last; /* calls, and the index of the last one's device */
	__u32 spare; /* the last one */
	struct vmlat_device id; /* of `adopted` */
	const struct vmlat_adopted *adopted; /* NULL: none */
	__u16 port;
};

int tracer__set_device(struct tracer *tracer, const struct devices *devices,
		       const struct device *device)
{
	tracer->set++;
	tracer->last = device - devices->all;
	return tracer->error;
}

void tracer__set_tunnels(struct tracer *tracer, const struct tunnels *tunnels)
{
	tracer->port = tunnels->port[0];
}

int tracer__spare(struct tracer *tracer, __u32 index)
{
	tracer->spare = index;
	return 0;
}

bool tracer__adopted(struct tracer *tracer,
		     void (*handler)(void *context, const struct vmlat_device *id,
				     const struct vmlat_adopted *adopted),
		     void *context)
{
	bool any = tracer->adopted != NULL;

	if (any)
		handler(context, &tracer->id, tracer->adopted);
	tracer->adopted = NULL;
	return any;
}

struct change {
	struct tracer tracer;
	struct device_choice choice;
	const char *gone; /* NULL: none */
	const char *anew; /* with another number; NULL: none */
	const char *opened; /* by another VM; NULL: none */
	size_t expected;
};

static struct devices selected_devices(const struct device_choice *choice)
{
	struct devices devices = host_devices();

	devices.all = realloc(devices.all, VMLAT_INTERFACES * sizeof(*devices.all));
	assert_non_null(devices.all);
	assert_int_equal(devices__select(&devices, choice), 0);
	return devices;
}

static int apply(void *argument)
{
	struct change *change = argument;
	struct devices devices = selected_devices(&change->choice), now = host_devices();
	bool good;

	now.tunnels.port[0] = 4789;
	if (change->anew)
		host_device(&now, change->anew)->id.ifindex = 42;
	if (change->opened) {
		host_device(&now, change->opened)->openings = 1;
		snprintf(host_device(&now, change->opened)->vm, VM_NAME, "mail");
	}
	if (change->gone)
		*host_device(&now, change->gone) = now.all[--now.count];
	changes__apply(&devices, &now, &change->choice, &change->tracer);
	good = change->tracer.set == change->expected && change->tracer.port == 4789;
	if (change->anew && change->expected)
		good = good && change->tracer.last == devices.count - 1;
	devices__free(&devices);
	devices__free(&now);
	return !good;
}

static void assert_said(struct change change, const char *words)
{
	struct run run;

	change.choice.directions = VMLAT_BOTH;
	run_apart(&run, apply, &change);
	assert_string_equal(run.err, words);
	assert_int_equal(run.code, 0);
}

static void nothing_is_said_while_nothing_changes(void **state)
{
	(void)state;
	assert_said((struct change){ .expected = 0 }, "");
}

static void one_that_is_gone_is_named(void **state)
{
	(void)state;
	assert_said((struct change){ .gone = "vnet0", .expected = 1 },
		    "vmlat: vnet0: gone; nothing of it can be traced now\n");
	assert_said((struct change){ .gone = "eth2", .expected = 0 }, "");
}

static void one_that_comes_anew_is_named_twice(void **state)
{
	(void)state;
	assert_said((struct change){ .anew = "vnet0", .expected = 2 },
		    "vmlat: vnet0: gone; nothing of it can be traced now\n"
		    "vmlat: vnet0: traced from now on\n");
}

static void one_that_another_vm_opens_is_named_if_it_is_not_traced_any_more(void **state)
{
	static char *vms[] = { "db", NULL };

	(void)state;
	assert_said((struct change){ .choice.vms = vms, .opened = "vnet2", .expected = 1 },
		    "vmlat: vnet2: another VM's now; not traced any more\n");
	assert_said((struct change){ .opened = "vnet2", .expected = 1 }, "");
}

static void one_that_may_only_be_the_other_end_is_not_spoken_of(void **state)
{
	static char *taps[] = { "vnet0", NULL };

	(void)state;
	assert_said((struct change){ .choice.taps = taps, .anew = "vnet1", .expected = 2 }, "");
}

static void one_that_the_tracer_cannot_take_is_named(void **state)
{
	(void)state;
	assert_said((struct change){ .tracer.error = -E2BIG, .gone = "vnet0", .expected = 1 },
		    "vmlat: warning: vnet0: cannot be traced: Argument list too long\n");
}

static int adopt_two(void *argument)
{
	struct device_choice *choice = argument;
	struct devices devices = selected_devices(choice), now = host_devices();
	struct vmlat_adopted adopted = { .index = devices__reserve(&devices), .name = "tap10" };
	struct tracer tracer = { .id = { HOST_NETNS, 42 }, .adopted = &adopted };
	struct changes changes = { 0 };
	bool good;

	changes__apply(&devices, &now, choice, &tracer); /* leaves it alone */
	changes__adopt(&changes, &devices, choice, &tracer);
	good = changes.pending && tracer.set == 1 && tracer.last == adopted.index &&
	       tracer.spare == devices.count - 1;
	good = good && !strcmp(devices__by_id(&devices, &tracer.id)->name, "tap10");
	adopted.index = tracer.spare; /* the same again: another CPU was first, and we after it */
	tracer.adopted = &adopted;
	changes__adopt(&changes, &devices, choice, &tracer);
	good = good && tracer.set == 1 && devices.all[adopted.index].gone;
	changes__apply(&devices, &now, choice, &tracer);
	devices__free(&devices);
	devices__free(&now);
	return !good;
}

static void a_tap_that_the_bpf_side_saw_first_is_taken_over(void **state)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct run run;

	(void)state;
	run_apart(&run, adopt_two, &choice);
	assert_string_equal(run.err, "vmlat: tap10: traced from its first packet on\n"
				     "vmlat: tap10: gone; nothing of it can be traced now\n");
	assert_int_equal(run.code, 0);
}

static int adopt_one(void *argument)
{
	struct device_choice *choice = argument;
	struct devices devices = selected_devices(choice);
	struct vmlat_adopted adopted = { .index = devices__reserve(&devices), .name = "tap10" };
	struct tracer tracer = { .id = { HOST_NETNS, 42 }, .adopted = &adopted };
	struct changes changes = { 0 };

	changes__adopt(&changes, &devices, choice, &tracer);
	devices__free(&devices);
	return tracer.set != 1;
}

static void a_new_tap_that_may_only_be_the_other_end_is_not_spoken_of(void **state)
{
	static char *taps[] = { "vnet0", NULL };
	struct device_choice choice = { .directions = VMLAT_BOTH, .taps = taps };
	struct run run;

	(void)state;
	run_apart(&run, adopt_one, &choice);
	assert_string_equal(run.err, "");
	assert_int_equal(run.code, 0);
}

static int adopt_while_listing(void *argument)
{
	struct device_choice *choice = argument;
	struct devices devices = selected_devices(choice);
	struct vmlat_adopted adopted = { .index = devices__reserve(&devices), .name = "tap10" };
	struct tracer tracer = { .id = { HOST_NETNS, 42 }, .adopted = &adopted };
	struct changes changes;
	bool good = !changes__open(&changes);

	changes.pending = true;
	changes__follow(&changes, &devices, choice, &tracer, 60000000000ULL);
	good = good && changes.pending && tracer.set == 1 && !devices.all[adopted.index].gone;
	changes__close(&changes);
	devices__free(&devices);
	return !good;
}

static void a_tap_that_the_bpf_side_saw_while_devices_were_listed_is_not_gone(void **state)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct run run;

	(void)state;
	run_apart(&run, adopt_while_listing, &choice);
	assert_string_equal(run.err, "vmlat: tap10: traced from its first packet on\n");
	assert_int_equal(run.code, 0);
}

static void following_never_waits(void **state)
{
	struct device_choice choice = { .directions = VMLAT_BOTH };
	struct devices devices = selected_devices(&choice);
	struct tracer tracer = { 0 };
	struct changes changes;

	(void)state;
	assert_int_equal(changes__open(&changes), 0);
	changes__follow(&changes, &devices, &choice, &tracer, 0);
	changes__close(&changes);
	devices__free(&devices);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_said_while_nothing_changes),
		cmocka_unit_test(one_that_is_gone_is_named),
		cmocka_unit_test(one_that_comes_anew_is_named_twice),
		cmocka_unit_test(one_that_another_vm_opens_is_named_if_it_is_not_traced_any_more),
		cmocka_unit_test(one_that_may_only_be_the_other_end_is_not_spoken_of),
		cmocka_unit_test(one_that_the_tracer_cannot_take_is_named),
		cmocka_unit_test(a_tap_that_the_bpf_side_saw_first_is_taken_over),
		cmocka_unit_test(a_tap_that_the_bpf_side_saw_while_devices_were_listed_is_not_gone),
		cmocka_unit_test(a_new_tap_that_may_only_be_the_other_end_is_not_spoken_of),
		cmocka_unit_test(following_never_waits),
	};

	return cmocka_run_group_tests_name("changes", tests, NULL, NULL);
}
