/*
 * Who may do what in `__pycache__` when several users reach a mount: it carries
 * its directory's owner, group and mode, and what is made in it belongs to whoever
 * made it, as natively.
 */
#include "users_common.h"

/* What is cached is believed for longer than any test takes. */
static struct fixture_options cached = {
	.prepare = make_project, .options = "timeout=600",
};
static struct fixture_options cached_in_place = {
	.prepare = make_project, .options = "timeout=600", .in_place = true,
};

/* Calls that a user makes; each returns the errno. */
static int make_directory(void *path)
{
	return outcome(mkdir(path, 0777));
}

static int make_link(void *path)
{
	return outcome(symlink("target", path));
}

static int read_file(void *path)
{
	char text[4];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	return read(fd, text, 4) == 4 ? 0 : EIO;
}

static int write_file(void *path)
{
	return outcome_open(open(path, O_WRONLY | O_CLOEXEC));
}

static int remove_file(void *path)
{
	return outcome(unlink(path));
}

static int list_directory(void *path)
{
	return outcome_open(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int give_to_group(void *path)
{
	return outcome(chown(path, (uid_t)-1, GROUP));
}

static void set_d(const struct fixture *f, uid_t uid, gid_t gid, mode_t mode)
{
	assert_works(chown(on(f, "d"), uid, gid));
	assert_works(chmod(on(f, "d"), mode));
}

static void what_is_made_belongs_to_who_made_it(void **state)
{
	struct fixture *f = *state;

	set_d(f, 0, 0, 0777);
	assert_true(carries_soon(f));
	assert_int_equal(does(f, ALICE, make_file, "file"), 0);
	assert_int_equal(does(f, BOB, make_directory, "dir"), 0);
	assert_int_equal(does(f, BOB, make_file, "dir/file"), 0);
	assert_int_equal(does(f, ALICE, make_link, "link"), 0);
	assert_owned(on(f, "d/__pycache__/file"), ALICE, ALICE, 0644);
	assert_owned(on(f, "d/__pycache__/dir"), BOB, BOB, 0755);
	assert_owned(on(f, "d/__pycache__/dir/file"), BOB, BOB, 0644);
	assert_owned(on(f, "d/__pycache__/link"), ALICE, ALICE, 0);
	assert_int_equal(does(f, BOB, read_file, "file"), 0);
	assert_int_equal(does(f, BOB, write_file, "file"), EACCES);
	assert_int_equal(does(f, ALICE, make_file, "dir/other"), EACCES);
}

static void it_carries_owner_group_and_mode(void **state)
{
	static const mode_t modes[] = { 0755, 0700, 02775, 01777, 0750 };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		char name[20];

		/* New directories, whose `__pycache__` nobody has seen yet. */
		snprintf(name, sizeof(name), "new%zu", i);
		KEEP(dir, on(f, name));
		assert_works(mkdir(dir, 0755));
		assert_works(chown(dir, ALICE, GROUP));
		assert_works(chmod(dir, modes[i]));
		assert_owned(in(dir, "__pycache__"), ALICE, GROUP, modes[i]);
	}
}

static void it_follows_when_its_directory_is_changed(void **state)
{
	struct fixture *f = *state;

	assert_owned(on(f, "d/__pycache__"), 0, 0, 0755);
	assert_works(chmod(on(f, "d"), 0700));
	assert_true(carries_soon(f));
	assert_works(chown(on(f, "d"), BOB, GROUP));
	assert_true(carries_soon(f));
	assert_int_equal(does(f, ALICE, make_file, "m"), EACCES);
	assert_int_equal(does(f, BOB, make_file, "m"), 0);
	assert_works(chmod(behind(f, "d"), 0777));
	assert_true(carries_soon(f));
	assert_int_equal(does(f, ALICE, make_file, "n"), 0);
}

/* Also after something was written to it, and whatever is done to its directory. */
static void it_follows_owner_group_bits_and_lists(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "d/__pycache__/m.pyc"), "code");
	assert_works(chown(on(f, "d"), ALICE, GROUP));
	assert_true(carries_soon(f));
	assert_works(chmod(on(f, "d"), 02775));
	assert_true(carries_soon(f));
	assert_works(chown(on(f, "d"), BOB, BOB));
	assert_true(carries_soon(f));
	free(command_output(NULL, "setfacl", "-m", "u:1000:rwx", on(f, "d"), NULL));
	assert_true(carries_soon(f));
	free(command_output(NULL, "setfacl", "-b", on(f, "d"), NULL));
	assert_true(carries_soon(f));
	assert_works(chmod(on(f, "d"), 01711));
	assert_true(carries_soon(f));
}

