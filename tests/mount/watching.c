/*
 * Changes made behind the mount are seen through it, though everything is cached,
 * and what is cached costs no request.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "command.h"
#include "fixture.h"
#include "tree.h"

/* Made before it is mounted: no news of it is on its way when a test begins. */
static int make_file(const char *source, void *data)
{
	(void)data;
	tree_write(in(source, "dir/file"), "one", -1);
	return 0;
}

static int setup(void **state)
{
	*state = fixture_create(&(struct fixture_options){ .prepare = make_file });
	return 0;
}

static int teardown(void **state)
{
	fixture_destroy(*state);
	return 0;
}

struct expectation {
	const char *path;
	const char *content;	/* NULL: there is no such file */
	mode_t mode;		/* 0: any */
};

static bool holds(void *data)
{
	const struct expectation *e = data;
	bool same = true;
	struct stat st;

	if (lstat(e->path, &st) < 0)
		return !e->content;
	if (e->content) {
		char *content = tree_read(e->path, NULL);

		same = strcmp(content, e->content) == 0;
		free(content);
	}
	return e->content && same && (!e->mode || (st.st_mode & 07777) == e->mode);
}

static void expect(const char *path, const char *content, mode_t mode)
{
	struct expectation e = { path, content, mode };

	if (!eventually(2, holds, &e))
		fail_msg("'%s' does not become '%s'", path,
			 content ? content : "missing");
}

static void change_behind(const struct fixture *f)
{
	char behind[320], file[320], other[320];

	snprintf(behind, sizeof(behind), "%s/dir/file", f->source);
	snprintf(file, sizeof(file), "%s/dir/file", f->mountpoint);
	snprintf(other, sizeof(other), "%s/dir/other", f->mountpoint);
	for (int round = 0; round < 50; round++) {
		tree_write(behind, "one", -1);
		expect(file, "one", 0);
		expect(other, NULL, 0);
		tree_write(behind, "two", -1);
		expect(file, "two", 0);
		assert_int_equal(chmod(behind, 0600), 0);
		expect(file, "two", 0600);
		assert_int_equal(chmod(behind, 0644), 0);
		tree_write(in(f->source, "dir/new"), "new", -1);
		assert_int_equal(rename(in(f->source, "dir/new"), behind), 0);
		expect(file, "new", 0);
		assert_int_equal(rename(behind, in(f->source, "dir/other")), 0);
		expect(other, "new", 0);
		expect(file, NULL, 0);
		assert_int_equal(unlink(in(f->source, "dir/other")), 0);
		expect(other, NULL, 0);
	}
}

static void changes_behind_the_mount_are_seen(void **state)
{
	change_behind(*state);
}

/* As an editor saves: five changes of names and contents. */
static void save(const char *directory, int number)
{
	char path[320], new[330];
	int fd;

	snprintf(path, sizeof(path), "%s/saved-%d", directory, number);
	snprintf(new, sizeof(new), "%s.new", path);
	fd = open(new, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (write(fd, "text", 4) != 4 || close(fd) || rename(new, path) || unlink(path))
		_exit(1);
}

static void they_are_seen_while_much_changes_through_it(void **state)
{
	const struct fixture *f = *state;
	pid_t child;

	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; ; i++)
			save(in(f->mountpoint, "dir"), i);
	}
	change_behind(f);
	assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

/* How often the daemon's threads that serve no requests have gone to sleep. */
static long count_sleeps(pid_t daemon)
{
	static const char field[] = "\nvoluntary_ctxt_switches:";
	char path[320];
	struct dirent *entry;
	long count = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", daemon);
	tasks = opendir(path);
	assert_non_null(tasks);
	while ((entry = readdir(tasks))) {
		char *status;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", daemon, entry->d_name);
		status = tree_read(path, NULL);
		assert_non_null(strstr(status, field));
		if (!strstr(status, "fuse_worker") && !strstr(status, "fuse-ring"))
			count += atol(strstr(status, field) + sizeof(field) - 1);
		free(status);
	}
	closedir(tasks);
	return count;
}

/*
 * The watcher is told of every change.  It sleeps at most twice in a millisecond: when it
 * rests, and then until there is news.  On a machine that is slow enough this can't fail,
 * but it never fails where it should not.
 */
static void what_changes_through_the_mount_wakes_only_who_serves(void **state)
{
	enum { FILES = 2000, SLEEPS_A_MILLISECOND = 2, OTHERS = 500 };
	const struct fixture *f = *state;
	const char *dir = in(f->mountpoint, "dir");
	double begin = seconds_now();
	long before = count_sleeps(f->daemon), count;

	for (int i = 0; i < FILES; i++)
		save(dir, i);
	count = count_sleeps(f->daemon) - before;
	assert_true((double)count <= (seconds_now() - begin) * 1e3 * SLEEPS_A_MILLISECOND + OTHERS);
}

static bool list_is_empty(void *path)
{
	char *list = tree_list(path);
	bool empty = !*list;

	free(list);
	return empty;
}

static void listings_are_seen_to_change(void **state)
{
	const struct fixture *f = *state;
	const char *dir = in(f->mountpoint, "dir");
	char *list = tree_list(dir);

	assert_string_equal(list, "file");
	free(list);
	assert_int_equal(unlink(in(f->source, "dir/file")), 0);
	assert_true(eventually(2, list_is_empty, (void *)(uintptr_t)dir));
}

/* All requests that the daemon has had, as it counts them itself. */
static json_int_t count_requests(const struct fixture *f)
{
	json_t *status = fixture_status(f->mountpoint), *value;
	json_int_t count = 0;
	const char *key;

	assert_non_null(status);
	assert_string_equal("watch", json_string_value(json_object_get(
		json_object_get(status, "coherence"), "kind")));
	json_object_foreach(json_object_get(status, "requests"), key, value)
		/* Asking for it is a request itself. */
		if (strcmp(key, "getxattr") != 0)
			count += json_integer_value(value);
	json_decref(status);
	return count;
}

static void look_at_everything(const struct fixture *f)
{
	char *list = tree_list(in(f->mountpoint, "dir"));
	struct stat st;
	char byte;
	int fd;

	free(list);
	assert_int_equal(lstat(in(f->mountpoint, "dir/file"), &st), 0);
	assert_int_equal(lstat(in(f->mountpoint, "dir/missing"), &st), -1);
	fd = open(in(f->mountpoint, "dir/file"), O_RDONLY);
	assert_int_equal(read(fd, &byte, 1), 1);
	close(fd);
}

static void what_is_cached_costs_no_request(void **state)
{
	const struct fixture *f = *state;
	json_int_t before;

	/* The second look asks for the time that the first one's read changed. */
	look_at_everything(f);
	look_at_everything(f);
	before = count_requests(f);
	for (int i = 0; i < 100; i++)
		look_at_everything(f);
	assert_int_equal(count_requests(f) - before, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(changes_behind_the_mount_are_seen,
						setup, teardown),
		cmocka_unit_test_setup_teardown(they_are_seen_while_much_changes_through_it,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_changes_through_the_mount_wakes_only_who_serves,
			setup, teardown),
		cmocka_unit_test_setup_teardown(listings_are_seen_to_change,
						setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_cached_costs_no_request,
						setup, teardown),
	};
	int status = fixture_possible();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
