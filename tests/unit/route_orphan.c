/*
 * Orphans: bytecode of the source that stays hidden when the module goes that hid
 * it, until somebody makes a file of that name.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "orphan.h"
#include "route.h"

static int set_up(void **state)
{
	struct world *world = world_create(NULL);

	tree_write(world_path(world, "x.py"), "", -1);
	tree_write(world_path(world, "y.py"), "", -1);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(*state);
	return 0;
}

/* Removes a module as op_remove.c does. */
static void remove_module(struct world *world, const char *name)
{
	orphan_before_removal(&world->fs, world->root, world->fs.source.fd, name);
	assert_int_equal(remove(world_path(world, name)), 0);
}

static bool hides(struct world *world, const char *name)
{
	return route_hides(&world->fs, inode_id(world->root), world->fs.source.fd,
			   name);
}

static int answer(struct world *world, const char *name, enum route_intent intent)
{
	_cleanup_place_ struct place place = { 0 };

	return route(&world->fs, world->root, name, intent, &place);
}

static bool is_there(struct world *world, const char *name)
{
	struct inode *inode;
	int err = world_lookup(world, world->root, name, &inode);

	if (!err) {
		world_forget(world, inode);
		inode_put(world->fs.inodes, inode);
	}
	return !err;
}

static uint64_t inodes_used(struct world *world)
{
	struct store_usage usage;

	assert_int_equal(store_usage(&world->fs.store, &usage), 0);
	return usage.inodes_used;
}

static void bytecode_stays_hidden_without_its_module(void **state)
{
	static const char *const names[] = {
		"x.pyc", "x.pyo", "x$py.class", "x.pyc.123", "x.pyc.4",
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		tree_write(world_path(world, names[i]), "old", -1);
	remove_module(world, "x.py");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_true(hides(world, names[i]));
		assert_false(is_there(world, names[i]));
		assert_int_equal(answer(world, names[i], ROUTE_REMOVE), -ENOENT);
		/* It lies where it lay. */
		assert_int_equal(access(world_path(world, names[i]), F_OK), 0);
	}
}

/* Python follows a symlink to bytecode as well. */
static void a_link_to_bytecode_stays_hidden_too(void **state)
{
	struct world *world = *state;

	tree_write(world_path(world, "elsewhere"), "old", -1);
	assert_int_equal(symlink("elsewhere", world_path(world, "x.pyc")), 0);
	assert_true(hides(world, "x.pyc"));
	remove_module(world, "x.py");
	assert_true(hides(world, "x.pyc"));
	assert_false(is_there(world, "x.pyc"));
}

static void others_bytecode_stays_as_it_is(void **state)
{
	struct world *world = *state;

	tree_write(world_path(world, "y.pyc"), "of another module", -1);
	tree_write(world_path(world, "z.pyc"), "a program", -1);
	tree_write(world_path(world, "z.pyc.1"), "a file", -1);
	remove_module(world, "x.py");
	assert_true(is_there(world, "z.pyc"));
	assert_true(is_there(world, "z.pyc.1"));
	assert_false(hides(world, "z.pyc"));
	/* Hidden by its module, not by a mark. */
	assert_true(hides(world, "y.pyc"));
	assert_int_equal(remove(world_path(world, "y.py")), 0);
	assert_false(hides(world, "y.pyc"));
}

