// SPDX-License-Identifier: GPL-2.0
/* What a tracer has counted, at one moment and between two. */
#include "accounts.h"

#include "by_hand.h"
#include "host.h"

enum { VNET0 = 5, VNET1 = 6 };

struct fixture {
	struct tracer tracer;
	struct devices devices;
	struct accounts before, now, difference;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->devices = host_devices();
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	accounts__free(&fixture->before);
	accounts__free(&fixture->now);
	accounts__free(&fixture->difference);
	devices__free(&fixture->devices);
	free(fixture);
	return 0;
}

static void take(struct fixture *fixture, struct accounts *accounts)
{
	assert_int_equal(accounts__take(accounts, &fixture->tracer, &fixture->devices), 0);
}

/* 100 started, 60 completed, 20 dropped at two places, 20 open; some traffic. */
static void count_some(struct tracer *tracer)
{
	tracer->counters.started = 100;
	tracer->counters.outcomes[VMLAT_COMPLETED] = 60;
	tracer->counters.outcomes[VMLAT_DROPPED] = 20;
	tracer->drops[0] = (struct drop_count){ { .hook = VMLAT_HOOK_OVS_VPORT_SEND }, 15 };
	tracer->drops[1] = (struct drop_count){ { .location = 4711 }, 5 };
	tracer->traffic[VNET0][VMLAT_TX] = (struct vmlat_traffic){ 10, 1000 };
	tracer->traffic[VNET0][VMLAT_RX] = (struct vmlat_traffic){ 20, 2000 };
	tracer->traffic[VNET1][VMLAT_RX] = (struct vmlat_traffic){ 30, 3000 };
}

static void what_has_started_and_not_ended_is_in_flight(void **state)
{
	struct fixture *fixture = *state;

	count_some(&fixture->tracer);
	take(fixture, &fixture->now);
	assert_int_equal(fixture->now.counters.started, 100);
	assert_int_equal(fixture->now.in_flight, 20);
	accounts__free(&fixture->now);
	fixture->tracer.counters.outcomes[VMLAT_IN_FLIGHT] = 20; /* so found at the end */
	take(fixture, &fixture->now);
	assert_int_equal(fixture->now.in_flight, 20);
}

static void of_packets_that_end_while_they_are_counted_the_start_is_counted(void **state)
{
	struct fixture *fixture = *state;
	struct accounts *difference = &fixture->difference;

	fixture->tracer.rate = 5;
	take(fixture, &fixture->before);
	assert_int_equal(fixture->before.counters.started, 5);
	assert_int_equal(fixture->before.counters.outcomes[VMLAT_COMPLETED], 0);
	assert_int_equal(fixture->before.in_flight, 5);
	take(fixture, &fixture->now);
	assert_int_equal(accounts__since(difference, &fixture->now, &fixture->before), 0);
	assert_int_equal(difference->counters.started, 10);
	assert_int_equal(difference->counters.outcomes[VMLAT_COMPLETED], 10);
	assert_int_equal(difference->in_flight, 5);
}

static void drops_missed_probes_and_traffic_are_taken(void **state)
{
	struct fixture *fixture = *state;
	struct vmlat_traffic traffic;

	count_some(&fixture->tracer);
	fixture->tracer.missed = 7;
	fixture->tracer.missed_known = true;
	host_device(&fixture->devices, "vnet0")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_START;
	take(fixture, &fixture->now);
	assert_int_equal(fixture->now.drop_count, 2);
	assert_int_equal(fixture->now.drops[0].count, 15);
	assert_int_equal(fixture->now.drops[1].place.location, 4711);
	assert_true(fixture->now.missed_known);
	assert_int_equal(fixture->now.missed, 7);
	traffic = accounts__traffic(&fixture->now, &fixture->devices, "vnet0", VMLAT_RX);
	assert_int_equal(traffic.packets, 20);
	assert_int_equal(traffic.bytes, 2000);
	traffic = accounts__traffic(&fixture->now, &fixture->devices, "vnet1", VMLAT_RX);
	assert_int_equal(traffic.packets, 0); /* it was not chosen */
}

static void an_error_of_the_tracer_is_passed_on(void **state)
{
	struct fixture *fixture = *state;

	fixture->tracer.error = -5;
	assert_int_equal(accounts__take(&fixture->now, &fixture->tracer, &fixture->devices), -5);
}

