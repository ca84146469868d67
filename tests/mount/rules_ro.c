/*
 * A source that must not change, by the option ro or because its filesystem is
 * mounted read-only: every change is EROFS, and bytecode is cached all the same.
 */
#include "rules_common.h"

#include <sys/mount.h>
#include <sys/xattr.h>

static int make_project(const char *source, void *data)
{
	(void)data;
	write_text(in(source, "pkg/m.py"), "m = 1\n");
	write_text(in(source, "pkg/data"), "0123456789");
	write_text(in(source, "pkg/__pycache__/m.pyc"), "stale");
	write_text(in(source, "stale/__pycache__/m.pyc"), "stale");
	assert_works(mkdir(in(source, "empty"), 0755));
	assert_works(symlink("m.py", in(source, "pkg/link")));
	return 0;
}

/* ------------------------------------------- every change, as its errno */

static int change_open_new(const char *pkg)
{
	return outcome_open(open(in(pkg, "new"), O_WRONLY | O_CREAT, 0644));
}

static int change_open_exclusive(const char *pkg)
{
	return outcome_open(open(in(pkg, "new"), O_RDWR | O_CREAT | O_EXCL,
				 0644));
}

static int change_open_truncating(const char *pkg)
{
	return outcome_open(open(in(pkg, "data"), O_WRONLY | O_TRUNC));
}

static int change_open_nameless(const char *pkg)
{
	return outcome_open(open(pkg, O_TMPFILE | O_RDWR, 0644));
}

static int change_nothing(int fd)
{
	(void)fd;
	return 0;
}

static int change_write(int fd)
{
	return outcome(pwrite(fd, "x", 1, 0));
}

static int change_length(int fd)
{
	return outcome(ftruncate(fd, 3));
}

static int change_allocation(int fd)
{
	return outcome(fallocate(fd, 0, 0, 1 << 16));
}

/* The open may be refused already, as it natively is. */
static int change_opened(const char *pkg, int flags, int (*change)(int fd))
{
	int fd = open(in(pkg, "data"), flags | O_CLOEXEC), error;

	if (fd < 0)
		return errno;
	error = change(fd);
	close(fd);
	return error;
}

static int change_by_write(const char *pkg)
{
	return change_opened(pkg, O_WRONLY, change_write);
}

static int change_by_append(const char *pkg)
{
	return change_opened(pkg, O_WRONLY | O_APPEND, change_write);
}

static int change_by_ftruncate(const char *pkg)
{
	return change_opened(pkg, O_RDWR, change_length);
}

static int change_by_fallocate(const char *pkg)
{
	return change_opened(pkg, O_RDWR, change_allocation);
}

static int change_by_truncate(const char *pkg)
{
	return outcome(truncate(in(pkg, "data"), 3));
}

static int change_by_mkdir(const char *pkg)
{
	return outcome(mkdir(in(pkg, "new"), 0755));
}

static int change_by_mkfifo(const char *pkg)
{
	return outcome(mkfifo(in(pkg, "new"), 0644));
}

static int change_by_symlink(const char *pkg)
{
	return outcome(symlink("m.py", in(pkg, "new")));
}

static int change_by_link(const char *pkg)
{
	return outcome(link(in(pkg, "data"), in(pkg, "new")));
}

static int change_by_unlink(const char *pkg)
{
	return outcome(unlink(in(pkg, "data")));
}

static int change_by_unlink_of_link(const char *pkg)
{
	return outcome(unlink(in(pkg, "link")));
}

static int change_by_rmdir(const char *pkg)
{
	return outcome(rmdir(in(pkg, "../empty")));
}

static int change_by_rmdir_of_stale(const char *pkg)
{
	return outcome(rmdir(in(pkg, "../stale")));
}

static int change_by_rename(const char *pkg)
{
	return outcome(rename(in(pkg, "data"), in(pkg, "new")));
}

static int change_by_rename_over(const char *pkg)
{
	return outcome(rename(in(pkg, "data"), in(pkg, "m.py")));
}

static int change_by_rename_of_directory(const char *pkg)
{
	return outcome(rename(pkg, in(pkg, "../new")));
}

static int change_by_exchange(const char *pkg)
{
	return outcome(renameat2(AT_FDCWD, in(pkg, "data"), AT_FDCWD,
				 in(pkg, "m.py"), RENAME_EXCHANGE));
}

static int change_by_chmod(const char *pkg)
{
	return outcome(chmod(in(pkg, "data"), 0600));
}

static int change_by_chmod_of_directory(const char *pkg)
{
	return outcome(chmod(pkg, 0700));
}

static int change_by_chown(const char *pkg)
{
	return outcome(chown(in(pkg, "data"), geteuid(), getegid()));
}

static int change_by_utimens(const char *pkg)
{
	return outcome(utimensat(AT_FDCWD, in(pkg, "data"), NULL, 0));
}

static int change_by_setxattr(const char *pkg)
{
	return outcome(setxattr(in(pkg, "data"), "user.x", "v", 1, 0));
}

static int change_by_removexattr(const char *pkg)
{
	return outcome(removexattr(in(pkg, "data"), "user.x"));
}

