/*
 * Bytecode and its module, without FUSE: stamps, and what is fresh.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "bytecode.h"
#include "shadow.h"

static int set_up(void **state)
{
	struct world *world = world_create(NULL);

	tree_write(world_path(world, "x.py"), "x = 1\n", -1);
	tree_write(world_path(world, "a.py"), "a = 1\n", -1);
	tree_write(world_path(world, "a.b.py"), "b = 1\n", -1);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(*state);
	return 0;
}

/* `__pycache__` of the root; known until the world ends. */
static struct inode *cache_of(struct world *world)
{
	return world_find(world, world->root, "__pycache__");
}

static bool is_there(struct world *world, struct inode *parent, const char *name)
{
	struct inode *inode;
	int err = world_lookup(world, parent, name, &inode);

	if (!err) {
		world_forget(world, inode);
		inode_put(world->fs.inodes, inode);
	}
	assert_true(!err || err == -ENOENT);
	return !err;
}

/* Of the same length, with the same mtime. */
static void edit(struct world *world, const char *name, const char *text)
{
	const char *path = world_path(world, name);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	tree_write(path, text, -1);
	assert_int_equal(utimensat(AT_FDCWD, path, (const struct timespec[2]){
		st.st_atim, st.st_mtim }, 0), 0);
}

static void a_lookup_finds_out_that_a_module_has_changed(void **state)
{
	struct world *world = *state;
	struct inode *cache = cache_of(world);

	assert_int_equal(world_make(world, cache, "x.cpython-311.pyc", "code"), 0);
	assert_int_equal(world_make(world, cache, "x.pypy39.pyc", "code"), 0);
	assert_int_equal(world_make(world, world->root, "x.pyc", "code"), 0);
	assert_int_equal(world_make(world, cache, "a.cpython-311.pyc", "code"), 0);
	assert_true(is_there(world, cache, "x.cpython-311.pyc"));
	assert_true(is_there(world, world->root, "x.pyc"));
	edit(world, "x.py", "x = 2\n");
	assert_false(is_there(world, cache, "x.cpython-311.pyc"));
	assert_false(is_there(world, cache, "x.pypy39.pyc"));
	assert_false(is_there(world, world->root, "x.pyc"));
	assert_true(is_there(world, cache, "a.cpython-311.pyc"));
	assert_int_equal(atomic_load(&world->fs.figures.dropped), 3);
	/* The kernel knows no name beside the source for longer than a lookup. */
	assert_int_equal(world->words, 2);
}

static void the_longest_module_is_the_one_that_counts(void **state)
{
	struct world *world = *state;
	struct inode *cache = cache_of(world);

	assert_int_equal(world_make(world, cache, "a.b.cpython-311.pyc", "code"), 0);
	edit(world, "a.py", "a = 2\n");
	assert_true(is_there(world, cache, "a.b.cpython-311.pyc"));
	edit(world, "a.b.py", "b = 2\n");
	assert_false(is_there(world, cache, "a.b.cpython-311.pyc"));
}

static void what_has_no_stamp_is_stale(void **state)
{
	struct world *world = *state;
	struct inode *cache = cache_of(world);

	assert_int_equal(world_make(world, cache, "x.cpython-311.pyc", "code"), 0);
	shadow_unstamp(&world->fs.store, inode_id(world->root), "x.py");
	assert_false(is_there(world, cache, "x.cpython-311.pyc"));
}

static void news_that_come_late_drop_nothing(void **state)
{
	struct world *world = *state;
	struct inode *cache = cache_of(world);

	edit(world, "x.py", "x = 2\n");
	assert_int_equal(world_make(world, cache, "x.cpython-311.pyc", "code"), 0);
	assert_false(bytecode_module_changed(&world->fs, world->root, "x.py",
					     BYTECODE_HEARD));
	assert_false(bytecode_module_changed(&world->fs, world->root, "x.py",
					     BYTECODE_HEARD | BYTECODE_CAME));
	assert_true(is_there(world, cache, "x.cpython-311.pyc"));
	edit(world, "x.py", "x = 3\n");
	assert_true(bytecode_module_changed(&world->fs, world->root, "x.py",
					    BYTECODE_HEARD));
	assert_false(bytecode_module_changed(&world->fs, world->root, "x.py", 0));
	/* By what is known for certain it goes in any case. */
	assert_int_equal(world_make(world, cache, "x.cpython-311.pyc", "code"), 0);
	assert_true(bytecode_module_changed(&world->fs, world->root, "x.py", 0));
}

static bool make_as(struct world *world, struct inode *cache, pid_t pid)
{
	static const char name[] = "x.cpython-311.pyc.1";

	assert_int_equal(world_make(world, cache, name, "code"), 0);
	bytecode_created(&world->fs, cache, name, pid);
	return is_there(world, cache, name);
}

