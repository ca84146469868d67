/*
 * Large trees under few descriptors, and many threads at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "tree.h"

enum {
	DIRECTORIES = 60, FILES = 1000, LIMIT = 4096, OPEN = 50,
	THREADS = 8, ROUNDS = 300,
};

static int make_tree(const char *source, void *data)
{
	char path[400], content[32];

	(void)data;
	for (int d = 0; d < DIRECTORIES; d++) {
		snprintf(path, sizeof(path), "%s/d%d", source, d);
		if (mkdir(path, 0755))
			return -1;
		for (int f = 0; f < FILES; f++) {
			snprintf(path, sizeof(path), "%s/d%d/f%d", source, d, f);
			snprintf(content, sizeof(content), "%d.%d", d, f);
			tree_write(path, content, -1);
		}
	}
	return 0;
}

static int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

static void check_open(int fd, const char *content)
{
	char is[32] = "";

	assert_true(pread(fd, is, sizeof(is) - 1, 0) >= 0);
	assert_string_equal(is, content);
}

static void sixty_thousand_files_need_few_descriptors(void **state)
{
	struct fixture *f = fixture_create(&(struct fixture_options){
		.descriptors = LIMIT, .prepare = make_tree });
	char path[400], content[32], fds[64];
	int held[OPEN];

	*state = f;
	/* Some lose their name while they are open, and must stay readable. */
	for (int i = 0; i < OPEN; i++) {
		snprintf(path, sizeof(path), "%s/d0/f%d", f->mountpoint, i);
		held[i] = open(path, O_RDONLY);
		assert_true(held[i] >= 0);
		assert_int_equal(unlink(path), 0);
	}
	snprintf(fds, sizeof(fds), "/proc/%d/fd", (int)f->daemon);
	for (int d = 0; d < DIRECTORIES; d++) {
		snprintf(path, sizeof(path), "%s/d%d", f->mountpoint, d);
		assert_int_equal(count_entries(path), d ? FILES : FILES - OPEN);
		for (int n = d ? 0 : OPEN; n < FILES; n++) {
			char *is;

			snprintf(path, sizeof(path), "%s/d%d/f%d", f->mountpoint, d, n);
			snprintf(content, sizeof(content), "%d.%d", d, n);
			is = tree_read(path, NULL);
			assert_string_equal(is, content);
			free(is);
		}
		assert_true(count_entries(fds) < LIMIT);
	}
	for (int i = 0; i < OPEN; i++) {
		snprintf(content, sizeof(content), "0.%d", i);
		check_open(held[i], content);
		close(held[i]);
	}
}

struct worker {
	const char *dir;
	int number, failures;
	pthread_t thread;
};

/* Makes, renames and removes names of its own in a directory of all. */
static void *work(void *data)
{
	struct worker *worker = data;
	char from[400], to[400];

	for (int round = 0; round < ROUNDS; round++) {
		int fd;

		snprintf(from, sizeof(from), "%s/t%d.%d", worker->dir,
			 worker->number, round);
		snprintf(to, sizeof(to), "%s/u%d.%d", worker->dir,
			 worker->number, round);
		fd = open(from, O_WRONLY | O_CREAT | O_EXCL, 0644);
		worker->failures += fd < 0 || write(fd, "x", 1) != 1;
		close(fd);
		worker->failures += rename(from, to) != 0;
		worker->failures += access(from, F_OK) == 0;
		if (round % 3)
			worker->failures += unlink(to) != 0;
	}
	return NULL;
}

static void work_together(const char *dir)
{
	struct worker workers[THREADS];
	int failures = 0;

	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .dir = dir, .number = i };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work,
						&workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		failures += workers[i].failures;
	}
	assert_int_equal(failures, 0);
	assert_int_equal(count_entries(dir), THREADS * ROUNDS / 3);
}

static void eight_threads_lose_nothing(void **state)
{
	struct fixture *f = fixture_create(NULL);
	char dir[400];

	*state = f;
	assert_int_equal(mkdir(in(f->mountpoint, "d"), 0755), 0);
	snprintf(dir, sizeof(dir), "%s/d", f->mountpoint);
	work_together(dir);
	snprintf(dir, sizeof(dir), "%s/d/__pycache__", f->mountpoint);
	work_together(dir);
	snprintf(dir, sizeof(dir), "%s/d", f->source);
	assert_int_equal(count_entries(dir), THREADS * ROUNDS / 3);
}

static int teardown(void **state)
{
	fixture_destroy(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(sixty_thousand_files_need_few_descriptors,
					  teardown),
		cmocka_unit_test_teardown(eight_threads_lose_nothing, teardown),
	};
	int status = fixture_possible();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
