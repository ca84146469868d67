/*
 * Whose `__pycache__` the name leads to when several users reach a mount: who may
 * write its directory shares one, and who may not has one of their own.  So nobody
 * ever reads bytecode of somebody who could not have changed the source as well.
 */
#include "rules_common.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/wait.h>

#define ALICE 1000
#define BOB 1001
#define CAROL 1002
#define GROUP 2000
#define ROOT 0

#define CACHE "d/__pycache__"
#define CODE "m.cpython-311.pyc"
#define BYTECODE CACHE "/" CODE

static int make_project(const char *source, void *data)
{
	(void)data;
	assert_works(mkdir(in(source, "d"), 0755));
	write_text(in(source, "d/m.py"), "m = 1\n");
	write_text(in(source, "d/n.py"), "n = 1\n");
	return 0;
}

static struct fixture_options project = { .prepare = make_project };
static struct fixture_options project_in_place = {
	.prepare = make_project, .in_place = true,
};
static struct fixture_options unwatched = {
	.prepare = make_project, .options = "timeout=1000",
};
static struct fixture_options little = {
	.prepare = make_project, .options = "size=1M",
};
static struct fixture_options with_also = {
	.prepare = make_project, .options = "also=.tool_cache",
};

/* The scratch directory is its owner's alone until others are let in. */
static int users_begin(void **state)
{
	struct fixture *f;

	fixture_begin(state);
	f = *state;
	assert_works(chmod(f->top, 0755));
	return 0;
}

/* ------------------------------------------------- what a user does */

/* Everything is told in a child's exit status: an errno, or one of these. */
enum { NOT_MINE = 200, MINE = 201, NOTHING = 202 };

struct task {
	char path[1024], dir[1024];
	int fd;
	uid_t user;
};

/* The user's mark is their uid. */
static int put_mark(const char *path, uid_t user)
{
	char temporary[1100], text[16];
	int fd, err = 0;

	/* As Python does. */
	snprintf(temporary, sizeof(temporary), "%s.%d", path, getpid());
	snprintf(text, sizeof(text), "%08u", user);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return errno;
	if (write(fd, text, 8) != 8)
		err = errno;
	close(fd);
	return err ? err : outcome(rename(temporary, path));
}

static int get_mark(const char *path, uid_t user)
{
	char text[16] = "", mine[16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? NOTHING : errno;
	snprintf(mine, sizeof(mine), "%08u", user);
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strcmp(text, mine) == 0 ? MINE : NOT_MINE;
}

static int task_put(void *data)
{
	const struct task *task = data;

	return put_mark(task->path, task->user);
}

static int task_get(void *data)
{
	const struct task *task = data;

	return get_mark(task->path, task->user);
}

static int run(const struct fixture *f, uid_t user, int (*call)(void *),
	       const char *name)
{
	struct task task = { .user = user };

	snprintf(task.path, sizeof(task.path), "%s/%s", f->mountpoint, name);
	return as_user(user, user, NULL, 0, call, &task);
}

#define puts_mark(f, user) run(f, user, task_put, BYTECODE)
#define gets_mark(f, user) run(f, user, task_get, BYTECODE)

static void set_d(const struct fixture *f, uid_t uid, gid_t gid, mode_t mode)
{
	assert_works(chown(on(f, "d"), uid, gid));
	assert_works(chmod(on(f, "d"), mode));
}

/* -------------------------------------------------------- the promises */

static void each_has_their_own(void **state)
{
	static const uid_t users[] = { ROOT, ALICE, BOB };
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(gets_mark(f, users[i]), NOTHING);
		assert_int_equal(puts_mark(f, users[i]), 0);
	}
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 3; i++)
			assert_int_equal(gets_mark(f, users[i]), MINE);
}

