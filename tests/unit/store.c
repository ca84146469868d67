/*
 * The store: its limits, its parts, and the marks in it.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "mounts.h"
#include "shadow.h"
#include "store.h"

static const struct file_id some_id = { 0x801, 4711, 1700000000123456789 };

struct fixed {
	struct store store;
	char *model;		/* a directory like the source's */
	int model_fd;
	int before;
};

enum { SIZE = 1 << 20, INODES = 60 };

static int set_up(void **state)
{
	static struct fixed fixed;

	fixed.before = unit_descriptors();
	fixed.model = unit_scratch();
	fixed.model_fd = open(fixed.model, O_PATH | O_CLOEXEC);
	*state = &fixed;
	return fixed.model_fd < 0 || store_create(&fixed.store, SIZE, INODES);
}

static int tear_down(void **state)
{
	struct fixed *fixed = *state;

	store_destroy(&fixed->store);
	/* Destroyed is empty: again is harmless. */
	store_destroy(&fixed->store);
	close(fixed->model_fd);
	unit_remove(fixed->model);
	if (unit_descriptors() == fixed->before)
		return 0;
	print_error("a descriptor is left\n");
	return -1;
}

static int make_part(struct fixed *fixed, enum shadow_part part,
		     const struct file_id *id)
{
	int fd = -1;

	assert_int_equal(shadow_make(&fixed->store, part, id, fixed->model_fd,
					 &fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	return fd;
}

static int make_file(int at, const char *name)
{
	return openat(at, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
}

static struct store_usage usage(struct fixed *fixed)
{
	struct store_usage usage;

	assert_int_equal(store_usage(&fixed->store, &usage), 0);
	return usage;
}

static bool is_marked(const struct store *store, const struct file_id *id,
		      const char *name)
{
	char mark[NOTE_SIZE];

	return shadow_get_mark(store, id, name, mark) == 0;
}

static void bytes_end_exactly_at_size(void **state)
{
	struct fixed *fixed = *state;
	_cleanup_close_ int part = make_part(fixed, SHADOW_CACHE, &some_id);
	_cleanup_close_ int fd = make_file(part, "x.pyc");
	char block[4096] = "x";
	long written = 0;
	ssize_t length;

	assert_true(fd >= 0);
	while ((length = write(fd, block, sizeof(block))) > 0)
		written += length;
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(written, SIZE);
	assert_int_equal(usage(fixed).size, SIZE);
	assert_int_equal(usage(fixed).used, SIZE);
	/* What is given back can be used again. */
	assert_int_equal(ftruncate(fd, SIZE / 2), 0);
	assert_int_equal(usage(fixed).used, SIZE / 2);
	assert_int_equal(pwrite(fd, block, sizeof(block), SIZE / 2), sizeof(block));
}

static void files_end_exactly_at_inodes(void **state)
{
	struct fixed *fixed = *state;
	_cleanup_close_ int part = make_part(fixed, SHADOW_CACHE, &some_id);
	struct file_id other = { 1, 2, 3 };
	char name[16];
	int made = 0, fd, err;

	/* A shadow is one of them, and its part another. */
	assert_int_equal(usage(fixed).inodes, INODES);
	assert_int_equal(usage(fixed).inodes_used, 2);
	for (;;) {
		snprintf(name, sizeof(name), "%d", made);
		fd = make_file(part, name);
		if (fd < 0)
			break;
		close(fd);
		made++;
	}
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(made, INODES - 2);
	assert_int_equal(usage(fixed).inodes_used, INODES);

	err = shadow_make(&fixed->store, SHADOW_CACHE, &other, fixed->model_fd,
			      &fd);
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(shadow_mark(&fixed->store, &some_id, fixed->model_fd,
				    "x.pyc", "a"), -ENOSPC);
	assert_false(is_marked(&fixed->store, &some_id, "x.pyc"));
	/* Looking costs nothing, and what is there is there. */
	assert_int_equal(shadow_open(&fixed->store, SHADOW_CACHE, &other, &fd),
			 -ENOENT);
	/* With one inode a shadow can be made and its part can't: neither is left. */
	assert_int_equal(unlinkat(part, "0", 0), 0);
	err = shadow_make(&fixed->store, SHADOW_CACHE, &other, fixed->model_fd, &fd);
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(usage(fixed).inodes_used, INODES - 1);
	assert_int_equal(unlinkat(part, "1", 0), 0);
	fd = make_part(fixed, SHADOW_CACHE, &other);
	close(fd);
}

static void without_a_number_inodes_follow_size(void **state)
{
	static const struct {
		uint64_t size, inodes;
	} cases[] = {
		{ 1, 1024 }, { 1 << 20, 1024 }, { 4 << 20, 1024 },
		{ 8 << 20, 2048 }, { 256 << 20, 65536 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct store store;
		struct store_usage used;

		assert_int_equal(store_create(&store, cases[i].size, 0), 0);
		assert_true(store.inodes == cases[i].inodes);
		assert_int_equal(store_usage(&store, &used), 0);
		store_destroy(&store);
		assert_true(used.size == cases[i].size);
		assert_true(used.inodes == cases[i].inodes);
		assert_int_equal(used.used, 0);
		assert_int_equal(used.inodes_used, 0);
	}
}

static int match_device(const struct mount_entry *entry, void *data)
{
	return entry->dev == ((struct store *)data)->dev;
}

static void no_path_leads_to_it(void **state)
{
	struct fixed *fixed = *state;
	struct statvfs fs;
	struct stat st;

	assert_int_equal(mounts_each(match_device, &fixed->store), 0);
	assert_int_equal(fstat(fixed->store.root, &st), 0);
	assert_true(st.st_dev == fixed->store.dev);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fstatvfs(fixed->store.root, &fs), 0);
	assert_int_equal(fs.f_flag & (ST_NOSUID | ST_NODEV), ST_NOSUID | ST_NODEV);
	assert_int_equal(fcntl(fixed->store.root, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(fixed->store.empty, F_GETFD), FD_CLOEXEC);
	/* Two stores are two filesystems. */
	struct store other;
	assert_int_equal(store_create(&other, SIZE, 0), 0);
	assert_true(other.dev != fixed->store.dev);
	store_destroy(&other);
}

/* Identities that differ in one number each, some of them at the largest. */
static const struct file_id ids[] = {
	{ 0, 0, 0 }, { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 }, { 0x11, 1, 0 },
	{ 1, 0x11, 0 }, { 1, 1, 0x11 }, { 0x111, 1, 1 },
	{ UINT64_MAX, UINT64_MAX, UINT64_MAX },
	{ UINT64_MAX, UINT64_MAX, UINT64_MAX - 1 },
	{ UINT64_MAX, UINT64_MAX - 1, UINT64_MAX },
};

static const enum shadow_part all_parts[] = {
	SHADOW_CACHE, SHADOW_BESIDE, SHADOW_ORPHANS, SHADOW_STAMPS
};

enum { PARTS = ARRAY_SIZE(all_parts) };

static uint64_t inode_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	return st.st_ino;
}

static void every_identity_has_its_own_parts(void **state)
{
	struct fixed *fixed = *state;
	uint64_t made[ARRAY_SIZE(ids) * PARTS];
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		for (size_t j = 0; j < PARTS; j++) {
			int fd = 77;

			assert_int_equal(shadow_open(&fixed->store,
				all_parts[j], &ids[i], &fd), -ENOENT);
			assert_int_equal(fd, 77);
			fd = make_part(fixed, all_parts[j], &ids[i]);
			made[count++] = inode_of(fd);
			close(fd);
		}
	}
	for (size_t i = 0; i < count; i++) {
		int fd, again = make_part(fixed, all_parts[i % PARTS],
					  &ids[i / PARTS]);

		assert_true(inode_of(again) == made[i]);
		assert_int_equal(shadow_open(&fixed->store,
			all_parts[i % PARTS], &ids[i / PARTS], &fd), 0);
		assert_true(inode_of(fd) == made[i]);
		close(fd);
		close(again);
		for (size_t j = 0; j < i; j++)
			assert_true(made[i] != made[j]);
	}
}

static void dropping_takes_all_parts_of_one(void **state)
{
	struct fixed *fixed = *state;
	struct file_id other = some_id;
	struct store_usage before;
	int fd;

	other.birth++;
	close(make_part(fixed, SHADOW_CACHE, &other));
	before = usage(fixed);
	for (size_t i = 0; i < PARTS; i++) {
		fd = make_part(fixed, all_parts[i], &some_id);
		assert_int_equal(mkdirat(fd, "build", 0700), 0);
		int file = make_file(fd, "build/x");
		assert_int_equal(write(file, "text", 4), 4);
		close(file);
		close(fd);
	}
	unit_listen();
	shadow_drop(&fixed->store, &some_id);
	/* Nothing is there any more: nothing to be said either. */
	shadow_drop(&fixed->store, &some_id);
	char *said = unit_said();
	assert_string_equal(said, "");
	free(said);
	for (size_t i = 0; i < PARTS; i++)
		assert_int_equal(shadow_open(&fixed->store, all_parts[i],
						 &some_id, &fd), -ENOENT);
	assert_int_equal(usage(fixed).used, before.used);
	assert_int_equal(usage(fixed).inodes_used, before.inodes_used);
	assert_int_equal(shadow_open(&fixed->store, SHADOW_CACHE, &other, &fd),
			 0);
	close(fd);
}

/* Drops @id with room for no more than @spare descriptors; returns what was said. */
static char *drop_with_few(struct store *store, const struct file_id *id, int spare)
{
	int taken[256], count = 0, fd;
	struct rlimit limit, few;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = limit;
	few.rlim_cur = ARRAY_SIZE(taken);
	unit_listen();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while ((fd = dup(store->root)) >= 0)
		taken[count++] = fd;
	while (spare-- > 0)
		close(taken[--count]);
	shadow_drop(store, id);
	while (count > 0)
		close(taken[--count]);
	setrlimit(RLIMIT_NOFILE, &limit);
	return unit_said();
}

static void assert_empty(const struct store *store)
{
	struct store_usage used;

	assert_int_equal(store_usage(store, &used), 0);
	assert_int_equal(used.used, 0);
	assert_int_equal(used.inodes_used, 0);
}

enum { DEEP = 3000, WIDE = 50 };

static void any_depth_goes_with_two_descriptors(void **state)
{
	struct fixed *fixed = *state;
	struct store store;
	struct trees_serial serial;
	char name[TREES_NAME_SIZE];
	int fd;

	assert_int_equal(store_create(&store, SIZE, 3 * DEEP), 0);
	serial.tag = store.serial.tag;
	serial.next = 0;
	assert_int_equal(shadow_make(&store, SHADOW_CACHE, &some_id,
					 fixed->model_fd, &fd), 0);
	unit_chain(fd, DEEP);
	for (int i = 0; i < WIDE; i++) {
		/* Also names that the store would think of. */
		trees_spare_name(&serial, TREES_PREFIX, name);
		assert_int_equal(mkdirat(fd, name, 0), 0);
		int sub = openat(fd, name, O_PATH | O_CLOEXEC);
		unit_chain(sub, 3);
		close(sub);
	}
	close(fd);
	char *said = drop_with_few(&store, &some_id, 2);
	assert_string_equal(said, "");
	free(said);
	assert_empty(&store);
	store_destroy(&store);
}

static void what_does_not_go_now_goes_later(void **state)
{
	struct fixed *fixed = *state;
	struct file_id other = some_id;
	int fd = make_part(fixed, SHADOW_CACHE, &some_id);

	other.ino++;
	unit_chain(fd, 10);
	close(fd);
	unit_assert_line(drop_with_few(&fixed->store, &some_id, 0),
			 "its memory stays in use");
	assert_true(usage(fixed).inodes_used > 0);
	/* Not met again by its name. */
	assert_int_equal(shadow_open(&fixed->store, SHADOW_CACHE, &some_id, &fd),
			 -ENOENT);
	shadow_drop(&fixed->store, &other);
	assert_empty(&fixed->store);
}

static void a_directory_that_is_gone_gets_no_part(void **state)
{
	struct fixed *fixed = *state;
	int fd = 77;

	assert_int_equal(rmdir(fixed->model), 0);
	for (size_t i = 0; i < PARTS; i++)
		assert_int_equal(shadow_make(&fixed->store, all_parts[i],
			&some_id, fixed->model_fd, &fd), -ENOENT);
	assert_int_equal(shadow_mark(&fixed->store, &some_id, fixed->model_fd,
				    "x.pyc", "a"), -ENOENT);
	assert_int_equal(fd, 77);
	assert_empty(&fixed->store);
}

static void only_an_empty_cache_is_removed(void **state)
{
	struct fixed *fixed = *state;
	int fd;

	assert_int_equal(shadow_remove_cache(&fixed->store, &some_id, 0), 0);
	close(make_part(fixed, SHADOW_BESIDE, &some_id));
	fd = make_part(fixed, SHADOW_CACHE, &some_id);
	close(make_file(fd, "x"));
	assert_int_equal(shadow_remove_cache(&fixed->store, &some_id, 0),
			 -ENOTEMPTY);
	assert_int_equal(unlinkat(fd, "x", 0), 0);
	close(fd);
	assert_int_equal(shadow_remove_cache(&fixed->store, &some_id, 0), 0);
	assert_int_equal(shadow_open(&fixed->store, SHADOW_CACHE, &some_id, &fd),
			 -ENOENT);
	assert_int_equal(shadow_open(&fixed->store, SHADOW_BESIDE, &some_id,
					 &fd), 0);
	close(fd);
}

static void a_stamp_is_the_last_that_was_set(void **state)
{
	struct fixed *fixed = *state;
	struct store *store = &fixed->store;
	char stamp[NOTE_SIZE] = "?", longest[NOTE_SIZE];
	struct store_usage before;

	assert_int_equal(shadow_get_stamp(store, &some_id, "x.py", stamp), -ENOENT);
	assert_int_equal(shadow_stamp(store, &some_id, fixed->model_fd, "x.py", "a"), 0);
	before = usage(fixed);
	memset(longest, 'b', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(shadow_stamp(store, &some_id, fixed->model_fd, "x.py",
				      longest), 0);
	assert_int_equal(shadow_get_stamp(store, &some_id, "x.py", stamp), 0);
	assert_string_equal(stamp, longest);
	/* However often it is set, it is one inode and no memory. */
	assert_int_equal(usage(fixed).inodes_used, before.inodes_used);
	assert_int_equal(usage(fixed).used, 0);
	assert_int_equal(shadow_get_stamp(store, &some_id, "y.py", stamp), -ENOENT);
	shadow_unstamp(store, &some_id, "x.py");
	shadow_unstamp(store, &some_id, "x.py");
	assert_int_equal(shadow_get_stamp(store, &some_id, "x.py", stamp), -ENOENT);
}

static void a_mark_stands_until_it_is_taken_away(void **state)
{
	struct fixed *fixed = *state;
	struct store *store = &fixed->store;
	struct file_id other = some_id;
	char mark[NOTE_SIZE];

	other.ino++;
	assert_false(is_marked(store, &some_id, "x.pyc"));
	/* Nothing to take away, and nothing is made for it. */
	shadow_unmark(store, &some_id, "x.pyc");
	assert_int_equal(usage(fixed).inodes_used, 0);

	for (int i = 0; i < 2; i++)
		assert_int_equal(shadow_mark(store, &some_id, fixed->model_fd,
					    "x.pyc", i ? "b" : "a"), 0);
	assert_int_equal(shadow_mark(store, &some_id, fixed->model_fd, "y.pyc", "c"),
			 0);
	assert_int_equal(shadow_get_mark(store, &some_id, "x.pyc", mark), 0);
	assert_string_equal(mark, "b");
	assert_true(is_marked(store, &some_id, "x.pyc"));
	assert_true(is_marked(store, &some_id, "y.pyc"));
	assert_false(is_marked(store, &some_id, "z.pyc"));
	assert_false(is_marked(store, &other, "x.pyc"));
	/* A mark is no entry. */
	int fd;
	assert_int_equal(shadow_open(store, SHADOW_CACHE, &some_id, &fd),
			 -ENOENT);
	assert_int_equal(shadow_open(store, SHADOW_BESIDE, &some_id, &fd),
			 -ENOENT);

	shadow_unmark(store, &some_id, "x.pyc");
	assert_false(is_marked(store, &some_id, "x.pyc"));
	assert_true(is_marked(store, &some_id, "y.pyc"));
	shadow_drop(store, &some_id);
	assert_false(is_marked(store, &some_id, "y.pyc"));
}

static void a_mode_says_whether_it_follows_the_source(void **state)
{
	static const struct {
		unsigned mode;
		bool follows;
	} cases[] = {
		{ 04700, true }, { S_IFDIR | 04700, true }, { 06700, true },
		{ S_IFDIR | 06700, true },
		/* Whatever a user can give it. */
		{ 0700, false }, { 01777, false }, { 01700, false },
		{ 03700, false }, { 0, false }, { 02755, false },
		{ S_IFDIR | 03777, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(shadow_follows_source(cases[i].mode),
				 cases[i].follows);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(bytes_end_exactly_at_size),
		T(files_end_exactly_at_inodes),
		T(without_a_number_inodes_follow_size),
		T(no_path_leads_to_it),
		T(every_identity_has_its_own_parts),
		T(dropping_takes_all_parts_of_one),
		T(any_depth_goes_with_two_descriptors),
		T(what_does_not_go_now_goes_later),
		T(a_directory_that_is_gone_gets_no_part),
		T(only_an_empty_cache_is_removed),
		T(a_mark_stands_until_it_is_taken_away),
		T(a_stamp_is_the_last_that_was_set),
		T(a_mode_says_whether_it_follows_the_source),
	};
	int status = unit_needs_store();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
