// SPDX-License-Identifier: GPL-2.0
#include "unit.h"

#include "types.h"

static struct btf *kernel_btf(void)
{
	struct btf *btf = btf__new_empty();

	assert_non_null(btf);
	assert_int_equal(btf__add_int(btf, "int", 4, BTF_INT_SIGNED), 1);
	assert_int_equal(btf__add_struct(btf, "one_name", 8), 2);
	assert_int_equal(btf__add_typedef(btf, "one_name", 1), 3);
	assert_int_equal(btf__add_func_proto(btf, 1), 4);
	assert_int_equal(btf__add_func(btf, "one_name", BTF_FUNC_STATIC, 4), 5);
	assert_int_equal(btf__add_enum(btf, "an_enum", 4), 6);
	return btf;
}

static void a_type_is_found_by_name_and_kind(void **state)
{
	struct btf *btf = kernel_btf();
	struct types *types = types__open(btf, NULL);

	(void)state;
	assert_int_equal(types__find(types, "one_name", BTF_KIND_STRUCT), 2);
	assert_int_equal(types__find(types, "one_name", BTF_KIND_TYPEDEF), 3);
	assert_int_equal(types__find(types, "one_name", BTF_KIND_FUNC), 5);
	assert_int_equal(types__find(types, "an_enum", BTF_KIND_ENUM), 6);
	assert_int_equal(types__find(types, "one_name", BTF_KIND_ENUM), 0);
	assert_int_equal(types__find(types, "one", BTF_KIND_STRUCT), 0);
	assert_int_equal(types__find(types, "", BTF_KIND_FUNC), 0);
	types__close(types);
	btf__free(btf);
}

static void a_modules_types_are_its_own(void **state)
{
	struct btf *kernel = kernel_btf(), *module = btf__new_empty_split(kernel);
	struct types *types;

	(void)state;
	assert_int_equal(btf__add_func(module, "of_the_module", BTF_FUNC_STATIC, 4), 7);
	types = types__open(module, kernel);
	assert_int_equal(types__find(types, "of_the_module", BTF_KIND_FUNC), 7);
	assert_int_equal(types__find(types, "one_name", BTF_KIND_FUNC), 0);
	types__close(types);
	btf__free(module);
	btf__free(kernel);
}

/* More than there are buckets. */
static void a_hundred_thousand_functions_are_told_apart(void **state)
{
	enum { FUNCTIONS = 100000 };
	struct btf *btf = kernel_btf();
	struct types *types;
	char name[32];

	(void)state;
	for (int i = 0; i < FUNCTIONS; i++) {
		snprintf(name, sizeof(name), "function_%d", i);
		assert_int_equal(btf__add_func(btf, name, BTF_FUNC_GLOBAL, 4), 7 + i);
	}
	types = types__open(btf, NULL);
	for (int i = 0; i < FUNCTIONS; i += 333) {
		snprintf(name, sizeof(name), "function_%d", i);
		assert_int_equal(types__find(types, name, BTF_KIND_FUNC), 7 + i);
	}
	types__close(types);
	btf__free(btf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_type_is_found_by_name_and_kind),
		cmocka_unit_test(a_modules_types_are_its_own),
		cmocka_unit_test(a_hundred_thousand_functions_are_told_apart),
	};

	return cmocka_run_group_tests_name("types", tests, NULL, NULL);
}
