/*
 * `__pycache__` of every directory, and the way back to what lies in the store when
 * all descriptors were dropped.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "route.h"
#include "shadow.h"

static int set_up(void **state)
{
	struct world *world = world_create(NULL);

	tree_write(world_path(world, "x.py"), "", -1);
	tree_write(world_path(world, "d/x.py"), "", -1);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(*state);
	return 0;
}

static struct inode *cache_of(struct world *world, struct inode *directory)
{
	return world_find(world, directory, "__pycache__");
}

static void drop(struct world *world, struct inode *inode)
{
	inode_close(world->fs.inodes, inode);
}

/* Reads a file of the table; fails when it is not there. */
static void assert_holds(struct world *world, struct inode *inode,
			 const char *text)
{
	_cleanup_handle_ struct handle *handle = NULL;
	char found[64] = "";

	assert_int_equal(route_open(&world->fs, inode, HANDLE_READ, &handle), 0);
	assert_true(pread(handle_fd(handle), found, sizeof(found) - 1, 0) >= 0);
	assert_string_equal(found, text);
}

/* Whether @cache is served by the directory that stands in for nothing. */
static bool is_stand_in(struct world *world, struct inode *cache)
{
	_cleanup_handle_ struct handle *handle = NULL;

	assert_int_equal(route_open(&world->fs, cache, HANDLE_PATH, &handle), 0);
	return handle == world->fs.empty;
}

static uint64_t inodes_made(struct world *world)
{
	struct store_usage usage;

	assert_int_equal(store_usage(&world->fs.store, &usage), 0);
	return usage.inodes_used;
}

static void every_directory_has_one_without_making_it(void **state)
{
	struct world *world = *state;
	struct inode *d = world_find(world, world->root, "d");
	struct inode *of_root = cache_of(world, world->root);
	struct inode *of_d = cache_of(world, d), *found;

	assert_ptr_not_equal(of_root, of_d);
	assert_ptr_equal(cache_of(world, d), of_d);
	assert_int_equal(inode_kind(of_d), INODE_SHADOW);
	assert_int_equal(inode_type(of_d), S_IFDIR);
	assert_true(is_stand_in(world, of_root) && is_stand_in(world, of_d));
	assert_int_equal(world_lookup(world, of_d, "x.pyc", &found), -ENOENT);
	assert_int_equal(inodes_made(world), 0);
	/* None inside itself. */
	assert_int_equal(world_lookup(world, of_d, "__pycache__", &found), -ENOENT);
}

static void what_is_written_is_in_its_own_directorys(void **state)
{
	struct world *world = *state;
	struct inode *d = world_find(world, world->root, "d"), *found;
	struct inode *of_root = cache_of(world, world->root);
	struct inode *of_d = cache_of(world, d);

	assert_int_equal(world_make(world, of_d, "x.pyc", "d's"), 0);
	assert_false(is_stand_in(world, of_d));
	assert_true(is_stand_in(world, of_root));
	assert_int_equal(world_lookup(world, of_root, "x.pyc", &found), -ENOENT);
	assert_int_equal(world_make(world, of_root, "x.pyc", "root's"), 0);
	assert_holds(world, world_find(world, of_d, "x.pyc"), "d's");
	assert_holds(world, world_find(world, of_root, "x.pyc"), "root's");
	assert_int_equal(inode_kind(world_find(world, of_d, "x.pyc")), INODE_STORE);
	/* Nor does what lies beside lie inside. */
	assert_int_equal(world_make(world, d, "x.pyc", "beside"), 0);
	assert_holds(world, world_find(world, d, "x.pyc"), "beside");
	assert_holds(world, world_find(world, of_d, "x.pyc"), "d's");
}

static void a_change_of_the_cache_itself_makes_it(void **state)
{
	struct world *world = *state;
	struct inode *cache = cache_of(world, world->root);
	_cleanup_handle_ struct handle *handle = NULL, *again = NULL;

	assert_int_equal(route_open_to_change(&world->fs, cache, &handle), 0);
	assert_ptr_not_equal(handle, world->fs.empty);
	/* A shadow and its part. */
	assert_int_equal(inodes_made(world), 2);
	assert_int_equal(route_open_to_change(&world->fs, cache, &again), 0);
	assert_ptr_equal(again, handle);
}

