/*
 * The store and who owns what is in it: parts inherit from their directory, also
 * when two make one at once, and a plain user can have a store too.
 */
#include "unit.h"

#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shadow.h"
#include "store.h"

#define ACCESS_ACL "system.posix_acl_access"
#define DEFAULT_ACL "system.posix_acl_default"

static const struct file_id some_id = { 0x801, 4711, 1700000000123456789 };

/* A default ACL that lets one more user write, as setfacl(1) would store it. */
struct acl {
	struct posix_acl_xattr_header header;
	struct posix_acl_xattr_entry entries[5];
};

enum { NO_ID = ACL_UNDEFINED_ID };

static const struct acl sample_acl = {
	.header = { POSIX_ACL_XATTR_VERSION },
	.entries = {
		{ ACL_USER_OBJ, 7, NO_ID },
		{ ACL_USER, 7, SOMEBODY },
		{ ACL_GROUP_OBJ, 5, NO_ID },
		{ ACL_MASK, 7, NO_ID },
		{ ACL_OTHER, 0, NO_ID },
	},
};

struct directory {
	mode_t mode;
	uid_t uid;
	gid_t gid;
	bool acl;
};

static const struct directory directories[] = {
	{ 0755, 0, 0, false },
	{ 0755, SOMEBODY, SOME_GROUP, false },
	{ 0700, SOMEBODY, 0, false },
	{ 02775, SOMEBODY, SOME_GROUP, false },
	{ 03777, 0, SOME_GROUP, false },
	{ 0755, 0, 0, true },
	{ 02770, SOMEBODY, SOME_GROUP, true },
};

