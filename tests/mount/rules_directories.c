/*
 * What becomes of a directory's cache entries when the directory is removed or
 * renamed: they hang on the directory itself and not on its path.
 */
#include "rules_common.h"

#include <sys/statvfs.h>

static void put(const struct fixture *f, const char *dir, const char *text)
{
	write_text(in(in(on(f, dir), "__pycache__"), "m.pyc"), text);
}

static void assert_cached(const struct fixture *f, const char *dir,
			  const char *text)
{
	assert_holds(in(in(on(f, dir), "__pycache__"), "m.pyc"), text);
}

/* The only file of @cache is m.pyc and it holds the text, or nothing is. */
struct cached {
	char path[1024];
	const char *text;	/* NULL: an empty `__pycache__` */
};

static bool is_cached(void *data)
{
	const struct cached *cached = data;
	char *names, text[64] = "";
	bool same;
	int fd;

	if (!exists(cached->path))
		return false;
	names = tree_list(cached->path);
	same = strcmp(names, cached->text ? "m.pyc" : "") == 0;
	free(names);
	if (!same || !cached->text)
		return same;
	fd = open(in(cached->path, "m.pyc"), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	same = read(fd, text, sizeof(text) - 1) >= 0 &&
		strcmp(text, cached->text) == 0;
	close(fd);
	return same;
}

static bool cached_soon(const struct fixture *f, const char *dir,
			const char *text)
{
	struct cached cached = { .text = text };

	snprintf(cached.path, sizeof(cached.path), "%s/%s/__pycache__",
		 f->mountpoint, dir);
	return eventually(DEADLINE, is_cached, &cached);
}

static int make_stale(const char *source, void *data)
{
	(void)data;
	write_text(in(source, "d/__pycache__/old.pyc"), "stale");
	write_text(in(source, "d/__pycache__/sub/deep/old.pyc"), "stale");
	write_text(in(source, "d/.cache/v/x"), "stale");
	assert_works(symlink("/etc/passwd", in(source, "d/__pycache__/link")));
	return 0;
}

static struct fixture_options stale = {
	.prepare = make_stale, .options = "also=.cache",
};
static struct fixture_options stale_in_place = {
	.prepare = make_stale, .options = "also=.cache", .in_place = true,
};

static void a_directory_goes_with_its_cache_entries(void **state)
{
	struct fixture *f = *state;

	assert_works(mkdir(on(f, "e"), 0755));
	put(f, "e", "of the store");
	write_text(on(f, "e/.cache/x"), "of the store");
	assert_works(rmdir(on(f, "e")));
	assert_missing(on(f, "e"));
	assert_missing(behind(f, "e"));
	assert_works(mkdir(on(f, "e"), 0755));
	assert_lists(on(f, "e/__pycache__"), "");
	assert_missing(on(f, "e/.cache"));
}

static bool store_is_empty(void *path)
{
	struct statvfs fs;

	return statvfs(path, &fs) == 0 && fs.f_ffree == fs.f_files;
}

/* A process may stand in what is gone. */
static void nothing_is_made_for_a_directory_that_is_gone(void **state)
{
	struct fixture *f = *state;
	int cache, used, other;

	assert_works(mkdir(on(f, "e"), 0755));
	assert_works(mkdir(on(f, "g"), 0755));
	put(f, "g", "code");
	cache = open(on(f, "e/__pycache__"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	used = open(on(f, "g/__pycache__"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	other = open(on(f, "d/__pycache__"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(cache >= 0 && used >= 0 && other >= 0);
	assert_works(rmdir(on(f, "e")));
	assert_works(rmdir(on(f, "g")));
	/* Replaced is as gone as removed. */
	assert_works(mkdir(on(f, "new"), 0755));
	assert_works(rename(on(f, "new"), on(f, "d")));
	for (int i = 0; i < 3; i++) {
		int fd = i == 0 ? cache : i == 1 ? used : other;

		assert_int_equal(outcome_open(openat(fd, "m.pyc", O_WRONLY | O_CREAT,
						     0644)), ENOENT);
		assert_fails(mkdirat(fd, "build", 0755), ENOENT);
		assert_fails(symlinkat("m", fd, "link"), ENOENT);
		assert_int_equal(outcome_open(openat(fd, ".", O_TMPFILE | O_WRONLY,
						     0644)), ENOENT);
	}
	close(cache);
	close(used);
	close(other);
	KEEP(left, on(f, "d/__pycache__"));
	assert_true(eventually(DEADLINE, store_is_empty, left));
}

static void a_directory_goes_with_what_is_stale_in_it(void **state)
{
	struct fixture *f = *state;

	put(f, "d", "of the store");
	assert_lists(on(f, "d"), "");
	assert_works(rmdir(on(f, "d")));
	assert_missing(on(f, "d"));
	assert_lists(behind(f, "."), "");
	assert_exists("/etc/passwd");
}

static void a_directory_never_looked_into_goes_too(void **state)
{
	struct fixture *f = *state;

	assert_works(rmdir(on(f, "d")));
	assert_lists(behind(f, "."), "");
}

static void rm_removes_a_tree_with_what_is_stale_in_it(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "d/m.py"), "m = 1\n");
	write_text(on(f, "d/m.pyc"), "of the store");
	write_text(on(f, "d/sub/n.py"), "n = 1\n");
	put(f, "d", "of the store");
	put(f, "d/sub", "of the store");
	free(command_output(f->mountpoint, "rm", "-rf", "d", NULL));
	assert_lists(f->mountpoint, "");
	assert_lists(behind(f, "."), "");
}

/* Each makes D hold one more thing that is no cache entry. */
static void add_file(const char *dir)
{
	write_text(in(dir, "data"), "");
}

static void add_directory(const char *dir)
{
	assert_works(mkdir(in(dir, "sub"), 0755));
}

static void add_shipped_bytecode(const char *dir)
{
	write_text(in(dir, "shipped.pyc"), "a program");
}

static void add_link(const char *dir)
{
	assert_works(symlink("nowhere", in(dir, "link")));
}

static void a_directory_that_holds_anything_else_stays_whole(void **state)
{
	void (*const adders[])(const char *) = {
		add_file, add_directory, add_shipped_bytecode, add_link,
	};
	struct fixture *f = *state;
	const char *added[] = { "data", "sub", "shipped.pyc", "link" };

	put(f, "d", "of the store");
	for (size_t i = 0; i < sizeof(adders) / sizeof(*adders); i++) {
		adders[i](on(f, "d"));
		char *before = describe_source(f);
		assert_fails(rmdir(on(f, "d")), ENOTEMPTY);
		assert_source(f, before);
		assert_cached(f, "d", "of the store");
		assert_lists(on(f, "d"), added[i]);
		assert_works(remove(in(on(f, "d"), added[i])));
	}
	assert_works(rmdir(on(f, "d")));
}

static void bytecode_follows_its_directory(void **state)
{
	struct fixture *f = *state;
	struct stat then, now;

	put(f, "d", "of d");
	write_text(on(f, "d/.cache/x"), "of d");
	assert_works(stat(on(f, "d/__pycache__/m.pyc"), &then));
	assert_works(rename(on(f, "d"), on(f, "e")));
	assert_missing(on(f, "d"));
	assert_cached(f, "e", "of d");
	assert_holds(on(f, "e/.cache/x"), "of d");
	assert_works(stat(on(f, "e/__pycache__/m.pyc"), &now));
	assert_int_equal(then.st_ino, now.st_ino);
	assert_works(mkdir(on(f, "d"), 0755));
	assert_lists(on(f, "d/__pycache__"), "");
}

static void bytecode_follows_when_a_parent_is_renamed(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "top/mid/low/m.py"), "m = 1\n");
	write_text(on(f, "top/mid/low/m.pyc"), "legacy");
	put(f, "top/mid/low", "of low");
	assert_works(mkdir(on(f, "other"), 0755));
	assert_works(rename(on(f, "top/mid"), on(f, "other/moved")));
	assert_cached(f, "other/moved/low", "of low");
	assert_holds(on(f, "other/moved/low/m.pyc"), "legacy");
}

static void bytecode_follows_a_rename_behind_the_mount(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "top/low/m.py"), "m = 1\n");
	put(f, "top", "of top");
	put(f, "top/low", "of low");
	assert_works(rename(behind(f, "top"), behind(f, "moved")));
	assert_true(cached_soon(f, "moved", "of top"));
	assert_true(cached_soon(f, "moved/low", "of low"));
	KEEP(old, on(f, "top"));
	assert_true(eventually(DEADLINE, is_missing, old));
	assert_works(mkdir(on(f, "top"), 0755));
	assert_lists(on(f, "top/__pycache__"), "");
}

static void an_open_file_is_written_on_while_its_directory_moves(void **state)
{
	struct fixture *f = *state;
	int fd = open(on(f, "d/__pycache__/m.pyc"),
		      O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	assert_works(fd);
	assert_int_equal(write(fd, "be", 2), 2);
	assert_works(rename(on(f, "d"), on(f, "e")));
	assert_int_equal(write(fd, "fore", 4), 4);
	close(fd);
	assert_cached(f, "e", "before");
}

static void two_directories_exchange_with_their_bytecode(void **state)
{
	struct fixture *f = *state;

	assert_works(mkdir(on(f, "e"), 0755));
	put(f, "d", "of d");
	put(f, "e", "of e");
	assert_works(renameat2(AT_FDCWD, on(f, "d"), AT_FDCWD, on(f, "e"),
			       RENAME_EXCHANGE));
	assert_cached(f, "d", "of e");
	assert_cached(f, "e", "of d");
}

static void a_directory_replaces_one_that_looks_empty(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "e/m.py"), "m = 1\n");
	put(f, "e", "of e");
	put(f, "d", "of d");
	assert_lists(on(f, "d"), "");
	assert_works(rename(on(f, "e"), on(f, "d")));
	assert_missing(on(f, "e"));
	assert_lists(on(f, "d"), "m.py");
	assert_cached(f, "d", "of e");
	assert_lists(on(f, "d/__pycache__"), "m.pyc");
	/* Nothing of what was replaced is left over. */
	assert_lists(behind(f, "."), "d");
	assert_lists(behind(f, "d"), "m.py");
}

