/*
 * Descriptors behind the inode table: bounded, reopened by name when they were
 * dropped, and only if what is found there is still the same file.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "inode.h"

enum { LIMIT = 64, FILES = 600 };

struct fixed {
	struct world *world;
	struct inode *files[FILES];
};

static const char *file_name(int i)
{
	static char names[4][16];
	static unsigned next;
	char *name = names[next++ % 4];

	snprintf(name, sizeof(names[0]), "file-%d", i);
	return name;
}

static int set_up(void **state)
{
	static struct fixed fixed;

	fixed.world = world_create(&(struct world_options){
		.without_store = true, .limit = LIMIT });
	for (int i = 0; i < FILES; i++)
		tree_write(world_path(fixed.world, file_name(i)), file_name(i), -1);
	for (int i = 0; i < FILES; i++)
		fixed.files[i] = world_find(fixed.world, fixed.world->root,
					    file_name(i));
	*state = &fixed;
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(((struct fixed *)*state)->world);
	return 0;
}

static int open_for(struct fixed *fixed, struct inode *inode, enum handle_use use)
{
	return world_open(fixed->world, inode, use);
}

/* Drops the descriptor, so that the next use has to open by name. */
static void drop(struct fixed *fixed, struct inode *inode)
{
	inode_close(fixed->world->fs.inodes, inode);
}

static void assert_holds(struct fixed *fixed, struct inode *inode,
			 const char *text)
{
	_cleanup_handle_ struct handle *handle = NULL;
	char found[64] = "";

	assert_int_equal(inode_open(fixed->world->fs.inodes, inode, HANDLE_READ,
				    &handle), 0);
	assert_true(pread(handle_fd(handle), found, sizeof(found) - 1, 0) >= 0);
	assert_string_equal(found, text);
}

static void there_are_never_more_than_the_limit(void **state)
{
	static const enum handle_use uses[] = {
		HANDLE_PATH, HANDLE_READ, HANDLE_WRITE, HANDLE_PATH, HANDLE_READ,
	};
	struct fixed *fixed = *state;
	int before = unit_descriptors() -
		(int)world_figures(fixed->world).descriptors;

	assert_int_equal(world_figures(fixed->world).limit, LIMIT);
	assert_int_equal(world_figures(fixed->world).known, FILES + 1);
	for (size_t round = 0; round < ARRAY_SIZE(uses) * 4; round++) {
		for (int i = 0; i < FILES; i++) {
			struct inode_figures figures;

			assert_int_equal(open_for(fixed, fixed->files[i],
				uses[round % ARRAY_SIZE(uses)]), 0);
			figures = world_figures(fixed->world);
			assert_in_range(figures.descriptors, 1, LIMIT);
		}
		/* What it counts is what is open. */
		assert_int_equal(unit_descriptors(), before +
			(int)world_figures(fixed->world).descriptors);
	}
}

static void a_dropped_descriptor_is_opened_anew(void **state)
{
	struct fixed *fixed = *state;

	for (int i = 0; i < FILES; i++)
		assert_holds(fixed, fixed->files[i], file_name(i));
	for (int i = FILES - 1; i >= 0; i--)
		assert_holds(fixed, fixed->files[i], file_name(i));
}

/* What was used since the last time round stays: here one of all is. */
static void what_is_used_stays(void **state)
{
	struct fixed *fixed = *state;
	struct inode_table *table = fixed->world->fs.inodes;
	_cleanup_handle_ struct handle *first = NULL;

	assert_int_equal(inode_open(table, fixed->files[0], HANDLE_READ, &first),
			 0);
	for (int i = 1; i < FILES; i++) {
		_cleanup_handle_ struct handle *again = NULL;

		assert_int_equal(open_for(fixed, fixed->files[i], HANDLE_PATH), 0);
		if (i % (LIMIT / 8) == 0) {
			assert_int_equal(inode_open(table, fixed->files[0],
						    HANDLE_READ, &again), 0);
			assert_ptr_equal(again, first);
		}
	}
}

