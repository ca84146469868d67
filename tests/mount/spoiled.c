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

#include "command.h"
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

/* Whether the store has room for most of what it may hold. */
static bool has_room(void *data)
{
	const char *path = data;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	char *bytes = calloc(1, STORE / 2);
	bool has = fd >= 0 && bytes && write(fd, bytes, STORE / 2) == STORE / 2;

	free(bytes);
	close(fd);
	unlink(path);
	return has;
}

static void its_room_comes_back_with_its_directory(void **state)
{
	const struct fixture *f = *state;
	char path[400];

	snprintf(path, sizeof(path), "%s/__pycache__/y.pyc.1", f->mountpoint);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(mkdir(in(f->mountpoint, "d"), 0755), 0);
		write_carelessly(in(f->mountpoint, "d/__pycache__/x.pyc.1"), TOO_MUCH);
		assert_false(has_room(path));
		assert_int_equal(rmdir(in(f->mountpoint, "d")), 0);
		assert_true(eventually(10, has_room, path));
	}
}

static void its_room_comes_back_when_it_had_no_name(void **state)
{
	const struct fixture *f = *state;
	const char *name = in(f->mountpoint, "__pycache__/x.pyc.1");
	char path[400];
	char *data = calloc(1, TOO_MUCH);
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	snprintf(path, sizeof(path), "%s/__pycache__/y.pyc.1", f->mountpoint);
	assert_non_null(data);
	assert_int_equal(unlink(name), 0);
	assert_true(write(fd, data, TOO_MUCH) < TOO_MUCH);
	free(data);
	assert_false(has_room(path));
	close(fd);
	assert_true(eventually(10, has_room, path));
}

static void a_name_less_does_not_make_it_sound(void **state)
{
	const struct fixture *f = *state;
	const char *temporary = in(f->mountpoint, "__pycache__/x.pyc.1");
	const char *other = in(f->mountpoint, "__pycache__/x.pyc.2");
	char *data = calloc(1, TOO_MUCH);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0644);

	assert_non_null(data);
	assert_int_equal(link(temporary, other), 0);
	assert_true(write(fd, data, TOO_MUCH) < TOO_MUCH);
	free(data);
	close(fd);
	assert_int_equal(unlink(other), 0);
	assert_int_equal(rename(temporary, in(f->mountpoint, "__pycache__/x.pyc")), -1);
	assert_int_equal(errno, ENOSPC);
}

/* An exchange gives it a name as well. */
static void it_gets_no_name_by_exchange(void **state)
{
	const struct fixture *f = *state;
	const char *temporary = in(f->mountpoint, "__pycache__/x.pyc.1");
	/* Bytecode would be evicted for what is written next. */
	const char *name = in(f->mountpoint, "__pycache__/x.so");

	tree_write(name, "sound", -1);
	write_carelessly(temporary, TOO_MUCH);
	assert_int_equal(renameat2(AT_FDCWD, name, AT_FDCWD, temporary,
				   RENAME_EXCHANGE), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(unlink(temporary), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_short_write_keeps_the_file_from_its_name, setup, teardown),
		cmocka_unit_test_setup_teardown(
			truncating_it_to_nothing_makes_it_sound, setup, teardown),
		cmocka_unit_test_setup_teardown(
			its_room_comes_back_with_its_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(
			its_room_comes_back_when_it_had_no_name, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_name_less_does_not_make_it_sound, setup, teardown),
		cmocka_unit_test_setup_teardown(
			it_gets_no_name_by_exchange, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sound_file_gets_its_name,
						setup, teardown),
	};
	int status = fixture_possible();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