static void a_mode_of_its_own_is_kept_whatever_it_is(void **state)
{
	/* What is given and what it then has: setuid means nothing there. */
	static const mode_t given[][2] = {
		{ 01700, 01700 }, { 03700, 03700 }, { 0700, 0700 },
		{ 04700, 0700 }, { 06755, 02755 }, { 0, 0 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++) {
		char name[20];

		snprintf(name, sizeof(name), "own%zu", i);
		KEEP(dir, on(f, name));
		assert_works(mkdir(dir, 0755));
		KEEP(cache, in(dir, "__pycache__"));
		assert_works(chmod(cache, given[i][0]));
		assert_owned(cache, 0, 0, given[i][1]);
		assert_works(chmod(dir, 0777));
		assert_works(chown(dir, ALICE, GROUP));
		/* Asked for anew, by whoever has not seen it. */
		assert_works(rename(dir, in(f->mountpoint, "renamed")));
		assert_owned(on(f, "renamed/__pycache__"), 0, 0, given[i][1]);
		assert_works(rename(on(f, "renamed"), dir));
		/* An owner of its own makes it no follower either. */
		assert_works(chown(cache, BOB, BOB));
		assert_owned(cache, BOB, BOB, given[i][1]);
	}
}

/* By a descriptor: the name would lead them to their own, see rules_private.c. */
static void who_may_not_write_the_directory_gets_eacces(void **state)
{
	struct fixture *f = *state;

	set_d(f, BOB, BOB, 0755);
	assert_true(carries_soon(f));
	assert_int_equal(does(f, BOB, make_file, "m.pyc"), 0);
	int fd = open(on(f, "d/__pycache__"), O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	assert_int_equal(does_below(fd, ALICE, make_file, "n.pyc"), EACCES);
	assert_int_equal(does_below(fd, ALICE, make_directory, "sub"), EACCES);
	assert_int_equal(does_below(fd, ALICE, make_link, "link"), EACCES);
	assert_int_equal(does_below(fd, ALICE, remove_file, "m.pyc"), EACCES);
	assert_int_equal(does_below(fd, ALICE, write_file, "m.pyc"), EACCES);
	assert_int_equal(does_below(fd, ALICE, read_file, "m.pyc"), 0);
	assert_int_equal(does_below(fd, ALICE, list_directory, "."), 0);
	close(fd);
	assert_lists(on(f, "d/__pycache__"), "m.pyc");
}

static void who_may_not_look_into_the_directory_sees_nothing(void **state)
{
	struct fixture *f = *state;

	set_d(f, BOB, BOB, 0700);
	assert_true(carries_soon(f));
	assert_int_equal(does(f, BOB, make_file, "m.pyc"), 0);
	assert_int_equal(does(f, ALICE, read_file, "m.pyc"), EACCES);
	assert_int_equal(does(f, ALICE, list_directory, "."), EACCES);
}

static void a_sticky_directory_protects_what_others_made(void **state)
{
	struct fixture *f = *state;

	set_d(f, 0, 0, 01777);
	assert_true(carries_soon(f));
	assert_int_equal(does(f, ALICE, make_file, "m.pyc"), 0);
	assert_int_equal(does(f, BOB, remove_file, "m.pyc"), EPERM);
	assert_int_equal(does(f, ALICE, remove_file, "m.pyc"), 0);
}

static int remove_directory(void *path)
{
	return outcome(rmdir(path));
}

static int rename_away(void *path)
{
	return outcome(rename(path, "away"));
}

static int rename_over(void *path)
{
	return outcome(rename("bobs", path));
}

/* The kernel lets them by what it knows, which is out of date. */
static void a_directory_that_became_sticky_behind_the_mount_protects_at_once(
	void **state)
{
	static const struct {
		const char *name;
		int (*call)(void *path);
	} calls[] = {
		{ "file", remove_file }, { "dir", remove_directory },
		{ "full", remove_directory }, { "file", rename_away },
		{ "file", rename_over },
	};
	struct fixture *f = *state;
	struct stat st;

	assert_works(chmod(behind(f, "d"), 0777));
	write_text(behind(f, "d/file"), "of alice");
	write_text(behind(f, "d/full/__pycache__/old.pyc"), "hidden");
	write_text(behind(f, "d/bobs"), "of bob");
	assert_works(mkdir(behind(f, "d/dir"), 0755));
	assert_works(chown(behind(f, "d/file"), ALICE, ALICE));
	assert_works(chown(behind(f, "d/dir"), ALICE, ALICE));
	assert_works(chown(behind(f, "d/bobs"), BOB, BOB));
	KEEP(d, on(f, "d"));
	assert_works(stat(d, &st));
	assert_int_equal(st.st_mode & 07777, 0777);
	char *before = tree_list(behind(f, "d"));

	assert_works(chmod(behind(f, "d"), 01777));
	int here = open(".", O_PATH | O_CLOEXEC);
	int there = open(d, O_PATH | O_CLOEXEC);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		KEEP(path, calls[i].name);
		assert_works(fchdir(there));
		int error = as_user(BOB, BOB, NULL, 0, calls[i].call, path);
		assert_works(fchdir(here));
		assert_int_equal(error, EPERM);
	}
	close(here);
	close(there);
	assert_lists(behind(f, "d"), before);
	assert_holds(behind(f, "d/file"), "of alice");
	assert_exists(behind(f, "d/full/__pycache__/old.pyc"));
	free(before);
	/* The kernel still believes that they may, or this proves nothing. */
	assert_works(stat(d, &st));
	assert_int_equal(st.st_mode & 07777, 0777);

	KEEP(file, in(d, "file"));
	KEEP(dir, in(d, "dir"));
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, remove_file, file), 0);
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, remove_directory, dir), 0);
	assert_works(unlink(in(d, "bobs")));
}

