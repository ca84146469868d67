/*
 * The inode table under many threads: one inode a file however lookups race, and
 * nothing left when all is over.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "inode.h"
#include "inode_names.h"
#include "settle.h"

enum { THREADS = 8, FILES = 100, LIMIT = 80 };

struct race {
	struct world *world;
	int rounds;
	_Atomic int errors, strangers;
	_Atomic uint64_t numbers[FILES];	/* of the inodes */
};

static int set_up(void **state)
{
	static struct race race;
	char name[32];

	race.errors = race.strangers = 0;
	for (int i = 0; i < FILES; i++)
		race.numbers[i] = 0;
	race.world = world_create(&(struct world_options){
		.without_store = true, .limit = LIMIT });
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "file-%d", i);
		tree_write(world_path(race.world, name), name, -1);
		snprintf(name, sizeof(name), "d%d/file-%d", i % 8, i);
		tree_write(world_path(race.world, name), "inside", -1);
	}
	*state = &race;
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(((struct race *)*state)->world);
	return 0;
}

/* Counts what must not go wrong; asserting is the main thread's. */
static void check(struct race *race, bool good)
{
	race->errors += !good;
}

/* Each thread looks all files up, in the same order: they meet at each. */
static void look_up_all(void *data, int index)
{
	struct race *race = data;
	struct world *world = race->world;
	char name[32];

	(void)index;
	for (int i = 0; i < FILES; i++) {
		struct inode *inode = NULL;
		uint64_t first = 0;

		snprintf(name, sizeof(name), "file-%d", i);
		check(race, world_lookup(world, world->root, name, &inode) == 0);
		if (!inode)
			continue;
		/* The first to come says what the others must find. */
		if (!atomic_compare_exchange_strong(&race->numbers[i], &first,
						    inode_number(inode)))
			race->strangers += first != inode_number(inode);
		inode_put(world->fs.inodes, inode);
	}
}

static void racing_lookups_of_a_file_get_one_inode(void **state)
{
	struct race *race = *state;
	struct world *world = race->world;

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < FILES; i++)
			race->numbers[i] = 0;
		unit_threads(THREADS, look_up_all, race);
		assert_int_equal(race->errors, 0);
		assert_int_equal(race->strangers, 0);
		assert_int_equal(world_figures(world).known, FILES + 1);
		/* Each thread's lookup counts, and no other. */
		for (int i = 0; i < FILES; i++)
			inode_forget(world->fs.inodes, race->numbers[i],
				     THREADS - 1);
		assert_int_equal(world_figures(world).known, FILES + 1);
		for (int i = 0; i < FILES; i++)
			inode_forget(world->fs.inodes, race->numbers[i], 1);
		assert_int_equal(world_figures(world).known, 1);
		assert_int_equal(world_figures(world).descriptors, 1);
	}
}

/* Finds @name below the directory called @directory and forgets both: all that
 * the kernel does with a file, in no order that others keep to. */
static void use_file(struct race *race, const char *directory, const char *name)
{
	struct world *world = race->world;
	struct inode_table *table = world->fs.inodes;
	struct inode *dir = NULL, *file = NULL, *again;
	struct handle *handle = NULL;
	char text[32] = "";
	uint64_t number;

	check(race, world_lookup(world, world->root, directory, &dir) == 0);
	if (!dir)
		return;
	number = inode_number(dir);
	check(race, world_lookup(world, dir, name, &file) == 0);
	inode_put(table, dir);
	if (file) {
		/* The kernel may forget a directory before what is in it. */
		inode_forget(table, number, 1);
		check(race, inode_open(table, file, HANDLE_READ, &handle) == 0);
		if (handle)
			check(race, pread(handle_fd(handle), text, 6, 0) == 6 &&
			      strcmp(text, "inside") == 0);
		handle_put(handle);
		again = inode_get(table, inode_number(file));
		check(race, again == file);
		inode_put(table, again);
		number = inode_number(file);
		inode_put(table, file);
	}
	inode_forget(table, number, 1);
}

static void use_files(void *data, int index)
{
	struct race *race = data;
	char directory[32], name[32];
	unsigned seed = (unsigned)index + 1;

	for (int round = 0; round < race->rounds; round++) {
		int i = rand_r(&seed) % FILES;

		snprintf(directory, sizeof(directory), "d%d", i % 8);
		snprintf(name, sizeof(name), "file-%d", i);
		use_file(race, directory, name);
	}
}

static void files_come_and_go_and_are_always_themselves(void **state)
{
	struct race *race = *state;

	race->rounds = 3000;
	unit_threads(THREADS, use_files, race);
	assert_int_equal(race->errors, 0);
	assert_int_equal(world_figures(race->world).known, 1);
	assert_int_equal(world_figures(race->world).descriptors, 1);
}

/* Files that all threads hold on to, opened and dropped more often than they fit. */
static void open_all(void *data, int index)
{
	struct race *race = data;
	struct world *world = race->world;
	unsigned seed = (unsigned)index + 1;

	for (int round = 0; round < race->rounds; round++) {
		int i = rand_r(&seed) % FILES;
		struct inode *inode = inode_get(world->fs.inodes, race->numbers[i]);
		enum handle_use use = (enum handle_use)(rand_r(&seed) % 3);
		struct handle *handle = NULL;
		struct stat st;

		check(race, inode != NULL);
		if (!inode)
			continue;
		check(race, inode_open(world->fs.inodes, inode, use, &handle) == 0);
		if (handle)
			check(race, fstat(handle_fd(handle), &st) == 0 &&
			      st.st_ino == inode_id(inode)->ino);
		handle_put(handle);
		if (rand_r(&seed) % 16 == 0)
			inode_close(world->fs.inodes, inode);
		if (rand_r(&seed) % 64 == 0)
			handles_settle(inode_handles(world->fs.inodes));
		inode_put(world->fs.inodes, inode);
	}
}

