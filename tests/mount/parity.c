/*
 * The runner of parity tests: records, runs twice, compares.
 *
 * The record goes to a file in append mode rather than to memory, so that child
 * processes of a case write into it too.
 */
#include "parity.h"

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
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "fixture.h"
#include "tree.h"

static FILE *record;
static struct fixture *fixture;
static unsigned serial;

/* ---------------------------------------------------------------- recording */

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(record, format, args);
	va_end(args);
	fputc('\n', record);
}

long parity_did(const char *call, long result)
{
	int error = errno;

	if (result == -1)
		say("%s: %s", call, strerrorname_np(error));
	else
		say("%s = %ld", call, result);
	errno = error;
	return result;
}

int parity_opened(const char *call, int fd)
{
	say("%s: %s", call, fd < 0 ? strerrorname_np(errno) : "opened");
	return fd;
}

static void say_attributes(const char *what, const struct stat *st)
{
	char type = "?pc?d?b?-?l?s???"[(st->st_mode & S_IFMT) >> 12];

	say("%s: %c%04o %u:%u links=%ju size=%jd blocks=%jd device=%u:%u",
	    what, type, st->st_mode & 07777, st->st_uid, st->st_gid,
	    (uintmax_t)st->st_nlink,
	    S_ISDIR(st->st_mode) ? (intmax_t)0 : (intmax_t)st->st_size,
	    S_ISDIR(st->st_mode) ? (intmax_t)0 : (intmax_t)st->st_blocks,
	    major(st->st_rdev), minor(st->st_rdev));
}

void say_status(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		say("lstat %s: %s", path, strerrorname_np(errno));
	else
		say_attributes(path, &st);
}

void say_status_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		say("fstat: %s", strerrorname_np(errno));
	else
		say_attributes("descriptor", &st);
}

void say_content(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[4096];
	off_t at = 0;
	ssize_t got = 0;

	if (fd < 0) {
		say("open %s: %s", path, strerrorname_np(errno));
		return;
	}
	say("content of %s:", path);
	for (; at < CONTENT_MAX && (got = read(fd, text, sizeof(text))) > 0; at += got) {
		for (ssize_t i = 0; i < got; i++) {
			unsigned char c = (unsigned char)text[i];

			if (c >= ' ' && c < 0x7f)
				fputc(c, record);
			else
				fprintf(record, "\\%o", c);
		}
	}
	say("%s", got < 0 ? strerrorname_np(errno) : ".");
	close(fd);
}

static int by_text(const void *a, const void *b)
{
	const char *const *left = a, *const *right = b;

	return strcmp(*left, *right);
}

void say_names(const char *path)
{
	DIR *dir = opendir(path);
	char *names[1024];
	struct dirent *entry;
	size_t count = 0;

	if (!dir) {
		say("opendir %s: %s", path, strerrorname_np(errno));
		return;
	}
	for (errno = 0; count < 1024 && (entry = readdir(dir)); errno = 0)
		if (asprintf(&names[count++], "%s type=%u", entry->d_name,
			     entry->d_type) < 0)
			abort();
	if (errno)
		say("readdir %s: %s", path, strerrorname_np(errno));
	closedir(dir);
	qsort(names, count, sizeof(*names), by_text);
	say("%zu names in %s", count, path);
	for (size_t i = 0; i < count; i++) {
		say("\t%s", names[i]);
		free(names[i]);
	}
}

/* -------------------------------------------------------- helpers for cases */

void make(const char *path, const char *content)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	size_t size = strlen(content);

	if (fd < 0 || write(fd, content, size) != (ssize_t)size)
		say("making %s: %s", path, strerrorname_np(errno));
	if (fd >= 0)
		close(fd);
}

static int run_steps(void *data)
{
	void (**steps)(void) = data;

	(*steps)();
	fflush(record);
	return 0;
}

void as(uid_t uid, gid_t gid, void (*steps)(void))
{
	say("as %u:%u, ended with %d", uid, gid,
	    as_user(uid, gid, NULL, 0, run_steps, &steps));
}

void as_member(uid_t uid, gid_t gid, gid_t group, void (*steps)(void))
{
	say("as %u:%u of %u, ended with %d", uid, gid, group,
	    as_user(uid, gid, &group, 1, run_steps, &steps));
}

