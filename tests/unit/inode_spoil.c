/*
 * Spoiled inodes: kept while their file has a name, and not a moment longer.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "inode.h"
#include "inode_names.h"
#include "inode_spoil.h"
#include "shadow.h"

static int set_up(void **state)
{
	struct world *world = world_create(NULL);

	assert_int_equal(mkdir(world_path(world, "d"), 0755), 0);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(*state);
	return 0;
}

/* A spoiled file that the kernel has forgotten with all above it.  Returns the
 * identity of its source directory, and how many inodes there were before. */
static struct file_id spoil_in(struct world *world, const char *directory,
			       const char *name, uint64_t *ret_known)
{
	struct inode *dir = world_find(world, world->root, directory), *cache, *file;
	struct file_id id = *inode_id(dir);

	cache = world_find(world, dir, "__pycache__");
	assert_int_equal(world_make(world, cache, name, "text"), 0);
	file = world_find(world, cache, name);
	inode_spoil(world->fs.inodes, file, -ENOSPC);
	inode_close(world->fs.inodes, file);
	world_forget(world, file);
	world_forget(world, cache);
	world_forget(world, dir);
	/* It keeps its directories. */
	*ret_known = world_figures(world).known - 3;
	return id;
}

static void forgotten_it_is_still_spoiled(void **state)
{
	struct world *world = *state;
	struct inode *d, *cache, *file;
	uint64_t known;

	spoil_in(world, "d", "x.pyc.1", &known);
	d = world_find(world, world->root, "d");
	cache = world_find(world, d, "__pycache__");
	file = world_find(world, cache, "x.pyc.1");
	assert_int_equal(inode_spoiled(file), -ENOSPC);
	inode_unspoil(world->fs.inodes, file);
	assert_int_equal(inode_spoiled(file), 0);
	world_forget(world, file);
	world_forget(world, cache);
	world_forget(world, d);
	assert_int_equal(world_figures(world).known, known);
}

static void it_goes_with_its_directory(void **state)
{
	struct world *world = *state;
	struct file_id d, e;
	uint64_t known;

	assert_int_equal(mkdir(world_path(world, "e"), 0755), 0);
	e = spoil_in(world, "e", "x.pyc.1", &known);
	for (int i = 0; i < 5; i++) {
		char name[16];

		snprintf(name, sizeof(name), "x.pyc.%d", i);
		d = spoil_in(world, "d", name, &(uint64_t){ 0 });
	}
	/* As long as they have names they stay. */
	inode_release_spoiled_below(world->fs.inodes, &d);
	assert_int_equal(world_figures(world).known, known + 3 + 2 + 5);
	/* Those of another directory stay. */
	shadow_drop(&world->fs.store, &d);
	inode_release_spoiled_below(world->fs.inodes, &e);
	assert_int_equal(world_figures(world).known, known + 3 + 2 + 5);
	inode_release_spoiled_below(world->fs.inodes, &d);
	assert_int_equal(world_figures(world).known, known + 3);
	shadow_drop(&world->fs.store, &e);
	inode_release_spoiled_below(world->fs.inodes, &e);
	assert_int_equal(world_figures(world).known, known);
	assert_int_equal(world_figures(world).descriptors, 1);
}

/* A file "a" in @cache, which the caller gets open. */
static struct inode *make_file(struct world *world, struct inode *cache,
			       struct handle **ret_dir)
{
	assert_int_equal(world_make(world, cache, "a", "text"), 0);
	assert_int_equal(route_open(&world->fs, cache, HANDLE_PATH, ret_dir), 0);
	return world_find(world, cache, "a");
}

/* Takes @name in the directory @parent, open as @dirfd, away. */
static void take_away(struct world *world, struct inode *file, struct inode *parent,
		      int dirfd, const char *name)
{
	assert_int_equal(inode_hold(world->fs.inodes, file, true), 0);
	assert_int_equal(unlinkat(dirfd, name, 0), 0);
	inode_lost_name(world->fs.inodes, file, parent, name);
	inode_release_spoiled(world->fs.inodes, file);
	inode_release(world->fs.inodes, file);
}

static void it_goes_with_its_last_name(void **state)
{
	struct world *world = *state;
	_cleanup_handle_ struct handle *dir = NULL;
	struct inode *cache = world_find(world, world->root, "__pycache__");
	uint64_t known = world_figures(world).known;
	struct inode *file = make_file(world, cache, &dir);

	assert_int_equal(linkat(handle_fd(dir), "a", handle_fd(dir), "b", 0), 0);
	inode_spoil(world->fs.inodes, file, -ENOSPC);
	take_away(world, file, cache, handle_fd(dir), "b");
	assert_int_equal(inode_spoiled(file), -ENOSPC);
	take_away(world, file, cache, handle_fd(dir), "a");
	assert_int_equal(inode_spoiled(file), 0);
	world_forget(world, file);
	assert_int_equal(world_figures(world).known, known);
}

/* It is written to through a descriptor that somebody still has. */
static void without_a_name_it_goes_when_it_is_forgotten(void **state)
{
	struct world *world = *state;
	_cleanup_handle_ struct handle *dir = NULL;
	struct inode *cache = world_find(world, world->root, "__pycache__");
	uint64_t known = world_figures(world).known;
	struct inode *file = make_file(world, cache, &dir);

	take_away(world, file, cache, handle_fd(dir), "a");
	inode_spoil(world->fs.inodes, file, -ENOSPC);
	assert_int_equal(inode_spoiled(file), -ENOSPC);
	world_forget(world, file);
	assert_int_equal(world_figures(world).known, known);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(forgotten_it_is_still_spoiled),
		T(it_goes_with_its_directory),
		T(it_goes_with_its_last_name),
		T(without_a_name_it_goes_when_it_is_forgotten),
	};
	int status = unit_needs_store();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