static void a_cache_follows_its_directory(void **state)
{
	struct world *world = *state;
	struct inode *d = world_find(world, world->root, "d");

	assert_int_equal(world_make(world, cache_of(world, d), "x.pyc", "d's"), 0);
	assert_int_equal(rename(world_path(world, "d"), world_path(world, "e")), 0);
	assert_ptr_equal(world_find(world, world->root, "e"), d);
	assert_holds(world, world_find(world, cache_of(world, d), "x.pyc"), "d's");
	/* Who comes after it starts with nothing. */
	assert_int_equal(mkdir(world_path(world, "d"), 0755), 0);
	d = world_find(world, world->root, "d");
	assert_true(is_stand_in(world, cache_of(world, d)));
}

/* However often its inode number is used again. */
static void a_successor_of_a_directory_inherits_nothing(void **state)
{
	struct world *world = *state;

	for (int i = 0; i < 200; i++) {
		struct inode *d, *cache, *found;

		d = world_find(world, world->root, "d");
		cache = cache_of(world, d);
		assert_int_equal(world_lookup(world, cache, "x.pyc", &found),
				 -ENOENT);
		assert_int_equal(world_make(world, cache, "x.pyc", "old"), 0);
		world_forget(world, cache);
		world_forget(world, d);
		assert_int_equal(world_figures(world).known, 1);
		/* Behind the mount. */
		tree_remove(world_path(world, "d"));
		assert_int_equal(mkdir(world_path(world, "d"), 0755), 0);
	}
}

static void a_removed_cache_is_made_anew(void **state)
{
	struct world *world = *state;
	struct inode *cache = cache_of(world, world->root), *found;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(world_make(world, cache, "x.pyc", "text"), 0);
		struct inode *file = world_find(world, cache, "x.pyc");
		_cleanup_place_ struct place place = { 0 };

		world_forget(world, file);
		assert_int_equal(route(&world->fs, cache, "x.pyc", ROUTE_REMOVE,
				       &place), 0);
		assert_int_equal(unlinkat(place.dirfd, "x.pyc", 0), 0);
		assert_int_equal(shadow_remove_cache(&world->fs.store,
						    inode_id(world->root), 0), 0);
		/* The descriptor that is cached leads to what was removed. */
		assert_true(is_stand_in(world, cache));
		assert_int_equal(world_lookup(world, cache, "x.pyc", &found),
				 -ENOENT);
	}
}

/* A process may still stand in it. */
static void nothing_is_made_for_a_directory_that_is_gone(void **state)
{
	struct world *world = *state;
	struct inode *d = world_find(world, world->root, "d");
	struct inode *cache = cache_of(world, d), *used, *found;
	struct handle *handle;

	assert_int_equal(mkdir(world_path(world, "e"), 0755), 0);
	used = cache_of(world, world_find(world, world->root, "e"));
	assert_int_equal(world_make(world, used, "x.pyc", "text"), 0);
	/* As rmdir(2) through the mount: the directory, then its shadow. */
	tree_remove(world_path(world, "d"));
	tree_remove(world_path(world, "e"));
	shadow_drop(&world->fs.store, inode_id(d));
	shadow_drop(&world->fs.store, inode_id(used));

	assert_int_equal(world_make(world, cache, "x.pyc", ""), -ENOENT);
	assert_int_equal(world_make(world, used, "x.pyc", ""), -ENOENT);
	assert_int_equal(world_make(world, d, "x.pyc", ""), -ENOENT);
	assert_int_equal(route_open_to_change(&world->fs, cache, &handle), -ENOENT);
	assert_int_equal(world_lookup(world, used, "x.pyc", &found), -ENOENT);
	assert_true(is_stand_in(world, cache) && is_stand_in(world, used));
	assert_int_equal(inodes_made(world), 0);
}

