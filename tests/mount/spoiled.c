/*
 * A file of the store to which a write came up short never gets its name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "tree.h"

enum { STORE = 64 * 1024, TOO_MUCH = 2 * STORE };

static int setup(void **state)
{
	*state = fixture_create(&(struct fixture_options){ .options = "size=64K" });
	return 0;
}

static int teardown(void **state)
{
	fixture_destroy(*state);
	return 0;
}

/* Writes as CPython does: one call, of which the result does not matter. */
static void write_carelessly(const char *path, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	char *data = calloc(1, size);
	ssize_t written;

	assert_true(fd >= 0);
	assert_non_null(data);
	written = write(fd, data, size);
	assert_true(written < (ssize_t)size);
	free(data);
	close(fd);
}

static void a_short_write_keeps_the_file_from_its_name(void **state)
{
	const struct fixture *f = *state;
	const char *temporary = in(f->mountpoint, "__pycache__/x.pyc.1");
	const char *name = in(f->mountpoint, "__pycache__/x.pyc");

	write_carelessly(temporary, TOO_MUCH);
	assert_int_equal(rename(temporary, name), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(link(temporary, name), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(access(name, F_OK), -1);
	assert_int_equal(unlink(temporary), 0);
}

static void truncating_it_to_nothing_makes_it_sound(void **state)
{
	const struct fixture *f = *state;
	const char *temporary = in(f->mountpoint, "__pycache__/x.pyc.1");
	const char *name = in(f->mountpoint, "__pycache__/x.pyc");

	write_carelessly(temporary, TOO_MUCH);
	assert_int_equal(truncate(temporary, STORE / 4), 0);
	assert_int_equal(rename(temporary, name), -1);
	assert_int_equal(truncate(temporary, 0), 0);
	tree_write(temporary, "sound", -1);
	assert_int_equal(rename(temporary, name), 0);
	assert_int_equal(unlink(name), 0);
}

static void a_sound_file_gets_its_name(void **state)
{
	const struct fixture *f = *state;
	const char *temporary = in(f->mountpoint, "__pycache__/x.pyc.1");

	tree_write(temporary, "sound", -1);
	assert_int_equal(rename(temporary, in(f->mountpoint, "__pycache__/x.pyc")), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_short_write_keeps_the_file_from_its_name, setup, teardown),
		cmocka_unit_test_setup_teardown(
			truncating_it_to_nothing_makes_it_sound, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sound_file_gets_its_name,
						setup, teardown),
	};
	int status = fixture_possible();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
