/*
 * `__pycache__` itself: every source directory has one, no listing shows it,
 * nobody has to make it, and nothing that happens to it reaches the source.
 */
#include "rules_common.h"

#include <dirent.h>
#include <sys/statvfs.h>

static int make_project(const char *source, void *data)
{
	(void)data;
	write_text(in(source, "top.py"), "top = 1\n");
	write_text(in(source, "a/one.py"), "one = 1\n");
	write_text(in(source, "a/b/two.py"), "two = 2\n");
	write_text(in(source, "a/b/c/three.py"), "three = 3\n");
	assert_works(mkdir(in(source, "empty"), 0755));
	return 0;
}

static struct fixture_options project = { .prepare = make_project };
static struct fixture_options project_in_place = {
	.prepare = make_project, .in_place = true,
};

static const char *const directories[] = {
	".", "a", "a/b", "a/b/c", "empty",
};

#define EACH_DIRECTORY(dir) \
	for (size_t i_ = 0; i_ < sizeof(directories) / sizeof(*directories) && \
	     (dir = directories[i_]); i_++)

static void every_source_directory_has_one_that_is_empty(void **state)
{
	struct fixture *f = *state;
	const char *dir;
	struct stat st;

	EACH_DIRECTORY(dir) {
		KEEP(cache, in(on(f, dir), "__pycache__"));
		assert_works(stat(cache, &st));
		assert_true(S_ISDIR(st.st_mode));
		assert_lists(cache, "");
		assert_missing(in(cache, "one.cpython-311.pyc"));
	}
}

static void a_directory_has_one_as_soon_as_it_is_made(void **state)
{
	struct fixture *f = *state;

	assert_works(mkdir(on(f, "new"), 0755));
	assert_lists(on(f, "new/__pycache__"), "");
	write_text(on(f, "new/__pycache__/m.pyc"), "code");
	assert_holds(on(f, "new/__pycache__/m.pyc"), "code");
}

static void a_directory_made_behind_the_mount_has_one(void **state)
{
	struct fixture *f = *state;

	assert_works(mkdir(behind(f, "later"), 0755));
	KEEP(cache, on(f, "later/__pycache__"));
	assert_true(eventually(DEADLINE, is_there, cache));
	assert_lists(cache, "");
}

static void no_listing_shows_it(void **state)
{
	struct fixture *f = *state;
	const char *dir;

	EACH_DIRECTORY(dir)
		write_text(in(on(f, dir), "__pycache__/m.pyc"), "code");
	assert_lists(f->mountpoint, "a empty top.py");
	assert_lists(on(f, "a"), "b one.py");
	assert_lists(on(f, "a/b"), "c two.py");
	assert_lists(on(f, "empty"), "");

	char *found = command_output(f->mountpoint, "find", ".", NULL);
	assert_null(strstr(found, "__pycache__"));
	assert_non_null(strstr(found, "./a/b/c/three.py"));
	free(found);
	found = command_output(f->mountpoint, "ls", "-a", "a", NULL);
	assert_string_equal(found, ".\n..\nb\none.py\n");
	free(found);
}

/* Big enough for many replies, with the hidden one somewhere among them. */
static void a_long_listing_lacks_nothing_else(void **state)
{
	struct fixture *f = *state;
	char name[40];

	assert_works(mkdir(behind(f, "many"), 0755));
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "many/a_longer_name_%d.py", i);
		write_text(behind(f, name), "");
		if (i == 1500)
			write_text(behind(f, "many/__pycache__/m.pyc"), "old");
	}
	KEEP(many, on(f, "many"));
	assert_true(eventually(DEADLINE, is_there, many));
	char *found = tree_list(many);
	assert_works(rename(behind(f, "many/__pycache__"),
			    behind(f, "moved")));
	char *native = tree_list(behind(f, "many"));
	assert_string_equal(found, native);
	free(found);
	free(native);
}

static void making_it_says_that_it_exists(void **state)
{
	struct fixture *f = *state;
	const char *dir;

	EACH_DIRECTORY(dir) {
		KEEP(cache, in(on(f, dir), "__pycache__"));
		assert_fails(mkdir(cache, 0777), EEXIST);
		assert_fails(symlink("elsewhere", cache), EEXIST);
		assert_fails(mkfifo(cache, 0666), EEXIST);
		assert_int_equal(outcome_open(open(cache, O_WRONLY | O_CREAT |
						   O_EXCL, 0666)), EEXIST);
		assert_int_equal(outcome_open(open(cache, O_WRONLY | O_CREAT,
						   0666)), EISDIR);
		assert_lists(cache, "");
	}
}