static const struct {
	const char *name;
	int (*change)(const char *pkg);
} changes[] = {
	{ "open_new", change_open_new },
	{ "open_exclusive", change_open_exclusive },
	{ "open_truncating", change_open_truncating },
	{ "open_nameless", change_open_nameless },
	{ "write", change_by_write },
	{ "append", change_by_append },
	{ "ftruncate", change_by_ftruncate },
	{ "fallocate", change_by_fallocate },
	{ "truncate", change_by_truncate },
	{ "mkdir", change_by_mkdir },
	{ "mkfifo", change_by_mkfifo },
	{ "symlink", change_by_symlink },
	{ "link", change_by_link },
	{ "unlink", change_by_unlink },
	{ "unlink_of_link", change_by_unlink_of_link },
	{ "rmdir", change_by_rmdir },
	{ "rmdir_of_stale", change_by_rmdir_of_stale },
	{ "rename", change_by_rename },
	{ "rename_over", change_by_rename_over },
	{ "rename_of_directory", change_by_rename_of_directory },
	{ "exchange", change_by_exchange },
	{ "chmod", change_by_chmod },
	{ "chmod_of_directory", change_by_chmod_of_directory },
	{ "chown", change_by_chown },
	{ "utimens", change_by_utimens },
	{ "setxattr", change_by_setxattr },
	{ "removexattr", change_by_removexattr },
};

static void every_change_is_erofs(void **state)
{
	struct fixture *f = *state;
	char *before = describe_source(f);
	int wrong = 0;

	KEEP(pkg, on(f, "pkg"));
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		int error = changes[i].change(pkg);

		if (error == EROFS)
			continue;
		print_error("%s: %s\n", changes[i].name, strerror(error));
		wrong++;
	}
	assert_source(f, before);
	assert_int_equal(wrong, 0);
	/* Opening alone changes nothing, and nothing came through. */
	assert_int_equal(change_opened(pkg, O_RDONLY, change_nothing), 0);
	assert_holds(on(f, "pkg/data"), "0123456789");
	assert_lists(on(f, "pkg"), "data link m.py");
}

static void bytecode_is_cached_all_the_same(void **state)
{
	struct fixture *f = *state;
	char *before = describe_source(f);

	KEEP(cache, on(f, "pkg/__pycache__"));
	assert_lists(cache, "");
	write_text(in(cache, "m.pyc.1"), "code");
	assert_works(rename(in(cache, "m.pyc.1"), in(cache, "m.pyc")));
	assert_works(chmod(in(cache, "m.pyc"), 0444));
	assert_works(link(in(cache, "m.pyc"), in(cache, "n.pyc")));
	assert_works(symlink("m.pyc", in(cache, "s.pyc")));
	assert_works(mkdir(in(cache, "sub"), 0755));
	assert_works(truncate(in(cache, "n.pyc"), 2));
	assert_works(utimensat(AT_FDCWD, in(cache, "n.pyc"), NULL, 0));
	assert_works(unlink(in(cache, "s.pyc")));
	assert_works(rmdir(in(cache, "sub")));
	assert_holds(in(cache, "m.pyc"), "co");
	assert_lists(cache, "m.pyc n.pyc");
	write_text(on(f, "pkg/m.pyc"), "legacy");
	assert_holds(on(f, "pkg/m.pyc"), "legacy");
	assert_works(unlink(on(f, "pkg/m.pyc")));
	assert_source(f, before);
}

static void what_is_refused_leaves_the_cache_whole(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "pkg/__pycache__/m.pyc"), "code");
	write_text(on(f, "stale/__pycache__/m.pyc"), "code");
	assert_fails(rmdir(on(f, "stale")), EROFS);
	assert_fails(rename(on(f, "pkg"), on(f, "other")), EROFS);
	assert_fails(unlink(on(f, "pkg/m.py")), EROFS);
	assert_holds(on(f, "stale/__pycache__/m.pyc"), "code");
	assert_holds(on(f, "pkg/__pycache__/m.pyc"), "code");
}

static struct fixture_options option = {
	.prepare = make_project, .options = "ro",
};
static struct fixture_options option_in_place = {
	.prepare = make_project, .options = "ro", .in_place = true,
};

/* A filesystem that is mounted read-only, which the option knows nothing of. */
static char bound[64];
static struct fixture_options bind = { .source = bound };
static struct fixture_options bind_in_place = {
	.source = bound, .in_place = true,
};

static int bind_begin(void **state)
{
	snprintf(bound, sizeof(bound), "/tmp/pycachefs-ro-XXXXXX");
	assert_non_null(mkdtemp(bound));
	make_project(bound, NULL);
	assert_works(mount(bound, bound, NULL, MS_BIND, NULL));
	assert_works(mount(NULL, bound, NULL,
			   MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
	return fixture_begin(state);
}

static int bind_end(void **state)
{
	fixture_end(state);
	assert_works(umount2(bound, MNT_DETACH));
	tree_remove(bound);
	return 0;
}

#define EACH_WAY(test) \
	BOTH(test, option), \
	{ #test " (bind mount)", test, bind_begin, bind_end, &bind }, \
	{ #test " (bind mount, in place)", test, bind_begin, bind_end, \
	  &bind_in_place }

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		EACH_WAY(every_change_is_erofs),
		EACH_WAY(bytecode_is_cached_all_the_same),
		EACH_WAY(what_is_refused_leaves_the_cache_whole),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
