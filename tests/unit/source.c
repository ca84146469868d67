/*
 * The source: opening it, and what lies in it and is mounted below it.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "mounts.h"
#include "source.h"

struct fixed {
	char *top;
	struct source source;
	int before;
};

static int set_up(void **state)
{
	static struct fixed fixed;

	fixed.before = unit_descriptors();
	fixed.top = unit_scratch();
	*state = &fixed;
	return source_open(&fixed.source, fixed.top);
}

static int tear_down(void **state)
{
	struct fixed *fixed = *state;

	source_close(&fixed->source);
	/* Closed is closed: again is harmless. */
	source_close(&fixed->source);
	unit_remove(fixed->top);
	if (unit_descriptors() == fixed->before)
		return 0;
	print_error("a descriptor is left\n");
	return -1;
}

static int open_child(struct fixed *fixed, const char *name, int *ret)
{
	return source_open_child(&fixed->source, fixed->source.fd, name, ret);
}

/* The file's type by its descriptor. */
static mode_t type_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_mode & S_IFMT;
}

static int open_locked(void *data)
{
	struct fixed *fixed = data;
	struct source source;

	return -source_open(&source, in(fixed->top, "locked/d"));
}

static void only_a_directory_that_can_be_reached_is_opened(void **state)
{
	struct fixed *fixed = *state;
	struct source source = { .fd = 77 };

	tree_write(in(fixed->top, "file"), "", -1);
	assert_int_equal(mkdir(in(fixed->top, "locked"), 0700), 0);
	assert_int_equal(mkdir(in(fixed->top, "locked/d"), 0755), 0);
	assert_int_equal(symlink("self", in(fixed->top, "self")), 0);
	assert_int_equal(symlink("locked/d", in(fixed->top, "link")), 0);

	assert_int_equal(source_open(&source, in(fixed->top, "missing")), -ENOENT);
	assert_int_equal(source_open(&source, in(fixed->top, "file")), -ENOTDIR);
	assert_int_equal(source_open(&source, in(fixed->top, "file/x")), -ENOTDIR);
	assert_int_equal(source_open(&source, in(fixed->top, "self")), -ELOOP);
	assert_int_equal(source_open(&source, ""), -ENOENT);
	assert_int_equal(source.fd, 77);
	assert_int_equal(as_user(NOBODY, NOBODY, NULL, 0, open_locked, fixed),
			 EACCES);

	assert_int_equal(source_open(&source, in(fixed->top, "link")), 0);
	assert_int_equal(type_of(source.fd), S_IFDIR);
	assert_int_equal(fcntl(source.fd, F_GETFD), FD_CLOEXEC);
	assert_true(atomic_load(&source.own_dev) == 0);
	source_close(&source);
}

static void a_child_is_opened_as_what_it_is(void **state)
{
	struct fixed *fixed = *state;
	static const struct {
		const char *name;
		mode_t type;
	} cases[] = {
		{ "file", S_IFREG }, { "directory", S_IFDIR },
		{ "link", S_IFLNK }, { "dangling", S_IFLNK },
		{ "fifo", S_IFIFO }, { "null", S_IFCHR },
	};
	int fd;

	tree_write(in(fixed->top, "file"), "", -1);
	assert_int_equal(chmod(in(fixed->top, "file"), 0), 0);
	assert_int_equal(mkdir(in(fixed->top, "directory"), 0), 0);
	assert_int_equal(symlink("directory", in(fixed->top, "link")), 0);
	assert_int_equal(symlink("nowhere", in(fixed->top, "dangling")), 0);
	/* Opening a FIFO or a device would wait, or wake it up. */
	assert_int_equal(mkfifo(in(fixed->top, "fifo"), 0600), 0);
	assert_int_equal(mknod(in(fixed->top, "null"), S_IFCHR | 0600,
			       (dev_t)(1 << 8 | 3)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(open_child(fixed, cases[i].name, &fd), 0);
		assert_int_equal(type_of(fd), cases[i].type);
		assert_int_equal(fcntl(fd, F_GETFL) & O_PATH, O_PATH);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		close(fd);
	}
	fd = 77;
	assert_int_equal(open_child(fixed, "missing", &fd), -ENOENT);
	assert_int_equal(open_child(fixed, "file/x", &fd), -ENOTDIR);
	assert_int_equal(fd, 77);
}

static void mounts_below_are_entered(void **state)
{
	struct fixed *fixed = *state;
	struct stat outside, inside;
	int fd;

	assert_int_equal(mkdir(in(fixed->top, "mnt"), 0755), 0);
	tree_write(in(fixed->top, "file"), "", -1);
	assert_int_equal(mount("x", in(fixed->top, "mnt"), "tmpfs", 0, NULL), 0);
	assert_int_equal(mount("/dev/null", in(fixed->top, "file"), NULL, MS_BIND,
			       NULL), 0);
	assert_int_equal(stat(fixed->top, &outside), 0);

	assert_int_equal(open_child(fixed, "mnt", &fd), 0);
	assert_int_equal(fstat(fd, &inside), 0);
	assert_true(inside.st_dev != outside.st_dev);
	tree_write(in(fixed->top, "mnt/x"), "", -1);
	assert_int_equal(faccessat(fd, "x", F_OK, 0), 0);
	close(fd);
	assert_int_equal(open_child(fixed, "file", &fd), 0);
	assert_int_equal(type_of(fd), S_IFCHR);
	close(fd);
	assert_int_equal(umount2(in(fixed->top, "mnt"), 0), 0);
	assert_int_equal(umount2(in(fixed->top, "file"), 0), 0);
}

/* Mounts FUSE that nobody serves; returns the device's descriptor. */
static int mount_unserved(const char *point)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char words[64];

	assert_true(fd >= 0);
	snprintf(words, sizeof(words), "fd=%d,rootmode=40000,user_id=0,group_id=0",
		 fd);
	assert_int_equal(mount("x", point, MOUNTS_TYPE, 0, words), 0);
	return fd;
}

