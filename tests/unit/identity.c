/*
 * What makes a file the same file, and the inode numbers that are shown.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "identity.h"

/* How often a file is made, looked at and removed again. */
enum { ROUNDS = 3000 };

/* The filesystems that the tests go through: where scratch directories lie, a
 * tmpfs, and an overlay of the two. */
struct places {
	char *top;
	struct devices devices;
	const char *names[3];
	int fds[3];
};

static int set_up(void **state)
{
	struct places *places = calloc(1, sizeof(*places));
	char words[3 * 300];

	if (!places)
		return -1;
	places->top = unit_scratch();
	*places = (struct places){
		.top = places->top, .names = { "disk", "tmpfs", "merged" },
	};
	for (int i = 0; i < 3; i++)
		assert_int_equal(mkdir(in(places->top, places->names[i]), 0755), 0);
	assert_int_equal(mount("x", in(places->top, "tmpfs"), "tmpfs", 0, NULL), 0);
	assert_int_equal(mkdir(in(places->top, "tmpfs/upper"), 0755), 0);
	assert_int_equal(mkdir(in(places->top, "tmpfs/work"), 0755), 0);
	tree_write(in(places->top, "disk/lower file"), "x", -1);
	snprintf(words, sizeof(words),
		 "lowerdir=%s/disk,upperdir=%s/tmpfs/upper,workdir=%s/tmpfs/work",
		 places->top, places->top, places->top);
	assert_int_equal(mount("x", in(places->top, "merged"), "overlay", 0, words),
			 0);
	for (int i = 0; i < 3; i++) {
		places->fds[i] = open(in(places->top, places->names[i]),
				      O_PATH | O_CLOEXEC);
		assert_true(places->fds[i] >= 0);
	}
	assert_int_equal(devices_init(&places->devices), 0);
	*state = places;
	return 0;
}

static int tear_down(void **state)
{
	struct places *places = *state;

	devices_destroy(&places->devices);
	for (int i = 0; i < 3; i++)
		close(places->fds[i]);
	umount2(in(places->top, "merged"), MNT_DETACH);
	umount2(in(places->top, "tmpfs"), MNT_DETACH);
	unit_remove(places->top);
	free(places);
	return 0;
}

static bool same(const struct file_id *a, const struct file_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static struct file_id id_of(struct places *places, int at, const char *name)
{
	struct file_id id;
	struct stat st;

	assert_int_equal(identify(&places->devices, at, name, &st, &id), 0);
	return id;
}

static void make(int at, const char *name)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	close(fd);
}

static void a_file_keeps_its_identity(void **state)
{
	struct places *places = *state;

	for (int i = 0; i < 3; i++) {
		int at = places->fds[i], fd;
		struct file_id id, now;

		make(at, "x");
		id = id_of(places, at, "x");
		assert_true(id.birth != 0);
		/* By descriptor, of either kind. */
		fd = openat(at, "x", O_PATH | O_CLOEXEC);
		now = id_of(places, fd, "");
		close(fd);
		assert_true(same(&id, &now));
		fd = openat(at, "x", O_RDWR | O_CLOEXEC);
		/* Through change of content, mode, times and name. */
		assert_int_equal(write(fd, "text", 4), 4);
		assert_int_equal(fchmod(fd, 0600), 0);
		assert_int_equal(futimens(fd, NULL), 0);
		assert_int_equal(renameat(at, "x", at, "y"), 0);
		assert_int_equal(linkat(at, "y", at, "z", 0), 0);
		now = id_of(places, fd, "");
		assert_true(same(&id, &now));
		now = id_of(places, at, "z");
		assert_true(same(&id, &now));
		/* And without any name. */
		assert_int_equal(unlinkat(at, "y", 0), 0);
		assert_int_equal(unlinkat(at, "z", 0), 0);
		now = id_of(places, fd, "");
		assert_true(same(&id, &now));
		close(fd);
	}
}

static void copying_up_keeps_the_identity(void **state)
{
	struct places *places = *state;
	int at = places->fds[2], fd;
	struct file_id before = id_of(places, at, "lower file"), after;

	fd = openat(at, "lower file", O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	after = id_of(places, at, "lower file");
	assert_true(same(&before, &after));
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct file_id));
}

/*
 * Makes and removes files in turn, as fast as it goes: where inode numbers are
 * used again, it happens within one tick of the clock that births are taken from.
 */
static void check_successors(struct places *places, int at, bool directories)
{
	struct file_id *ids = calloc(ROUNDS, sizeof(*ids));
	int again = 0;

	assert_non_null(ids);
	for (int i = 0; i < ROUNDS; i++) {
		if (directories)
			assert_int_equal(mkdirat(at, "x", 0755), 0);
		else
			make(at, "x");
		ids[i] = id_of(places, at, "x");
		assert_int_equal(unlinkat(at, "x", directories ? AT_REMOVEDIR : 0),
				 0);
	}
	qsort(ids, ROUNDS, sizeof(*ids), by_bytes);
	for (int i = 1; i < ROUNDS; i++)
		again += same(&ids[i - 1], &ids[i]);
	free(ids);
	if (again)
		print_error("%d of %d %s had the identity of one before them\n",
			    again, ROUNDS, directories ? "directories" : "files");
	assert_int_equal(again, 0);
}

