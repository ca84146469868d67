/*
 * What has become of a directory is told from what was noted of it, and never said of
 * one that may be there.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "identity.h"
#include "origin.h"

/* A tmpfs of our own, in it "a" and "b" that may be sources, and "a/d". */
struct fixed {
	char *top;
	int before;
};

static const char *at(const struct fixed *fixed, const char *name)
{
	return in(fixed->top, name);
}

static int set_up(void **state)
{
	static struct fixed fixed;

	fixed.before = unit_descriptors();
	fixed.top = unit_scratch();
	*state = &fixed;
	if (mount("origin", fixed.top, "tmpfs", 0, "mode=0755") < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		if (mkdir(at(&fixed, (const char *[]){ "a", "b", "a/d" }[i]), 0755) < 0)
			return -1;
	return 0;
}

static int tear_down(void **state)
{
	struct fixed *fixed = *state;

	umount2(fixed->top, MNT_DETACH);
	unit_remove(fixed->top);
	return unit_descriptors() == fixed->before ? 0 : -1;
}

static int open_directory(const char *path)
{
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

struct noted {
	struct file_id id;
	char note[ORIGIN_NOTE_SIZE];
};

/* What a daemon on @source notes of @directory. */
static int take_note(const char *source, const char *directory, struct noted *ret)
{
	_cleanup_close_ int root = open_directory(source);
	_cleanup_close_ int fd = open_directory(directory);
	struct devices devices;
	struct origin *origin = NULL;
	struct stat st;
	int err = origin_create(&origin, root);

	if (!err)
		err = devices_init(&devices);
	if (err)
		return err;
	err = identify(&devices, fd, "", &st, &ret->id);
	if (!err)
		err = origin_note(origin, fd, ret->note);
	devices_destroy(&devices);
	origin_destroy(origin);
	return err;
}

/* What one on @source says, who may be another user. */
struct question {
	char source[512];
	struct noted noted;
};

static int ask(void *data)
{
	const struct question *question = data;
	_cleanup_close_ int root = open_directory(question->source);
	struct origin *origin = NULL;
	int fate, err = origin_create(&origin, root);

	if (err)
		return 255;
	fate = (int)origin_judge(origin, &question->noted.id, question->noted.note);
	origin_destroy(origin);
	return fate;
}

/* Asserts what root and a plain user say of @noted, each mounted on @source. */
static void assert_fate(const struct fixed *fixed, const char *source,
			const struct noted *noted, enum origin_fate roots,
			enum origin_fate users)
{
	struct question question = { .noted = *noted };

	snprintf(question.source, sizeof(question.source), "%s", at(fixed, source));
	assert_int_equal(ask(&question), roots);
	assert_int_equal(as_user(SOMEBODY, SOME_GROUP, NULL, 0, ask, &question), users);
}

static struct noted note_d(const struct fixed *fixed)
{
	struct noted noted = { 0 };

	assert_int_equal(take_note(at(fixed, "a"), at(fixed, "a/d"), &noted), 0);
	return noted;
}

static void what_is_there_is_there(void **state)
{
	const struct fixed *fixed = *state;
	struct noted noted = note_d(fixed), root;

	assert_fate(fixed, "a", &noted, ORIGIN_THERE, ORIGIN_THERE);
	assert_fate(fixed, "b", &noted, ORIGIN_THERE, ORIGIN_THERE);
	assert_int_equal(take_note(at(fixed, "a"), at(fixed, "a"), &root), 0);
	assert_fate(fixed, "a", &root, ORIGIN_THERE, ORIGIN_THERE);
	assert_fate(fixed, "a/d", &root, ORIGIN_THERE, ORIGIN_THERE);
	/* A filesystem's own root. */
	assert_int_equal(take_note(fixed->top, fixed->top, &root), 0);
	assert_fate(fixed, "a", &root, ORIGIN_THERE, ORIGIN_THERE);
}

static void what_was_removed_is_gone(void **state)
{
	const struct fixed *fixed = *state;
	struct noted noted = note_d(fixed);

	assert_int_equal(rmdir(at(fixed, "a/d")), 0);
	assert_fate(fixed, "a", &noted, ORIGIN_GONE, ORIGIN_MISSING);
	/* Whoever is mounted on something else says so too. */
	assert_fate(fixed, "b", &noted, ORIGIN_GONE, ORIGIN_MISSING);
	/* What has its name now is another. */
	assert_int_equal(mkdir(at(fixed, "a/d"), 0755), 0);
	assert_fate(fixed, "a", &noted, ORIGIN_GONE, ORIGIN_MISSING);
	/* With all of its source. */
	assert_int_equal(rmdir(at(fixed, "a/d")), 0);
	assert_int_equal(rmdir(at(fixed, "a")), 0);
	assert_fate(fixed, "b", &noted, ORIGIN_GONE, ORIGIN_MISSING);
}

static void what_is_open_still_is_gone_all_the_same(void **state)
{
	const struct fixed *fixed = *state;
	struct noted noted = note_d(fixed);
	int fd = open_directory(at(fixed, "a/d"));

	assert_int_equal(rmdir(at(fixed, "a/d")), 0);
	assert_fate(fixed, "a", &noted, ORIGIN_GONE, ORIGIN_MISSING);
	close(fd);
}

/* By its handle it is found again, by its path it is not. */
static void what_was_renamed_is_not_said_to_be_gone(void **state)
{
	const struct fixed *fixed = *state;
	struct noted noted = note_d(fixed);

	assert_int_equal(rename(at(fixed, "a/d"), at(fixed, "b/e")), 0);
	assert_fate(fixed, "a", &noted, ORIGIN_THERE, ORIGIN_MISSING);
	assert_int_equal(symlink("../b/e", at(fixed, "a/d")), 0);
	assert_fate(fixed, "a", &noted, ORIGIN_THERE, ORIGIN_MISSING);
	assert_int_equal(unlink(at(fixed, "a/d")), 0);
	assert_int_equal(rename(at(fixed, "b/e"), at(fixed, "a/d")), 0);
	assert_fate(fixed, "a", &noted, ORIGIN_THERE, ORIGIN_THERE);
}

static void what_cannot_be_told_counts_as_there(void **state)
{
	const struct fixed *fixed = *state;
	struct noted noted = note_d(fixed), other = noted;

	assert_int_equal(rmdir(at(fixed, "a/d")), 0);
	/* Another filesystem's. */
	other.id.dev++;
	assert_fate(fixed, "a", &other, ORIGIN_THERE, ORIGIN_THERE);
	/* Nothing is known, or it is nonsense. */
	strcpy(other.note, "- -");
	other.id.dev--;
	assert_fate(fixed, "a", &other, ORIGIN_THERE, ORIGIN_THERE);
	strcpy(other.note, "");
	assert_fate(fixed, "a", &other, ORIGIN_THERE, ORIGIN_THERE);
	/* Above what the mount shows of the filesystem. */
	assert_int_equal(mkdir(at(fixed, "c"), 0755), 0);
	assert_int_equal(mount(at(fixed, "b"), at(fixed, "c"), NULL, MS_BIND, NULL), 0);
	assert_fate(fixed, "c", &noted, ORIGIN_GONE, ORIGIN_THERE);
	/* On its way something is mounted, which may be ours. */
	assert_int_equal(mount("over", at(fixed, "a"), "tmpfs", 0, NULL), 0);
	assert_fate(fixed, "b", &noted, ORIGIN_GONE, ORIGIN_THERE);
	assert_int_equal(umount2(at(fixed, "a"), 0), 0);
	assert_int_equal(umount2(at(fixed, "c"), 0), 0);
}

/* A bind mount of the same directory elsewhere, as containers have it. */
static void the_place_of_a_mount_does_not_matter(void **state)
{
	const struct fixed *fixed = *state;
	struct noted noted;

	assert_int_equal(mkdir(at(fixed, "c"), 0755), 0);
	assert_int_equal(mount(at(fixed, "a"), at(fixed, "c"), NULL, MS_BIND, NULL), 0);
	assert_int_equal(take_note(at(fixed, "c"), at(fixed, "c/d"), &noted), 0);
	assert_fate(fixed, "a", &noted, ORIGIN_THERE, ORIGIN_THERE);
	/* Where another one has that place, nothing of it is there. */
	assert_int_equal(umount2(at(fixed, "c"), 0), 0);
	assert_int_equal(mount(at(fixed, "b"), at(fixed, "c"), NULL, MS_BIND, NULL), 0);
	assert_fate(fixed, "c", &noted, ORIGIN_THERE, ORIGIN_THERE);
	assert_fate(fixed, "b", &noted, ORIGIN_THERE, ORIGIN_THERE);
	assert_int_equal(umount2(at(fixed, "c"), 0), 0);
}

static void a_long_path_is_left_out(void **state)
{
	const struct fixed *fixed = *state;
	char name[ORIGIN_NOTE_SIZE + 8] = "a/";
	struct noted noted;

	memset(name + 2, 'x', ORIGIN_NOTE_SIZE);
	assert_int_equal(mkdir(at(fixed, name), 0755), 0);
	assert_int_equal(take_note(at(fixed, "a"), at(fixed, name), &noted), 0);
	assert_true(strlen(noted.note) < ORIGIN_NOTE_SIZE);
	assert_fate(fixed, "a", &noted, ORIGIN_THERE, ORIGIN_THERE);
	assert_int_equal(rmdir(at(fixed, name)), 0);
	assert_fate(fixed, "a", &noted, ORIGIN_GONE, ORIGIN_THERE);
}

static void nothing_is_noted_of_another_filesystem(void **state)
{
	const struct fixed *fixed = *state;
	struct noted noted;

	assert_int_equal(mount("over", at(fixed, "b"), "tmpfs", 0, NULL), 0);
	assert_int_equal(take_note(at(fixed, "a"), at(fixed, "b"), &noted), -ENODATA);
	assert_int_equal(take_note(at(fixed, "a"), "/proc", &noted), -ENODATA);
	assert_int_equal(take_note("/proc", "/proc", &noted), -ENODATA);
	assert_int_equal(umount2(at(fixed, "b"), 0), 0);
}

#define ORIGIN(test) { #test, test, set_up, tear_down, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		ORIGIN(what_is_there_is_there),
		ORIGIN(what_was_removed_is_gone),
		ORIGIN(what_is_open_still_is_gone_all_the_same),
		ORIGIN(what_was_renamed_is_not_said_to_be_gone),
		ORIGIN(what_cannot_be_told_counts_as_there),
		ORIGIN(the_place_of_a_mount_does_not_matter),
		ORIGIN(a_long_path_is_left_out),
		ORIGIN(nothing_is_noted_of_another_filesystem),
	};
	int status = unit_needs_root();

	if (status)
		return status;
	unit_own_mounts();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