/*
 * The daemon meets its own mount in the source.  Nobody serves it here: one request
 * to it would wait for ever, until the time limit of this test.
 */
static void our_own_mount_below_is_refused_without_a_request(void **state)
{
	struct fixed *fixed = *state;
	const char *point = in(fixed->top, "mnt");
	int device, fd = 77;
	uint64_t dev;
	bool ours;

	assert_int_equal(mkdir(point, 0755), 0);
	assert_int_equal(mkdir(in(fixed->top, "other"), 0755), 0);
	device = mount_unserved(point);
	assert_int_equal(mounts_find(point, &dev, &ours), 1);
	atomic_store(&fixed->source.own_dev, dev);
	assert_int_equal(open_child(fixed, "mnt", &fd), -ELOOP);
	assert_int_equal(mount(point, in(fixed->top, "other"), NULL, MS_BIND, NULL),
			 0);
	assert_int_equal(open_child(fixed, "other", &fd), -ELOOP);
	assert_int_equal(fd, 77);
	/* Another's mount is none of ours. */
	atomic_store(&fixed->source.own_dev, dev + 1);
	assert_int_equal(open_child(fixed, "mnt", &fd), 0);
	close(fd);
	close(device);
	assert_int_equal(umount2(in(fixed->top, "other"), MNT_DETACH), 0);
	assert_int_equal(umount2(in(fixed->top, "mnt"), MNT_DETACH), 0);
}

static void a_dead_mount_as_source_is_an_error(void **state)
{
	struct fixed *fixed = *state;
	struct source source;

	assert_int_equal(mkdir(in(fixed->top, "mnt"), 0755), 0);
	close(mount_unserved(in(fixed->top, "mnt")));
	int err = source_open(&source, in(fixed->top, "mnt"));
	assert_int_equal(umount2(in(fixed->top, "mnt"), MNT_DETACH), 0);
	assert_true(err == -ENOTCONN || err == -ECONNABORTED || err == -ELOOP);
}

static void a_module_is_any_file_but_a_directory(void **state)
{
	struct fixed *fixed = *state;
	int at = fixed->source.fd;

	tree_write(in(fixed->top, "file.py"), "", -1);
	assert_int_equal(mkdir(in(fixed->top, "directory.py"), 0755), 0);
	assert_int_equal(symlink("file.py", in(fixed->top, "link.py")), 0);
	assert_int_equal(symlink("nowhere", in(fixed->top, "dangling.py")), 0);
	assert_true(source_has_module(at, "file.py"));
	assert_true(source_has_module(at, "link.py"));
	assert_true(source_has_module(at, "dangling.py"));
	assert_false(source_has_module(at, "directory.py"));
	assert_false(source_has_module(at, "missing.py"));
	assert_false(source_has_module(at, "FILE.py"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(only_a_directory_that_can_be_reached_is_opened),
		T(a_child_is_opened_as_what_it_is),
		T(mounts_below_are_entered),
		T(our_own_mount_below_is_refused_without_a_request),
		T(a_dead_mount_as_source_is_an_error),
		T(a_module_is_any_file_but_a_directory),
	};
	int status = unit_needs_root();

	if (!status)
		status = unit_needs_fuse();
	if (status)
		return status;
	unit_own_mounts();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
