/*
 * Users who may not write a directory have a `__pycache__` of their own: it works
 * like any, nobody reads what another has put there, and no way leads around that.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/wait.h>

#include "marks.h"

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
static void it_is_closed_to_others_and_works_like_any(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, ALICE, look_closely, CACHE), 0);
	assert_int_equal(run(f, BOB, look_closely, CACHE), 0);
	assert_lists(on(f, CACHE), "");
	assert_lists(on(f, "d"), "m.py n.py");
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

int main(void)
{
	int skip = users_possible();
	const struct CMUnitTest tests[] = {
		USERS(each_has_their_own),
		PLAIN(each_has_their_own, unwatched),
		USERS(it_is_closed_to_others_and_works_like_any),
		USERS(nobody_brings_files_into_what_is_not_theirs),
		PLAIN(links_of_one_are_not_seen_by_another, project),
		PLAIN(beside_the_source_nobody_makes_what_d_denies, with_also),
		PLAIN(an_open_directory_stays_what_it_was, project),
		PLAIN(a_changed_module_drops_everybodys, project),
		PLAIN(a_full_store_makes_room_in_everybodys, little),
		PLAIN(everybodys_go_with_the_directory, project),
		USERS(racing_users_never_read_each_others),
	};

	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