static void a_directory_replaces_none_that_holds_anything(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "e/m.py"), "m = 1\n");
	write_text(on(f, "d/data"), "data");
	put(f, "e", "of e");
	put(f, "d", "of d");
	char *before = describe_source(f);
	assert_fails(rename(on(f, "e"), on(f, "d")), ENOTEMPTY);
	assert_source(f, before);
	assert_cached(f, "d", "of d");
	assert_cached(f, "e", "of e");
}

static void noreplace_spares_a_directory_that_looks_empty(void **state)
{
	struct fixture *f = *state;

	assert_works(mkdir(on(f, "e"), 0755));
	put(f, "d", "of d");
	char *before = describe_source(f);
	assert_fails(renameat2(AT_FDCWD, on(f, "e"), AT_FDCWD, on(f, "d"),
			       RENAME_NOREPLACE), EEXIST);
	assert_source(f, before);
	assert_cached(f, "d", "of d");
}

/* Filesystems hand out the number of a removed inode again, ext4 at once. */
static void a_reused_inode_number_inherits_nothing(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	ino_t last = 0;
	int reused = 0;

	for (int i = 0; i < 100; i++) {
		assert_works(mkdir(on(f, "e"), 0755));
		assert_works(stat(on(f, "e"), &st));
		reused += st.st_ino == last;
		last = st.st_ino;
		assert_lists(on(f, "e/__pycache__"), "");
		assert_missing(on(f, "e/.cache"));
		put(f, "e", "of one that is gone");
		assert_works(mkdir(on(f, "e/.cache"), 0755));
		assert_works(rmdir(on(f, "e")));
	}
	print_message("%d of 100 directories reused a number\n", reused);
}

