/*
 * What the tests of the rules share: a fixture for each test, names on the
 * mount and on the source behind it, and the checks that most of them make.
 *
 * The source is always reached through the descriptor that was opened before
 * mounting, so that a test runs unchanged on a mount that lies over its source.
 */
#ifndef TESTS_RULES_COMMON_H
#define TESTS_RULES_COMMON_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "fixture.h"
#include "tree.h"

/* How long a change made behind the mount may take to be seen, in seconds. */
#define DEADLINE 10

/*
 * A test whose state starts as options of the fixture and becomes the fixture.
 * BOTH runs it twice: with @options, and with @options_in_place, which are to be
 * the same but for that.
 */
#define WITH(test, options) \
	{ #test, test, fixture_begin, fixture_end, options }
#define BOTH(test, options) \
	WITH(test, &options), \
	{ #test " (in place)", test, fixture_begin, fixture_end, \
	  &options##_in_place }

static inline int fixture_begin(void **state)
{
	struct fixture *fixture;

	/* Only the other user's modes are to count, not the caller's umask. */
	umask(022);
	fixture = fixture_create(*state);
	*state = fixture;
	return 0;
}

static inline int fixture_end(void **state)
{
	umask(022);
	fixture_destroy(*state);
	return 0;
}

/* A name on the mount. */
static inline const char *on(const struct fixture *fixture, const char *name)
{
	return in(fixture->mountpoint, name);
}

/* The same name on the source, behind the mount. */
static inline const char *behind(const struct fixture *fixture,
				 const char *name)
{
	char dir[40];

	snprintf(dir, sizeof(dir), "/proc/self/fd/%d", fixture->source_fd);
	return in(dir, name);
}

/* 0, or the errno of the call whose result is given. */
static inline int outcome(long result)
{
	return result < 0 ? errno : 0;
}

/* The same for a call that opens; closes what it got. */
static inline int outcome_open(int fd)
{
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

#define assert_works(call) assert_int_equal(outcome(call), 0)
#define assert_fails(call, error) assert_int_equal(outcome(call), error)

/* As fixture_begin(), for other users too: the scratch directory is its owner's alone. */
static inline int users_begin(void **state)
{
	const struct fixture *f;

	fixture_begin(state);
	f = *state;
	assert_works(chmod(f->top, 0755));
	return 0;
}

/* As fixture_possible(), for tests that are root to become other users. */
static inline int users_possible(void)
{
	int skip = fixture_possible();

	if (skip || geteuid() == 0)
		return skip;
	print_message("only root can become other users\n");
	return getenv("PYCACHEFS_MUST_RUN") ? 1 : 77;
}

static inline bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

#define assert_exists(path) assert_true(exists(path))
#define assert_missing(path) assert_int_equal(outcome(access_link(path)), ENOENT)

static inline int access_link(const char *path)
{
	struct stat st;

	return lstat(path, &st);
}

static inline void assert_lists(const char *dir, const char *names)
{
	char *found = tree_list(dir);

	assert_string_equal(found, names);
	free(found);
}

static inline void assert_holds(const char *path, const char *text)
{
	size_t size;
	char *found = tree_read(path, &size);

	assert_string_equal(found, text);
	assert_int_equal(size, strlen(text));
	free(found);
}

static inline void write_text(const char *path, const char *text)
{
	tree_write(path, text, -1);
}

/* All of the source, times and contents, to be compared by assert_source(). */
static inline char *describe_source(const struct fixture *fixture)
{
	char *below = tree_describe(behind(fixture, "."), true), *all;
	struct stat st;

	assert_works(fstat(fixture->source_fd, &st));
	assert_works(asprintf(&all, ". %o %u:%u links=%ju mtime=%jd.%09ld "
			      "ctime=%jd.%09ld\n%s",
			      st.st_mode, st.st_uid, st.st_gid,
			      (uintmax_t)st.st_nlink,
			      (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
			      (intmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec,
			      below));
	free(below);
	return all;
}

/* Fails unless the source is what it was at describe_source(); frees that. */
static inline void assert_source(const struct fixture *fixture, char *before)
{
	char *after = describe_source(fixture);

	assert_string_equal(after, before);
	free(after);
	free(before);
}

/* Conditions for eventually(). */
static inline bool is_there(void *path)
{
	return exists(path);
}

static inline bool is_missing(void *path)
{
	struct stat st;

	return lstat(path, &st) < 0 && errno == ENOENT;
}

/* Copies a path out of the ring that in() writes, for eventually() and loops. */
#define KEEP(variable, path) \
	char variable[1024]; \
	snprintf(variable, sizeof(variable), "%s", path)

#endif