static int look_closely(void *data)
{
	const struct task *task = data;
	struct stat st, up;

	/* Before something is first written, and after that. */
	for (int i = 0; i < 2; i++) {
		if (stat(task->path, &st) < 0)
			return errno;
		if (st.st_mode != (S_IFDIR | 0700) || st.st_uid != task->user ||
		    st.st_gid != task->user)
			return NOT_MINE;
		if (put_mark(in(task->path, CODE), task->user))
			return EIO;
	}
	if (outcome(mkdir(task->path, 0777)) != EEXIST)
		return EEXIST;
	if (stat(in(task->path, CODE), &st) < 0 || st.st_uid != task->user)
		return EPERM;
	if (mkdir(in(task->path, "sub"), 0755) || rmdir(in(task->path, "sub")))
		return ENOTDIR;
	if (stat(in(task->path, ".."), &up) < 0 ||
	    stat(in(task->path, "../../d"), &st) < 0 || up.st_ino != st.st_ino)
		return EXDEV;
	if (chmod(task->path, 0750) || stat(task->path, &st) < 0 ||
	    (st.st_mode & 07777) != 0750 || chmod(task->path, 0700))
		return ENOTSUP;
	if (unlink(in(task->path, CODE)))
		return errno;
	return 0;
}

static void it_is_closed_to_others_and_works_like_any(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, ALICE, look_closely, CACHE), 0);
	assert_int_equal(run(f, BOB, look_closely, CACHE), 0);
	assert_lists(on(f, CACHE), "");
	assert_lists(on(f, "d"), "m.py n.py");
}

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

/* ---------------------------------------------- ways around the name */

/* Tries all that could bring the file task->path into the directory task->fd. */
static int smuggle(void *data)
{
	const struct task *task = data;
	char nameless[64];
	int fd, error;

	if (outcome(linkat(AT_FDCWD, task->path, task->fd, CODE, 0)) != EACCES)
		return 1;
	if (outcome(renameat(AT_FDCWD, task->path, task->fd, CODE)) != EACCES)
		return 2;
	if (outcome(symlinkat(task->path, task->fd, CODE)) != EACCES)
		return 3;
	if (outcome_open(openat(task->fd, CODE, O_WRONLY | O_CREAT, 0644)) != EACCES)
		return 4;
	if (outcome(mkdirat(task->fd, "sub", 0755)) != EACCES)
		return 5;
	/* A nameless file of their own directory. */
	fd = open(task->dir, O_TMPFILE | O_RDWR, 0644);
	snprintf(nameless, sizeof(nameless), "/proc/self/fd/%d", fd);
	error = fd < 0 ? errno : outcome(linkat(AT_FDCWD, nameless, task->fd, CODE,
						AT_SYMLINK_FOLLOW));
	close(fd);
	return error == EACCES ? 0 : 6;
}

static int open_own(void *data)
{
	const struct task *task = data;

	/* Root opens it as the user, who is shown their own. */
	return outcome_open(open(task->path, O_RDONLY | O_DIRECTORY));
}

/* A descriptor of @user's `__pycache__`. */
static int open_cache_of(const struct fixture *f, uid_t user)
{
	int fd;

	KEEP(path, on(f, CACHE));
	/* Both go back before anything can fail. */
	setfsuid(user);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	setfsuid(0);
	assert_true(fd >= 0);
	return fd;
}

static void nobody_brings_files_into_what_is_not_theirs(void **state)
{
	struct fixture *f = *state;
	struct task task = { .user = ALICE };

	assert_int_equal(puts_mark(f, ALICE), 0);
	assert_int_equal(run(f, BOB, open_own, CACHE), 0);
	snprintf(task.path, sizeof(task.path), "%s", on(f, BYTECODE));
	snprintf(task.dir, sizeof(task.dir), "%s", on(f, CACHE));
	task.fd = open_cache_of(f, ROOT);
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, smuggle, &task), 0);
	close(task.fd);
	task.fd = open_cache_of(f, BOB);
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, smuggle, &task), 0);
	close(task.fd);
	assert_int_equal(gets_mark(f, ROOT), NOTHING);
	assert_int_equal(gets_mark(f, BOB), NOTHING);
	assert_int_equal(gets_mark(f, ALICE), MINE);
}

static int plant_links(void *data)
{
	const struct task *task = data;

	if (symlink("/etc/passwd", in(task->path, CODE)) ||
	    symlink("..", in(task->path, "up")) ||
	    link(in(task->path, "n.cpython-311.pyc"), in(task->path, "second")))
		return errno;
	return 0;
}