static void nor_does_one_that_is_reused_behind_the_mount(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		assert_works(mkdir(behind(f, "e"), 0755));
		assert_true(cached_soon(f, "e", NULL));
		put(f, "e", "of one that is gone");
		assert_cached(f, "e", "of one that is gone");
		assert_works(rmdir(behind(f, "e")));
	}
	assert_works(mkdir(behind(f, "e"), 0755));
	assert_true(cached_soon(f, "e", NULL));
}

#define STALE(test) BOTH(test, stale)

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		STALE(a_directory_goes_with_its_cache_entries),
		STALE(nothing_is_made_for_a_directory_that_is_gone),
		STALE(a_directory_goes_with_what_is_stale_in_it),
		STALE(a_directory_never_looked_into_goes_too),
		STALE(rm_removes_a_tree_with_what_is_stale_in_it),
		STALE(a_directory_that_holds_anything_else_stays_whole),
		STALE(bytecode_follows_its_directory),
		STALE(bytecode_follows_when_a_parent_is_renamed),
		STALE(bytecode_follows_a_rename_behind_the_mount),
		STALE(an_open_file_is_written_on_while_its_directory_moves),
		STALE(two_directories_exchange_with_their_bytecode),
		STALE(a_directory_replaces_one_that_looks_empty),
		STALE(a_directory_replaces_none_that_holds_anything),
		STALE(noreplace_spares_a_directory_that_looks_empty),
		STALE(a_reused_inode_number_inherits_nothing),
		STALE(nor_does_one_that_is_reused_behind_the_mount),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
