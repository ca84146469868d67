/*
 * What lies in `__pycache__` takes every operation as a plain directory does:
 * interpreters, pytest, numba and cffi each use another part of them.  Each test
 * also checks that the source stays as it was.
 */
#include "rules_common.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/xattr.h>

struct inside {
	struct fixture *fixture;
	char cache[1024];	/* a directory's `__pycache__` on the mount */
	char *before;		/* the source before the test */
};

static int make_module(const char *source, void *data)
{
	(void)data;
	write_text(in(source, "pkg/mod.py"), "mod = 1\n");
	return 0;
}

static struct fixture_options elsewhere = { .prepare = make_module };
static struct fixture_options in_place = {
	.prepare = make_module, .in_place = true,
};

static int inside_begin(void **state)
{
	struct inside *inside = calloc(1, sizeof(*inside));

	assert_non_null(inside);
	fixture_begin(state);
	inside->fixture = *state;
	inside->before = describe_source(inside->fixture);
	snprintf(inside->cache, sizeof(inside->cache), "%s",
		 on(inside->fixture, "pkg/__pycache__"));
	*state = inside;
	return 0;
}

static int inside_end(void **state)
{
	struct inside *inside = *state;
	char *after = describe_source(inside->fixture);
	bool same = strcmp(inside->before, after) == 0;

	if (!same)
		print_error("the source was:\n%s\nand is:\n%s\n",
			    inside->before, after);
	fixture_destroy(inside->fixture);
	free(inside->before);
	free(after);
	free(inside);
	return same ? 0 : -1;
}

/* A name in the cache. */
static const char *at(void **state, const char *name)
{
	const struct inside *inside = *state;

	return in(inside->cache, name);
}

static void assert_cache_lists(void **state, const char *names)
{
	const struct inside *inside = *state;

	assert_lists(inside->cache, names);
}

