/*
 * Lists of access: those of a directory count in its `__pycache__` until that has
 * its own, and what is made in there inherits as natively.
 */
#include "users_common.h"

#include <sys/xattr.h>

/* Compares modes and both ACLs of a name here and on a plain directory. */
static void assert_same_acl(const char *ours, const char *plain)
{
	static const char *const names[] = {
		"system.posix_acl_access", "system.posix_acl_default",
	};
	struct stat here, there;

	assert_works(stat(ours, &here));
	assert_works(stat(plain, &there));
	assert_int_equal(here.st_mode, there.st_mode);
	for (int i = 0; i < 2; i++) {
		char a[256] = "", b[256] = "";
		ssize_t in_ours = getxattr(ours, names[i], a, sizeof(a));
		int error = outcome(in_ours);
		ssize_t in_plain = getxattr(plain, names[i], b, sizeof(b));

		assert_int_equal(error, outcome(in_plain));
		assert_int_equal(in_ours, in_plain);
		assert_memory_equal(a, b, sizeof(a));
	}
}

static void let_in(const char *who, const char *path)
{
	free(command_output(NULL, "setfacl", "-m", who, path, NULL));
}

static void let_nobody_in(const char *path)
{
	free(command_output(NULL, "setfacl", "-b", path, NULL));
}

/* In the `__pycache__` of those who may write the directory; others have their own,
 * see rules_private.c.  0, or the errno of making a file there. */
static int makes(const struct fixture *f, uid_t user, const char *name)
{
	int fd = open(on(f, "d/__pycache__"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result;

	assert_true(fd >= 0);
	result = does_below(fd, user, make_file, name);
	close(fd);
	return result;
}

struct attempt {
	const struct fixture *f;
	uid_t user;
	int expected;
};

static bool comes_out(void *data)
{
	const struct attempt *attempt = data;
	int result = makes(attempt->f, attempt->user, "probe");

	if (result == 0)
		unlink(on(attempt->f, "d/__pycache__/probe"));
	return result == attempt->expected;
}

static bool soon(const struct fixture *f, uid_t user, int expected)
{
	struct attempt attempt = { f, user, expected };

	return eventually(DEADLINE, comes_out, &attempt);
}

static void the_acl_of_the_directory_counts_in_it(void **state)
{
	struct fixture *f = *state;
	char acl[256];
	ssize_t size;

	assert_works(chmod(on(f, "d"), 0700));
	assert_true(soon(f, ALICE, EACCES));
	let_in("u:1000:rwx", on(f, "d"));
	assert_true(soon(f, ALICE, 0));
	assert_int_equal(makes(f, BOB, "m"), EACCES);
	assert_same_acl(on(f, "d/__pycache__"), on(f, "d"));
	/* What is there by now makes no difference, nor on which side it changes. */
	write_text(on(f, "d/__pycache__/m.pyc"), "code");
	let_in("u:1001:rwx", f->plain);
	size = getxattr(f->plain, "system.posix_acl_access", acl, sizeof(acl));
	assert_true(size > 0);
	assert_works(setxattr(behind(f, "d"), "system.posix_acl_access", acl,
			      (size_t)size, 0));
	assert_true(soon(f, BOB, 0));
	assert_int_equal(makes(f, ALICE, "n"), EACCES);
	let_nobody_in(on(f, "d"));
	assert_true(soon(f, BOB, EACCES));
}

static void an_acl_of_its_own_is_kept(void **state)
{
	struct fixture *f = *state;

	assert_works(chmod(on(f, "d"), 0700));
	let_in("u:1000:rwx", on(f, "d"));
	assert_true(soon(f, ALICE, 0));
	/* Without what it had of its directory, it has none. */
	let_nobody_in(on(f, "d/__pycache__"));
	assert_true(soon(f, ALICE, EACCES));
	/* To reach it they need its directory, which still lets them. */
	assert_works(chmod(on(f, "d"), 0755));
	let_in("u:1001:rwx", on(f, "d/__pycache__"));
	assert_true(soon(f, BOB, 0));
	assert_int_equal(makes(f, ALICE, "n"), EACCES);
	let_in("u:1000:rwx", on(f, "d"));
	assert_int_equal(makes(f, ALICE, "n"), EACCES);
}

/* Sets a default ACL by setfacl(1), then makes a file and a directory. */
static void give_default_acl(const char *dir)
{
	free(command_output(NULL, "setfacl", "-d", "-m",
			    "u::rwx,u:1000:rwx,g::rx,g:2000:rw,o::-", dir,
			    NULL));
}

static void make_below(const char *dir)
{
	mode_t mask = umask(077);

	assert_int_equal(make_file((void *)(uintptr_t)in(dir, "file")), 0);
	assert_works(mkdir(in(dir, "sub"), 0777));
	assert_int_equal(make_file((void *)(uintptr_t)in(dir, "sub/file")), 0);
	umask(mask);
}

static void assert_same_below(const char *ours, const char *plain)
{
	KEEP(a, ours);
	KEEP(b, plain);

	assert_same_acl(in(a, "file"), in(b, "file"));
	assert_same_acl(in(a, "sub"), in(b, "sub"));
	assert_same_acl(in(a, "sub/file"), in(b, "sub/file"));
}

static void a_default_acl_counts(void **state)
{
	struct fixture *f = *state;

	KEEP(cache, on(f, "d/__pycache__"));
	KEEP(plain, in(f->plain, "__pycache__"));
	assert_works(mkdir(plain, 0755));
	give_default_acl(plain);
	make_below(plain);
	assert_works(mkdir(in(cache, "acl"), 0755));
	give_default_acl(in(cache, "acl"));
	make_below(in(cache, "acl"));
	assert_same_below(in(cache, "acl"), plain);
}

/* A `__pycache__` that is made natively inherits its directory's. */
static void the_default_acl_of_the_directory_is_inherited(void **state)
{
	struct fixture *f = *state;

	give_default_acl(f->plain);
	KEEP(plain, in(f->plain, "__pycache__"));
	assert_works(mkdir(plain, 0777));
	make_below(plain);
	assert_works(mkdir(on(f, "e"), 0755));
	give_default_acl(on(f, "e"));
	KEEP(cache, on(f, "e/__pycache__"));
	make_below(cache);
	assert_same_below(cache, plain);
}

int main(void)
{
	int skip = users_possible();
	const struct CMUnitTest tests[] = {
		USERS(the_acl_of_the_directory_counts_in_it),
		USERS(an_acl_of_its_own_is_kept),
		USERS(a_default_acl_counts),
		USERS(the_default_acl_of_the_directory_is_inherited),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
