/*
 * Where directories can't be watched, or can't any more: a time limit holds there,
 * `status` says so, and nothing is stale for longer.
 *
 * Lowers a limit of the whole machine for a moment, so it runs alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "fixture.h"
#include "tree.h"

#define MAX_MARKS "/proc/sys/fs/fanotify/max_user_marks"

enum {
	/* games: known to fusermount3, and runs nothing else that has marks. */
	DAEMON_UID = 5,
	/* Marks that it may have, and directories that it is shown. */
	MARKS = 60, DIRECTORIES = 100,
	PATIENCE = 20,
};

static char marks_before[32];

static void set_max_marks(const char *value)
{
	int fd = open(MAX_MARKS, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		perror(MAX_MARKS);
	close(fd);
}

static void restore_max_marks(void)
{
	if (*marks_before)
		set_max_marks(marks_before);
	*marks_before = '\0';
}

static void limit_marks(void)
{
	char value[32];
	char *before = tree_read(MAX_MARKS, NULL);

	snprintf(marks_before, sizeof(marks_before), "%s", before);
	free(before);
	snprintf(value, sizeof(value), "%d", MARKS);
	set_max_marks(value);
}

static int prepare(const char *source, void *data)
{
	char name[32];

	(void)data;
	for (int i = 0; i < DIRECTORIES; i++) {
		snprintf(name, sizeof(name), "d%d/file", i);
		tree_write(in(source, name), "old", -1);
		snprintf(name, sizeof(name), "d%d", i);
		if (chown(in(source, name), DAEMON_UID, DAEMON_UID))
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	restore_max_marks();
	fixture_destroy(*state);
	return 0;
}

static int setup_user(void **state)
{
	*state = fixture_create(&(struct fixture_options){
		.prepare = prepare, .uid = DAEMON_UID, .gid = DAEMON_UID,
		.expected_log = "a directory can't be watched",
	});
	return 0;
}

static int setup_root(void **state)
{
	*state = fixture_create(&(struct fixture_options){
		.prepare = prepare,
		.expected_log = "can't be heard any more",
	});
	return 0;
}

/* What `status` says of coherence: a value that the caller frees. */
static json_t *coherence(const struct fixture *f)
{
	json_t *status = fixture_status(f->mountpoint);
	json_t *value = json_incref(json_object_get(status, "coherence"));

	json_decref(status);
	return value;
}

/* Looks at every file and every listing; returns how many listings are not @names. */
static int count_other_lists(const struct fixture *f, const char *names)
{
	char name[32];
	int count = 0;

	for (int i = 0; i < DIRECTORIES; i++) {
		char *list;

		snprintf(name, sizeof(name), "d%d", i);
		list = tree_list(in(f->mountpoint, name));
		count += strcmp(list, names) != 0;
		free(list);
	}
	return count;
}

static int count_missing(const struct fixture *f, const char *file)
{
	char name[32];
	int count = 0;

	for (int i = 0; i < DIRECTORIES; i++) {
		snprintf(name, sizeof(name), "d%d/%s", i, file);
		count += access(in(f->mountpoint, name), F_OK) != 0;
	}
	return count;
}

static void change_all(const struct fixture *f)
{
	char name[32];

	for (int i = 0; i < DIRECTORIES; i++) {
		snprintf(name, sizeof(name), "d%d/new", i);
		tree_write(in(f->source, name), "new", -1);
	}
}

static bool all_is_seen(void *data)
{
	return count_other_lists(data, "file new") == 0 && count_missing(data, "new") == 0;
}

/* Runs as the daemon's user, whom alone the mount lets in. */
static int look_as_user(void *data)
{
	return count_other_lists(data, "file") == 0 &&
		count_missing(data, "new") == DIRECTORIES ? 0 : 1;
}

static int see_as_user(void *data)
{
	return eventually(PATIENCE, all_is_seen, data) ? 0 : 1;
}

/* Returns whether `status` counts the directories beyond the limit, the root's mark
 * being one of those within. */
static int count_as_user(void *data)
{
	json_t *value = coherence(data);
	const char *kind = json_string_value(json_object_get(value, "kind"));
	json_int_t unwatched = json_integer_value(json_object_get(value, "unwatched"));
	int result = kind && strcmp(kind, "watch") == 0 &&
		unwatched == DIRECTORIES + 1 - MARKS ? 0 : 1;

	if (result)
		fprintf(stderr, "%s, %d unwatched\n", kind ? kind : "nothing",
			(int)unwatched);
	json_decref(value);
	return result;
}

static int table_as_user(void *data)
{
	const struct fixture *f = data;
	const char *const argv[] = { fixture_program(), "status", f->mountpoint, NULL };
	struct command command = command_run(NULL, argv);
	int result = strstr(command.out, "but not in 41 directories") ? 0 : 1;

	command_free(&command);
	return result;
}

static int as_daemon(int (*call)(void *data), void *data)
{
	return as_user(DAEMON_UID, DAEMON_UID, NULL, 0, call, data);
}

static void directories_beyond_the_limit_of_marks_have_a_time_limit(void **state)
{
	struct fixture *f = *state;

	limit_marks();
	/* The second time the kernel takes the listings from its cache. */
	assert_int_equal(as_daemon(look_as_user, f), 0);
	assert_int_equal(as_daemon(look_as_user, f), 0);
	assert_int_equal(as_daemon(count_as_user, f), 0);
	assert_int_equal(as_daemon(table_as_user, f), 0);
	restore_max_marks();
	change_all(f);
	assert_int_equal(as_daemon(see_as_user, f), 0);
}

static bool is_timeout(void *data)
{
	json_t *value = coherence(data);
	const char *kind = json_string_value(json_object_get(value, "kind"));
	bool is = kind && strcmp(kind, "timeout") == 0;

	if (is)
		assert_string_equal(json_string_value(json_object_get(value, "reason")),
				    "hearing of changes has failed");
	json_decref(value);
	return is;
}

/* poll(2) fails when it is given more descriptors than the process may have. */
static void when_hearing_breaks_down_a_time_limit_holds(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, none;

	assert_int_equal(count_other_lists(f, "file"), 0);
	assert_int_equal(count_missing(f, "new"), DIRECTORIES);
	assert_int_equal(prlimit(f->daemon, RLIMIT_NOFILE, NULL, &before), 0);
	none = before;
	none.rlim_cur = 1;
	assert_int_equal(prlimit(f->daemon, RLIMIT_NOFILE, &none, NULL), 0);
	tree_write(in(f->source, "wake"), "", -1);
	if (!eventually(PATIENCE, is_timeout, f))
		fail_msg("it does not fall back");
	assert_int_equal(prlimit(f->daemon, RLIMIT_NOFILE, &before, NULL), 0);
	change_all(f);
	assert_true(eventually(PATIENCE, all_is_seen, f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			directories_beyond_the_limit_of_marks_have_a_time_limit,
			setup_user, teardown),
		cmocka_unit_test_setup_teardown(
			when_hearing_breaks_down_a_time_limit_holds,
			setup_root, teardown),
	};
	int status = fixture_possible();

	if (!status && (geteuid() != 0 || access(MAX_MARKS, W_OK))) {
		fprintf(stderr, "needs root to lower the limit of marks\n");
		status = getenv("PYCACHEFS_MUST_RUN") ? 1 : 77;
	}
	atexit(restore_max_marks);
	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
