/*
 * Bytecode that is dropped while some is made: none is left without the note of the
 * state that its module was in.
 */
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "bytecode.h"
#include "shadow.h"

#define BYTECODE "m.cpython-311.pyc"

enum { ROUNDS = 4000 };

struct race {
	struct world *world;
	struct inode *cache;
	pthread_barrier_t barrier;
	int errors, bare;
};

/* As creating a file does. */
static int make_bytecode(struct race *race)
{
	struct place place = { 0 };
	int err = world_make(race->world, race->cache, BYTECODE, "");

	if (!err)
		err = route(&race->world->fs, race->cache, BYTECODE, ROUTE_REPLACE, &place);
	route_release(&place);
	return err;
}

static void look(struct race *race)
{
	const struct store *store = &race->world->fs.store;
	const struct file_id *id = inode_id(race->world->root);
	char stamp[NOTE_SIZE];
	_cleanup_close_ int part = -1;

	if (shadow_open(store, SHADOW_CACHE, id, &part) == 0 &&
	    faccessat(part, BYTECODE, F_OK, 0) == 0)
		race->bare += shadow_get_stamp(store, id, "m.py", stamp) < 0;
}

static void drop_or_make(void *data, int index)
{
	struct race *race = data;
	const struct file_id *id = inode_id(race->world->root);

	for (int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&race->barrier);
		if (index == 0)
			bytecode_drop(&race->world->fs, id, "m.py");
		else
			race->errors += make_bytecode(race) != 0;
		pthread_barrier_wait(&race->barrier);
		if (index == 0) {
			look(race);
			bytecode_drop(&race->world->fs, id, "m.py");
		}
	}
}

static void what_comes_while_others_go_keeps_its_stamp_or_goes_too(void **state)
{
	struct race race = { .world = world_create(NULL) };
	struct world *world = race.world;

	(void)state;
	tree_write(world_path(world, "m.py"), "m = 1\n", -1);
	race.cache = world_find(world, world->root, "__pycache__");
	pthread_barrier_init(&race.barrier, NULL, 2);
	unit_threads(2, drop_or_make, &race);
	pthread_barrier_destroy(&race.barrier);
	assert_int_equal(race.errors, 0);
	assert_int_equal(race.bare, 0);
	world_destroy(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_while_others_go_keeps_its_stamp_or_goes_too),
	};
	int status = unit_needs_store();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