static void a_difference_is_what_came_since(void **state)
{
	struct fixture *fixture = *state;
	struct tracer *tracer = &fixture->tracer;
	struct accounts *difference = &fixture->difference;

	count_some(tracer);
	tracer->missed = 7;
	take(fixture, &fixture->before);
	fixture->before.written = 50;
	fixture->before.unkept = 1;
	tracer->counters.started += 11;
	tracer->counters.outcomes[VMLAT_COMPLETED] += 13;
	tracer->counters.refused[VMLAT_REFUSED_FRAGMENT] += 3;
	tracer->missed += 2;
	tracer->drops[1].count += 4;
	tracer->drops[2] = (struct drop_count){ { .location = 42 }, 6 };
	tracer->traffic[VNET1][VMLAT_RX] = (struct vmlat_traffic){ 31, 3100 };
	take(fixture, &fixture->now);
	fixture->now.written = 52;
	fixture->now.unkept = 4;
	assert_int_equal(accounts__since(difference, &fixture->now, &fixture->before), 0);
	assert_int_equal(difference->counters.started, 11);
	assert_int_equal(difference->counters.outcomes[VMLAT_COMPLETED], 13);
	assert_int_equal(difference->counters.outcomes[VMLAT_DROPPED], 0);
	assert_int_equal(difference->counters.refused[VMLAT_REFUSED_FRAGMENT], 3);
	assert_int_equal(difference->in_flight, 18); /* 20 + 11 - 13: those open now */
	assert_int_equal(difference->missed, 2);
	assert_int_equal(difference->written, 2);
	assert_int_equal(difference->unkept, 3);
	assert_int_equal(difference->drop_count, 2); /* the first place had none */
	assert_int_equal(difference->drops[0].place.location, 4711);
	assert_int_equal(difference->drops[0].count, 4);
	assert_int_equal(difference->drops[1].place.location, 42);
	assert_int_equal(difference->drops[1].count, 6);
	assert_int_equal(difference->traffic[2 * VNET1 + 1].packets, 1);
	assert_int_equal(difference->traffic[2 * VNET1 + 1].bytes, 100);
	assert_int_equal(difference->traffic[2 * VNET0].packets, 0);
}

static void a_device_that_came_between_has_all_its_traffic(void **state)
{
	struct fixture *fixture = *state;

	count_some(&fixture->tracer);
	fixture->devices.count = VNET1;
	take(fixture, &fixture->before);
	fixture->devices.count = VNET1 + 1;
	take(fixture, &fixture->now);
	assert_int_equal(accounts__since(&fixture->difference, &fixture->now, &fixture->before), 0);
	assert_int_equal(fixture->difference.devices, VNET1 + 1);
	assert_int_equal(fixture->difference.traffic[2 * VNET0 + 1].packets, 0);
	assert_int_equal(fixture->difference.traffic[2 * VNET1 + 1].packets, 30);
}

static void taps_of_one_name_are_one(void **state)
{
	struct fixture *fixture = *state;
	struct vmlat_traffic traffic;

	count_some(&fixture->tracer);
	host_device(&fixture->devices, "vnet0")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_START;
	host_device(&fixture->devices, "vnet1")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_START;
	snprintf(host_device(&fixture->devices, "vnet1")->name, IF_NAMESIZE, "vnet0");
	take(fixture, &fixture->now);
	traffic = accounts__traffic(&fixture->now, &fixture->devices, "vnet0", VMLAT_RX);
	assert_int_equal(traffic.packets, 50);
	assert_int_equal(traffic.bytes, 5000);
}

static void not_delivered_is_what_was_given_and_never_seen(void **state)
{
	struct accounts accounts = { .counters = { .given = 57, .delivered = 50, .seen_tap = 60 } };

	(void)state;
	assert_int_equal(accounts__not_delivered(&accounts), 7);
	accounts.counters.delivered = 60; /* read CPU by CPU: never below 0 */
	assert_int_equal(accounts__not_delivered(&accounts), 0);
}

static void whatever_is_lost_makes_accounts_incomplete(void **state)
{
	static const struct accounts incomplete[] = {
		{ .counters.lost = 1 },
		{ .counters.stacks_lost = 1 },
		{ .counters.drops_lost = 1 },
		{ .counters.uncounted = 1 },
		{ .counters.flows_lost = 1 },
		{ .counters.outcomes[VMLAT_EVICTED] = 1 },
		{ .unkept = 1 },
		{ .missed = 1, .missed_known = true },
	};
	struct accounts whole = { .missed_known = true };

	(void)state;
	whole.counters.started = whole.counters.outcomes[VMLAT_DROPPED] = 5;
	assert_false(accounts__incomplete(&whole));
	for (size_t i = 0; i < ARRAY_SIZE(incomplete); i++)
		assert_true(accounts__incomplete(&incomplete[i]));
}

#define accounts_test(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		accounts_test(what_has_started_and_not_ended_is_in_flight),
		accounts_test(of_packets_that_end_while_they_are_counted_the_start_is_counted),
		accounts_test(drops_missed_probes_and_traffic_are_taken),
		accounts_test(an_error_of_the_tracer_is_passed_on),
		accounts_test(a_difference_is_what_came_since),
		accounts_test(a_device_that_came_between_has_all_its_traffic),
		accounts_test(taps_of_one_name_are_one),
		cmocka_unit_test(not_delivered_is_what_was_given_and_never_seen),
		cmocka_unit_test(whatever_is_lost_makes_accounts_incomplete),
	};

	return cmocka_run_group_tests_name("accounts", tests, NULL, NULL);
}