static void removing_an_empty_one_succeeds_and_it_is_still_there(void **state)
{
	struct fixture *f = *state;
	const char *dir;

	EACH_DIRECTORY(dir) {
		KEEP(cache, in(on(f, dir), "__pycache__"));
		assert_works(rmdir(cache));
		assert_lists(cache, "");
		assert_works(rmdir(cache));
		write_text(in(cache, "m.pyc"), "code");
		assert_holds(in(cache, "m.pyc"), "code");
	}
}

static void removing_one_that_holds_something_is_enotempty(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "a/__pycache__/m.pyc"), "code");
	assert_fails(rmdir(on(f, "a/__pycache__")), ENOTEMPTY);
	assert_holds(on(f, "a/__pycache__/m.pyc"), "code");
	assert_fails(unlink(on(f, "a/__pycache__")), EISDIR);
	assert_works(unlink(on(f, "a/__pycache__/m.pyc")));
	assert_works(rmdir(on(f, "a/__pycache__")));
	assert_exists(on(f, "a/__pycache__"));
}

static void removing_it_with_rm_leaves_an_empty_one(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "a/__pycache__/deep/er/m.pyc"), "code");
	free(command_output(f->mountpoint, "rm", "-r", "a/__pycache__", NULL));
	assert_lists(on(f, "a/__pycache__"), "");
}

static void inside_another_it_is_an_ordinary_directory(void **state)
{
	struct fixture *f = *state;

	assert_missing(on(f, "a/__pycache__/__pycache__"));
	assert_works(mkdir(on(f, "a/__pycache__/__pycache__"), 0755));
	assert_lists(on(f, "a/__pycache__"), "__pycache__");
	write_text(on(f, "a/__pycache__/__pycache__/m.pyc"), "code");
	assert_fails(rmdir(on(f, "a/__pycache__/__pycache__")), ENOTEMPTY);
	assert_missing(on(f, "a/__pycache__/__pycache__/__pycache__"));
	assert_works(unlink(on(f, "a/__pycache__/__pycache__/m.pyc")));
	assert_works(rmdir(on(f, "a/__pycache__/__pycache__")));
	assert_missing(on(f, "a/__pycache__/__pycache__"));

	/* So it is in a directory that was made inside one. */
	assert_works(mkdir(on(f, "a/__pycache__/build"), 0755));
	assert_missing(on(f, "a/__pycache__/build/__pycache__"));
}

static void those_of_two_directories_are_two(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "a/__pycache__/m.pyc"), "of a");
	write_text(on(f, "a/b/__pycache__/m.pyc"), "of b");
	assert_holds(on(f, "a/__pycache__/m.pyc"), "of a");
	assert_holds(on(f, "a/b/__pycache__/m.pyc"), "of b");
	assert_lists(on(f, "__pycache__"), "");
}

static void the_way_up_from_it_is_its_directory(void **state)
{
	struct fixture *f = *state;
	struct stat up, dir;

	assert_works(stat(on(f, "a/b/__pycache__/.."), &up));
	assert_works(stat(on(f, "a/b"), &dir));
	assert_int_equal(up.st_ino, dir.st_ino);
	assert_holds(on(f, "a/b/__pycache__/../two.py"), "two = 2\n");
}

/* The mount's own view of the directory, which must not move either. */
static void assert_same_times(const struct stat *a, const struct stat *b)
{
	assert_memory_equal(&a->st_mtim, &b->st_mtim, sizeof(a->st_mtim));
	assert_memory_equal(&a->st_ctim, &b->st_ctim, sizeof(a->st_ctim));
	assert_int_equal(a->st_nlink, b->st_nlink);
}

static void nothing_in_it_moves_its_directory_or_the_source(void **state)
{
	struct fixture *f = *state;
	char *before = describe_source(f);
	struct stat then, now;

	assert_works(stat(on(f, "a"), &then));
	KEEP(cache, on(f, "a/__pycache__"));
	assert_fails(mkdir(cache, 0777), EEXIST);
	write_text(in(cache, "m.pyc.140"), "code");
	assert_works(rename(in(cache, "m.pyc.140"), in(cache, "m.pyc")));
	assert_works(mkdir(in(cache, "build"), 0777));
	assert_works(link(in(cache, "m.pyc"), in(cache, "n.pyc")));
	assert_works(symlink("m.pyc", in(cache, "s.pyc")));
	assert_works(chmod(in(cache, "m.pyc"), 0400));
	assert_works(unlink(in(cache, "n.pyc")));
	assert_works(stat(on(f, "a"), &now));
	assert_same_times(&then, &now);
	tree_remove(cache);
	assert_works(stat(on(f, "a"), &now));
	assert_same_times(&then, &now);
	assert_source(f, before);
}

struct numbers {
	ino_t source[64], store[64];
	size_t in_source, in_store;
};

static ino_t number_of(const char *path)
{
	struct stat st;

	assert_works(lstat(path, &st));
	return st.st_ino;
}