const char *repeat(char c, size_t length)
{
	static char text[8192];

	if (length >= sizeof(text))
		abort();
	memset(text, c, length);
	text[length] = '\0';
	return text;
}

/* ----------------------------------------------------------------- comparing */

/* Prints the lines in which two texts differ, the first few of them. */
static bool same_text(const char *what, const char *expected, const char *got)
{
	int shown = 0, number = 1;

	if (!strcmp(expected, got))
		return true;
	print_error("%s differs:\n", what);
	for (; (*expected || *got) && shown < 8; number++) {
		int left = (int)strcspn(expected, "\n");
		int right = (int)strcspn(got, "\n");

		if (left != right || strncmp(expected, got, (size_t)left)) {
			print_error("  line %d, plain: %.*s\n", number, left,
				    expected);
			print_error("  line %d, mount: %.*s\n", number, right,
				    got);
			shown++;
		}
		expected += left + (expected[left] == '\n');
		got += right + (got[right] == '\n');
	}
	return false;
}

/* Runs a case in a new directory; returns its record, which the caller frees. */
static char *run_in(const char *directory, const struct parity_case *this)
{
	int file, mark;
	char *text;
	off_t size;

	if (mkdir(directory, 0755) || chdir(directory))
		fail_msg("making '%s': %s", directory, strerror(errno));
	file = memfd_create("record", MFD_CLOEXEC);
	fcntl(file, F_SETFL, O_APPEND);
	record = fdopen(file, "a");
	assert_non_null(record);
	mark = fcntl(file, F_DUPFD_CLOEXEC, 0);
	umask(022);

	this->steps();

	/* Whatever the case has left open would keep the mount busy. */
	close_range((unsigned)mark, ~0U, 0);
	umask(022);
	if (chdir("/"))
		abort();
	fflush(record);
	size = lseek(file, 0, SEEK_END);
	text = calloc(1, (size_t)size + 1);
	assert_non_null(text);
	assert_int_equal(pread(file, text, (size_t)size, 0), size);
	fclose(record);
	return text;
}

static void run_case(void **state)
{
	const struct parity_case *this = *state;
	char *plain, *mounted, *trees[3], name[32], behind[64];
	bool same;

	snprintf(name, sizeof(name), "case-%u", serial++);
	plain = run_in(in(fixture->plain, name), this);
	mounted = run_in(in(fixture->mountpoint, name), this);
	same = same_text("what the calls returned", plain, mounted);
	free(plain);
	free(mounted);

	snprintf(behind, sizeof(behind), "/proc/self/fd/%d",
		 fixture->source_fd);
	trees[0] = tree_describe(in(fixture->plain, name), false);
	trees[1] = tree_describe(in(fixture->mountpoint, name), false);
	trees[2] = tree_describe(in(behind, name), false);
	same &= same_text("the tree in the mount", trees[0], trees[1]);
	same &= same_text("the tree in the source", trees[0], trees[2]);
	for (int i = 0; i < 3; i++)
		free(trees[i]);
	assert_true(same);
}

static int set_up_elsewhere(void **state)
{
	(void)state;
	fixture = fixture_create(NULL);
	return 0;
}

static int set_up_in_place(void **state)
{
	const struct fixture_options options = { .in_place = true };

	(void)state;
	fixture = fixture_create(&options);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fixture_destroy(fixture);
	fixture = NULL;
	return 0;
}

int parity_main(const struct parity_case *cases, size_t count)
{
	struct CMUnitTest *tests;
	int failed = fixture_possible();

	if (failed)
		return failed;
	tests = calloc(count, sizeof(*tests));
	if (!tests)
		abort();
	for (size_t i = 0; i < count; i++) {
		/* cmocka hands the pointer on without a look. */
		void *this = (void *)(uintptr_t)&cases[i];

		tests[i] = (struct CMUnitTest){ cases[i].promise, run_case,
						NULL, NULL, this };
	}
	failed = _cmocka_run_group_tests("elsewhere", tests, count,
					 set_up_elsewhere, tear_down);
	failed += _cmocka_run_group_tests("in place", tests, count,
					  set_up_in_place, tear_down);
	free(tests);
	return failed != 0;
}