static void links_of_one_are_not_seen_by_another(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, ALICE, task_put, CACHE "/n.cpython-311.pyc"), 0);
	assert_int_equal(run(f, ALICE, plant_links, CACHE), 0);
	assert_int_equal(gets_mark(f, BOB), NOTHING);
	assert_int_equal(run(f, BOB, task_get, CACHE "/second"), NOTHING);
	assert_lists(on(f, CACHE), "");
	assert_int_equal(run(f, ALICE, task_get, CACHE "/second"), MINE);
	assert_int_equal(run(f, ALICE, task_get,
			     CACHE "/up/__pycache__/second"), MINE);
}

/* Other names that a cache entry may have are D's to give. */
static void beside_the_source_nobody_makes_what_d_denies(void **state)
{
	static const char *const names[] = { "d/m.pyc", "d/.tool_cache" };
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(run(f, ALICE, task_put, names[i]), EACCES);
		assert_missing(on(f, names[i]));
	}
	write_text(on(f, "d/m.pyc"), "00000000");
	assert_int_equal(run(f, ALICE, task_get, "d/m.pyc"), NOT_MINE);
	assert_int_equal(run(f, ALICE, task_put, "d/m.pyc"), EACCES);
}

/* Stands in their own while others walk, and goes on. */
static int stay_inside(void *data)
{
	const struct task *task = data;
	int dir = open(task->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 || fchdir(dir) < 0 || put_mark(CODE, task->user))
		return 1;
	for (int i = 0; i < 100; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%d", i);
		if (put_mark(name, task->user) || get_mark(name, task->user) != MINE ||
		    get_mark(in(task->path, name), task->user) != MINE)
			return 3;
	}
	return get_mark(CODE, task->user) == MINE ? 0 : 4;
}

static void an_open_directory_stays_what_it_was(void **state)
{
	struct fixture *f = *state;
	struct task task = { .user = ALICE };
	pid_t walker;
	int status;

	snprintf(task.path, sizeof(task.path), "%s", on(f, CACHE));
	fflush(NULL);
	walker = fork();
	if (walker == 0) {
		struct stat st;

		for (;;)
			if (stat(in(task.path, "f1"), &st) == 0)
				_exit(NOT_MINE);
	}
	assert_true(walker > 0);
	int result = as_user(ALICE, ALICE, NULL, 0, stay_inside, &task);
	/* Before anything can fail. */
	kill(walker, SIGTERM);
	assert_int_equal(waitpid(walker, &status, 0), walker);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(result, 0);
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
	assert_int_equal(puts_mark(f, 65534), 0);
	assert_int_equal(run(f, ALICE, enter_user_namespace, BYTECODE), MINE);
	assert_int_equal(gets_mark(f, ROOT), NOTHING);
}

/* ------------------------------------------------------- one cache's ends */

static void a_changed_module_drops_everybodys(void **state)
{
	static const uid_t users[] = { ROOT, ALICE, BOB };
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(puts_mark(f, users[i]), 0);
		assert_int_equal(run(f, users[i], task_put,
				     CACHE "/n.cpython-311.pyc"), 0);
	}
	write_text(on(f, "d/m.py"), "m = 12\n");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(gets_mark(f, users[i]), NOTHING);
		assert_int_equal(run(f, users[i], task_get,
				     CACHE "/n.cpython-311.pyc"), MINE);
	}
}

static int fill(void *data)
{
	const struct task *task = data;
	char name[64], content[16384] = "";

	for (int i = 0; i < 150; i++) {
		int fd;

		snprintf(name, sizeof(name), "f%d.cpython-311.pyc", i);
		fd = open(in(task->path, name), O_WRONLY | O_CREAT, 0644);
		if (fd < 0 || write(fd, content, sizeof(content)) !=
		    (ssize_t)sizeof(content))
			return errno;
		close(fd);
	}
	return 0;
}

static void a_full_store_makes_room_in_everybodys(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, ALICE, fill, CACHE), 0);
	assert_int_equal(run(f, BOB, fill, CACHE), 0);
	assert_int_equal(run(f, ROOT, fill, CACHE), 0);
}

