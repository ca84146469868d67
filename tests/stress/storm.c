/*
 * More changes behind the mount than the kernel's queue of events holds: when all is
 * quiet again, the mount shows what is there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "fixture.h"
#include "stress.h"
#include "tree.h"

enum {
	CHANGES = 50000,
	DIRECTORIES = 50, FILES = 100,	/* of each directory, to begin with */
	PATIENCE = 60,
};

static int prepare(const char *source, void *data)
{
	char name[64];

	(void)data;
	for (int i = 0; i < DIRECTORIES; i++)
		for (int j = 0; j < FILES; j++) {
			snprintf(name, sizeof(name), "d%d/f%d", i, j);
			tree_write(in(source, name), "old", -1);
		}
	tree_write(in(source, "bound/covered"), "", -1);
	tree_write(in(source, "mounted/covered"), "", -1);
	return 0;
}

static int setup(void **state)
{
	*state = fixture_create(&(struct fixture_options){
		.prepare = prepare, .scratch = stress_scratch(),
	});
	return 0;
}

static int teardown(void **state)
{
	stress_abort();
	fixture_destroy(*state);
	return 0;
}

/* The source without what the mount shows in its stead. */
static char *describe(const char *top)
{
	char *all = NULL, *one;
	char name[64];

	for (int i = 0; i < DIRECTORIES; i++) {
		char *before = all;

		snprintf(name, sizeof(name), "d%d", i);
		one = tree_describe(in(top, name), true);
		if (asprintf(&all, "%s%s:\n%s", before ? before : "", name, one) < 0)
			abort();
		free(before);
		free(one);
	}
	return all;
}

static bool is_coherent(void *data)
{
	const struct fixture *f = data;
	char *there = describe(f->source), *shown = describe(f->mountpoint);
	bool same = strcmp(there, shown) == 0;

	free(there);
	free(shown);
	return same;
}

/* Names that will be made are known to be missing. */
static void look_at_all(const struct fixture *f)
{
	char name[64];

	for (int i = 0; i < DIRECTORIES; i++)
		for (int j = 0; j < FILES; j++) {
			snprintf(name, sizeof(name), "d%d/n%d", i, j);
			assert_int_equal(access(in(f->mountpoint, name), F_OK), -1);
		}
	assert_true(is_coherent((void *)(uintptr_t)f));
}

static int count_missing(const struct fixture *f, int made)
{
	char name[64];
	int missing = 0;

	for (int i = 0; i < made; i++) {
		snprintf(name, sizeof(name), "d%d/n%d", i % DIRECTORIES, i / DIRECTORIES);
		missing += access(in(f->mountpoint, name), F_OK) != 0;
	}
	return missing;
}

/* One of the @i-th change's kind, each of which makes at least one event. */
static void change(const struct fixture *f, int i)
{
	char path[400], other[400];
	int directory = i % DIRECTORIES, file = i / DIRECTORIES, fd;

	snprintf(path, sizeof(path), "%s/d%d/f%d", f->source, directory, file % FILES);
	switch (file / FILES % 5) {
	case 0:		/* made */
		snprintf(path, sizeof(path), "%s/d%d/n%d", f->source, directory, file);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		assert_true(fd >= 0);
		close(fd);
		return;
	case 1:		/* written */
		fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
		assert_int_equal(write(fd, "written", 7), 7);
		close(fd);
		return;
	case 2:
		assert_int_equal(chmod(path, 0600), 0);
		return;
	case 3:
		snprintf(other, sizeof(other), "%s/d%d/f%d", f->source,
			 (directory + 1) % DIRECTORIES, file % FILES + FILES * 2);
		assert_int_equal(rename(path, other), 0);
		return;
	default:
		snprintf(path, sizeof(path), "%s/d%d/f%d", f->source,
			 (directory + 1) % DIRECTORIES, file % FILES + FILES * 2);
		assert_int_equal(unlink(path), 0);
		snprintf(path, sizeof(path), "%s/d%d/f%d", f->source, directory,
			 file % FILES);
		tree_write(path, "new", -1);
	}
}

static void come_and_go(const struct fixture *f, int i)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/d%d/s%d", f->source, i % DIRECTORIES, i);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(unlink(path), 0);
}

static bool says_lost(void *data)
{
	const struct fixture *f = data;
	char *log = tree_read(f->log, NULL);
	bool says = strstr(log, "too many changes at once") != NULL;

	free(log);
	return says;
}

static bool read_on(void *data, int index)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	const struct fixture *f = data;
	char name[64];

	snprintf(name, sizeof(name), "d%d", rand() % DIRECTORIES);
	(void)index;
	free(tree_list(in(f->mountpoint, name)));
	snprintf(name, sizeof(name), "d%d/f%d", rand() % DIRECTORIES, rand() % FILES);
	access(in(f->mountpoint, name), R_OK);
	nanosleep(&pause, NULL);
	return true;
}

static void mount_inside(const struct fixture *f)
{
	assert_int_equal(mount("x", in(f->mountpoint, "mounted"), "tmpfs", 0, NULL), 0);
	tree_write(in(f->mountpoint, "mounted/mine"), "mine", -1);
	assert_int_equal(mount(f->plain, in(f->mountpoint, "bound"), NULL, MS_BIND, NULL),
			 0);
	tree_write(in(f->plain, "bound"), "bound", -1);
}

static void assert_mounted_inside(const struct fixture *f)
{
	assert_int_equal(access(in(f->mountpoint, "mounted/mine"), F_OK), 0);
	assert_int_equal(access(in(f->mountpoint, "bound/bound"), F_OK), 0);
	assert_int_equal(umount(in(f->mountpoint, "mounted")), 0);
	assert_int_equal(umount(in(f->mountpoint, "bound")), 0);
	assert_int_equal(access(in(f->mountpoint, "mounted/covered"), F_OK), 0);
	assert_int_equal(access(in(f->mountpoint, "bound/covered"), F_OK), 0);
}

static void expect_coherent(struct fixture *f)
{
	double begun = stress_now();

	if (!eventually(PATIENCE, is_coherent, f))
		fail_msg("it stays stale");
	print_message("coherent after %.0f ms\n", stress_now() - begun);
	assert_int_equal(count_missing(f, DIRECTORIES * FILES), 0);
}

/* The daemon gets no CPU for the second half of it, so events are lost for sure. */
static void a_storm_of_changes_ends_coherent(void **state)
{
	struct fixture *f = *state;

	look_at_all(f);
	mount_inside(f);
	for (int round = 0; round < stress_rounds(1); round++) {
		stress_start(2, read_on, f);
		for (int i = 0; i < CHANGES; i++) {
			if (i == CHANGES / 2)
				assert_int_equal(kill(f->daemon, SIGSTOP), 0);
			change(f, i);
			/* Changes of one name become one event. */
			if (i >= CHANGES / 2)
				come_and_go(f, i);
		}
		assert_int_equal(kill(f->daemon, SIGCONT), 0);
		stress_stop();
		assert_true(eventually(PATIENCE, says_lost, f));
		expect_coherent(f);
	}
	assert_mounted_inside(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_storm_of_changes_ends_coherent,
						setup, teardown),
	};
	int status = fixture_possible();

	if (!status && geteuid() != 0) {
		fprintf(stderr, "needs root to mount in the mount\n");
		status = getenv("PYCACHEFS_MUST_RUN") ? 1 : 77;
	}
	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
