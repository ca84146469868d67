/*
 * What is noted at an inode: that it is watched, spoiled, tidy.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "inode.h"
#include "inode_names.h"
#include "inode_spoil.h"

/* What the table said when inodes went. */
struct gone {
	int calls;
	uint64_t number;
	bool had_fd;
};

static void note_free(void *data, struct inode *inode, int fd)
{
	struct gone *gone = data;

	gone->calls++;
	gone->number = inode_number(inode);
	gone->had_fd = fd >= 0 && fcntl(fd, F_GETFD) >= 0;
}

static int set_up(void **state)
{
	struct world *world;

	world = world_create(&(struct world_options){ .without_store = true });
	assert_int_equal(mkdir(world_path(world, "d"), 0755), 0);
	assert_int_equal(mkdir(world_path(world, "e"), 0755), 0);
	tree_write(world_path(world, "d/x"), "", -1);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(*state);
	return 0;
}

static void it_is_told_when_a_watched_inode_goes(void **state)
{
	struct world *world = *state;
	struct gone gone = { 0 };
	struct inode *d, *e;
	uint64_t number;

	inode_table_on_free(world->fs.inodes, note_free, &gone);
	d = world_find(world, world->root, "d");
	e = world_find(world, world->root, "e");
	number = inode_number(d);
	assert_false(inode_is_watched(d));
	inode_set_watched(d);
	assert_true(inode_is_watched(d));
	assert_false(inode_is_watched(e));
	world_forget(world, e);
	assert_int_equal(gone.calls, 0);
	world_forget(world, d);
	assert_int_equal(gone.calls, 1);
	assert_true(gone.number == number);
	assert_true(gone.had_fd);

	/* One whose descriptor was dropped has none to give. */
	d = world_find(world, world->root, "d");
	assert_false(inode_is_watched(d));
	inode_set_watched(d);
	inode_close(world->fs.inodes, d);
	world_forget(world, d);
	assert_int_equal(gone.calls, 2);
	assert_false(gone.had_fd);

	/* Those that are left at the end go as well. */
	inode_set_watched(world_find(world, world->root, "d"));
	inode_table_destroy(world->fs.inodes);
	assert_int_equal(gone.calls, 3);
	assert_int_equal(inode_table_create(&world->fs.inodes, world->fs.source.fd,
					    100, &world->fs.devices, route_reopen,
					    &world->fs), 0);
	world->root = inode_get(world->fs.inodes, INODE_ROOT);
}

static void a_watched_parent_is_known(void **state)
{
	struct world *world = *state;
	struct inode *d = world_find(world, world->root, "d");
	struct inode *e = world_find(world, world->root, "e");
	struct inode *x = world_find(world, d, "x");

	assert_false(inode_parent_watched(world->fs.inodes, x));
	inode_set_watched(e);
	assert_false(inode_parent_watched(world->fs.inodes, x));
	inode_moved(world->fs.inodes, x, d, "x", inode_name_create(e, "x"));
	assert_true(inode_parent_watched(world->fs.inodes, x));
	assert_false(inode_parent_watched(world->fs.inodes, e));
}

static void a_spoiled_inode_is_kept_until_it_is_sound(void **state)
{
	struct world *world = *state;
	struct inode_table *table = world->fs.inodes;
	struct inode *e = world_find(world, world->root, "e");
	uint64_t number = inode_number(e);

	assert_int_equal(inode_spoiled(e), 0);
	/* Sound already: nothing to give back. */
	inode_unspoil(table, e);
	inode_spoil(table, e, -ENOSPC);
	inode_spoil(table, e, -EIO);
	assert_int_equal(inode_spoiled(e), -EIO);
	world_forget(world, e);
	assert_int_equal(world_figures(world).known, 2);
	/* Found again, it is the same, and still spoiled. */
	e = world_find(world, world->root, "e");
	assert_true(inode_number(e) == number);
	assert_int_equal(inode_spoiled(e), -EIO);

	inode_unspoil(table, e);
	assert_int_equal(inode_spoiled(e), 0);
	inode_unspoil(table, e);
	assert_int_equal(world_figures(world).known, 2);
	world_forget(world, e);
	assert_int_equal(world_figures(world).known, 1);
	/* Spoiled at the end: nothing is left of it all the same. */
	inode_spoil(table, world_find(world, world->root, "e"), -ENOSPC);
}

static void a_note_holds_for_its_own_inode(void **state)
{
	struct world *world = *state;
	struct inode *d = world_find(world, world->root, "d");
	struct inode *x = world_find(world, d, "x");

	assert_false(inode_is_tidy(d));
	inode_set_tidy(d);
	assert_true(inode_is_tidy(d));
	assert_false(inode_is_tidy(world->root));
	assert_false(inode_take_capability_removed(x));
	inode_set_capability_removed(x);
	assert_false(inode_take_capability_removed(d));
	assert_true(inode_take_capability_removed(x));
	assert_false(inode_take_capability_removed(x));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(it_is_told_when_a_watched_inode_goes),
		T(a_watched_parent_is_known),
		T(a_spoiled_inode_is_kept_until_it_is_sound),
		T(a_note_holds_for_its_own_inode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