static int make_hard_link(void *path)
{
	return outcome(link("bobs", path));
}

/* The kernel sees no file there, so it checks nothing. */
static void a_sticky_directory_protects_what_is_hidden_too(void **state)
{
	int (*const calls[])(void *) = {
		make_file, make_directory, make_link, make_hard_link, rename_over,
	};
	struct fixture *f = *state;
	char *before;

	set_d(f, 0, 0, 01777);
	assert_true(carries_soon(f));
	write_text(behind(f, "d/m.pyc"), "of root");
	write_text(on(f, "d/bobs"), "of bob");
	assert_works(chown(on(f, "d/bobs"), BOB, BOB));
	assert_works(unlink(on(f, "d/m.py")));
	before = describe_source(f);
	int here = open(".", O_PATH | O_CLOEXEC);
	int there = open(on(f, "d"), O_PATH | O_CLOEXEC);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		assert_works(fchdir(there));
		int error = as_user(BOB, BOB, NULL, 0, calls[i], (char[]){ "m.pyc" });
		assert_works(fchdir(here));
		assert_int_equal(error, EPERM);
	}
	close(here);
	close(there);
	assert_source(f, before);
	assert_holds(behind(f, "d/m.pyc"), "of root");
	/* To whom it belongs it makes way. */
	write_text(on(f, "d/m.pyc"), "made anew");
	assert_holds(behind(f, "d/m.pyc"), "made anew");
}