/* importlib's _write_atomic(). */
static void bytecode_is_written_and_put_in_its_place(void **state)
{
	int fd = open(at(state, "mod.pyc.14023"),
		      O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	struct stat st;

	assert_works(fd);
	assert_int_equal(write(fd, "code", 4), 4);
	assert_works(close(fd));
	assert_works(rename(at(state, "mod.pyc.14023"), at(state, "mod.pyc")));
	assert_missing(at(state, "mod.pyc.14023"));
	assert_holds(at(state, "mod.pyc"), "code");
	assert_works(stat(at(state, "mod.pyc"), &st));
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_int_equal(st.st_nlink, 1);
	assert_cache_lists(state, "mod.pyc");
}

static void a_file_is_written_at_any_place(void **state)
{
	char text[16] = "";
	struct stat st;
	int fd;

	write_text(at(state, "m"), "0123456789");
	fd = open(at(state, "m"), O_RDWR | O_CLOEXEC);
	assert_works(fd);
	assert_int_equal(pwrite(fd, "ab", 2, 4), 2);
	assert_works(ftruncate(fd, 8));
	assert_int_equal(pread(fd, text, sizeof(text), 0), 8);
	assert_string_equal(text, "0123ab67");
	close(fd);

	fd = open(at(state, "m"), O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_works(fd);
	assert_int_equal(write(fd, "end", 3), 3);
	close(fd);
	assert_holds(at(state, "m"), "0123ab67end");
	write_text(at(state, "m"), "short");
	assert_holds(at(state, "m"), "short");
	assert_works(truncate(at(state, "m"), 1 << 20));
	assert_works(stat(at(state, "m"), &st));
	assert_int_equal(st.st_size, 1 << 20);
	assert_true(st.st_blocks < (1 << 20) / 512);
}

static void rename_replaces_exchanges_and_refuses(void **state)
{
	write_text(at(state, "x"), "of x");
	write_text(at(state, "y"), "of y");
	assert_fails(renameat2(AT_FDCWD, at(state, "x"), AT_FDCWD,
			       at(state, "y"), RENAME_NOREPLACE), EEXIST);
	assert_works(renameat2(AT_FDCWD, at(state, "x"), AT_FDCWD,
			       at(state, "y"), RENAME_EXCHANGE));
	assert_holds(at(state, "x"), "of y");
	assert_holds(at(state, "y"), "of x");
	assert_works(rename(at(state, "x"), at(state, "y")));
	assert_holds(at(state, "y"), "of y");
	assert_missing(at(state, "x"));
	assert_works(renameat2(AT_FDCWD, at(state, "y"), AT_FDCWD,
			       at(state, "z"), RENAME_NOREPLACE));
	assert_cache_lists(state, "z");
}

/* compileall --hardlink-dupes */
static void hard_links_are_one_file(void **state)
{
	struct stat first, second;

	write_text(at(state, "m.pyc"), "code");
	assert_works(link(at(state, "m.pyc"), at(state, "m.opt-1.pyc")));
	assert_fails(link(at(state, "m.pyc"), at(state, "m.opt-1.pyc")),
		     EEXIST);
	assert_works(stat(at(state, "m.pyc"), &first));
	assert_works(stat(at(state, "m.opt-1.pyc"), &second));
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_equal(first.st_nlink, 2);
	assert_works(unlink(at(state, "m.pyc")));
	assert_holds(at(state, "m.opt-1.pyc"), "code");
	assert_works(stat(at(state, "m.opt-1.pyc"), &second));
	assert_int_equal(second.st_nlink, 1);
}

static void symlinks_and_special_files_are_kept(void **state)
{
	char target[40] = "";
	struct stat st;

	assert_works(symlink("../mod.py", at(state, "link")));
	assert_int_equal(readlink(at(state, "link"), target, sizeof(target)), 9);
	assert_string_equal(target, "../mod.py");
	assert_holds(at(state, "link"), "mod = 1\n");
	assert_works(mkfifo(at(state, "fifo"), 0600));
	assert_works(stat(at(state, "fifo"), &st));
	assert_true(S_ISFIFO(st.st_mode));
	assert_cache_lists(state, "fifo link");
}

static void an_open_file_outlives_its_name(void **state)
{
	int fd = open(at(state, "probe"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
		      0600);
	char text[8] = "";
	struct stat st;

	assert_works(fd);
	assert_int_equal(write(fd, "first", 5), 5);
	assert_works(unlink(at(state, "probe")));
	assert_missing(at(state, "probe"));
	assert_int_equal(pread(fd, text, sizeof(text), 0), 5);
	assert_string_equal(text, "first");
	assert_int_equal(pwrite(fd, "after", 5, 0), 5);
	assert_works(fstat(fd, &st));
	assert_int_equal(st.st_nlink, 0);
	close(fd);
	assert_cache_lists(state, "");
}

/* numba probes whether it may write so. */
static void a_nameless_file_gets_its_name_later(void **state)
{
	const struct inside *inside = *state;
	int fd = open(inside->cache, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char path[40];

	assert_works(fd);
	assert_int_equal(write(fd, "code", 4), 4);
	assert_cache_lists(state, "");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_works(linkat(AT_FDCWD, path, AT_FDCWD, at(state, "named"),
			    AT_SYMLINK_FOLLOW));
	close(fd);
	assert_holds(at(state, "named"), "code");
}

static void modes_and_times_are_kept(void **state)
{
	struct timespec times[2] = { { 1000000000, 1 }, { 1234567890, 987 } };
	struct stat st;

	write_text(at(state, "m.pyc"), "code");
	assert_works(chmod(at(state, "m.pyc"), 0640));
	assert_works(utimensat(AT_FDCWD, at(state, "m.pyc"), times, 0));
	assert_works(stat(at(state, "m.pyc"), &st));
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	assert_int_equal(st.st_mtim.tv_nsec, 987);
	assert_int_equal(st.st_atim.tv_sec, 1000000000);
}

/* Linux before 6.6 keeps no user.* on tmpfs; then a refusal is what is native. */
static void xattrs_are_kept_as_tmpfs_keeps_them(void **state)
{
	char native[] = "/dev/shm/pycachefs-xattr-XXXXXX", value[16] = "";
	int fd = mkstemp(native), expected;

	assert_works(fd);
	expected = outcome(fsetxattr(fd, "user.key", "value", 5, 0));
	close(fd);
	unlink(native);

	write_text(at(state, "m.pyc"), "code");
	assert_fails(getxattr(at(state, "m.pyc"), "user.key", value, 16),
		     expected ? expected : ENODATA);
	assert_fails(setxattr(at(state, "m.pyc"), "user.key", "value", 5, 0),
		     expected);
	if (expected)
		return;
	assert_int_equal(getxattr(at(state, "m.pyc"), "user.key", value, 16), 5);
	assert_string_equal(value, "value");
	assert_fails(setxattr(at(state, "m.pyc"), "user.key", "", 0,
			      XATTR_CREATE), EEXIST);
	assert_int_equal(listxattr(at(state, "m.pyc"), value, 16), 9);
	assert_string_equal(value, "user.key");
	assert_works(removexattr(at(state, "m.pyc"), "user.key"));
	assert_int_equal(listxattr(at(state, "m.pyc"), value, 16), 0);
}

/* cffi builds in __pycache__/build and __pycache__/name.c, .o, .so. */
static void directories_inside_are_ordinary(void **state)
{
	assert_missing(at(state, "build"));
	assert_works(mkdir(at(state, "build"), 0755));
	write_text(at(state, "build/temp/deep/m.o"), "object");
	assert_lists(at(state, "build/temp"), "deep");
	assert_fails(rmdir(at(state, "build")), ENOTEMPTY);
	assert_works(rename(at(state, "build/temp"), at(state, "kept")));
	assert_holds(at(state, "kept/deep/m.o"), "object");
	assert_works(rmdir(at(state, "build")));
	assert_missing(at(state, "build"));
	assert_works(rename(at(state, "kept/deep/m.o"), at(state, "m.o")));
	assert_works(rmdir(at(state, "kept/deep")));
	assert_works(rmdir(at(state, "kept")));
	assert_cache_lists(state, "m.o");
}

/* No name inside is filtered, whatever it looks like. */
static void any_name_is_kept_and_listed_inside(void **state)
{
	static const char *const names[] = {
		"m.py", "m.pyc", "m.pyo", "m$py.class", "m.pyc.123", "m.nbi",
		"m.1.nbc", ".hidden", "m.c", "m.so", "m.cpython-311.pyc",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		write_text(at(state, names[i]), names[i]);
	assert_cache_lists(state, ".hidden m$py.class m.1.nbc m.c "
			   "m.cpython-311.pyc m.nbi m.py m.pyc m.pyc.123 "
			   "m.pyo m.so");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_holds(at(state, names[i]), names[i]);
}

static void programs_run_from_it(void **state)
{
	const struct inside *inside = *state;

	free(command_output(NULL, "cp", "/bin/echo", at(state, "program"),
			    NULL));
	char *said = command_output(inside->cache, "./program", "run", NULL);
	assert_string_equal(said, "run\n");
	free(said);
}

static void shared_objects_are_mapped_executable(void **state)
{
	Dl_info info;
	size_t size;
	void *map;
	int fd;

	/* Any library that is loaded serves as an extension module. */
	assert_int_not_equal(dladdr((void *)(uintptr_t)cmocka_set_message_output,
				    &info), 0);
	free(command_output(NULL, "cp", "-L", info.dli_fname,
			    at(state, "ext.so"), NULL));
	void *loaded = dlopen(at(state, "ext.so"), RTLD_NOW | RTLD_LOCAL);
	assert_non_null(loaded);
	assert_non_null(dlsym(loaded, "cmocka_set_message_output"));
	dlclose(loaded);

	char *bytes = tree_read(at(state, "ext.so"), &size);
	fd = open(at(state, "ext.so"), O_RDONLY | O_CLOEXEC);
	assert_works(fd);
	map = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	assert_memory_equal(map, bytes, size);
	munmap(map, size);
	close(fd);
	free(bytes);
}

static void shared_mappings_write_through(void **state)
{
	int fd;
	char *map;

	write_text(at(state, "data"), "0123456789");
	fd = open(at(state, "data"), O_RDWR | O_CLOEXEC);
	assert_works(fd);
	map = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	memcpy(map, "mapped", 6);
	assert_works(msync(map, 10, MS_SYNC));
	munmap(map, 10);
	close(fd);
	assert_holds(at(state, "data"), "mapped6789");
}

#define INSIDE(test) \
	{ #test, test, inside_begin, inside_end, &elsewhere }, \
	{ #test " (in place)", test, inside_begin, inside_end, &in_place }

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		INSIDE(bytecode_is_written_and_put_in_its_place),
		INSIDE(a_file_is_written_at_any_place),
		INSIDE(rename_replaces_exchanges_and_refuses),
		INSIDE(hard_links_are_one_file),
		INSIDE(symlinks_and_special_files_are_kept),
		INSIDE(an_open_file_outlives_its_name),
		INSIDE(a_nameless_file_gets_its_name_later),
		INSIDE(modes_and_times_are_kept),
		INSIDE(xattrs_are_kept_as_tmpfs_keeps_them),
		INSIDE(directories_inside_are_ordinary),
		INSIDE(any_name_is_kept_and_listed_inside),
		INSIDE(programs_run_from_it),
		INSIDE(shared_objects_are_mapped_executable),
		INSIDE(shared_mappings_write_through),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
