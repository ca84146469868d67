/*
 * Making room: how often a store is gone through in vain, and what comes meanwhile.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "room.h"
#include "shadow.h"

#define BYTECODE "m.cpython-311.pyc"
#define NEWCOMER "m.cpython-312.pyc"

enum { SIZE = 1 << 20, LITTLE = 1 << 14 };

struct fixed {
	struct world *world;
	struct inode *cache;	/* of the root; known to the kernel */
	int part;		/* what it is in the store */
};

static struct fixed fixed;

/* A store that holds a library, which can't go, and has little room beside it. */
static int set_up(void **state)
{
	struct world *world = world_create(NULL);

	tree_write(world_path(world, "m.py"), "m = 1\n", -1);
	fixed.world = world;
	fixed.cache = world_find(world, world->root, "__pycache__");
	assert_int_equal(world_make(world, fixed.cache, "lib.so", "x"), 0);
	assert_int_equal(shadow_open(&world->fs.store, SHADOW_CACHE,
				     inode_id(world->root), &fixed.part), 0);
	*state = &fixed;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(fixed.part);
	world_destroy(fixed.world);
	return 0;
}

static void resize(const char *name, off_t size)
{
	_cleanup_close_ int fd = openat(fixed.part, name, O_WRONLY | O_CLOEXEC);

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(posix_fallocate(fd, 0, size), 0);
}

static bool lies_there(const char *name)
{
	return faccessat(fixed.part, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool has_stamp(void)
{
	char stamp[NOTE_SIZE];

	return shadow_get_stamp(&fixed.world->fs.store, inode_id(fixed.world->root),
				"m.py", stamp) == 0;
}

static void a_store_that_nothing_can_go_from_is_left_alone_for_a_moment(void **state)
{
	struct fs *fs = &fixed.world->fs;
	uint64_t before = milliseconds();

	(void)state;
	resize("lib.so", SIZE - LITTLE);
	assert_int_equal(room_make(fs, 2 * LITTLE, NULL), -ENOSPC);
	assert_in_range(fs->no_room_until, before + 1, milliseconds() + 1000);
	/* Until then it is not gone through, though something could go by now. */
	assert_int_equal(world_make(fixed.world, fixed.cache, BYTECODE, ""), 0);
	resize(BYTECODE, LITTLE);
	fs->no_room_until = UINT64_MAX;
	assert_int_equal(room_make(fs, LITTLE, NULL), -ENOSPC);
	assert_true(lies_there(BYTECODE));
	/* Afterwards it is. */
	fs->no_room_until = milliseconds();
	assert_int_equal(room_make(fs, LITTLE, NULL), 0);
	assert_false(lies_there(BYTECODE));
}

static void room_that_is_there_is_not_refused_meanwhile(void **state)
{
	struct fs *fs = &fixed.world->fs;

	(void)state;
	resize("lib.so", SIZE - LITTLE);
	assert_int_equal(room_make(fs, 2 * LITTLE, NULL), -ENOSPC);
	fs->no_room_until = UINT64_MAX;
	assert_int_equal(room_make(fs, LITTLE / 2, NULL), 0);
	assert_int_equal(room_make(fs, 2 * LITTLE, NULL), -ENOSPC);
	resize("lib.so", LITTLE);
	assert_int_equal(room_make(fs, 2 * LITTLE, NULL), 0);
}

/* Called when a file of the cache was evicted, before its family's stamps go. */
static void make_newcomer(void *notifier, uint64_t directory, const char *name)
{
	(void)notifier, (void)directory;
	if (strcmp(name, BYTECODE) == 0)
		close(openat(fixed.part, NEWCOMER, O_WRONLY | O_CREAT, 0644));
}

/* The next stamp would make it look fresh, whatever it was made from. */
static void no_bytecode_is_left_without_its_stamp(void **state)
{
	struct fs *fs = &fixed.world->fs;

	(void)state;
	assert_int_equal(world_make(fixed.world, fixed.cache, BYTECODE, ""), 0);
	resize(BYTECODE, LITTLE);
	resize("lib.so", SIZE - LITTLE);
	assert_true(has_stamp());
	fs->name_gone = make_newcomer;
	assert_int_equal(room_make(fs, LITTLE, NULL), 0);
	assert_false(lies_there(BYTECODE));
	assert_true(!lies_there(NEWCOMER) || has_stamp());
	assert_true(lies_there("lib.so"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_store_that_nothing_can_go_from_is_left_alone_for_a_moment),
		T(room_that_is_there_is_not_refused_meanwhile),
		T(no_bytecode_is_left_without_its_stamp),
	};
	int status = unit_needs_store();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