static void a_setgid_directory_hands_its_group_on(void **state)
{
	struct fixture *f = *state;

	set_d(f, 0, GROUP, 02777);
	assert_true(carries_soon(f));
	assert_int_equal(does(f, ALICE, make_file, "file"), 0);
	assert_int_equal(does(f, ALICE, make_directory, "dir"), 0);
	assert_owned(on(f, "d/__pycache__/file"), ALICE, GROUP, 0644);
	assert_owned(on(f, "d/__pycache__/dir"), ALICE, GROUP, 02755);
}

static void supplementary_groups_count(void **state)
{
	const gid_t groups[] = { GROUP };
	struct fixture *f = *state;

	set_d(f, 0, GROUP, 0770);
	assert_true(carries_soon(f));
	KEEP(path, on(f, "d/__pycache__/m.pyc"));
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, make_file, path),
			 EACCES);
	assert_int_equal(as_user(ALICE, ALICE, groups, 1, make_file, path), 0);
	assert_owned(path, ALICE, ALICE, 0644);
	/* Else it would not be hers to see without the group. */
	assert_works(chmod(on(f, "d"), 0777));
	assert_true(carries_soon(f));
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, give_to_group, path),
			 EPERM);
	assert_int_equal(as_user(ALICE, ALICE, groups, 1, give_to_group, path),
			 0);
	assert_owned(path, ALICE, GROUP, 0644);
}

static int make_under_umask(void *dir)
{
	int error;

	umask(027);
	error = outcome_open(open(in(dir, "file"), O_WRONLY | O_CREAT, 0666));
	error = error ? error : outcome(mkdir(in(dir, "dir"), 0777));
	error = error ? error : outcome(mkfifo(in(dir, "fifo"), 0666));
	umask(0);
	error = error ? error : outcome(mkdir(in(dir, "open"), 0777));
	return error;
}

static void the_umask_of_the_caller_counts(void **state)
{
	struct fixture *f = *state;

	set_d(f, 0, 0, 0777);
	assert_true(carries_soon(f));
	assert_int_equal(does(f, ALICE, make_under_umask, "."), 0);
	assert_owned(on(f, "d/__pycache__/file"), ALICE, ALICE, 0640);
	assert_owned(on(f, "d/__pycache__/dir"), ALICE, ALICE, 0750);
	assert_owned(on(f, "d/__pycache__/fifo"), ALICE, ALICE, 0640);
	assert_owned(on(f, "d/__pycache__/open"), ALICE, ALICE, 0777);
}

#define CACHED(test) \
	{ #test, test, users_begin, fixture_end, &cached }, \
	{ #test " (in place)", test, users_begin, fixture_end, &cached_in_place }

int main(void)
{
	int skip = users_possible();
	const struct CMUnitTest tests[] = {
		USERS(what_is_made_belongs_to_who_made_it),
		USERS(it_carries_owner_group_and_mode),
		USERS(it_follows_when_its_directory_is_changed),
		USERS(it_follows_owner_group_bits_and_lists),
		USERS(a_mode_of_its_own_is_kept_whatever_it_is),
		USERS(who_may_not_write_the_directory_gets_eacces),
		USERS(who_may_not_look_into_the_directory_sees_nothing),
		USERS(a_sticky_directory_protects_what_others_made),
		CACHED(a_directory_that_became_sticky_behind_the_mount_protects_at_once),
		USERS(a_sticky_directory_protects_what_is_hidden_too),
		USERS(a_setgid_directory_hands_its_group_on),
		USERS(supplementary_groups_count),
		USERS(the_umask_of_the_caller_counts),
	};

	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
