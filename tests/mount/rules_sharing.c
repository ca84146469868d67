/*
 * Who may write a directory shares its `__pycache__` with all others who may; who
 * may not has one of their own.  The source's kernel says who that is, as it does
 * natively: owner, groups, ACLs, a read-only filesystem.
 */
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/mount.h>

#include "marks.h"

/* The uid of owners who have none in a user namespace, and somebody's here. */
#define NOBODY 65534

static struct fixture_options project = { .prepare = make_project };
static struct fixture_options project_in_place = {
	.prepare = make_project, .in_place = true,
};
/* Groups, among them none, for tasks. */
static int run_in(const struct fixture *f, uid_t user, gid_t group,
		  int (*call)(void *), const char *name)
{
	struct task task = { .user = user };

	snprintf(task.path, sizeof(task.path), "%s/%s", f->mountpoint, name);
	return as_user(user, user, &group, 1, call, &task);
}

static void a_group_that_may_write_shares(void **state)
{
	struct fixture *f = *state;
	struct task task = { .user = ALICE };

	set_d(f, ROOT, GROUP, 0775);
	assert_int_equal(run_in(f, ALICE, GROUP, task_put, BYTECODE), 0);
	assert_int_equal(run_in(f, ALICE, GROUP, task_get, BYTECODE), MINE);
	assert_int_equal(run_in(f, BOB, GROUP, task_get, BYTECODE), NOT_MINE);
	assert_int_equal(gets_mark(f, ROOT), NOT_MINE);
	/* By their first group, too. */
	snprintf(task.path, sizeof(task.path), "%s", on(f, BYTECODE));
	assert_int_equal(as_user(BOB, GROUP, NULL, 0, task_get, &task), MINE);
	assert_int_equal(gets_mark(f, CAROL), NOTHING);
	assert_int_equal(puts_mark(f, CAROL), 0);
	assert_int_equal(gets_mark(f, CAROL), MINE);
	assert_int_equal(run_in(f, ALICE, GROUP, task_get, BYTECODE), MINE);
	/* Without the group she is one who may not write. */
	assert_int_equal(gets_mark(f, ALICE), NOTHING);
}

static void a_group_that_may_not_write_has_no_share(void **state)
{
	struct fixture *f = *state;

	/* All but the group may write. */
	set_d(f, ROOT, GROUP, 0757);
	assert_int_equal(puts_mark(f, ALICE), 0);
	assert_int_equal(gets_mark(f, BOB), NOT_MINE);
	assert_int_equal(run_in(f, BOB, GROUP, task_get, BYTECODE), NOTHING);
}

static void owners_share_as_far_as_they_may_write(void **state)
{
	struct fixture *f = *state;

	set_d(f, ALICE, ALICE, 0755);
	assert_int_equal(puts_mark(f, ALICE), 0);
	assert_int_equal(gets_mark(f, ROOT), NOT_MINE);
	assert_int_equal(gets_mark(f, BOB), NOTHING);
	set_d(f, NOBODY, NOBODY, 0755);
	assert_int_equal(gets_mark(f, NOBODY), NOT_MINE);
	assert_int_equal(gets_mark(f, ALICE), NOTHING);
	set_d(f, ALICE, ALICE, 0555);
	assert_int_equal(gets_mark(f, ALICE), NOTHING);
	assert_int_equal(puts_mark(f, ALICE), 0);
	assert_int_equal(gets_mark(f, ALICE), MINE);
	assert_int_equal(gets_mark(f, ROOT), NOT_MINE);
}

static void set_acl(const char *path, const char *acl)
{
	free(command_output(NULL, "setfacl", "-m", acl, path, NULL));
}

static void who_was_granted_by_an_acl_shares(void **state)
{
	struct fixture *f = *state;

	KEEP(d, on(f, "d"));
	set_acl(d, "u:1000:rwx,u:1001:r-x");
	assert_int_equal(puts_mark(f, ALICE), 0);
	assert_int_equal(gets_mark(f, ROOT), NOT_MINE);
	assert_int_equal(gets_mark(f, BOB), NOTHING);
	assert_int_equal(puts_mark(f, BOB), 0);
	assert_int_equal(gets_mark(f, BOB), MINE);
	assert_int_equal(gets_mark(f, ALICE), MINE);
	/* What the mask takes away does not count. */
	set_acl(d, "m::r-x");
	assert_int_equal(gets_mark(f, ALICE), NOTHING);
	/* An ACL of D opens nobody's own. */
	set_acl(d, "u:1000:rwx,u:1001:r-x,m::rwx");
	assert_int_equal(gets_mark(f, ALICE), MINE);
	assert_int_equal(gets_mark(f, BOB), MINE);
}