/* Makes a directory as told; returns its descriptor. */
static int make_directory(const char *path, const struct directory *like)
{
	int fd;

	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chown(path, like->uid, like->gid), 0);
	assert_int_equal(chmod(path, like->mode), 0);
	if (like->acl)
		assert_int_equal(setxattr(path, DEFAULT_ACL, &sample_acl,
					  sizeof(sample_acl), 0), 0);
	fd = open(path, O_PATH | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* What is inherited by a file or directory, so that it can be compared. */
struct inherited {
	mode_t mode;
	uid_t uid;
	gid_t gid;
	char acl[256], default_acl[256];
	ssize_t acl_size, default_size;
};

/* Makes @name below @at and tells what it got. */
static struct inherited make_inside(int at, const char *name, bool is_dir)
{
	struct inherited got = { 0 };
	char path[64];
	struct stat st;

	if (is_dir)
		assert_int_equal(mkdirat(at, name, 0775), 0);
	else
		assert_int_equal(mknodat(at, name, S_IFREG | 0664, 0), 0);
	assert_int_equal(fstatat(at, name, &st, 0), 0);
	got.mode = st.st_mode;
	got.uid = st.st_uid;
	got.gid = st.st_gid;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", at, name);
	got.acl_size = getxattr(path, ACCESS_ACL, got.acl, sizeof(got.acl));
	got.default_size = getxattr(path, DEFAULT_ACL, got.default_acl,
				    sizeof(got.default_acl));
	return got;
}

static void what_is_made_inside_inherits_as_in_the_source(void **state)
{
	char *top = unit_scratch();
	struct store store;

	(void)state;
	assert_int_equal(store_create(&store, 1 << 20, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		const char *path = in(top, "directory");
		int model = make_directory(path, &directories[i]), part;
		struct file_id id = { 1, i, 0 };
		struct stat st;

		assert_int_equal(shadow_make(&store, i % 2 ? SHADOW_CACHE :
				SHADOW_BESIDE, &id, model, &part), 0);
		assert_int_equal(fstat(part, &st), 0);
		assert_int_equal(st.st_uid, directories[i].uid);
		assert_int_equal(st.st_gid, directories[i].gid);
		assert_true(shadow_follows_source(st.st_mode));
		for (int is_dir = 0; is_dir < 2; is_dir++) {
			struct inherited there = make_inside(model, "n", is_dir);
			struct inherited here = make_inside(part, "n", is_dir);

			assert_memory_equal(&here, &there, sizeof(here));
			assert_int_equal(here.acl_size > 0, directories[i].acl);
			remove_tree_at(part, "n");
			remove_tree_at(model, "n");
		}
		close(part);
		close(model);
		tree_remove(path);
	}
	store_destroy(&store);
	unit_remove(top);
}

enum { ROUNDS = 2000, MAKERS = 2 };

struct race {
	struct store store;
	int model;
	pthread_barrier_t barrier;
	_Atomic int errors, strangers, unfinished;
	uint64_t found[MAKERS];
};

/* Makes the same part as the others and sees what it got. */
static void make_parts(void *data, int index)
{
	struct race *race = data;

	for (uint64_t i = 0; i < ROUNDS; i++) {
		struct file_id id = { 1, i, 0 };
		struct stat st;
		int fd = -1;

		pthread_barrier_wait(&race->barrier);
		if (shadow_make(&race->store, SHADOW_CACHE, &id, race->model,
				    &fd) || fstat(fd, &st)) {
			race->errors++;
		} else {
			race->found[index] = st.st_ino;
			race->unfinished += st.st_uid != SOMEBODY ||
				st.st_gid != SOME_GROUP ||
				!(st.st_mode & S_ISGID);
		}
		cleanup_close(&fd);
		pthread_barrier_wait(&race->barrier);
		if (index == 0) {
			race->strangers += race->found[0] != race->found[1];
			shadow_drop(&race->store, &id);
		}
	}
}

static void two_makers_of_one_part_get_the_same_one(void **state)
{
	char *top = unit_scratch();
	struct race race = { 0 };

	(void)state;
	assert_int_equal(store_create(&race.store, 1 << 20, 0), 0);
	race.model = make_directory(in(top, "d"), &(struct directory){
		02775, SOMEBODY, SOME_GROUP, true });
	pthread_barrier_init(&race.barrier, NULL, MAKERS);
	unit_threads(MAKERS, make_parts, &race);
	pthread_barrier_destroy(&race.barrier);
	close(race.model);
	store_destroy(&race.store);
	unit_remove(top);
	assert_int_equal(race.errors, 0);
	assert_int_equal(race.strangers, 0);
	/* Whoever comes second must not make files in it before it is whole. */
	assert_int_equal(race.unfinished, 0);
}

/* What a plain user does with a store; the number of the step that failed. */
static int use_store_as_user(void *data)
{
	const char *model_path = data;
	struct store_usage used;
	struct store store;
	char block[4096] = "x", mark[NOTE_SIZE];
	int model, part, fd, before, made = 0;

	/* As after exec: what /proc tells of us is ours. */
	if (prctl(PR_SET_DUMPABLE, 1))
		return 1;
	before = unit_descriptors();
	model = open(model_path, O_PATH | O_CLOEXEC);
	if (model < 0)
		return 2;
	if (store_create(&store, 64 << 10, 10))
		return 3;
	if (shadow_make(&store, SHADOW_CACHE, &some_id, model, &part))
		return 4;
	fd = openat(part, "x.pyc", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return 5;
	while (write(fd, block, sizeof(block)) > 0)
		made++;
	if (errno != ENOSPC || made != (64 << 10) / 4096)
		return 6;
	close(fd);
	if (unlinkat(part, "x.pyc", 0))
		return 7;
	for (made = 0; made < 100; made++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", made);
		if (mknodat(part, name, S_IFREG | 0600, 0))
			break;
	}
	/* The shadow and its part are two of ten. */
	if (errno != ENOSPC || made != 8)
		return 8;
	struct stat st;
	if (fstatat(part, "0", &st, 0) || st.st_uid != NOBODY ||
	    st.st_gid != NOBODY)
		return 9;
	/* What is open keeps its inode. */
	close(part);
	shadow_drop(&store, &some_id);
	if (store_usage(&store, &used) || used.used || used.inodes_used)
		return 10;
	if (shadow_mark(&store, &some_id, model, "x.pyc", "a") ||
	    shadow_get_mark(&store, &some_id, "x.pyc", mark))
		return 11;
	shadow_drop(&store, &some_id);
	/* Modes bind us, but not for long. */
	if (shadow_make(&store, SHADOW_CACHE, &some_id, model, &part) ||
	    mkdirat(part, "a", 0700) || mkdirat(part, "a/b", 0700) ||
	    mkdirat(part, "a/b/c", 0700) || mkdirat(part, "a/b/c/d", 0700) ||
	    mkdirat(part, "closed", 0700) || mkdirat(part, "closed/d", 0) ||
	    fchmodat(part, "a/b/c", 0, 0) || fchmodat(part, "a/b", 0500, 0) ||
	    fchmodat(part, "a", 0400, 0) || fchmodat(part, "closed", 0, 0) ||
	    fchmodat(part, ".", 0500, 0))
		return 13;
	close(part);
	shadow_drop(&store, &some_id);
	if (store_usage(&store, &used) || used.inodes_used)
		return 14;
	close(model);
	store_destroy(&store);
	return unit_descriptors() == before ? 0 : 12;
}

static void a_plain_user_has_a_store_with_the_same_limits(void **state)
{
	char *top = unit_scratch();

	(void)state;
	/* Theirs, and another's whose owner they can't give anything to. */
	assert_int_equal(chown(top, NOBODY, NOBODY), 0);
	assert_int_equal(as_user(NOBODY, NOBODY, NULL, 0, use_store_as_user, top),
			 0);
	assert_int_equal(chown(top, 0, 0), 0);
	assert_int_equal(as_user(NOBODY, NOBODY, NULL, 0, use_store_as_user, top),
			 0);
	unit_remove(top);
}

/* Removes the directory @name of @at, or lets another take its place. */
static void remove_directory(int at, const char *name, bool by_rename)
{
	if (!by_rename) {
		assert_int_equal(unlinkat(at, name, AT_REMOVEDIR), 0);
		return;
	}
	assert_int_equal(mkdirat(at, "new", 0755), 0);
	assert_int_equal(renameat(at, "new", at, name), 0);
}

/* Where directories lie in layers, the count of links does not tell. */
static void nothing_is_made_for_a_directory_that_left_an_overlay(void **state)
{
	static const char *const names[] = {
		"lower/low", "lower/both", "upper/both", "upper/up",
		"lower/low (deleted)", "lower/again",
	};
	char *top = unit_scratch(), words[1024];
	struct file_id id = { 1, 2, 3 };
	struct store store;

	(void)state;
	assert_int_equal(store_create(&store, 1 << 20, 0), 0);
	assert_int_equal(mount("x", top, "tmpfs", 0, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		tree_write(in(in(top, names[i]), "x"), "", -1);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		tree_remove(in(in(top, names[i]), "x"));
	assert_int_equal(mkdir(in(top, "work"), 0755), 0);
	assert_int_equal(mkdir(in(top, "merged"), 0755), 0);
	snprintf(words, sizeof(words), "lowerdir=%s/lower,upperdir=%s/upper,"
		 "workdir=%s/work", top, top, top);
	assert_int_equal(mount("x", in(top, "merged"), "overlay", 0, words), 0);
	int merged = open(in(top, "merged"), O_PATH | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *name = names[i] + strlen("lower/");
		int part, model = openat(merged, name, O_PATH | O_CLOEXEC);

		if (strcmp(names[i], "upper/both") == 0)
			continue;
		assert_true(model >= 0);
		assert_int_equal(shadow_make(&store, SHADOW_CACHE, &id, model,
						 &part), 0);
		close(part);
		remove_directory(merged, name, strcmp(name, "again") == 0);
		shadow_drop(&store, &id);
		assert_int_equal(shadow_make(&store, SHADOW_CACHE, &id, model,
						 &part), -ENOENT);
		close(model);
	}
	close(merged);
	store_destroy(&store);
	assert_int_equal(umount2(in(top, "merged"), MNT_DETACH), 0);
	assert_int_equal(umount2(top, MNT_DETACH), 0);
	unit_remove(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made_inside_inherits_as_in_the_source),
		cmocka_unit_test(two_makers_of_one_part_get_the_same_one),
		cmocka_unit_test(nothing_is_made_for_a_directory_that_left_an_overlay),
		cmocka_unit_test(a_plain_user_has_a_store_with_the_same_limits),
	};
	int status = unit_needs_root();

	if (!status)
		status = unit_needs_store();
	if (!status)
		unit_own_mounts();
	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
