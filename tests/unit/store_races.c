/*
 * The store while its parts are made, used, emptied and dropped at once: whoever
 * comes first, nothing is left of a directory that is gone, and a part that is
 * asked for is there.
 */
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shadow.h"
#include "store.h"

static const struct file_id some_id = { 0x801, 4711, 1700000000123456789 };

enum { ROUNDS = 1500 };

struct race {
	struct store store;
	char *top;
	int model;
	pthread_barrier_t barrier;
	_Atomic int errors, left;
};

static int set_up(void **state)
{
	struct race *race = calloc(1, sizeof(*race));

	if (!race || store_create(&race->store, 8 << 20, 0))
		abort();
	race->top = unit_scratch();
	pthread_barrier_init(&race->barrier, NULL, 2);
	*state = race;
	return 0;
}

static int tear_down(void **state)
{
	struct race *race = *state;

	pthread_barrier_destroy(&race->barrier);
	store_destroy(&race->store);
	unit_remove(race->top);
	free(race);
	return 0;
}

static uint64_t inodes_used(const struct store *store)
{
	struct store_usage used = { .inodes_used = 77 };

	store_usage(store, &used);
	return used.inodes_used;
}

/* One thread removes a directory and drops what belongs to it, the other makes
 * what belongs to it. */
static void remove_or_make(void *data, int index)
{
	static const enum shadow_part parts[] = {
		SHADOW_CACHE, SHADOW_BESIDE, SHADOW_ORPHANS,
	};
	struct race *race = data;
	char path[512];

	snprintf(path, sizeof(path), "%s/d", race->top);
	for (int i = 0; i < ROUNDS; i++) {
		int fd = -1, err = 0;

		if (index == 0) {
			race->errors += mkdir(path, 0755) != 0;
			race->model = open(path, O_PATH | O_CLOEXEC);
		}
		pthread_barrier_wait(&race->barrier);
		if (index == 0) {
			race->errors += rmdir(path) != 0;
			shadow_drop(&race->store, &some_id);
		} else {
			err = shadow_make(&race->store, parts[i % 3], &some_id,
					      race->model, &fd);
			race->errors += err && err != -ENOENT;
			cleanup_close(&fd);
		}
		pthread_barrier_wait(&race->barrier);
		if (index == 0) {
			race->left += inodes_used(&race->store) != 0;
			close(race->model);
		}
	}
}

static void a_removed_directory_leaves_nothing(void **state)
{
	struct race *race = *state;

	unit_threads(2, remove_or_make, race);
	assert_int_equal(race->errors, 0);
	assert_int_equal(race->left, 0);
}

/* One thread drops a part in which the others go on making files. */
static void drop_or_use(void *data, int index)
{
	struct race *race = data;
	char name[16];

	for (int i = 0; i < ROUNDS / 5; i++) {
		int fd = -1;

		if (index == 0)
			race->errors += shadow_make(&race->store, SHADOW_CACHE,
				&some_id, race->model, &fd) != 0;
		pthread_barrier_wait(&race->barrier);
		if (index == 0) {
			shadow_drop(&race->store, &some_id);
		} else if (shadow_open(&race->store, SHADOW_CACHE, &some_id,
					   &fd) == 0) {
			/* Until it is gone, or its user tires. */
			for (int j = 0; j < 200; j++) {
				snprintf(name, sizeof(name), "%d", j);
				if (mkdirat(fd, name, 0700) < 0)
					break;
			}
		}
		cleanup_close(&fd);
		pthread_barrier_wait(&race->barrier);
		if (index == 0)
			race->left += inodes_used(&race->store) != 0;
	}
}

static void a_part_goes_while_it_is_used(void **state)
{
	struct race *race = *state;

	race->model = open(race->top, O_PATH | O_CLOEXEC);
	unit_threads(2, drop_or_use, race);
	close(race->model);
	assert_int_equal(race->errors, 0);
	assert_int_equal(race->left, 0);
}

/* One thread removes empty caches, the other asks for one all the while. */
static void empty_or_make(void *data, int index)
{
	struct race *race = data;

	for (int i = 0; i < 5 * ROUNDS; i++) {
		int fd = -1, err;

		if (index == 0)
			err = shadow_remove_cache(&race->store, &some_id, 0);
		else
			err = shadow_make(&race->store, SHADOW_CACHE, &some_id,
					      race->model, &fd);
		race->errors += err != 0;
		cleanup_close(&fd);
	}
}

static void a_cache_that_is_asked_for_is_there_though_others_remove_it(void **state)
{
	struct race *race = *state;

	race->model = open(race->top, O_PATH | O_CLOEXEC);
	unit_threads(2, empty_or_make, race);
	close(race->model);
	assert_int_equal(race->errors, 0);
	shadow_drop(&race->store, &some_id);
	assert_int_equal(inodes_used(&race->store), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_removed_directory_leaves_nothing),
		T(a_part_goes_while_it_is_used),
		T(a_cache_that_is_asked_for_is_there_though_others_remove_it),
	};
	int status = unit_needs_store();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
