/*
 * Lookups that race with changes behind the mount leave nothing stale: neither the
 * first lookup of a file that is being written, nor those that find again a name which
 * is being replaced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "fixture.h"
#include "stress.h"
#include "tree.h"

enum {
	TRIES = 20000, REPLACEMENTS = 3000,
	BATCH = 500,		/* files of one directory, judged together */
	/* Long after which a machine under any load has seen a change. */
	PATIENCE = 20,
};

/* What the processes of a test share. */
struct shared {
	char source[300], mountpoint[300];
	/* To the reader: begin; and back: done. */
	int begin[2], done[2];
	int next;		/* the reader's try */
};

static struct shared *shared;

static int setup(void **state)
{
	struct fixture *f = fixture_create(&(struct fixture_options){
		.scratch = stress_scratch(),
	});

	shared = stress_share(sizeof(*shared));
	strcpy(shared->source, f->source);
	strcpy(shared->mountpoint, f->mountpoint);
	assert_int_equal(pipe2(shared->begin, O_CLOEXEC), 0);
	assert_int_equal(pipe2(shared->done, O_CLOEXEC), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	stress_abort();
	for (int i = 0; i < 2; i++) {
		close(shared->begin[i]);
		close(shared->done[i]);
	}
	fixture_destroy(*state);
	return 0;
}

static void name_try(char path[400], const char *top, int i)
{
	snprintf(path, 400, "%s/d%d/f%d", top, i / BATCH, i % BATCH);
}

/* What the file holds, up to 15 bytes; false when it can't be read. */
static bool read_short(const char *path, char text[16])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, 15);

	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = '\0';
	return length >= 0;
}

static bool write_short(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* Looks at the file of each try for the first time. */
static bool look_first(void *data, int index)
{
	struct pollfd begin = { .fd = shared->begin[0], .events = POLLIN };
	char path[400], text[16], word;
	struct stat st;

	(void)data, (void)index;
	if (poll(&begin, 1, 10) == 0)
		return true;
	name_try(path, shared->mountpoint, shared->next++);
	return read(shared->begin[0], &word, 1) == 1 && lstat(path, &st) == 0 &&
		read_short(path, text) &&
		write(shared->done[1], "d", 1) == 1;
}

/* A different moment of the lookup for each try. */
static void hesitate(int i)
{
	for (volatile int spin = 0; spin < i % 97 * 200; spin++)
		;
}

struct wanted {
	char path[400];
	const char *text;
	off_t size;
};

static bool is_as_wanted(void *data)
{
	const struct wanted *wanted = data;
	char text[16];
	struct stat st;

	return lstat(wanted->path, &st) == 0 && st.st_size == wanted->size &&
		read_short(wanted->path, text) && strcmp(text, wanted->text) == 0;
}

static int count_stale(int first)
{
	int stale = 0;

	for (int i = first; i < first + BATCH; i++) {
		struct wanted wanted = { .text = "changed", .size = 7 };

		name_try(wanted.path, shared->mountpoint, i);
		/* One that is stale will be so for good: no need to wait for more. */
		if (!eventually(stale ? 0 : PATIENCE, is_as_wanted, &wanted))
			stale++;
	}
	return stale;
}

static void first_lookups_while_files_are_written_leave_none_stale(void **state)
{
	int tries = stress_rounds(TRIES), stale = 0;
	struct pollfd done = { .fd = shared->done[0], .events = POLLIN };
	char path[400], word;

	(void)state;
	for (int i = 0; i < tries; i++) {
		name_try(path, shared->source, i);
		tree_write(path, "old", -1);
	}
	stress_start(1, look_first, NULL);
	for (int i = 0; i < tries; i++) {
		name_try(path, shared->source, i);
		assert_int_equal(write(shared->begin[1], "b", 1), 1);
		hesitate(i);
		assert_true(write_short(path, "changed"));
		assert_int_equal(poll(&done, 1, PATIENCE * 1000), 1);
		assert_int_equal(read(shared->done[0], &word, 1), 1);
		if (i % BATCH == BATCH - 1)
			stale += count_stale(i + 1 - BATCH);
	}
	stress_stop();
	print_message("%d first lookups while the file was written: %d stale\n", tries,
		      stale);
	assert_int_equal(stale, 0);
}

/* Finds the name again and again. */
static bool look_again(void *data, int index)
{
	const char *path = in(shared->mountpoint, "file");
	struct stat st;
	char text[16];

	(void)data;
	return index ? lstat(path, &st) == 0 : read_short(path, text);
}

static void a_name_that_is_replaced_while_it_is_read_is_never_stale(void **state)
{
	int rounds = stress_rounds(REPLACEMENTS), stale = 0;
	char text[16], other[400], file[400];
	struct latencies latencies = { 0 };
	struct wanted wanted = { .text = text };
	const struct timespec pause = { .tv_nsec = 100000 };

	(void)state;
	snprintf(other, sizeof(other), "%s/.other", shared->source);
	snprintf(file, sizeof(file), "%s/file", shared->source);
	snprintf(wanted.path, sizeof(wanted.path), "%s/file", shared->mountpoint);
	assert_true(write_short(file, "first"));
	stress_start(2, look_again, NULL);
	for (int i = 0; i < rounds; i++) {
		double begun;

		wanted.size = snprintf(text, sizeof(text), "%d", i);
		assert_true(write_short(other, text));
		/* They find it again, and are still told of the old one. */
		assert_int_equal(chmod(file, i % 2 ? 0600 : 0644), 0);
		hesitate(i);
		begun = stress_now();
		assert_int_equal(rename(other, file), 0);
		while (!is_as_wanted(&wanted) &&
		       stress_now() < begun + PATIENCE * 1000)
			nanosleep(&pause, NULL);
		if (!is_as_wanted(&wanted))
			stale++;
		latencies_add(&latencies, stress_now() - begun);
	}
	stress_stop();
	latencies_end(&latencies, "replaced while 2 read it", 50, 200);
	assert_int_equal(stale, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			first_lookups_while_files_are_written_leave_none_stale,
			setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_name_that_is_replaced_while_it_is_read_is_never_stale,
			setup, teardown),
	};
	int status = fixture_possible();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