static void a_descriptor_in_use_outlasts_its_place(void **state)
{
	struct fixed *fixed = *state;
	struct handle *handle;
	struct stat st;
	int fd;

	assert_int_equal(inode_open(fixed->world->fs.inodes, fixed->files[0],
				    HANDLE_PATH, &handle), 0);
	fd = handle_fd(handle);
	for (int i = 1; i < FILES; i++)
		assert_int_equal(open_for(fixed, fixed->files[i], HANDLE_PATH), 0);
	drop(fixed, fixed->files[0]);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_ino == inode_id(fixed->files[0])->ino);
	handle_put(handle_ref(handle));
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	handle_put(handle);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	handle_put(NULL);
}

static void a_descriptor_is_good_for_what_was_asked(void **state)
{
	struct fixed *fixed = *state;
	struct inode_table *table = fixed->world->fs.inodes;
	struct inode *file = fixed->files[0];
	static const struct {
		enum handle_use use;
		int flags;	/* of the descriptor */
	} steps[] = {
		{ HANDLE_PATH, O_PATH }, { HANDLE_READ, O_RDONLY },
		/* A better one serves for less. */
		{ HANDLE_PATH, O_RDONLY }, { HANDLE_WRITE, O_RDWR },
		{ HANDLE_READ, O_RDWR }, { HANDLE_PATH, O_RDWR },
		{ HANDLE_WRITE, O_RDWR },
	};

	drop(fixed, file);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct handle *handle;

		assert_int_equal(inode_open(table, file, steps[i].use, &handle), 0);
		assert_int_equal(fcntl(handle_fd(handle), F_GETFL) &
				 (O_PATH | O_ACCMODE), steps[i].flags);
		assert_int_equal(fcntl(handle_fd(handle), F_GETFD), FD_CLOEXEC);
		handle_put(handle);
	}
}

static void only_files_and_directories_are_opened_to_read(void **state)
{
	struct fixed *fixed = *state;
	struct world *world = fixed->world;
	struct inode *inode;

	assert_int_equal(mkfifo(world_path(world, "fifo"), 0600), 0);
	assert_int_equal(symlink("fifo", world_path(world, "link")), 0);
	assert_int_equal(mkdir(world_path(world, "directory"), 0755), 0);
	inode = world_find(world, world->root, "fifo");
	assert_int_equal(open_for(fixed, inode, HANDLE_PATH), 0);
	assert_int_equal(open_for(fixed, inode, HANDLE_READ), -EINVAL);
	assert_int_equal(open_for(fixed, inode, HANDLE_WRITE), -EINVAL);
	inode = world_find(world, world->root, "link");
	assert_int_equal(open_for(fixed, inode, HANDLE_PATH), 0);
	assert_int_equal(open_for(fixed, inode, HANDLE_READ), -EINVAL);
	inode = world_find(world, world->root, "directory");
	assert_int_equal(open_for(fixed, inode, HANDLE_READ), 0);
	assert_int_equal(open_for(fixed, inode, HANDLE_WRITE), -EISDIR);
}

static void what_is_no_longer_the_same_is_stale(void **state)
{
	struct fixed *fixed = *state;
	struct world *world = fixed->world;
	struct inode **files = fixed->files, *directory, *inside;

	for (int i = 0; i < 6; i++)
		drop(fixed, files[i]);
	/* Gone, replaced by a rename, made anew, another type, moved away. */
	tree_remove(world_path(world, "file-0"));
	tree_write(world_path(world, "new"), "file-1", -1);
	assert_int_equal(rename(world_path(world, "new"),
				world_path(world, "file-1")), 0);
	tree_remove(world_path(world, "file-2"));
	tree_write(world_path(world, "file-2"), "file-2", -1);
	tree_remove(world_path(world, "file-3"));
	assert_int_equal(mkdir(world_path(world, "file-3"), 0755), 0);
	assert_int_equal(rename(world_path(world, "file-4"),
				world_path(world, "elsewhere")), 0);
	tree_remove(world_path(world, "file-5"));
	assert_int_equal(symlink("file-6", world_path(world, "file-5")), 0);
	for (int i = 0; i < 6; i++)
		assert_int_equal(open_for(fixed, files[i], HANDLE_PATH), -ESTALE);
	/* Back, or looked up where it is now, it is itself again. */
	assert_int_equal(rename(world_path(world, "elsewhere"),
				world_path(world, "file-4")), 0);
	assert_holds(fixed, files[4], "file-4");

	/* A directory on the way that is another one by now. */
	tree_write(world_path(world, "d/x"), "x", -1);
	directory = world_find(world, world->root, "d");
	inside = world_find(world, directory, "x");
	drop(fixed, inside);
	drop(fixed, directory);
	assert_int_equal(rename(world_path(world, "d"), world_path(world, "e")), 0);
	assert_int_equal(open_for(fixed, inside, HANDLE_PATH), -ESTALE);
	assert_int_equal(mkdir(world_path(world, "d"), 0755), 0);
	assert_int_equal(link(world_path(world, "e/x"), world_path(world, "d/x")),
			 0);
	assert_int_equal(open_for(fixed, inside, HANDLE_PATH), -ESTALE);
	assert_ptr_equal(world_find(world, world->root, "e"), directory);
	assert_holds(fixed, inside, "x");
}

