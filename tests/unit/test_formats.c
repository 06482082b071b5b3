// SPDX-License-Identifier: GPL-2.0
/* One trace's statistics say the same in each format. */
#include <json-c/json.h>

#include "sample_statistics.h"

static struct json_object *field(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	assert_true(json_object_object_get_ex(object, key, &value));
	return value;
}

static const char *string_of(struct json_object *object, const char *key)
{
	return json_object_get_string(field(object, key));
}

/* Nanoseconds of "812n", "12.3u", …; what follows is left in *at. */
static double duration_at(const char **at)
{
	static const char letters[] = "nums";
	const char *letter;
	double value;
	char *end;

	value = strtod(*at, &end);
	letter = strchr(letters, *end);
	assert_non_null(letter);
	for (; letter > letters; letter--)
		value *= 1000;
	*at = end + 1;
	return value;
}

/* The line of the text's table that is of the same VM, direction and segment. */
static const char *line_of(const char *text, struct json_object *segment)
{
	bool total = json_object_get_boolean(field(segment, "total"));
	const char *vm = string_of(segment, "vm"), *table, *line;
	char title[128], name[128];

	snprintf(title, sizeof(title), "\n%s %s", vm ? vm : string_of(segment, "vm_interface"),
		 strcmp(string_of(segment, "direction"), "tx") ? "RX" : "TX");
	if (total)
		snprintf(name, sizeof(name), "\n  total ");
	else
		snprintf(name, sizeof(name), " %s -> %s ", string_of(segment, "from"),
			 string_of(segment, "to"));
	table = strstr(text, title);
	assert_non_null(table);
	line = strstr(table, name);
	assert_non_null(line);
	return line + strlen(name);
}

static void assert_same(struct json_object *segment, const char *key, const char **at)
{
	double told = duration_at(at), exact = json_object_get_double(field(segment, key));

	if (told > exact * 1.00501 || told < exact * 0.99499)
		fail_msg("%s is %.0f ns, and in the text %.0f", key, exact, told);
}

static void assert_same_segment(struct json_object *segment, const char *text)
{
	static const char *const keys[] = { "min_ns", "mean_ns", "p50_ns", "p90_ns",
					    "p99_ns", "p999_ns", "max_ns" };
	const char *line = line_of(text, segment);
	char *end;

	assert_int_equal(strtoull(line, &end, 10), json_object_get_uint64(field(segment, "count")));
	line = end;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_same(segment, keys[i], &line);
	assert_int_equal(*line, '\n');
}

static struct json_object *parsed(const char *line)
{
	struct json_object *object = json_tokener_parse(line);

	assert_non_null(object);
	return object;
}

/* Of one tap a VM, so that its rows in JSON, by tap, are those of the text, by VM. */
static struct statistics one_tap_a_vm(struct sample *sample)
{
	struct device *vnet1 = host_device(&sample->devices, "vnet1");

	snprintf(vnet1->vm, VM_NAME, "web1b");
	return sample_statistics(sample);
}

static void text_and_json_have_the_same_segments_counts_and_times(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = one_tap_a_vm(sample);
	struct json_object *line =
		parsed(statistics_written(sample, &json_format, &statistics, false));
	struct json_object *segments = field(line, "segments");
	const char *text = statistics_written(sample, &text_format, &statistics, false);
	size_t count = 0;

	for (size_t i = 0; i < statistics.count; i++)
		count += statistics.rows[i].count;
	assert_int_equal(json_object_array_length(segments), count);
	for (size_t i = 0; i < count; i++)
		assert_same_segment(json_object_array_get_idx(segments, i), text);
	json_object_put(line);
	statistics__free(&statistics);
}

static void assert_word(const char *text, struct json_object *object, const char *key,
			const char *format)
{
	char words[128];

	snprintf(words, sizeof(words), format,
		 (unsigned long long)json_object_get_uint64(field(object, key)), key);
	if (!strstr(text, words))
		fail_msg("not in the text: %s", words);
}

/* How many lines of the text begin so. */
static size_t lines_with(const char *text, const char *beginning)
{
	size_t count = 0;

	for (const char *at = text; (at = strstr(at, beginning)); at++)
		count += at > text && at[-1] == '\n';
	return count;
}

static void assert_same_drops(const char *text, struct json_object *drops)
{
	size_t count = json_object_array_length(drops);

	assert_true(count > 1);
	assert_int_equal(lines_with(text, "  Dropped"), count);
	for (size_t i = 0; i < count; i++) {
		struct json_object *drop = json_object_array_get_idx(drops, i);
		const char *reason = string_of(drop, "reason");
		char words[256];

		snprintf(words, sizeof(words), "\n  Dropped in %s%s%s%s: %s\n",
			 string_of(drop, "where"), reason ? " (" : "", reason ? reason : "",
			 reason ? ")" : "", string_of(drop, "count"));
		if (!strstr(text, words))
			fail_msg("not in the text: %s", words);
	}
}

/* The text leaves out what had none. */
static void assert_same_traffic(const char *text, struct json_object *traffic)
{
	size_t told = 0;

	for (size_t i = 0; i < json_object_array_length(traffic); i++) {
		struct json_object *one = json_object_array_get_idx(traffic, i);
		bool rx = strcmp(string_of(one, "direction"), "tx") != 0;
		char words[256];

		if (!json_object_get_uint64(field(one, "packets")))
			continue;
		told++;
		snprintf(words, sizeof(words), "\n  Traffic: %s %s: %s packets, %s bytes\n",
			 string_of(one, "vm_interface"), rx ? "RX" : "TX",
			 string_of(one, "packets"), string_of(one, "bytes"));
		if (!strstr(text, words))
			fail_msg("not in the text: %s", words);
	}
	assert_true(told > 0);
	assert_int_equal(lines_with(text, "  Traffic:"), told);
}

