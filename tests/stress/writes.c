/*
 * A day's work in minutes: bytecode of many modules is written again and again, as
 * Python does it, into a store that holds a tenth of it.  The daemon's memory and
 * descriptors are to stay what they were after the first tenth.
 *
 * PYCACHEFS_STRESS_WRITES is the number of writes; the names and the store shrink
 * with it, so that each name is written 50 times.  A million is the full measure, with
 * 20,000 names and 16 MiB.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"
#include "tree.h"

enum {
	WRITES = 20000, WRITES_OF_A_NAME = 50, NAMES_OF_A_DIRECTORY = 100,
	KIBI = 1024, MAX_SIZE = 8 * KIBI,
	/* Of the daemon's memory, for what its allocator keeps to itself. */
	SLACK = 4096 * KIBI,
};

static long writes_wanted(void)
{
	const char *text = getenv("PYCACHEFS_STRESS_WRITES");
	long writes = text ? atol(text) : WRITES;

	assert_true(writes >= 10 * WRITES_OF_A_NAME);
	return writes;
}

static int make_modules(const char *source, void *data)
{
	long names = *(long *)data / WRITES_OF_A_NAME;
	char path[64];

	for (long i = 0; i < names; i++) {
		snprintf(path, sizeof(path), "p%ld/m%ld.py", i / NAMES_OF_A_DIRECTORY, i);
		tree_write(in(source, path), "m = 1\n", -1);
	}
	return 0;
}

/* Numbers that look random, and are the same in each run. */
static uint32_t next_number(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

/* As importlib does: a temporary of its own, one write, a rename. */
static void write_bytecode(int root, long name, size_t size)
{
	static const char content[MAX_SIZE];
	char path[80], temporary[96];
	int fd;

	snprintf(path, sizeof(path), "p%ld/__pycache__/m%ld.cpython-311.pyc",
		 name / NAMES_OF_A_DIRECTORY, name);
	snprintf(temporary, sizeof(temporary), "%s.140001234567", path);
	fd = openat(root, temporary, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0)
		fail_msg("'%s': %s", temporary, strerror(errno));
	if (write(fd, content, size) != (ssize_t)size)
		fail_msg("writing '%s': %s", temporary, strerror(errno));
	close(fd);
	if (renameat(root, temporary, root, path) < 0)
		fail_msg("renaming '%s': %s", temporary, strerror(errno));
}

static size_t memory_of(pid_t daemon)
{
	char path[64], *text, *at;
	size_t kibibytes;

	snprintf(path, sizeof(path), "/proc/%d/status", daemon);
	text = tree_read(path, NULL);
	at = strstr(text, "VmRSS:");
	assert_non_null(at);
	kibibytes = strtoul(at + strlen("VmRSS:"), NULL, 10);
	free(text);
	return kibibytes * KIBI;
}

static int descriptors_of(pid_t daemon)
{
	char path[64];
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", daemon);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

struct progress {
	struct timespec start;
	size_t memory;		/* after the first tenth, as below; then the most */
	int descriptors;
};

static void look(const struct fixture *f, struct progress *progress, long tenth)
{
	size_t memory = memory_of(f->daemon);
	int descriptors = descriptors_of(f->daemon);
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	print_message("%ld tenths: %.1f s, %zu KiB, %d descriptors\n", tenth,
		      (double)(now.tv_sec - progress->start.tv_sec) +
		      (double)(now.tv_nsec - progress->start.tv_nsec) / 1e9,
		      memory / KIBI, descriptors);
	if (tenth == 1) {
		progress->memory = memory;
		progress->descriptors = descriptors;
	}
	assert_true(memory <= progress->memory + progress->memory / 4 + SLACK);
	assert_true(descriptors <= progress->descriptors + progress->descriptors / 4 + 64);
}

/* A sanitizer keeps what is freed for a while, up to 256 MiB of it. */
static void keep_nothing_freed(void)
{
	const char *given = getenv("ASAN_OPTIONS");
	char options[512];

	snprintf(options, sizeof(options), "%s:quarantine_size_mb=1",
		 given ? given : "");
	setenv("ASAN_OPTIONS", options, 1);
}

static void memory_and_descriptors_stay_steady(void **state)
{
	long writes = writes_wanted(), names = writes / WRITES_OF_A_NAME;
	char options[64];
	struct fixture_options fixture_options = {
		.options = options, .prepare = make_modules, .data = &writes,
	};
	struct progress progress = { 0 };
	uint64_t numbers = 1;
	struct fixture *f;

	snprintf(options, sizeof(options), "size=%ldK", 16L * KIBI * names / 20000);
	f = fixture_create(&fixture_options);
	*state = f;
	clock_gettime(CLOCK_MONOTONIC, &progress.start);
	for (long i = 1; i <= writes; i++) {
		write_bytecode(f->mount_fd, next_number(&numbers) % names,
			       next_number(&numbers) % MAX_SIZE + 1);
		if (i % (writes / 10) == 0)
			look(f, &progress, i / (writes / 10));
	}
}

static int end(void **state)
{
	fixture_destroy(*state);
	return 0;
}

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(memory_and_descriptors_stay_steady, end),
	};

	if (skip)
		return skip;
	keep_nothing_freed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