static void a_successor_has_an_identity_of_its_own(void **state)
{
	struct places *places = *state;

	for (int i = 0; i < 3; i++) {
		check_successors(places, places->fds[i], false);
		check_successors(places, places->fds[i], true);
	}
}

static void the_attributes_come_with_it(void **state)
{
	struct places *places = *state;
	struct stat expected, st;
	struct file_id id;
	struct statx stx;
	int at = places->fds[0];

	make(at, "x");
	assert_int_equal(symlinkat("nowhere", at, "link"), 0);
	assert_int_equal(mkfifoat(at, "fifo", 0612), 0);
	static const char *const names[] = { "x", "link", "fifo", "" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(fstatat(at, names[i], &expected, AT_EMPTY_PATH |
					 AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(identify(&places->devices, at, names[i], &st, &id),
				 0);
		assert_true(id.dev == expected.st_dev && id.ino == expected.st_ino);
		/* What fstatat leaves is zero in both. */
		assert_memory_equal(&st, &expected, sizeof(st));
		assert_int_equal(identify_statx(&places->devices, at, names[i],
						&stx, NULL), 0);
		assert_true(stx.stx_ino == expected.st_ino);
	}
	assert_int_equal(unlinkat(at, "x", 0), 0);
	assert_int_equal(unlinkat(at, "link", 0), 0);
	assert_int_equal(unlinkat(at, "fifo", 0), 0);
}

static void what_is_not_there_is_an_error(void **state)
{
	struct places *places = *state;
	struct file_id id = { 1, 2, 3 };
	struct stat st;

	make(places->fds[0], "x");
	assert_int_equal(identify(&places->devices, places->fds[0], "missing", &st,
				  &id), -ENOENT);
	assert_int_equal(identify(&places->devices, places->fds[0], "x/y", &st,
				  &id), -ENOTDIR);
	assert_int_equal(identify(&places->devices, -1, "x", &st, &id), -EBADF);
	assert_true(id.dev == 1 && id.ino == 2 && id.birth == 3);
	assert_int_equal(unlinkat(places->fds[0], "x", 0), 0);
}

/* Numbers as filesystems give them: small ones, a network's of 64 bits, and what
 * overlayfs makes of three layers' by putting their index into the highest bits. */
static const uint64_t natural[] = {
	0, 1, 2, 128, UINT64_C(0xffffffff), UINT64_C(0x100000000),
	UINT64_C(1) << 47, UINT64_C(1) << 48, UINT64_C(3) << 48,
	UINT64_C(1) << 59, UINT64_C(1) << 60, UINT64_C(1) << 61,
	UINT64_C(1) << 62, UINT64_C(1) << 63, (UINT64_C(1) << 62) | 128,
	(UINT64_C(3) << 61) | 2,
};

static void no_source_number_looks_like_the_stores(void **state)
{
	struct places *places = *state;
	int bad = 0;

	for (int i = 0; i < 3; i++) {
		uint64_t dev = id_of(places, places->fds[i], "").dev;

		for (size_t j = 0; j < ARRAY_SIZE(natural); j++) {
			uint64_t shown = shown_ino(&places->devices, dev,
						   natural[j]);

			if (!(shown & (INO_STORE | INO_SHADOW)))
				continue;
			print_error("device %d, %#llx is shown as %#llx\n", i,
				    (unsigned long long)natural[j],
				    (unsigned long long)shown);
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

static void small_numbers_of_three_filesystems_never_collide(void **state)
{
	struct places *places = *state;
	uint64_t first = id_of(places, places->fds[0], "").dev;
	uint64_t shown[3 * ARRAY_SIZE(natural)];
	size_t count = 0;

	for (int i = 0; i < 3; i++) {
		uint64_t dev = id_of(places, places->fds[i], "").dev;

		for (size_t j = 0; j < ARRAY_SIZE(natural); j++)
			if (natural[j] < UINT64_C(1) << 48)
				shown[count++] = shown_ino(&places->devices, dev,
							   natural[j]);
	}
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			assert_true(shown[i] != shown[j]);
	/* The first filesystem met, the source's root, keeps its own. */
	assert_true(shown_ino(&places->devices, first, 12345) == 12345);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(a_file_keeps_its_identity),
		T(copying_up_keeps_the_identity),
		T(a_successor_has_an_identity_of_its_own),
		T(the_attributes_come_with_it),
		T(what_is_not_there_is_an_error),
		T(no_source_number_looks_like_the_stores),
		T(small_numbers_of_three_filesystems_never_collide),
	};
	int status = unit_needs_root();

	if (status)
		return status;
	unit_own_mounts();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
