/*
 * The list of mounts: read on the real /proc/self/mountinfo, with mounts whose
 * names need escapes.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "mounts.h"

/* Mounts a tmpfs called @origin. */
static void mount_tmpfs(const char *point, const char *origin)
{
	assert_int_equal(mount(origin, point, "tmpfs", 0, "size=64k"), 0);
}

/* A mount as a search found it. */
struct found {
	const char *point;
	uint64_t dev;
	char type[64], origin[256];
	int count;
};

static int match(const struct mount_entry *entry, void *data)
{
	struct found *found = data;

	if (strcmp(entry->point, found->point) != 0)
		return 0;
	found->count++;
	found->dev = entry->dev;
	snprintf(found->type, sizeof(found->type), "%s", entry->type);
	snprintf(found->origin, sizeof(found->origin), "%s", entry->origin);
	return 0;
}

static int count(const struct mount_entry *entry, void *data)
{
	assert_true(entry->point[0] == '/' && entry->type[0]);
	++*(int *)data;
	return 0;
}

static void every_line_is_a_mount(void **state)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	int lines = 0, entries = 0, c;

	(void)state;
	assert_non_null(file);
	while ((c = fgetc(file)) != EOF)
		lines += c == '\n';
	fclose(file);
	assert_int_equal(mounts_each(count, &entries), 0);
	assert_true(lines > 0);
	assert_int_equal(entries, lines);
}

static int stop_at_second(const struct mount_entry *entry, void *data)
{
	(void)entry;
	return ++*(int *)data == 2 ? -ECANCELED : 0;
}

static void the_caller_can_stop(void **state)
{
	int calls = 0;

	(void)state;
	assert_int_equal(mounts_each(stop_at_second, &calls), -ECANCELED);
	assert_int_equal(calls, 2);
}

static const char *const odd_names[] = {
	"plain", "a b", " ", "tab\there", "new\nline", "back\\slash", "\\040",
	"\\", "octal\\\\134", "hash#", "caf\303\251", "quote'\"", "- tmpfs x",
};

static void a_mount_with_an_odd_name_is_found(void **state)
{
	char *top = unit_scratch();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(odd_names); i++) {
		const char *point = in(top, odd_names[i]);
		struct found found = { .point = point };
		uint64_t dev = 0;
		bool ours = true;
		struct stat st;

		assert_int_equal(mkdir(point, 0755), 0);
		assert_int_equal(mounts_find(point, &dev, &ours), 0);
		mount_tmpfs(point, odd_names[i]);
		assert_int_equal(stat(point, &st), 0);

		assert_int_equal(mounts_find(point, &dev, &ours), 1);
		assert_true(dev == st.st_dev);
		assert_false(ours);
		assert_int_equal(mounts_each(match, &found), 0);
		assert_int_equal(found.count, 1);
		assert_true(found.dev == st.st_dev);
		assert_string_equal(found.type, "tmpfs");
		assert_string_equal(found.origin, odd_names[i]);

		assert_int_equal(umount2(point, 0), 0);
		assert_int_equal(mounts_find(point, &dev, &ours), 0);
	}
	unit_remove(top);
}

static void only_exactly_that_point_is_found(void **state)
{
	char *top = unit_scratch();
	uint64_t dev;
	bool ours;

	(void)state;
	assert_int_equal(mkdir(in(top, "mnt"), 0755), 0);
	mount_tmpfs(in(top, "mnt"), "x");
	assert_int_equal(mkdir(in(top, "mnt/below"), 0755), 0);
	assert_int_equal(mounts_find(in(top, "mnt"), &dev, &ours), 1);
	assert_int_equal(mounts_find(in(top, "mn"), &dev, &ours), 0);
	assert_int_equal(mounts_find(in(top, "mnt/"), &dev, &ours), 0);
	assert_int_equal(mounts_find(in(top, "mnt/below"), &dev, &ours), 0);
	assert_int_equal(mounts_find(top, &dev, &ours), 0);
	assert_int_equal(umount2(in(top, "mnt"), 0), 0);
	unit_remove(top);
}

static void the_topmost_of_several_is_found(void **state)
{
	char *top = unit_scratch();
	uint64_t devs[3], dev;
	struct stat st;
	bool ours;

	(void)state;
	for (int i = 0; i < 3; i++) {
		mount_tmpfs(top, "x");
		assert_int_equal(stat(top, &st), 0);
		devs[i] = st.st_dev;
	}
	for (int i = 2; i >= 0; i--) {
		assert_int_equal(mounts_find(top, &dev, &ours), 1);
		assert_true(dev == devs[i]);
		assert_int_equal(umount2(top, 0), 0);
	}
	assert_int_equal(mounts_find(top, &dev, &ours), 0);
	unit_remove(top);
}

static void a_bind_mount_has_its_filesystems_device(void **state)
{
	char *top = unit_scratch();
	uint64_t dev;
	struct stat st;
	bool ours;

	(void)state;
	assert_int_equal(mkdir(in(top, "a"), 0755), 0);
	assert_int_equal(mkdir(in(top, "b c"), 0755), 0);
	mount_tmpfs(in(top, "a"), "x");
	assert_int_equal(stat(in(top, "a"), &st), 0);
	assert_int_equal(mkdir(in(top, "a/sub dir"), 0755), 0);
	assert_int_equal(mount(in(top, "a/sub dir"), in(top, "b c"), NULL, MS_BIND,
			       NULL), 0);
	assert_int_equal(mounts_find(in(top, "b c"), &dev, &ours), 1);
	assert_true(dev == st.st_dev);
	assert_int_equal(umount2(in(top, "b c"), 0), 0);
	assert_int_equal(umount2(in(top, "a"), 0), 0);
	unit_remove(top);
}