static void descriptors_are_dropped_and_opened_by_all(void **state)
{
	struct race *race = *state;
	struct world *world = race->world;

	look_up_all(race, 0);
	race->rounds = 3000;
	unit_threads(THREADS, open_all, race);
	assert_int_equal(race->errors, 0);
	assert_in_range(world_figures(world).descriptors, 1, LIMIT);
	for (int i = 0; i < FILES; i++)
		inode_forget(world->fs.inodes, race->numbers[i], 1);
	assert_int_equal(world_figures(world).known, 1);
	assert_int_equal(world_figures(world).descriptors, 1);
}

/* One file of two names: whoever looks it up moves it, whoever forgets it last
 * frees it. */
static void use_both_names(void *data, int index)
{
	struct race *race = data;
	char directory[8];

	for (int round = 0; round < race->rounds; round++) {
		snprintf(directory, sizeof(directory), "d%d", (index + round) % 2);
		use_file(race, directory, "two names");
	}
}

static void a_file_of_two_names_is_freed_once(void **state)
{
	struct race *race = *state;

	tree_write(world_path(race->world, "d0/two names"), "inside", -1);
	assert_int_equal(link(world_path(race->world, "d0/two names"),
			      world_path(race->world, "d1/two names")), 0);
	race->rounds = 2000;
	unit_threads(THREADS, use_both_names, race);
	assert_int_equal(race->errors, 0);
	assert_int_equal(world_figures(race->world).known, 1);
	assert_int_equal(world_figures(race->world).descriptors, 1);
}

/* Moves the file that is its own from directory to directory, as a rename does. */
static void move_file(struct race *race, int index)
{
	struct world *world = race->world;
	struct inode_table *table = world->fs.inodes;
	struct inode *file = inode_get(table, race->numbers[index]);
	char from[64], to[64], name[32], directory[8];

	snprintf(name, sizeof(name), "file-%d", index);
	for (int round = 0; round < race->rounds; round++) {
		struct inode *target = NULL;

		snprintf(directory, sizeof(directory), "d%d",
			 (index + round + 1) % 8);
		check(race, world_lookup(world, world->root, directory,
					 &target) == 0);
		if (!target)
			continue;
		snprintf(from, sizeof(from), "d%d/%s", (index + round) % 8, name);
		snprintf(to, sizeof(to), "%s/%s", directory, name);
		check(race, renameat(world->fs.source.fd, from,
				     world->fs.source.fd, to) == 0);
		struct inode *source = inode_parent(table, file);

		inode_moved(table, file, source, name,
			    inode_name_create(target, name));
		inode_put(table, source);
		inode_close(table, file);
		/* The file keeps its directory. */
		inode_forget(table, inode_number(target), 1);
		inode_put(table, target);
	}
	inode_put(table, file);
}

/* Opens a file that another thread moves.  Between the rename and the table's word
 * of it the file is nowhere: stale is an answer, another file is none. */
static void open_moving(struct race *race, int index)
{
	struct inode_table *table = race->world->fs.inodes;

	for (int round = 0; round < race->rounds; round++) {
		struct inode *file = inode_get(table, race->numbers[index]);
		struct handle *handle = NULL;
		struct stat st;
		int err;

		check(race, file != NULL);
		if (!file)
			continue;
		err = inode_open(table, file, HANDLE_PATH, &handle);
		check(race, err == 0 || err == -ESTALE);
		if (handle)
			check(race, fstat(handle_fd(handle), &st) == 0 &&
			      st.st_ino == inode_id(file)->ino);
		handle_put(handle);
		inode_put(table, file);
	}
}

static void move_and_open(void *data, int index)
{
	if (index < THREADS / 2)
		move_file(data, index);
	else
		open_moving(data, index - THREADS / 2);
}

static void moved_files_are_found_or_stale_never_others(void **state)
{
	struct race *race = *state;
	struct world *world = race->world;
	char directory[8], name[32];

	for (int i = 0; i < THREADS / 2; i++) {
		struct inode *dir, *file;

		snprintf(directory, sizeof(directory), "d%d", i);
		snprintf(name, sizeof(name), "file-%d", i);
		dir = world_find(world, world->root, directory);
		file = world_find(world, dir, name);
		race->numbers[i] = inode_number(file);
		world_forget(world, dir);
	}
	/* Each file ends where it began. */
	race->rounds = 8 * 250;
	unit_threads(THREADS, move_and_open, race);
	assert_int_equal(race->errors, 0);
	assert_int_equal(world_figures(world).known, 1 + THREADS);
	for (int i = 0; i < THREADS / 2; i++) {
		struct inode *file = inode_get(world->fs.inodes, race->numbers[i]);
		struct handle *handle;

		assert_int_equal(inode_open(world->fs.inodes, file, HANDLE_READ,
					    &handle), 0);
		handle_put(handle);
		inode_put(world->fs.inodes, file);
		inode_forget(world->fs.inodes, race->numbers[i], 1);
	}
	assert_int_equal(world_figures(world).known, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(racing_lookups_of_a_file_get_one_inode),
		T(files_come_and_go_and_are_always_themselves),
		T(a_file_of_two_names_is_freed_once),
		T(descriptors_are_dropped_and_opened_by_all),
		T(moved_files_are_found_or_stale_never_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
