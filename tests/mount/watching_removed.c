/*
 * What is removed behind the mount gives its space back, once nobody has it open
 * through the mount any more; and what the store kept for it goes too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "command.h"
#include "fixture.h"
#include "tree.h"

enum { LARGE = 8 << 20, PATIENCE = 20 };

/* A filesystem of its own, so that nobody else changes what is free. */
static int make_tmpfs(const char *source, void *data)
{
	(void)data;
	return mount("x", source, "tmpfs", 0, "size=64M");
}

/*
 * With a module in it, made before it is mounted: what is made behind the mount has the
 * kernel look again, and forget the directory when it has no more use for it, unlooked at
 * by anybody when it is removed.
 */
static int make_module(const char *source, void *data)
{
	if (make_tmpfs(source, data))
		return -1;
	tree_write(in(source, "d/e/x.py"), "", -1);
	return 0;
}

/* An overlay, whose lower and upper directories are the two of a tmpfs. */
static int make_overlay(const char *source, void *data)
{
	char words[1024];

	if (make_tmpfs(source, data) || mkdir(in(source, "lower"), 0755) ||
	    mkdir(in(source, "upper"), 0755) || mkdir(in(source, "work"), 0755))
		return -1;
	snprintf(words, sizeof(words), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
		 source, source, source);
	return mount("x", source, "overlay", 0, words);
}

static int setup_with(void **state, int (*prepare)(const char *source, void *data))
{
	*state = fixture_create(&(struct fixture_options){ .prepare = prepare });
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, make_tmpfs);
}

static int setup_module(void **state)
{
	return setup_with(state, make_module);
}

/* With fewer descriptors than the tests look at files. */
static int setup_few(void **state)
{
	*state = fixture_create(&(struct fixture_options){
		.prepare = make_module, .descriptors = 100,
	});
	return 0;
}

static int setup_overlay(void **state)
{
	return setup_with(state, make_overlay);
}

static int teardown(void **state)
{
	fixture_destroy(*state);
	return 0;
}

static uint64_t free_space(const struct fixture *f)
{
	struct statvfs fs;
	int fd = openat(f->source_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fstatvfs(fd, &fs), 0);
	close(fd);
	return fs.f_bfree * fs.f_frsize;
}

static bool has_space(void *data)
{
	return free_space(data) >= 50 << 20;
}

static void expect_space(struct fixture *f)
{
	assert_true(eventually(PATIENCE, has_space, f));
}

static void remove_behind(const struct fixture *f, const char *name, int flags)
{
	assert_int_equal(unlinkat(f->source_fd, name, flags), 0);
}

static void look_at(const struct fixture *f, const char *name)
{
	struct stat st;

	assert_int_equal(lstat(in(f->mountpoint, name), &st), 0);
}

/* A file that takes @size bytes. */
static void write_large(const char *path, off_t size)
{
	int fd;

	tree_write(path, "", -1);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(posix_fallocate(fd, 0, size), 0);
	close(fd);
}

static void a_removed_file_gives_its_space_back(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		write_large(in(f->source, "d/large"), 3 * LARGE);
		look_at(f, "d/large");
		remove_behind(f, "d/large", 0);
		expect_space(f);
	}
}

static void a_replaced_file_gives_its_space_back(void **state)
{
	struct fixture *f = *state;

	write_large(in(f->source, "d/large"), 3 * LARGE);
	look_at(f, "d/large");
	tree_write(in(f->source, "d/small"), "x", -1);
	assert_int_equal(renameat(f->source_fd, "d/small", f->source_fd, "d/large"), 0);
	expect_space(f);
}

static void a_removed_tree_gives_its_space_back(void **state)
{
	struct fixture *f = *state;
	char name[32];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "d/e/f%d/large", i);
		write_large(in(f->source, name), 1 << 20);
		look_at(f, name);
	}
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "d/e/f%d/large", i);
		remove_behind(f, name, 0);
		snprintf(name, sizeof(name), "d/e/f%d", i);
		remove_behind(f, name, AT_REMOVEDIR);
	}
	remove_behind(f, "d/e", AT_REMOVEDIR);
	expect_space(f);
}

/* Other files, so that descriptors are dropped. */
static void look_at_many(const struct fixture *f)
{
	char name[64];

	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "other/%d", i);
		tree_write(in(f->source, name), "", -1);
		look_at(f, name);
	}
}

struct open_file {
	struct fixture *f;
	int fd;
};

static bool has_no_link(void *data)
{
	struct open_file *file = data;
	struct stat st;

	return fstat(file->fd, &st) == 0 && st.st_nlink == 0;
}

static void an_open_file_stays_whole_until_it_is_closed(void **state)
{
	struct fixture *f = *state;
	struct open_file file = { .f = f };
	char *content = calloc(1, LARGE);

	write_large(in(f->source, "d/large"), 3 * LARGE);
	tree_write(in(f->source, "d/other"), "x", -1);
	file.fd = open(in(f->mountpoint, "d/large"), O_RDWR | O_CLOEXEC);
	assert_true(file.fd >= 0);
	remove_behind(f, "d/large", 0);
	assert_true(eventually(PATIENCE, has_no_link, &file));
	/* Others come and go; this one is kept. */
	look_at_many(f);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pread(file.fd, content, LARGE, i * LARGE), LARGE);
		assert_int_equal(pwrite(file.fd, content, LARGE, i * LARGE), LARGE);
	}
	assert_int_equal(fsync(file.fd), 0);
	assert_false(has_space(f));
	close(file.fd);
	free(content);
	expect_space(f);
}