static void text_and_json_have_the_same_accounts(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = one_tap_a_vm(sample);
	struct json_object *line =
		parsed(statistics_written(sample, &json_format, &statistics, false));
	const char *text = statistics_written(sample, &text_format, &statistics, false);

	json_object_object_foreach(field(line, "packets"), term, value)
	{
		(void)value;
		assert_word(text, field(line, "packets"), term, " %llu %s");
	}
	assert_word(text, field(line, "events"), "reported", "Reports: %llu written");
	assert_word(text, field(line, "events"), "lost", ", %llu lost");
	assert_word(text, field(line, "probes"), "missed", "Probes missed: %llu\n");
	assert_word(text, line, "not_delivered", "Not delivered: %llu,");
	assert_word(text, line, "unstarted", "unstarted: %llu,");
	assert_word(text, field(line, "errors"), "malformed", "malformed: %llu,");
	assert_word(text, field(line, "errors"), "truncated", "truncated: %llu\n");
	assert_word(text, field(line, "lost"), "stacks", "stacks: %llu,");
	assert_word(text, field(line, "lost"), "drop_places", "drop places: %llu,");
	assert_word(text, field(line, "lost"), "statistics", "statistics: %llu,");
	assert_word(text, field(line, "lost"), "segments", "segments: %llu,");
	assert_word(text, field(line, "lost"), "flows", "flows: %llu\n");
	assert_same_drops(text, field(line, "drops"));
	assert_same_traffic(text, field(line, "traffic"));
	json_object_put(line);
	statistics__free(&statistics);
}

/* Of each octave the text has the sum of JSON's buckets. */
static void histograms_have_the_same_counts(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };
	struct json_object *line, *buckets;
	__u64 octaves[VMLAT_LAST_OCTAVE + 1] = { 0 };
	const char *text, *at;

	sample->options.histogram = true;
	add_total(&statistics, host_device(&sample->devices, "tap9"), VMLAT_TX, 5000, 0, 777);
	line = parsed(statistics_written(sample, &json_format, &statistics, false));
	buckets = field(json_object_array_get_idx(field(line, "segments"), 0), "histogram");
	for (size_t i = 0; i < json_object_array_length(buckets); i++) {
		struct json_object *bucket = json_object_array_get_idx(buckets, i);

		__u64 low = json_object_get_uint64(json_object_array_get_idx(bucket, 0));

		octaves[63 - __builtin_clzll(low | 1)] +=
			json_object_get_uint64(json_object_array_get_idx(bucket, 2));
	}
	text = statistics_written(sample, &text_format, &statistics, false);
	at = strstr(text, "\n\n  total\n") + strlen("\n\n  total\n");
	for (int octave = 0; octave < 22; octave++) { /* 5000 * 777 ns are below 2^22 */
		at = strstr(at, " - ") + 3;
		duration_at(&at);
		assert_int_equal(strtoull(at, NULL, 10), octaves[octave]);
	}
	json_object_put(line);
	statistics__free(&statistics);
}

/* The fields of this row, which has no quotes; the rest of the text is returned. */
static char *take_row(char *text, char **fields, size_t room, size_t *count)
{
	char *end = strchr(text, '\n');

	assert_non_null(end);
	*end = '\0';
	for (*count = 0; *count < room && text;) {
		fields[(*count)++] = text;
		text = strchr(text, ',');
		if (text)
			*text++ = '\0';
	}
	assert_null(text);
	return end + 1;
}

static void assert_same_field(struct json_object *line, struct json_object *segment,
			      const char *name, const char *text)
{
	struct json_object *value = NULL;

	if (!json_object_object_get_ex(segment, name, &value))
		value = field(line, name);
	if (json_object_is_type(value, json_type_double))
		assert_true(strtod(text, NULL) == json_object_get_double(value));
	else
		assert_string_equal(text, value ? json_object_get_string(value) : "");
}

static void csv_and_json_have_the_same_segments_and_values(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = sample_statistics(sample);
	struct json_object *line =
		parsed(statistics_written(sample, &json_format, &statistics, false));
	struct json_object *segments = field(line, "segments");
	char *header, *table, *at, *names[32] = { NULL }, *fields[32] = { NULL };
	size_t columns, count;

	sample->options.summary = true;
	header = strdup(header_written(sample, &csv_format));
	table = strdup(statistics_written(sample, &csv_format, &statistics, false));
	assert_true(header && table);
	take_row(header, names, ARRAY_SIZE(names), &columns);
	at = table;
	for (size_t i = 0; i < json_object_array_length(segments); i++) {
		at = take_row(at, fields, ARRAY_SIZE(fields), &count);
		assert_int_equal(count, columns);
		for (size_t j = 0; j < count; j++)
			assert_same_field(line, json_object_array_get_idx(segments, i), names[j],
					  fields[j]);
	}
	assert_string_equal(at, "");
	free(header);
	free(table);
	json_object_put(line);
	statistics__free(&statistics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sample_test(text_and_json_have_the_same_segments_counts_and_times),
		sample_test(csv_and_json_have_the_same_segments_and_values),
		sample_test(text_and_json_have_the_same_accounts),
		sample_test(histograms_have_the_same_counts),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests_name("formats", tests, NULL, NULL);
}