static void any_name_that_still_leads_there_will_do(void **state)
{
	struct fixed *fixed = *state;
	struct world *world = fixed->world;

	assert_int_equal(link(world_path(world, "file-0"),
			      world_path(world, "other")), 0);
	assert_ptr_equal(world_find(world, world->root, "other"),
			 fixed->files[0]);
	tree_remove(world_path(world, "file-0"));
	drop(fixed, fixed->files[0]);
	assert_holds(fixed, fixed->files[0], "file-0");
}

static void a_deep_tree_is_opened_from_its_top(void **state)
{
	enum { DEPTH = 1500 };
	struct fixed *fixed = *state;
	struct world *world = fixed->world;
	struct inode *chain[DEPTH], *at = world->root;
	int fd = open(world->source, O_PATH | O_CLOEXEC);

	for (int i = 0; i < DEPTH; i++) {
		assert_int_equal(mkdirat(fd, "d", 0755), 0);
		int next = openat(fd, "d", O_PATH | O_CLOEXEC);

		close(fd);
		fd = next;
		chain[i] = at = world_find(world, at, "d");
	}
	close(fd);
	for (int i = 0; i < DEPTH; i++)
		drop(fixed, chain[i]);
	assert_int_equal(open_for(fixed, at, HANDLE_READ), 0);
	assert_in_range(world_figures(world).descriptors, 1, LIMIT);
}

/* Two directories that swapped places behind the mount, half of it heard of. */
static void a_loop_of_parents_is_stale_not_endless(void **state)
{
	struct fixed *fixed = *state;
	struct world *world = fixed->world;
	struct inode *a, *b;

	tree_write(world_path(world, "a/b/x"), "x", -1);
	a = world_find(world, world->root, "a");
	b = world_find(world, a, "b");
	assert_int_equal(rename(world_path(world, "a/b"), world_path(world, "b")), 0);
	assert_int_equal(rename(world_path(world, "a"), world_path(world, "b/a")), 0);
	assert_ptr_equal(world_find(world, b, "a"), a);
	drop(fixed, a);
	drop(fixed, b);
	assert_int_equal(open_for(fixed, a, HANDLE_PATH), -ESTALE);
	assert_int_equal(open_for(fixed, b, HANDLE_PATH), -ESTALE);
	/* The next lookup sets it right. */
	assert_ptr_equal(world_find(world, world->root, "b"), b);
	assert_int_equal(open_for(fixed, a, HANDLE_PATH), 0);
	uint64_t known = world_figures(world).known;
	inode_forget(world->fs.inodes, inode_number(a), 2);
	inode_forget(world->fs.inodes, inode_number(b), 2);
	assert_int_equal(world_figures(world).known, known - 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(there_are_never_more_than_the_limit),
		T(a_dropped_descriptor_is_opened_anew),
		T(what_is_used_stays),
		T(a_descriptor_in_use_outlasts_its_place),
		T(a_descriptor_is_good_for_what_was_asked),
		T(only_files_and_directories_are_opened_to_read),
		T(what_is_no_longer_the_same_is_stale),
		T(any_name_that_still_leads_there_will_do),
		T(a_deep_tree_is_opened_from_its_top),
		T(a_loop_of_parents_is_stale_not_endless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