/*
 * A mount of ours that nobody serves: whoever asked it for anything would wait for
 * ever.  (The meson test's time limit tells.)
 */
static void a_dead_mount_of_ours_is_known_without_asking_it(void **state)
{
	char *top = unit_scratch(), words[64];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	uint64_t dev;
	bool ours;

	(void)state;
	assert_true(fd >= 0);
	snprintf(words, sizeof(words), "fd=%d,rootmode=40000,user_id=0,group_id=0",
		 fd);
	assert_int_equal(mount("/a project", top, MOUNTS_TYPE, 0, words), 0);
	struct found found = { .point = top };
	assert_int_equal(mounts_find(top, &dev, &ours), 1);
	assert_true(ours);
	assert_int_equal(mounts_each(match, &found), 0);
	assert_true(found.dev == dev);
	assert_string_equal(found.type, MOUNTS_TYPE);
	assert_string_equal(found.origin, "/a project");

	/* Without its daemon it goes on being there. */
	close(fd);
	assert_int_equal(mounts_find(top, &dev, &ours), 1);
	assert_true(ours);
	assert_int_equal(umount2(top, MNT_DETACH), 0);
	assert_int_equal(mounts_find(top, &dev, &ours), 0);
	unit_remove(top);
}

/* Mounts something of our type that nobody serves. */
static void mount_ours(const char *point)
{
	char words[64];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	snprintf(words, sizeof(words), "fd=%d,rootmode=40000,user_id=0,group_id=0",
		 fd);
	assert_int_equal(mount("/a project", point, MOUNTS_TYPE, 0, words), 0);
	close(fd);
}

static void assert_located(const struct mount_id *mount, int expected,
			   const char *expected_point)
{
	char *point = NULL;

	assert_int_equal(mounts_locate(mount, &point), expected);
	assert_int_equal(!point, !expected_point);
	if (point)
		assert_string_equal(point, expected_point);
	free(point);
}

static void one_mount_is_told_from_all_others(void **state)
{
	char *top = unit_scratch();
	const char *first = in(top, "a b"), *second = in(top, "second");
	struct mount_id one, bind, none = { 0 };

	(void)state;
	assert_int_equal(mkdir(first, 0755), 0);
	assert_int_equal(mkdir(second, 0755), 0);
	assert_int_equal(mounts_identify(first, &none), -ENOENT);
	mount_tmpfs(first, "x");
	assert_int_equal(mounts_identify(first, &none), -ENOENT);
	assert_int_equal(umount2(first, 0), 0);
	assert_int_equal(none.id, 0);

	mount_ours(first);
	assert_int_equal(mounts_identify(first, &one), 0);
	assert_located(&one, 0, first);
	/* Of the same filesystem, and yet another one. */
	assert_int_equal(mount(first, second, NULL, MS_BIND, NULL), 0);
	assert_int_equal(mounts_identify(second, &bind), 0);
	assert_true(bind.dev == one.dev && bind.id != one.id);
	assert_located(&bind, 0, second);
	assert_int_equal(umount2(second, 0), 0);
	assert_located(&bind, -ENOENT, NULL);
	/* Moved, covered, and gone. */
	assert_int_equal(mount(first, second, NULL, MS_MOVE, NULL), 0);
	assert_located(&one, 0, second);
	mount_tmpfs(second, "x");
	assert_located(&one, -EBUSY, second);
	assert_int_equal(umount2(second, 0), 0);
	/* A directory above it may be what is covered. */
	mount_tmpfs(top, "x");
	assert_located(&one, -EBUSY, second);
	assert_int_equal(umount2(top, 0), 0);
	assert_located(&one, 0, second);
	assert_int_equal(umount2(second, 0), 0);
	assert_located(&one, -ENOENT, NULL);
	unit_remove(top);
}

static void a_list_that_cannot_be_read_is_an_error(void **state)
{
	uint64_t dev = 77;
	int calls = 0;
	bool ours;

	(void)state;
	mount_tmpfs("/proc", "no proc");
	int each = mounts_each(count, &calls);
	int find = mounts_find("/", &dev, &ours);

	assert_int_equal(umount2("/proc", 0), 0);
	assert_int_equal(each, -ENOENT);
	assert_int_equal(find, -ENOENT);
	assert_int_equal(calls, 0);
	assert_true(dev == 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_line_is_a_mount),
		cmocka_unit_test(the_caller_can_stop),
		cmocka_unit_test(a_mount_with_an_odd_name_is_found),
		cmocka_unit_test(only_exactly_that_point_is_found),
		cmocka_unit_test(the_topmost_of_several_is_found),
		cmocka_unit_test(a_bind_mount_has_its_filesystems_device),
		cmocka_unit_test(a_dead_mount_of_ours_is_known_without_asking_it),
		cmocka_unit_test(one_mount_is_told_from_all_others),
		cmocka_unit_test(a_list_that_cannot_be_read_is_an_error),
	};
	int status = unit_needs_root();

	if (!status)
		status = unit_needs_fuse();
	if (status)
		return status;
	unit_own_mounts();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