static void nothing_is_noted_without_need(void **state)
{
	static const char *const names[] = {
		"x.py", "missing.py", "x", "x.pyc", ".py", "__pycache__",
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		orphan_before_removal(&world->fs, world->root, world->fs.source.fd,
				     names[i]);
	assert_int_equal(inodes_used(world), 0);
}

/* It hid nothing, so nothing has to stay hidden when it is renamed or removed. */
static void a_directory_called_like_a_module_leaves_no_orphan(void **state)
{
	struct world *world = *state;

	assert_int_equal(mkdir(world_path(world, "d.py"), 0755), 0);
	tree_write(world_path(world, "d.pyc"), "a program", -1);
	assert_true(is_there(world, "d.pyc"));
	remove_module(world, "d.py");
	assert_true(is_there(world, "d.pyc"));
	assert_false(hides(world, "d.pyc"));
}

/* Nor was a directory ever bytecode that Python could run. */
static void a_directory_called_like_bytecode_is_no_orphan(void **state)
{
	struct world *world = *state;

	assert_int_equal(mkdir(world_path(world, "x.pyc"), 0755), 0);
	assert_int_equal(mkdir(world_path(world, "x.pyc.1"), 0755), 0);
	assert_false(is_there(world, "x.pyc"));
	remove_module(world, "x.py");
	assert_true(is_there(world, "x.pyc"));
	assert_true(is_there(world, "x.pyc.1"));
}

static void what_a_cache_holds_leaves_no_orphan(void **state)
{
	struct world *world = *state;
	struct inode *cache = world_find(world, world->root, "__pycache__");
	_cleanup_handle_ struct handle *handle = NULL;
	uint64_t before;

	assert_int_equal(world_make(world, cache, "x.py", ""), 0);
	assert_int_equal(world_make(world, cache, "x.pyc", ""), 0);
	before = inodes_used(world);
	assert_int_equal(route_open(&world->fs, cache, HANDLE_PATH, &handle), 0);
	orphan_before_removal(&world->fs, cache, handle_fd(handle), "x.py");
	assert_int_equal(inodes_used(world), before);
}

/* With nothing in it: what was made from the module that is gone went with it. */
static void the_module_back_the_store_counts_again(void **state)
{
	struct world *world = *state;
	struct inode *found;

	tree_write(world_path(world, "x.pyc"), "old", -1);
	for (int i = 0; i < 2; i++) {
		remove_module(world, "x.py");
		assert_false(is_there(world, "x.pyc"));
		tree_write(world_path(world, "x.py"), "", -1);
		assert_true(hides(world, "x.pyc"));
		assert_false(is_there(world, "x.pyc"));
		assert_int_equal(world_make(world, world->root, "x.pyc", "new"), 0);
		found = world_find(world, world->root, "x.pyc");
		assert_int_equal(inode_kind(found), INODE_STORE);
	}
	char *text = tree_read(world_path(world, "x.pyc"), &(size_t){ 0 });
	assert_string_equal(text, "old");
	free(text);
}

static void asking_to_make_takes_nothing_away(void **state)
{
	struct world *world = *state;
	static const enum route_intent intents[] = { ROUTE_MAKE, ROUTE_REPLACE };

	tree_write(world_path(world, "x.pyc"), "old", -1);
	remove_module(world, "x.py");
	for (size_t i = 0; i < ARRAY_SIZE(intents); i++) {
		_cleanup_place_ struct place place = { 0 };

		assert_int_equal(route(&world->fs, world->root, "x.pyc", intents[i],
				       &place), 0);
		assert_int_equal(place.kind, INODE_SOURCE);
		assert_true(place.orphan);
	}
	assert_int_equal(access(world_path(world, "x.pyc"), F_OK), 0);
	assert_false(is_there(world, "x.pyc"));
	assert_true(hides(world, "x.pyc"));
}

static void what_is_made_in_its_place_is_a_real_file(void **state)
{
	struct world *world = *state;
	_cleanup_place_ struct place place = { 0 };

	tree_write(world_path(world, "x.pyc"), "old", -1);
	remove_module(world, "x.py");
	assert_int_equal(route(&world->fs, world->root, "x.pyc", ROUTE_MAKE, &place),
			 0);
	assert_int_equal(route_remove_orphan(&place), 0);
	assert_int_equal(access(world_path(world, "x.pyc"), F_OK), -1);
	/* Gone already: as good as removed now. */
	assert_int_equal(route_remove_orphan(&place), 0);
	tree_write(world_path(world, "x.pyc"), "new", -1);
	route_adopt(&world->fs, world->root, &place);
	assert_true(is_there(world, "x.pyc"));
	assert_false(hides(world, "x.pyc"));

	/* Without an orphan there is nothing to adopt: no mark of another goes. */
	struct place plain = { .name = "y.pyc", .kind = INODE_SOURCE };
	tree_write(world_path(world, "y.pyc"), "old", -1);
	remove_module(world, "y.py");
	route_adopt(&world->fs, world->root, &plain);
	assert_true(hides(world, "y.pyc"));
}

/* A program that somebody ships in its place, behind the mount. */
static void another_file_of_that_name_is_no_orphan(void **state)
{
	struct world *world = *state;
	const char *path = world_path(world, "x.pyc");
	struct stat st;

	tree_write(path, "old", -1);
	remove_module(world, "x.py");
	/* What is said of the file alone changes nothing. */
	assert_int_equal(chmod(path, 0600), 0);
	assert_true(hides(world, "x.pyc"));
	/* Replaced, by a file as long and as old. */
	assert_int_equal(stat(path, &st), 0);
	tree_write(world_path(world, "new"), "new", -1);
	assert_int_equal(utimensat(AT_FDCWD, world_path(world, "new"),
		(const struct timespec[2]){ st.st_atim, st.st_mtim }, 0), 0);
	assert_int_equal(rename(world_path(world, "new"), path), 0);
	assert_true(is_there(world, "x.pyc"));
	assert_false(hides(world, "x.pyc"));
	assert_int_equal(answer(world, "x.pyc", ROUTE_REMOVE), 0);
	/* Written over. */
	tree_write(world_path(world, "y.pyc"), "old", -1);
	remove_module(world, "y.py");
	assert_true(hides(world, "y.pyc"));
	tree_write(world_path(world, "y.pyc"), "other", -1);
	assert_true(is_there(world, "y.pyc"));
	assert_false(hides(world, "y.pyc"));
}

static void hear(struct world *world, const char *name, bool came)
{
	orphan_name_heard(&world->fs, world->root, name);
	if (came)
		orphan_content_heard(&world->fs, world->root, name);
}

static void a_removal_that_is_heard_of_leaves_orphans_as_well(void **state)
{
	struct world *world = *state;

	tree_write(world_path(world, "x.pyc"), "old", -1);
	tree_write(world_path(world, "x.pyc.7"), "old", -1);
	tree_write(world_path(world, "y.pyc"), "old", -1);
	assert_int_equal(remove(world_path(world, "x.py")), 0);
	hear(world, "x.py", false);
	/* This one is there again. */
	hear(world, "y.py", false);
	assert_true(hides(world, "x.pyc"));
	assert_true(hides(world, "x.pyc.7"));
	assert_int_equal(remove(world_path(world, "y.py")), 0);
	assert_false(hides(world, "y.pyc"));
	/* It came and went. */
	hear(world, "y.py", true);
	assert_true(hides(world, "y.pyc"));
	/* Nothing of the kind. */
	hear(world, ".py", false);
	hear(world, "x", false);
}

/* The news of its coming follow those of the module's going. */
static void bytecode_that_comes_after_the_removal_is_shown(void **state)
{
	struct world *world = *state;

	tree_write(world_path(world, "y.pyc"), "old", -1);
	remove_module(world, "y.py");
	assert_int_equal(remove(world_path(world, "x.py")), 0);
	tree_write(world_path(world, "x.pyc"), "new", -1);
	hear(world, "x.py", false);
	hear(world, "x.pyc", true);
	assert_true(is_there(world, "x.pyc"));
	/* What was marked before the removal is known to be old. */
	hear(world, "y.py", false);
	hear(world, "y.pyc", true);
	assert_false(is_there(world, "y.pyc"));
}

static void read_only_lets_an_orphan_be(void **state)
{
	struct world *world = *state;

	tree_write(world_path(world, "x.pyc"), "old", -1);
	remove_module(world, "x.py");
	world->opts.read_only = true;
	assert_int_equal(answer(world, "x.pyc", ROUTE_FIND), -ENOENT);
	assert_int_equal(answer(world, "x.pyc", ROUTE_REMOVE), -ENOENT);
	assert_int_equal(answer(world, "x.pyc", ROUTE_MAKE), -EROFS);
	assert_int_equal(answer(world, "x.pyc", ROUTE_REPLACE), -EROFS);
}

static void a_full_store_is_told_of_in_one_line(void **state)
{
	struct world *world;
	char *said;

	(void)state;
	world = world_create(&(struct world_options){ .inodes = 1 });
	tree_write(world_path(world, "x.py"), "", -1);
	tree_write(world_path(world, "x.pyc"), "old", -1);
	assert_int_equal(world_make(world, world_find(world, world->root,
						      "__pycache__"), "f", ""),
			 -ENOSPC);
	unit_listen();
	orphan_before_removal(&world->fs, world->root, world->fs.source.fd, "x.py");
	said = unit_said();
	world_destroy(world);
	unit_assert_line(said, "warning: 'x.pyc' can't be kept hidden");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(bytecode_stays_hidden_without_its_module),
		T(a_link_to_bytecode_stays_hidden_too),
		T(others_bytecode_stays_as_it_is),
		T(nothing_is_noted_without_need),
		T(a_directory_called_like_a_module_leaves_no_orphan),
		T(a_directory_called_like_bytecode_is_no_orphan),
		T(what_a_cache_holds_leaves_no_orphan),
		T(the_module_back_the_store_counts_again),
		T(asking_to_make_takes_nothing_away),
		T(what_is_made_in_its_place_is_a_real_file),
		T(another_file_of_that_name_is_no_orphan),
		T(a_removal_that_is_heard_of_leaves_orphans_as_well),
		T(bytecode_that_comes_after_the_removal_is_shown),
		T(read_only_lets_an_orphan_be),
		cmocka_unit_test(a_full_store_is_told_of_in_one_line),
	};
	int status = unit_needs_store();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
