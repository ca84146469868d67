/*
 * A purge drops what is kept for a directory and all below it, and nothing else.
 */
#include "rules_common.h"

#include <sys/statvfs.h>
#include <sys/xattr.h>

#define NAME "user.pycachefs.purge"

enum { KIBI = 1024 };

static int make_project(const char *source, void *data)
{
	static const char *const modules[] = {
		"m.py", "a/m.py", "a/n.py", "a/b/m.py", "a/b/c/m.py", "z/m.py",
	};

	(void)data;
	for (size_t i = 0; i < sizeof(modules) / sizeof(*modules); i++)
		write_text(in(source, modules[i]), "m = 1\n");
	write_text(in(source, "a/old.py"), "old = 1\n");
	write_text(in(source, "a/old.pyc"), "from earlier days");
	return 0;
}

static struct fixture_options plain = {
	.prepare = make_project, .options = "also=.kept",
};
static struct fixture_options plain_in_place = {
	.prepare = make_project, .options = "also=.kept", .in_place = true,
};

static const char *const kept[] = {
	"__pycache__/m.cpython-311.pyc", "a/__pycache__/m.cpython-311.pyc",
	"a/__pycache__/n.cpython-311.pyc", "a/b/__pycache__/m.cpython-311.pyc",
	"a/b/c/__pycache__/m.cpython-311.pyc", "a/b/m.pyc", "a/b/.kept",
	"z/__pycache__/m.cpython-311.pyc", "a/__pycache__/build/lib.so",
};

static void keep_all(const struct fixture *f)
{
	static const char content[8 * KIBI];

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		tree_write(on(f, kept[i]), content, sizeof(content));
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		assert_exists(on(f, kept[i]));
}

static int purge(const struct fixture *f, const char *directory, const char *module)
{
	KEEP(path, on(f, directory));
	int result = setxattr(path, NAME, module, strlen(module), 0), err = errno;

	/* Until the kernel has heard of it too. */
	while (!result && getxattr(path, NAME, NULL, 0) < 0 && errno == EAGAIN)
		;
	errno = err;
	return result;
}

/* Fails unless exactly those of @kept that begin with @prefix are gone. */
static void assert_gone(const struct fixture *f, const char *prefix)
{
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		bool gone = strncmp(kept[i], prefix, strlen(prefix)) == 0;

		if (exists(on(f, kept[i])) == gone)
			fail_msg("'%s' %s", kept[i], gone ? "stays" : "is gone");
	}
}

static bool is_empty(void *data)
{
	struct statvfs fs;

	return statvfs(data, &fs) == 0 && fs.f_blocks == fs.f_bfree &&
		fs.f_files == fs.f_ffree;
}

static void all_below_goes(void **state)
{
	struct fixture *f = *state;

	keep_all(f);
	assert_works(purge(f, "a", ""));
	assert_gone(f, "a/");
	assert_lists(on(f, "a/__pycache__"), "");
	assert_lists(on(f, "a/b/__pycache__"), "");
	assert_lists(on(f, "a/b"), "c m.py");
	assert_works(purge(f, "z", ""));
	assert_missing(on(f, "z/__pycache__/m.cpython-311.pyc"));
	/* And can be kept anew. */
	keep_all(f);
}

static void the_root_gives_all_memory_back(void **state)
{
	struct fixture *f = *state;

	keep_all(f);
	/* Also of a directory that is gone since, which no path leads to. */
	assert_works(rename(behind(f, "a/b/c"), in(f->plain, "c")));
	assert_works(purge(f, ".", ""));
	KEEP(cache, on(f, "a/__pycache__"));
	assert_true(eventually(DEADLINE, is_empty, cache));
	assert_works(rename(in(f->plain, "c"), behind(f, "a/b/c")));
	KEEP(moved, on(f, "a/b/c"));
	assert_true(eventually(DEADLINE, is_there, moved));
	assert_gone(f, "");
}

static void a_cache_goes_alone(void **state)
{
	struct fixture *f = *state;

	keep_all(f);
	assert_works(purge(f, "a/b/__pycache__", ""));
	assert_gone(f, "a/b/__pycache__/m");
	assert_fails(purge(f, "a/__pycache__/build", ""), ENOTDIR);
	assert_fails(purge(f, "a/m.py", ""), ENOTDIR);
}

static void a_module_goes_alone(void **state)
{
	struct fixture *f = *state;

	keep_all(f);
	assert_works(purge(f, "a", "m.py"));
	assert_gone(f, "a/__pycache__/m");
	assert_works(purge(f, "a", "never.py"));
	assert_fails(purge(f, "a", "m.txt"), EINVAL);
	assert_fails(purge(f, "a", "b/m.py"), EINVAL);
	assert_fails(setxattr(on(f, "a"), NAME, "m\0.py", 5, 0), EINVAL);
}

static void whoever_has_it_open_may_go_on(void **state)
{
	struct fixture *f = *state;
	const char *pyc = "a/__pycache__/m.cpython-311.pyc";
	char byte;
	int fd;

	keep_all(f);
	fd = open(on(f, pyc), O_RDWR);
	assert_true(fd >= 0);
	assert_works(purge(f, ".", ""));
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	close(fd);
	keep_all(f);
}

static void a_purged_module_stays_removed(void **state)
{
	struct fixture *f = *state;

	keep_all(f);
	assert_works(unlink(on(f, "a/old.py")));
	assert_missing(on(f, "a/old.pyc"));
	assert_works(purge(f, ".", ""));
	assert_missing(on(f, "a/old.pyc"));
	assert_exists(behind(f, "a/old.pyc"));
}

static void the_source_stays_as_it_was(void **state)
{
	struct fixture *f = *state;
	char list[256], *before = describe_source(f);

	keep_all(f);
	assert_works(purge(f, ".", ""));
	assert_int_equal(listxattr(on(f, "."), list, sizeof(list)), 0);
	assert_fails(getxattr(on(f, "a"), NAME, list, sizeof(list)), ENODATA);
	assert_source(f, before);
}

static int purge_as_another(void *data)
{
	return purge(data, "a", "") == 0 ? 0 : errno;
}

static void only_who_may_write_may_purge(void **state)
{
	struct fixture *f = *state;

	keep_all(f);
	assert_int_equal(as_user(1000, 1000, NULL, 0, purge_as_another, f), EACCES);
	assert_gone(f, "none");
	assert_works(chmod(on(f, "a"), 0777));
	assert_int_equal(as_user(1000, 1000, NULL, 0, purge_as_another, f), 0);
	assert_gone(f, "a/");
}

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		BOTH(all_below_goes, plain),
		BOTH(the_root_gives_all_memory_back, plain),
		WITH(a_cache_goes_alone, &plain),
		WITH(a_module_goes_alone, &plain),
		WITH(whoever_has_it_open_may_go_on, &plain),
		WITH(a_purged_module_stays_removed, &plain),
		WITH(the_source_stays_as_it_was, &plain),
		WITH(only_who_may_write_may_purge, &plain),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