static void all_can_be_opened_again_by_name(void **state)
{
	struct world *world = *state;
	struct inode *d = world_find(world, world->root, "d");
	struct inode *cache = cache_of(world, d), *build, *file, *beside, *inner;
	struct inode *all[6];
	_cleanup_place_ struct place place = { 0 };

	assert_int_equal(route(&world->fs, cache, "build", ROUTE_MAKE, &place), 0);
	assert_int_equal(mkdirat(place.dirfd, "build", 0755), 0);
	build = world_find(world, cache, "build");
	assert_int_equal(world_make(world, build, "c.o", "object"), 0);
	assert_int_equal(world_make(world, cache, "x.pyc", "inside"), 0);
	assert_int_equal(world_make(world, d, "x.pyc", "beside"), 0);
	inner = world_find(world, build, "c.o");
	file = world_find(world, cache, "x.pyc");
	beside = world_find(world, d, "x.pyc");

	memcpy(all, (struct inode *[]){ d, cache, build, file, beside, inner },
	       sizeof(all));
	for (int round = 0; round < 6; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(all); i++)
			drop(world, all[(i + (size_t)round) % ARRAY_SIZE(all)]);
		assert_int_equal(world_figures(world).descriptors, 1);
		if (round % 2)
			assert_holds(world, inner, "object");
		assert_holds(world, beside, "beside");
		assert_holds(world, file, "inside");
		assert_holds(world, inner, "object");
	}
}

static void what_went_with_the_store_is_stale(void **state)
{
	struct world *world = *state;
	struct inode *cache = cache_of(world, world->root), *file, *beside;
	struct handle *handle;

	assert_int_equal(world_make(world, cache, "x.pyc", "inside"), 0);
	assert_int_equal(world_make(world, world->root, "x.pyc", "beside"), 0);
	file = world_find(world, cache, "x.pyc");
	beside = world_find(world, world->root, "x.pyc");
	shadow_drop(&world->fs.store, inode_id(world->root));
	drop(world, file);
	drop(world, beside);
	assert_int_equal(route_open(&world->fs, file, HANDLE_READ, &handle),
			 -ESTALE);
	assert_int_equal(route_open(&world->fs, beside, HANDLE_READ, &handle),
			 -ESTALE);
	/* Made anew, they are others. */
	assert_int_equal(world_make(world, cache, "x.pyc", "new"), 0);
	assert_int_equal(route_open(&world->fs, file, HANDLE_READ, &handle),
			 -ESTALE);
	assert_true(is_stand_in(world, cache) == false);
}

static void read_only_lets_the_store_be_written(void **state)
{
	struct world *world;
	struct inode *cache, *file, *module;
	struct handle *handle;

	(void)state;
	world = world_create(&(struct world_options){ .read_only = true });
	tree_write(world_path(world, "x.py"), "source", -1);
	module = world_find(world, world->root, "x.py");
	assert_int_equal(route_open(&world->fs, module, HANDLE_WRITE, &handle),
			 -EROFS);
	assert_int_equal(route_open_to_change(&world->fs, module, &handle), -EROFS);
	assert_int_equal(route_open_to_change(&world->fs, world->root, &handle),
			 -EROFS);
	assert_holds(world, module, "source");
	cache = cache_of(world, world->root);
	assert_int_equal(world_make(world, cache, "x.pyc", "text"), 0);
	file = world_find(world, cache, "x.pyc");
	assert_int_equal(route_open(&world->fs, file, HANDLE_WRITE, &handle), 0);
	handle_put(handle);
	assert_int_equal(route_open_to_change(&world->fs, cache, &handle), 0);
	handle_put(handle);
	world_destroy(world);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(every_directory_has_one_without_making_it),
		T(what_is_written_is_in_its_own_directorys),
		T(a_change_of_the_cache_itself_makes_it),
		T(a_cache_follows_its_directory),
		T(a_successor_of_a_directory_inherits_nothing),
		T(a_removed_cache_is_made_anew),
		T(nothing_is_made_for_a_directory_that_is_gone),
		T(all_can_be_opened_again_by_name),
		T(what_went_with_the_store_is_stale),
		cmocka_unit_test(read_only_lets_the_store_be_written),
	};
	int status = unit_needs_store();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
