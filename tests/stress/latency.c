/*
 * How soon a change behind the mount is seen through it, while 2 processes read the
 * same files.  What is asserted is that it is seen at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "stress.h"
#include "tree.h"

enum { ROUNDS = 200, FILES = 4, READERS = 2, PATIENCE = 20000 };

static const char *mountpoint;

static int setup(void **state)
{
	struct fixture *f = fixture_create(NULL);
	char name[32];

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "d/f%d", i);
		tree_write(in(f->source, name), "first", -1);
	}
	mountpoint = f->mountpoint;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	stress_abort();
	fixture_destroy(*state);
	return 0;
}

/* What can be seen of a file. */
struct view {
	bool exists;
	mode_t mode;
	char text[16];
};

static struct view look(const char *path)
{
	struct view view = { 0 };
	struct stat st;
	ssize_t length;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return view;
	view.exists = true;
	if (fstat(fd, &st) == 0)
		view.mode = st.st_mode & 07777;
	length = read(fd, view.text, sizeof(view.text) - 1);
	view.text[length > 0 ? length : 0] = '\0';
	close(fd);
	return view;
}

/* Any of these may be gone or half written. */
static bool read_all(void *data, int index)
{
	char name[32];

	(void)data;
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "d/f%d", (i + index) % FILES);
		look(in(mountpoint, name));
	}
	free(tree_list(in(mountpoint, "d")));
	return true;
}

enum kind { WRITE, CHMOD, REPLACE, RENAME, UNLINK, CREATE, KINDS };

static const char *const titles[KINDS] = {
	"write", "chmod", "replace by rename", "rename", "unlink", "create",
};

/* Changes "d/f0" behind the mount; returns what is to be seen. */
static struct view change(const char *source, enum kind kind, int round)
{
	char file[320], other[320];
	struct view wanted;
	int fd;

	snprintf(file, sizeof(file), "%s/d/f0", source);
	snprintf(other, sizeof(other), "%s/other", source);
	wanted = look(file);
	switch (kind) {
	case WRITE:
		snprintf(wanted.text, sizeof(wanted.text), "%d", round);
		fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
		assert_true(write(fd, wanted.text, strlen(wanted.text)) > 0);
		close(fd);
		break;
	case CHMOD:
		wanted.mode = wanted.mode == 0600 ? 0644 : 0600;
		assert_int_equal(chmod(file, wanted.mode), 0);
		break;
	case REPLACE:
	case CREATE:
		wanted.exists = true;
		wanted.mode = 0644;
		snprintf(wanted.text, sizeof(wanted.text), "%d", -round);
		tree_write(other, wanted.text, -1);
		assert_int_equal(rename(other, file), 0);
		break;
	case RENAME:
		assert_int_equal(rename(file, other), 0);
		wanted = (struct view){ 0 };
		break;
	case UNLINK:
		assert_int_equal(unlink(file), 0);
		wanted = (struct view){ 0 };
		break;
	case KINDS:
		break;
	}
	return wanted;
}

static bool is_same(const struct view *a, const struct view *b)
{
	return a->exists == b->exists && a->mode == b->mode &&
		strcmp(a->text, b->text) == 0;
}

/* Returns how long it takes to be seen, or fails. */
static double time_change(const struct fixture *f, enum kind kind, int round)
{
	char path[320];
	struct view wanted, seen;
	double begun;

	snprintf(path, sizeof(path), "%s/d/f0", f->mountpoint);
	look(path);
	wanted = change(f->source, kind, round);
	begun = stress_now();
	for (;;) {
		seen = look(path);
		if (is_same(&seen, &wanted))
			return stress_now() - begun;
		if (stress_now() > begun + PATIENCE)
			fail_msg("after %s it stays '%s', mode %o, where '%s', mode %o is",
				 titles[kind], seen.text, seen.mode, wanted.text,
				 wanted.mode);
		sched_yield();
	}
}

static void changes_are_seen_soon_while_others_read(void **state)
{
	const struct fixture *f = *state;
	/* Each leaves what the next needs. */
	const enum kind order[] = { WRITE, CHMOD, REPLACE, UNLINK, CREATE, RENAME, CREATE };
	struct latencies latencies[KINDS] = { 0 };

	stress_start(READERS, read_all, NULL);
	for (int round = 0; round < stress_rounds(ROUNDS); round++)
		for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++)
			latencies_add(&latencies[order[i]],
				      time_change(f, order[i], round));
	stress_stop();
	for (int i = 0; i < KINDS; i++)
		latencies_end(&latencies[i], titles[i], 50, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(changes_are_seen_soon_while_others_read,
						setup, teardown),
	};
	int status = fixture_possible();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