struct change {
	const struct fixture *f;
	uid_t user;
	int expected;
};

static bool gets_expected(void *data)
{
	const struct change *change = data;

	return gets_mark(change->f, change->user) == change->expected;
}

/* Through the mount at once, behind it soon. */
static void a_change_of_the_directory_counts(void **state)
{
	struct fixture *f = *state;
	struct change shares = { f, ALICE, NOT_MINE }, own = { f, ALICE, MINE };

	assert_int_equal(puts_mark(f, ROOT), 0);
	assert_int_equal(puts_mark(f, ALICE), 0);
	assert_works(chmod(on(f, "d"), 0777));
	assert_int_equal(gets_mark(f, ALICE), NOT_MINE);
	assert_works(chmod(on(f, "d"), 0755));
	assert_int_equal(gets_mark(f, ALICE), MINE);
	assert_works(chown(on(f, "d"), ALICE, ALICE));
	assert_int_equal(gets_mark(f, ALICE), NOT_MINE);
	assert_works(chown(on(f, "d"), ROOT, ROOT));
	assert_works(chmod(behind(f, "d"), 0777));
	assert_true(eventually(DEADLINE, gets_expected, &shares));
	assert_works(chmod(behind(f, "d"), 0755));
	assert_true(eventually(DEADLINE, gets_expected, &own));
}

/* Files are checked by fsuid, so that is who asks. */
static void the_uid_for_files_counts(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(puts_mark(f, ALICE), 0);
	assert_int_equal(puts_mark(f, ROOT), 0);
	KEEP(path, on(f, BYTECODE));
	setfsuid(ALICE);
	int seen = get_mark(path, ALICE);
	setfsuid(0);
	assert_int_equal(seen, MINE);
	assert_int_equal(get_mark(path, ROOT), MINE);
}

static int enter_user_namespace(void *data)
{
	const struct task *task = data;

	/* Nobody is mapped: all that is seen belongs to 65534.  Where that is
	 * forbidden there is nothing to be wrong. */
	(void)unshare(CLONE_NEWUSER);
	return get_mark(task->path, task->user);
}

static void a_user_namespace_changes_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(puts_mark(f, ALICE), 0);
	assert_int_equal(puts_mark(f, NOBODY), 0);
	assert_int_equal(run(f, ALICE, enter_user_namespace, BYTECODE), MINE);
	assert_int_equal(gets_mark(f, ROOT), NOTHING);
}

static char read_only[64];
static struct fixture_options on_read_only = { .source = read_only };

/* A filesystem that is read-only itself, not by its mount. */
static int read_only_begin(void **state)
{
	snprintf(read_only, sizeof(read_only), "/tmp/pycachefs-ro-XXXXXX");
	assert_non_null(mkdtemp(read_only));
	assert_works(mount("tmpfs", read_only, "tmpfs", 0, "mode=0755"));
	make_project(read_only, NULL);
	assert_works(chown(in(read_only, "d"), ALICE, GROUP));
	assert_works(chmod(in(read_only, "d"), 0777));
	assert_works(mount(NULL, read_only, NULL, MS_REMOUNT | MS_RDONLY, NULL));
	return users_begin(state);
}

static int read_only_end(void **state)
{
	fixture_end(state);
	assert_works(umount2(read_only, MNT_DETACH));
	return rmdir(read_only);
}

static void owner_and_root_share_on_a_read_only_source(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(puts_mark(f, ALICE), 0);
	assert_int_equal(gets_mark(f, ALICE), MINE);
	assert_int_equal(gets_mark(f, ROOT), NOT_MINE);
	assert_int_equal(gets_mark(f, BOB), NOTHING);
	assert_int_equal(puts_mark(f, BOB), 0);
	assert_int_equal(gets_mark(f, BOB), MINE);
	assert_int_equal(gets_mark(f, ALICE), MINE);
}

/* ------------------------------------------------- a daemon of a plain user */

static int make_foreign(const char *source, void *data)
{
	make_project(source, data);
	return chown(in(source, "d"), ROOT, ROOT);
}

