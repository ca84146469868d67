/*
 * Which bytecode goes when the store is full.
 */
#include "unit.h"

#include "evict.h"

enum { COUNT = 6 };

static const struct evict_candidate files[COUNT] = {
	{ EVICT_CACHED, 50, 4096, 1, 0 },
	{ EVICT_CACHED, 10, 4096, 1, 1 },
	{ EVICT_ABANDONED, 90, 8192, 1, 2 },
	{ EVICT_CACHED, 30, 4096, 1, 3 },
	{ EVICT_ABANDONED, 99, 4096, 1, 4 },
	{ EVICT_CACHED, 30, 65536, 1, 5 },
};

/* In which all of them go: by class, by age, and the larger one first. */
static const size_t order[COUNT] = { 2, 4, 1, 5, 3, 0 };

static size_t choose(uint64_t bytes, uint64_t inodes,
		     struct evict_candidate ret[COUNT])
{
	memcpy(ret, files, sizeof(files));
	return evict_choose(ret, COUNT, &(struct evict_goal){ bytes, inodes });
}

static void files_go_by_class_and_then_by_age(void **state)
{
	struct evict_candidate chosen[COUNT];

	(void)state;
	assert_int_equal(choose(UINT64_MAX, 0, chosen), COUNT);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(chosen[i].index, order[i]);
}

static void no_more_go_than_are_needed(void **state)
{
	struct evict_candidate chosen[COUNT];

	(void)state;
	assert_int_equal(choose(0, 0, chosen), 0);
	assert_int_equal(choose(1, 0, chosen), 1);
	assert_int_equal(choose(4096, 0, chosen), 1);
	assert_int_equal(choose(8192, 0, chosen), 1);
	assert_int_equal(choose(8193, 0, chosen), 2);
	assert_int_equal(choose(0, 1, chosen), 1);
	assert_int_equal(choose(0, 3, chosen), 3);
	assert_int_equal(choose(1, 4, chosen), 4);
	assert_int_equal(choose(0, 100, chosen), COUNT);
}

static void what_is_gone_goes_before_all_and_what_is_missing_before_the_rest(void **state)
{
	struct evict_candidate files_of[] = {
		{ EVICT_CACHED, 1, 4096, 1, 0 },
		{ EVICT_MISSING, 50, 4096, 1, 1 },
		{ EVICT_ABANDONED, 60, 4096, 1, 2 },
		{ EVICT_GONE, 70, 8192, 5, 3 },
		{ EVICT_MISSING, 40, 4096, 1, 4 },
	};
	static const size_t in_order[] = { 3, 2, 4, 1, 0 };

	(void)state;
	/* It gives many inodes at once. */
	assert_int_equal(evict_choose(files_of, 5, &(struct evict_goal){ 1, 5 }), 1);
	assert_int_equal(evict_choose(files_of, 5, &(struct evict_goal){ 1, 6 }), 2);
	for (size_t i = 0; i < ARRAY_SIZE(in_order); i++)
		assert_int_equal(files_of[i].index, in_order[i]);
}

static void nothing_can_be_chosen_from_nothing(void **state)
{
	(void)state;
	assert_int_equal(evict_choose(NULL, 0, &(struct evict_goal){ 1, 1 }), 0);
}

static void the_goal_is_what_is_missing(void **state)
{
	static const struct {
		struct evict_room room;
		struct evict_goal wanted, goal;
	} cases[] = {
		/* A sixteenth of both is to be free. */
		{ { 1 << 20, 320, 0, 0 }, { 0, 0 }, { 1 << 16, 20 } },
		{ { 1 << 20, 320, 1 << 15, 5 }, { 0, 0 }, { 1 << 15, 15 } },
		{ { 1 << 20, 320, 1 << 16, 20 }, { 0, 0 }, { 0, 0 } },
		{ { 1 << 20, 320, 1 << 19, 300 }, { 0, 0 }, { 0, 0 } },
		/* Or more, when more is wanted. */
		{ { 1 << 20, 320, 0, 0 }, { 1 << 18, 40 }, { 1 << 18, 40 } },
		{ { 1 << 20, 320, 1 << 17, 300 }, { 1 << 18, 4 }, { 1 << 17, 0 } },
		{ { 16, 3, 0, 0 }, { 0, 4 }, { 1, 4 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct evict_goal goal = evict_goal(&cases[i].room,
						    &cases[i].wanted);

		assert_int_equal(goal.bytes, cases[i].goal.bytes);
		assert_int_equal(goal.inodes, cases[i].goal.inodes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_go_by_class_and_then_by_age),
		cmocka_unit_test(no_more_go_than_are_needed),
		cmocka_unit_test(
			what_is_gone_goes_before_all_and_what_is_missing_before_the_rest),
		cmocka_unit_test(nothing_can_be_chosen_from_nothing),
		cmocka_unit_test(the_goal_is_what_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