static void everybodys_go_with_the_directory(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(puts_mark(f, ALICE), 0);
	assert_int_equal(puts_mark(f, ROOT), 0);
	assert_works(unlink(on(f, "d/m.py")));
	assert_works(unlink(on(f, "d/n.py")));
	assert_works(rmdir(on(f, "d")));
	assert_works(mkdir(on(f, "d"), 0755));
	assert_int_equal(gets_mark(f, ALICE), NOTHING);
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

/* ----------------------------------------------------------------- a race */

enum { TRIES = 10000 };

static int write_and_read(void *data)
{
	const struct task *task = data;

	for (int i = 0; i < TRIES / 2; i++) {
		int error = i % 10 ? 0 : put_mark(task->path, task->user);

		if (error)
			return error;
		error = get_mark(task->path, task->user);
		if (error != MINE)
			return error;
	}
	return 0;
}

struct racer {
	struct task task;
	int status;
};

static void *race(void *data)
{
	struct racer *racer = data;

	racer->status = as_user(racer->task.user, racer->task.user, NULL, 0,
				write_and_read, &racer->task);
	return NULL;
}

static void racing_users_never_read_each_others(void **state)
{
	static const uid_t users[] = { ROOT, ALICE, BOB };
	struct fixture *f = *state;
	struct racer racers[3];
	pthread_t threads[3];

	for (int i = 0; i < 3; i++) {
		racers[i].task.user = users[i];
		snprintf(racers[i].task.path, sizeof(racers[i].task.path), "%s",
			 on(f, BYTECODE));
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]),
				 0);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 3; i++)
		assert_int_equal(racers[i].status, 0);
}

/* ------------------------------------------------- a daemon of a plain user */

static int make_foreign(const char *source, void *data)
{
	make_project(source, data);
	return chown(in(source, "d"), ROOT, ROOT);
}

static struct fixture_options plain = {
	.prepare = make_foreign, .uid = ALICE, .gid = ALICE,
};

/* Who alone reaches a mount may cache there what they may not write. */
static void who_is_alone_has_their_own_as_well(void **state)
{
	struct fixture *f = *state;

	assert_works(chown(behind(f, "d"), ROOT, ROOT));
	assert_int_equal(run(f, ALICE, look_closely, CACHE), 0);
	assert_int_equal(puts_mark(f, ALICE), 0);
	assert_int_equal(gets_mark(f, ALICE), MINE);
	assert_int_equal(run(f, ALICE, task_put, "d/m.pyc"), EACCES);
}

#define USERS(test) PLAIN(test, project), \
	{ #test " (in place)", test, users_begin, fixture_end, \
	  &project_in_place }
#define PLAIN(test, options) \
	{ #test " (" #options ")", test, users_begin, fixture_end, &options }

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		USERS(each_has_their_own),
		PLAIN(each_has_their_own, unwatched),
		USERS(it_is_closed_to_others_and_works_like_any),
		USERS(a_group_that_may_write_shares),
		PLAIN(a_group_that_may_not_write_has_no_share, project),
		PLAIN(owners_share_as_far_as_they_may_write, project),
		USERS(who_was_granted_by_an_acl_shares),
		USERS(a_change_of_the_directory_counts),
		USERS(nobody_brings_files_into_what_is_not_theirs),
		PLAIN(links_of_one_are_not_seen_by_another, project),
		PLAIN(beside_the_source_nobody_makes_what_d_denies, with_also),
		PLAIN(an_open_directory_stays_what_it_was, project),
		PLAIN(the_uid_for_files_counts, project),
		PLAIN(a_user_namespace_changes_nothing, project),
		PLAIN(a_changed_module_drops_everybodys, project),
		PLAIN(a_full_store_makes_room_in_everybodys, little),
		PLAIN(everybodys_go_with_the_directory, project),
		{ "owner_and_root_share_on_a_read_only_source",
		  owner_and_root_share_on_a_read_only_source, read_only_begin,
		  read_only_end, &on_read_only },
		USERS(racing_users_never_read_each_others),
		PLAIN(who_is_alone_has_their_own_as_well, plain),
	};

	if (skip)
		return skip;
	if (geteuid() != 0) {
		print_message("only root can become other users\n");
		return getenv("PYCACHEFS_MUST_RUN") ? 1 : 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