static struct fixture_options plain = {
	.prepare = make_foreign, .uid = NAMED_USER, .gid = NAMED_USER,
};

static int close_directory(void *data)
{
	const struct task *task = data;

	return outcome(chmod(task->path, 0555));
}

/* Who alone reaches a mount may cache there what they may not write. */
static void who_is_alone_has_their_own_as_well(void **state)
{
	struct fixture *f = *state;

	assert_works(chown(behind(f, "d"), ROOT, ROOT));
	assert_int_equal(run(f, NAMED_USER, look_closely, CACHE), 0);
	assert_int_equal(puts_mark(f, NAMED_USER), 0);
	assert_int_equal(gets_mark(f, NAMED_USER), MINE);
	assert_int_equal(run(f, NAMED_USER, task_put, "d/m.pyc"), EACCES);
}

/* The kernel has the name in its cache, and hears of what is decided anew. */
static void who_is_alone_is_shown_what_the_directory_now_allows(void **state)
{
	struct fixture *f = *state;
	struct change shared = { f, NAMED_USER, NOTHING }, own = { f, NAMED_USER, MINE };

	assert_int_equal(puts_mark(f, NAMED_USER), 0);
	assert_works(chown(behind(f, "d"), NAMED_USER, NAMED_USER));
	assert_true(eventually(DEADLINE, gets_expected, &shared));
	assert_works(chown(behind(f, "d"), ROOT, ROOT));
	assert_true(eventually(DEADLINE, gets_expected, &own));
	assert_works(chown(behind(f, "d"), NAMED_USER, NAMED_USER));
	assert_true(eventually(DEADLINE, gets_expected, &shared));
	/* By their own change, too. */
	assert_int_equal(run(f, NAMED_USER, close_directory, "d"), 0);
	assert_true(eventually(DEADLINE, gets_expected, &own));
}

static int make_named(const char *source, void *data)
{
	make_project(source, data);
	return chown(in(source, "d"), NAMED_USER, NAMED_USER);
}

static struct fixture_options plain_for_all = {
	.prepare = make_named, .options = "allow_other",
	.uid = NAMED_USER, .gid = NAMED_USER,
};

/* In a mount namespace of our own, whose fuse.conf lets users let others in. */
static int allowed_begin(void **state)
{
	char conf[] = "/tmp/pycachefs-conf-XXXXXX";
	int fd = mkstemp(conf);

	assert_works(unshare(CLONE_NEWNS));
	assert_works(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	assert_true(write(fd, "user_allow_other\n", 17) == 17);
	assert_works(fchmod(fd, 0644));
	close(fd);
	assert_works(mount(conf, "/etc/fuse.conf", NULL, MS_BIND, NULL));
	assert_works(unlink(conf));
	return users_begin(state);
}

/* It can give nothing away, and asks for itself only: all that users have of their
 * own is its own in the store. */
static void a_plain_users_daemon_keeps_users_apart_too(void **state)
{
	static const uid_t users[] = { NAMED_USER, ALICE, BOB };
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++)
		assert_int_equal(puts_mark(f, users[i]), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(gets_mark(f, users[i]), MINE);
	/* The directory is the daemon's user's. */
	assert_int_equal(gets_mark(f, ROOT), NOT_MINE);
	assert_int_equal(run(f, ALICE, look_closely, CACHE), 0);
	assert_int_equal(run(f, BOB, task_get, BYTECODE), MINE);
}

int main(void)
{
	int skip = users_possible();
	const struct CMUnitTest tests[] = {
		USERS(a_group_that_may_write_shares),
		PLAIN(a_group_that_may_not_write_has_no_share, project),
		PLAIN(owners_share_as_far_as_they_may_write, project),
		USERS(who_was_granted_by_an_acl_shares),
		USERS(a_change_of_the_directory_counts),
		PLAIN(the_uid_for_files_counts, project),
		PLAIN(a_user_namespace_changes_nothing, project),
		{ "owner_and_root_share_on_a_read_only_source",
		  owner_and_root_share_on_a_read_only_source, read_only_begin,
		  read_only_end, &on_read_only },
		PLAIN(who_is_alone_has_their_own_as_well, plain),
		PLAIN(who_is_alone_is_shown_what_the_directory_now_allows, plain),
		{ "a_plain_users_daemon_keeps_users_apart_too",
		  a_plain_users_daemon_keeps_users_apart_too, allowed_begin,
		  fixture_end, &plain_for_all },
	};

	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