static void what_was_missed_before_a_change_is_stale(void **state)
{
	static const char name[] = "x.cpython-311.pyc";
	struct world *world = *state;
	struct inode *cache = cache_of(world);
	struct fs *fs = &world->fs;

	bytecode_missed(fs, cache, name, 7);
	assert_true(make_as(world, cache, 7));
	bytecode_missed(fs, cache, name, 7);
	edit(world, "x.py", "x = 2\n");
	/* A temporary is looked for when all is compiled. */
	bytecode_missed(fs, cache, "x.cpython-311.pyc.1", 7);
	/* Others may have compiled it since. */
	assert_true(make_as(world, cache, 8));
	bytecode_drop(fs, inode_id(world->root), "x.py");
	assert_false(make_as(world, cache, 7));
	/* It has been told, and looks again. */
	assert_true(make_as(world, cache, 7));
	/* Of what is no bytecode nothing is noted. */
	bytecode_missed(fs, cache, "x.json", 7);
	bytecode_missed(fs, world->root, "x.pyc", 7);
	bytecode_missed(fs, cache, "z.cpython-311.pyc", 7);
	bytecode_created(fs, cache, "z.cpython-311.pyc", 7);
	bytecode_created(fs, cache, "x.json", 7);
	bytecode_created(fs, world->root, "x.pyc", 7);
	edit(world, "x.py", "x = 3\n");
	bytecode_drop(fs, inode_id(world->root), "x.py");
	assert_true(make_as(world, cache, 7));
}

static void other_names_are_passed_over(void **state)
{
	struct world *world = *state;
	struct inode *cache = cache_of(world);

	assert_int_equal(world_make(world, cache, "x.cpython-311.pyc", "code"), 0);
	assert_false(bytecode_module_changed(&world->fs, world->root, "x",
					     BYTECODE_CAME));
	assert_false(bytecode_module_changed(&world->fs, world->root, ".py",
					     BYTECODE_CAME));
	assert_false(bytecode_module_changed(&world->fs, cache, "x.py",
					     BYTECODE_CAME));
	assert_true(is_there(world, cache, "x.cpython-311.pyc"));
}

/* As long as there is a descriptor for it, which is for the next test to exceed. */
static void what_is_known_when_it_is_dropped_can_be_read_on(void **state)
{
	struct world *world = *state;
	struct inode *cache = cache_of(world);
	struct inode *file;

	assert_int_equal(world_make(world, cache, "x.cpython-311.pyc", "code"), 0);
	file = world_find(world, cache, "x.cpython-311.pyc");
	assert_int_equal(bytecode_drop(&world->fs, inode_id(world->root), "x.py"), 1);
	world_push_out(world);
	assert_int_equal(world_open(world, file, HANDLE_READ), 0);
	assert_false(is_there(world, cache, "x.cpython-311.pyc"));
	assert_int_equal(world->files_gone, 1);
	/* What the kernel does not know need not be kept. */
	assert_int_equal(world_make(world, cache, "x.cpython-311.pyc", "code"), 0);
	assert_int_equal(bytecode_drop(&world->fs, inode_id(world->root), "x.py"), 1);
	assert_int_equal(world->files_gone, 1);
}

static void more_than_can_be_kept_are_dropped_all_the_same(void **state)
{
	/* Of the limit three quarters may be pinned; one is the root. */
	enum { LIMIT = 64, PINS = LIMIT * 3 / 4 - 1, FILES = PINS + 10 };
	struct world *world = world_create(&(struct world_options){ .limit = LIMIT });
	struct inode *cache = cache_of(world), *files[FILES];
	int left = 0;
	char name[32];

	(void)state;
	tree_write(world_path(world, "x.py"), "x = 1\n", -1);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "x.tag%d.pyc", i);
		assert_int_equal(world_make(world, cache, name, "code"), 0);
		files[i] = world_find(world, cache, name);
	}
	assert_int_equal(bytecode_drop(&world->fs, inode_id(world->root), "x.py"),
			 FILES);
	for (int i = 0; i < FILES; i++) {
		int err = world_open(world, files[i], HANDLE_READ);

		snprintf(name, sizeof(name), "x.tag%d.pyc", i);
		assert_false(is_there(world, cache, name));
		assert_true(!err || err == -ESTALE);
		left += !err;
	}
	assert_int_equal(left, PINS);
	world_destroy(world);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_lookup_finds_out_that_a_module_has_changed),
		T(the_longest_module_is_the_one_that_counts),
		T(what_has_no_stamp_is_stale),
		T(news_that_come_late_drop_nothing),
		T(what_was_missed_before_a_change_is_stale),
		T(other_names_are_passed_over),
		T(what_is_known_when_it_is_dropped_can_be_read_on),
		cmocka_unit_test(more_than_can_be_kept_are_dropped_all_the_same),
	};
	int status = unit_needs_store();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