static void gather_numbers(const struct fixture *f, struct numbers *ret)
{
	static const char *const source[] = {
		"top.py", "a/one.py", "a/b/two.py", "a/b/c/three.py",
	};
	static const char *const store[] = {
		".", "m.pyc", "sub", "sub/n.pyc", "link",
	};
	const char *dir;

	*ret = (struct numbers){ .in_source = 0 };
	EACH_DIRECTORY(dir) {
		KEEP(cache, in(on(f, dir), "__pycache__"));
		ret->source[ret->in_source++] = number_of(on(f, dir));
		for (size_t i = 0; i < 5; i++)
			ret->store[ret->in_store++] =
				number_of(in(cache, store[i]));
	}
	for (size_t i = 0; i < 4; i++)
		ret->source[ret->in_source++] = number_of(on(f, source[i]));
	for (size_t i = 0; i < 4; i++)
		ret->source[ret->in_source++] = number_of(behind(f, source[i]));
}

static void inode_numbers_are_its_own_and_stay(void **state)
{
	struct fixture *f = *state;
	struct numbers first, again;
	const char *dir;

	EACH_DIRECTORY(dir) {
		KEEP(cache, in(on(f, dir), "__pycache__"));
		write_text(in(cache, "m.pyc"), "code");
		write_text(in(cache, "sub/n.pyc"), "code");
		assert_works(symlink("m.pyc", in(cache, "link")));
	}
	gather_numbers(f, &first);
	for (size_t i = 0; i < first.in_store; i++) {
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(first.store[i], first.store[j]);
		for (size_t j = 0; j < first.in_source; j++)
			assert_int_not_equal(first.store[i], first.source[j]);
	}
	/* Where we may, have the kernel forget all that it can first. */
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "2", 1) != 1)
			print_message("caches were not dropped\n");
		close(fd);
	}
	gather_numbers(f, &again);
	assert_memory_equal(&first, &again, sizeof(first));
}

static void listing_it_gives_the_numbers_that_stat_gives(void **state)
{
	struct fixture *f = *state;
	struct dirent *entry;
	int seen = 0;

	write_text(on(f, "a/__pycache__/m.pyc"), "code");
	write_text(on(f, "a/__pycache__/sub/n.pyc"), "code");
	KEEP(cache, on(f, "a/__pycache__"));
	DIR *dir = opendir(cache);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		assert_int_equal(entry->d_ino,
				 number_of(in(cache, entry->d_name)));
		seen++;
	}
	closedir(dir);
	assert_int_equal(seen, 2);
}

static struct fixture_options eight_megabytes = {
	.prepare = make_project, .options = "size=8M",
};

static void statfs_tells_the_size_of_the_store(void **state)
{
	struct fixture *f = *state;
	struct statvfs store, source, native;

	write_text(on(f, "a/__pycache__/m.pyc"), "code");
	assert_works(statvfs(on(f, "a/__pycache__"), &store));
	assert_int_equal(store.f_blocks * store.f_frsize, 8 << 20);
	assert_works(statvfs(on(f, "a/__pycache__/m.pyc"), &store));
	assert_int_equal(store.f_blocks * store.f_frsize, 8 << 20);
	assert_true(store.f_bfree < store.f_blocks);
	assert_works(statvfs(on(f, "a/one.py"), &source));
	assert_works(statvfs(behind(f, "a/one.py"), &native));
	assert_int_equal(source.f_blocks, native.f_blocks);
	assert_int_equal(source.f_frsize, native.f_frsize);
	assert_int_equal(source.f_files, native.f_files);
}

#define PROJECT(test) BOTH(test, project)

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		PROJECT(every_source_directory_has_one_that_is_empty),
		PROJECT(a_directory_has_one_as_soon_as_it_is_made),
		PROJECT(a_directory_made_behind_the_mount_has_one),
		PROJECT(no_listing_shows_it),
		PROJECT(a_long_listing_lacks_nothing_else),
		PROJECT(making_it_says_that_it_exists),
		PROJECT(removing_an_empty_one_succeeds_and_it_is_still_there),
		PROJECT(removing_one_that_holds_something_is_enotempty),
		PROJECT(removing_it_with_rm_leaves_an_empty_one),
		PROJECT(inside_another_it_is_an_ordinary_directory),
		PROJECT(those_of_two_directories_are_two),
		PROJECT(the_way_up_from_it_is_its_directory),
		PROJECT(nothing_in_it_moves_its_directory_or_the_source),
		PROJECT(inode_numbers_are_its_own_and_stay),
		PROJECT(listing_it_gives_the_numbers_that_stat_gives),
		WITH(statfs_tells_the_size_of_the_store, &eight_megabytes),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