/* One number of `status`. */
static json_int_t figure(const struct fixture *f, const char *group, const char *key)
{
	json_t *status = fixture_status(f->mountpoint);
	json_int_t value;

	assert_non_null(status);
	value = json_integer_value(json_object_get(json_object_get(status, group), key));
	json_decref(status);
	return value;
}

static bool store_is_empty(void *data)
{
	return figure(data, "store", "files") == 0 &&
		figure(data, "store", "inodes_used") == 0;
}

static void the_bytecode_of_a_removed_directory_goes(void **state)
{
	struct fixture *f = *state;

	tree_write(in(f->mountpoint, "d/e/__pycache__/x.pyc"), "x", -1);
	assert_int_equal(figure(f, "store", "files"), 1);
	remove_behind(f, "d/e/x.py", 0);
	remove_behind(f, "d/e", AT_REMOVEDIR);
	assert_true(eventually(PATIENCE, store_is_empty, f));
}

/* Whose descriptor was dropped: nothing holds it when it is removed. */
static void the_bytecode_goes_of_a_directory_without_descriptor(void **state)
{
	struct fixture *f = *state;

	tree_write(in(f->mountpoint, "d/e/__pycache__/x.pyc"), "x", -1);
	look_at_many(f);
	remove_behind(f, "d/e/x.py", 0);
	remove_behind(f, "d/e", AT_REMOVEDIR);
	assert_true(eventually(PATIENCE, store_is_empty, f));
}

/* Whose descriptor held it when it was removed, and was dropped before it was missed. */
static void the_bytecode_goes_of_a_directory_that_we_close_last(void **state)
{
	struct fixture *f = *state;

	tree_write(in(f->mountpoint, "d/e/__pycache__/x.pyc"), "x", -1);
	remove_behind(f, "d/e/x.py", 0);
	remove_behind(f, "d/e", AT_REMOVEDIR);
	look_at_many(f);
	assert_true(eventually(PATIENCE, store_is_empty, f));
}

static void who_watches_a_file_by_inotify_hears_that_it_is_gone(void **state)
{
	struct fixture *f = *state;
	int inotify = inotify_init1(IN_CLOEXEC);
	struct pollfd poll_for = { .fd = inotify, .events = POLLIN };

	tree_write(in(f->source, "d/file"), "x", -1);
	assert_true(inotify_add_watch(inotify, in(f->mountpoint, "d/file"),
				      IN_DELETE_SELF) >= 0);
	remove_behind(f, "d/file", 0);
	assert_int_equal(poll(&poll_for, 1, PATIENCE * 1000), 1);
	close(inotify);
}

static bool exists(void *path)
{
	return access(path, F_OK) == 0;
}

static bool is_device(const char *path, dev_t dev)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_dev == dev;
}

/* A new file took the name, and something is mounted on it. */
static void a_mount_on_the_successor_of_a_removed_directory_stays(void **state)
{
	struct fixture *f = *state;
	char place[320], successor[320];
	struct stat st;
	int held;

	snprintf(place, sizeof(place), "%s/d/e", f->mountpoint);
	snprintf(successor, sizeof(successor), "%s/d/e/new", f->mountpoint);

	write_large(in(f->source, "d/e/old"), 3 * LARGE);
	look_at(f, "d/e/old");
	held = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
	remove_behind(f, "d/e/old", 0);
	remove_behind(f, "d/e", AT_REMOVEDIR);
	tree_write(in(f->source, "d/e/new"), "x", -1);
	assert_true(eventually(PATIENCE, exists, successor));
	assert_int_equal(mount("x", place, "tmpfs", 0, NULL), 0);
	assert_int_equal(lstat(place, &st), 0);
	expect_space(f);
	/* Many more sweeps. */
	for (int i = 0; i < 5; i++) {
		write_large(in(f->source, "d/large"), 3 * LARGE);
		look_at(f, "d/large");
		remove_behind(f, "d/large", 0);
		expect_space(f);
	}
	assert_true(is_device(place, st.st_dev));
	close(held);
	assert_int_equal(umount(place), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_removed_file_gives_its_space_back),
		T(a_replaced_file_gives_its_space_back),
		T(a_removed_tree_gives_its_space_back),
		T(an_open_file_stays_whole_until_it_is_closed),
		cmocka_unit_test_setup_teardown(the_bytecode_of_a_removed_directory_goes,
						setup_module, teardown),
		cmocka_unit_test_setup_teardown(
			the_bytecode_goes_of_a_directory_without_descriptor,
			setup_few, teardown),
		cmocka_unit_test_setup_teardown(
			the_bytecode_goes_of_a_directory_that_we_close_last,
			setup_few, teardown),
		cmocka_unit_test_setup_teardown(an_open_file_stays_whole_until_it_is_closed,
						setup_few, teardown),
		T(who_watches_a_file_by_inotify_hears_that_it_is_gone),
		T(a_mount_on_the_successor_of_a_removed_directory_stays),
		cmocka_unit_test_setup_teardown(a_removed_file_gives_its_space_back,
						setup_overlay, teardown),
		cmocka_unit_test_setup_teardown(an_open_file_stays_whole_until_it_is_closed,
						setup_overlay, teardown),
	};
	int status = fixture_possible();

	if (!status && geteuid() != 0) {
		fprintf(stderr, "needs root to mount a filesystem of its own\n");
		status = getenv("PYCACHEFS_MUST_RUN") ? 1 : 77;
	}
	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
