/*
 * store=DIR keeps bytecode for the next mount, for several daemons at once, within its
 * limits, and never serves what is stale or half-written.
 */
#include "cli.h"

#include <dirent.h>
#include <ftw.h>
#include <jansson.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

enum { KIBI = 1024, MEBI = 1024 * KIBI };

/* A tmpfs of the test's own, with the directory `store` in it. */
struct depot {
	struct cli *cli;
	char shm[80], dir[96], other[80];	/* @other: a second mountpoint */
};

static int begin(void **state)
{
	static struct depot depot;
	void *cli;

	if (cli_begin(&cli))
		return -1;
	depot.cli = cli;
	snprintf(depot.shm, sizeof(depot.shm), "%s/shm", depot.cli->top);
	snprintf(depot.dir, sizeof(depot.dir), "%s/store", depot.shm);
	snprintf(depot.other, sizeof(depot.other), "%s/other", depot.cli->top);
	assert_int_equal(mkdir(depot.shm, 0755), 0);
	assert_int_equal(mkdir(depot.other, 0755), 0);
	assert_int_equal(mount("shm", depot.shm, "tmpfs", 0, "size=4M"), 0);
	assert_int_equal(mkdir(depot.dir, 0700), 0);
	*state = &depot;
	return 0;
}

static int end(void **state)
{
	struct depot *depot = *state;
	void *cli = depot->cli;

	umount2(depot->shm, MNT_DETACH);
	umount2(depot->cli->source, MNT_DETACH);
	return cli_end(&cli);
}

#define DEPOT(test) { #test, test, begin, end, NULL }

static void mount_on(const struct depot *depot, const char *mountpoint,
		     const char *further)
{
	char options[200];

	snprintf(options, sizeof(options), "store=%s%s", depot->dir, further);
	cli_quietly("-o", options, depot->cli->source, mountpoint, NULL);
}

static const char *pyc(const char *mountpoint, const char *module)
{
	char name[80];

	snprintf(name, sizeof(name), "pkg/__pycache__/%s.cpython-311.pyc", module);
	return in(mountpoint, name);
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void assert_holds(const char *path, const char *text)
{
	char *found = tree_read(path, NULL);

	assert_string_equal(found, text);
	free(found);
}

/* Waits for the daemon too: it tidies up after the mount is gone. */
static bool none_left(void *data)
{
	(void)data;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return cli_processes(NULL) == 0;
}

static void unmount(const char *mountpoint)
{
	cli_quietly("unmount", mountpoint, NULL);
}

static void unmount_last(const char *mountpoint)
{
	unmount(mountpoint);
	assert_true(eventually(DEADLINE, none_left, NULL));
}

/* Names in the store's directory that are no shadows. */
static int count_others(const struct depot *depot)
{
	DIR *dir = opendir(depot->dir);
	struct dirent *entry;
	int count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.' && strncmp(entry->d_name, "s-", 2) != 0;
	closedir(dir);
	return count;
}

static struct { size_t bytes, files, names; } tally;

static int add(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	if (ftw->level > 0)
		tally.names++;
	if (type == FTW_F && S_ISREG(st->st_mode)) {
		tally.bytes += (size_t)st->st_blocks * 512;
		tally.files++;
	}
	return 0;
}

/* All that lies in the store's directory, the ledger and the empty one included. */
static void count_all(const struct depot *depot)
{
	memset(&tally, 0, sizeof(tally));
	assert_int_equal(nftw(depot->dir, add, 16, FTW_PHYS), 0);
}

/* Removes every stamp, and whatever else is called as one. */
static int drop_stamp(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st, (void)ftw;
	return type == FTW_SL ? unlink(path) : 0;
}

static json_t *store_status(const char *mountpoint)
{
	struct command command = cli_run("status", "--json", mountpoint, NULL);
	json_t *all = json_loads(command.out, 0, NULL);
	json_t *store = json_object_get(json_array_get(all, 0), "store");

	assert_non_null(store);
	json_incref(store);
	json_decref(all);
	command_free(&command);
	return store;
}

static void assert_refused(const struct depot *depot, const char *path,
			   const char *source, const char *why)
{
	char options[256];
	struct command command;

	snprintf(options, sizeof(options), "store=%s", path);
	command = cli_run("-o", options, source, depot->cli->mnt, NULL);
	if (command.status != 1)
		print_error("'%s': status %d\n", path, command.status);
	assert_int_equal(command.status, 1);
	cli_assert_complaint(command.err, why);
	command_free(&command);
}

static void what_is_not_fit_is_refused(void **state)
{
	static const mode_t modes[] = { 0750, 0705, 0701, 0720, 0777, 0500, 0300 };
	struct depot *depot = *state;
	const char *source = depot->cli->source;

	assert_refused(depot, depot->cli->missing, source, "does not exist");
	assert_refused(depot, depot->cli->file, source, "not a directory");
	/* Not in /tmp, which is a tmpfs on many machines. */
	assert_refused(depot, "/proc", source, "not on a tmpfs");
	assert_int_equal(symlink(depot->dir, in(depot->cli->top, "link")), 0);
	assert_refused(depot, in(depot->cli->top, "link"), source, "symbolic link");
	assert_refused(depot, in(depot->cli->top, "link/"), source, "symbolic link");
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		assert_int_equal(chmod(depot->dir, modes[i]), 0);
		assert_refused(depot, depot->dir, source, "open to others");
	}
	assert_int_equal(chmod(depot->dir, 0700), 0);
	assert_int_equal(chown(depot->dir, 1000, (gid_t)-1), 0);
	assert_refused(depot, depot->dir, source, "another user");
	assert_int_equal(chown(depot->dir, 0, (gid_t)-1), 0);
	assert_refused(depot, depot->dir, depot->shm, "outside");
	assert_refused(depot, depot->dir, depot->dir, "outside");
	assert_int_equal(count_others(depot), 0);
}

static void a_store_in_the_mountpoint_is_refused(void **state)
{
	struct depot *depot = *state;
	char options[128];
	struct command command;

	snprintf(options, sizeof(options), "store=%s", depot->dir);
	command = cli_run("-o", options, depot->cli->source, depot->shm, NULL);
	assert_int_equal(command.status, 1);
	cli_assert_complaint(command.err, "outside");
	command_free(&command);
}

static void bytecode_is_there_at_the_next_mount(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt;
	json_t *store;

	mount_on(depot, mnt, "");
	tree_write(pyc(mnt, "mod"), "code", -1);
	unmount_last(mnt);
	assert_int_equal(count_others(depot), 0);
	mount_on(depot, mnt, ",size=2M,inodes=500");
	assert_holds(pyc(mnt, "mod"), "code");
	store = store_status(mnt);
	assert_string_equal(json_string_value(json_object_get(store, "kind")),
			    "directory");
	assert_string_equal(json_string_value(json_object_get(store, "path")),
			    depot->dir);
	assert_int_equal(json_integer_value(json_object_get(store, "size")), 2 * MEBI);
	assert_int_equal(json_integer_value(json_object_get(store, "used")), 4096);
	assert_int_equal(json_integer_value(json_object_get(store, "inodes")), 500);
	assert_int_equal(json_integer_value(json_object_get(store, "files")), 1);
	/* A shadow, a note of its directory, two parts, a stamp, a file. */
	assert_int_equal(json_integer_value(json_object_get(store, "inodes_used")), 6);
	json_decref(store);
	unmount_last(mnt);
}

static void bytecode_of_what_changed_meanwhile_is_stale(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt, *source = depot->cli->source;
	struct timespec times[2];
	struct stat st;

	tree_write(in(source, "pkg/other.py"), "a = 1\n", -1);
	tree_write(in(source, "pkg/gone.py"), "a = 1\n", -1);
	mount_on(depot, mnt, "");
	tree_write(pyc(mnt, "mod"), "code", -1);
	tree_write(pyc(mnt, "other"), "code", -1);
	tree_write(pyc(mnt, "gone"), "code", -1);
	unmount_last(mnt);
	/* With the size and the time that it had. */
	assert_int_equal(stat(in(source, "pkg/mod.py"), &st), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	tree_write(in(source, "pkg/mod.py"), "mod = 2\n", -1);
	assert_int_equal(utimensat(AT_FDCWD, in(source, "pkg/mod.py"), times, 0), 0);
	assert_int_equal(unlink(in(source, "pkg/gone.py")), 0);
	mount_on(depot, mnt, "");
	assert_false(exists(pyc(mnt, "mod")));
	assert_false(exists(pyc(mnt, "gone")));
	assert_holds(pyc(mnt, "other"), "code");
	unmount_last(mnt);
}

static void two_daemons_see_each_other(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt, *other = depot->other;

	mount_on(depot, mnt, ",also=.kept");
	mount_on(depot, other, ",also=.kept");
	assert_false(exists(pyc(other, "mod")));
	tree_write(pyc(mnt, "mod"), "one", -1);
	assert_holds(pyc(other, "mod"), "one");
	tree_write(pyc(other, "mod"), "two", -1);
	assert_holds(pyc(mnt, "mod"), "two");
	/* What one drops is gone for both. */
	assert_int_equal(unlink(pyc(mnt, "mod")), 0);
	assert_false(exists(pyc(other, "mod")));
	tree_write(pyc(other, "mod"), "three", -1);
	assert_holds(pyc(mnt, "mod"), "three");
	tree_write(in(mnt, "pkg/mod.py"), "mod = 3\n", -1);
	assert_false(exists(pyc(mnt, "mod")));
	assert_false(exists(pyc(other, "mod")));
	tree_write(in(mnt, "pkg/.kept"), "kept", -1);
	assert_holds(in(other, "pkg/.kept"), "kept");
	assert_int_equal(unlink(in(other, "pkg/.kept")), 0);
	assert_false(exists(in(mnt, "pkg/.kept")));
	tree_write(pyc(other, "mod"), "four", -1);
	cli_quietly("purge", mnt, NULL);
	assert_false(exists(pyc(other, "mod")));
	unmount(mnt);
	/* It goes on alone. */
	tree_write(pyc(other, "mod"), "five", -1);
	assert_holds(pyc(other, "mod"), "five");
	unmount_last(other);
	assert_int_equal(count_others(depot), 0);
}

static void put(const char *mountpoint, int number, size_t size)
{
	static const char content[64 * KIBI];
	char name[32];

	snprintf(name, sizeof(name), "m%d", number);
	tree_write(pyc(mountpoint, name), content, (long)size);
}

static void two_daemons_stay_within_the_limits(void **state)
{
	struct depot *depot = *state;
	const char *mounts[] = { depot->cli->mnt, depot->other };

	for (int i = 0; i < 2; i++)
		mount_on(depot, mounts[i], ",size=1M,inodes=100");
	for (int i = 0; i < 300; i++) {
		put(mounts[i % 2], i, 16 * KIBI);
		count_all(depot);
		/* The ledger's page is its own. */
		assert_true(tally.bytes <= MEBI + 4096);
		assert_true(exists(pyc(mounts[!(i % 2)], "m0")) || i >= 32);
	}
	assert_in_range(tally.files, 40, 65);
	for (int i = 0; i < 300; i++) {
		put(mounts[i % 2], i, 1);
		count_all(depot);
		assert_true(tally.names <= 100 + 2);
	}
	assert_in_range(tally.files, 40, 100);
	unmount(mounts[0]);
	unmount_last(mounts[1]);
}

static size_t count_files(const struct depot *depot)
{
	count_all(depot);
	/* Less the ledger. */
	return tally.files - 1;
}

/* Modules @from to @to of a package, in a source. */
static void make_modules(const char *source, const char *package, int from, int to)
{
	char name[64];

	for (int i = from; i < to; i++) {
		snprintf(name, sizeof(name), "%s/m%d.py", package, i);
		tree_write(in(source, name), "m = 1\n", -1);
	}
}

/* Their bytecode. */
static void compile(const char *mountpoint, const char *package, int from, int to)
{
	static const char content[16 * KIBI];
	char name[80];

	for (int i = from; i < to; i++) {
		snprintf(name, sizeof(name), "%s/__pycache__/m%d.cpython-311.pyc",
			 package, i);
		tree_write(in(mountpoint, name), content, sizeof(content));
	}
}

static int count_compiled(const char *mountpoint, const char *package, int from, int to)
{
	char name[80];
	int count = 0;

	for (int i = from; i < to; i++) {
		snprintf(name, sizeof(name), "%s/__pycache__/m%d.cpython-311.pyc",
			 package, i);
		count += exists(in(mountpoint, name));
	}
	return count;
}

/* A source on a filesystem that gives handles. */
static void on_tmpfs(const struct depot *depot)
{
	assert_int_equal(mount("source", depot->cli->source, "tmpfs", 0, "mode=0755"), 0);
}

/* And on one that gives none, which any is to who may not open them. */
static void on_overlay(const struct depot *depot)
{
	char words[400];

	for (int i = 0; i < 3; i++)
		assert_int_equal(mkdir(in(depot->shm, (const char *[]){
			"lower", "upper", "work" }[i]), 0755), 0);
	snprintf(words, sizeof(words), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
		 depot->shm, depot->shm, depot->shm);
	assert_int_equal(mount("source", depot->cli->source, "overlay", 0, words), 0);
}

/* Bytecode of `pkg`, and of `gone`, which is newer, and a library there. */
static void fill_both(const struct depot *depot)
{
	const char *mnt = depot->cli->mnt;

	make_modules(depot->cli->source, "pkg", 0, 50);
	make_modules(depot->cli->source, "gone", 0, 20);
	mount_on(depot, mnt, ",size=1M");
	compile(mnt, "pkg", 0, 30);
	compile(mnt, "gone", 0, 20);
	tree_write(in(mnt, "gone/__pycache__/lib.so"), "library", -1);
}

static void what_belongs_to_a_directory_that_is_gone_goes_first(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt, *source = depot->cli->source;

	on_tmpfs(depot);
	fill_both(depot);
	unmount_last(mnt);
	tree_remove(in(source, "gone"));
	mount_on(depot, mnt, ",size=1M");
	/* Nothing goes while there is room. */
	assert_int_equal(count_files(depot), 51);
	compile(mnt, "pkg", 30, 50);
	/* What is older stays, and nothing is left of what is gone. */
	assert_int_equal(count_compiled(mnt, "pkg", 0, 50), 50);
	assert_int_equal(count_files(depot), 50);
	unmount_last(mnt);
}

/* Also by a daemon that has never seen it, while its source is mounted. */
static void whoever_makes_room_finds_out_what_is_gone(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt, *source = depot->cli->source;
	char second[120], options[160];

	on_tmpfs(depot);
	fill_both(depot);
	unmount_last(mnt);
	tree_remove(in(source, "gone"));
	snprintf(second, sizeof(second), "%s/second", source);
	make_modules(second, "pkg", 0, 20);
	snprintf(options, sizeof(options), "store=%s,size=1M", depot->dir);
	mount_on(depot, mnt, ",size=1M");
	cli_quietly("-o", options, second, depot->other, NULL);
	compile(depot->other, "pkg", 0, 20);
	assert_int_equal(count_compiled(depot->other, "pkg", 0, 20), 20);
	assert_int_equal(count_compiled(mnt, "pkg", 0, 30), 30);
	assert_int_equal(count_files(depot), 50);
	unmount(mnt);
	unmount_last(depot->other);
}

/* That may be a mistake, so what can't be made anew stays. */
static void bytecode_of_what_is_not_where_it_was_goes_before_the_rest(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt, *source = depot->cli->source;

	on_overlay(depot);
	fill_both(depot);
	unmount_last(mnt);
	tree_remove(in(source, "gone"));
	mount_on(depot, mnt, ",size=1M");
	compile(mnt, "pkg", 30, 50);
	assert_int_equal(count_compiled(mnt, "pkg", 0, 50), 50);
	assert_true(count_files(depot) < 71);
	unmount_last(mnt);
}

/* It takes its bytecode along, and keeps its turn. */
static void what_was_renamed_is_not_taken_for_gone(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt, *source = depot->cli->source;

	on_tmpfs(depot);
	fill_both(depot);
	unmount_last(mnt);
	assert_int_equal(rename(in(source, "gone"), in(source, "kept")), 0);
	mount_on(depot, mnt, ",size=1M");
	compile(mnt, "pkg", 30, 50);
	assert_int_equal(count_compiled(mnt, "kept", 0, 20), 20);
	assert_holds(in(mnt, "kept/__pycache__/lib.so"), "library");
	assert_true(count_compiled(mnt, "pkg", 0, 30) < 30);
	unmount_last(mnt);
}

/* Until nothing can be made without that something goes. */
static void fill_up(const char *mountpoint)
{
	struct statvfs fs;
	int i = 0;

	do {
		put(mountpoint, i++, 1);
		assert_int_equal(statvfs(in(mountpoint, "pkg/__pycache__"), &fs), 0);
	} while (fs.f_ffree > 0);
}

static void room_is_made_for_whatever_takes_an_inode(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt;
	int fd;

	mount_on(depot, mnt, ",size=1M,inodes=40");
	tree_write(in(mnt, "pkg/__pycache__/lib.so"), "library", -1);
	fill_up(mnt);
	fd = open(in(mnt, "pkg/__pycache__"), O_TMPFILE | O_WRONLY, 0644);
	assert_true(fd >= 0);
	close(fd);
	fill_up(mnt);
	assert_int_equal(link(in(mnt, "pkg/__pycache__/lib.so"),
			      in(mnt, "pkg/__pycache__/lib2.so")), 0);
	fill_up(mnt);
	assert_int_equal(symlink("lib.so", in(mnt, "pkg/__pycache__/lib3.so")), 0);
	fill_up(mnt);
	assert_int_equal(chmod(in(mnt, "__pycache__"), 0711), 0);
	count_all(depot);
	assert_true(tally.names <= 40 + 2);
	unmount_last(mnt);
}

static void what_cannot_go_fills_it(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt;
	char content[64 * KIBI] = { 0 };
	int fd;

	mount_on(depot, mnt, ",size=128K");
	tree_write(in(mnt, "pkg/__pycache__/lib.so"), content, sizeof(content));
	fd = open(in(mnt, "pkg/__pycache__/lib2.so"), O_RDWR | O_CREAT, 0644);
	assert_int_equal(write(fd, content, sizeof(content)), sizeof(content));
	assert_int_equal(write(fd, content, 1), -1);
	assert_int_equal(errno, ENOSPC);
	/* What it has can be written again, and given back. */
	assert_int_equal(pwrite(fd, content, sizeof(content), 0), sizeof(content));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, content, sizeof(content), 0), sizeof(content));
	assert_int_equal(posix_fallocate(fd, 0, 2 * sizeof(content)), ENOSPC);
	close(fd);
	unmount_last(mnt);
}

static void a_full_tmpfs_is_like_a_full_store(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt;
	int fd = open(in(depot->shm, "foreign"), O_RDWR | O_CREAT, 0600);

	assert_int_equal(posix_fallocate(fd, 0, 3584 * KIBI), 0);
	mount_on(depot, mnt, ",size=2M");
	for (int i = 0; i < 200; i++)
		put(mnt, i, 16 * KIBI);
	close(fd);
	unmount_last(mnt);
}

static bool is_nearly_empty(void *shm)
{
	struct statvfs fs;

	return statvfs(shm, &fs) == 0 &&
		(fs.f_blocks - fs.f_bfree) * fs.f_frsize < 64 * KIBI;
}

/* A descriptor that the other daemon has of a file holds its memory. */
static void what_one_drops_the_other_lets_go(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt;
	char name[32], byte;
	int fd;

	mount_on(depot, mnt, "");
	mount_on(depot, depot->other, "");
	for (int i = 0; i < 60; i++)
		put(mnt, i, 16 * KIBI);
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		free(tree_read(pyc(depot->other, name), NULL));
	}
	fd = open(pyc(depot->other, "m0"), O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	cli_quietly("purge", mnt, NULL);
	assert_true(eventually(DEADLINE, is_nearly_empty, depot->shm));
	/* But not of what is open. */
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	close(fd);
	unmount(mnt);
	unmount_last(depot->other);
}

static void kill_all(const struct depot *depot)
{
	pid_t daemon;

	while (cli_processes(&daemon) > 0) {
		kill(daemon, SIGKILL);
		waitpid(daemon, NULL, 0);
	}
	umount2(depot->cli->mnt, MNT_DETACH);
	umount2(depot->other, MNT_DETACH);
}

static const char half[] = "\x03\xf3\r\n\0\0\0\0half";
static const char whole[] = "\x03\xf3\r\n\1\0\0\0whole";

static void write_some(const char *mnt)
{
	tree_write(pyc(mnt, "mod"), "code", -1);
	tree_write(in(mnt, "pkg/mod.pyc"), whole, sizeof(whole));
	tree_write(in(mnt, "pkg/half.py"), "half = 1\n", -1);
	tree_write(in(mnt, "pkg/half.pyc"), half, sizeof(half));
	tree_write(in(mnt, "pkg/half$py.class"), "half", -1);
	tree_write(in(mnt, "pkg/__pycache__/mod.cpython-312.pyc.1234"), "ha", -1);
	tree_write(in(mnt, "pkg/__pycache__/f.py311.nbi.tmp.12ab"), "ha", -1);
	tree_write(in(mnt, "pkg/__pycache__/data.txt"), "data", -1);
}

static void what_is_half_written_is_swept_away(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt;

	mount_on(depot, mnt, "");
	write_some(mnt);
	kill_all(depot);
	assert_int_equal(mkdir(in(depot->dir, "x-0123.4"), 0700), 0);
	tree_write(in(depot->dir, "x-0123.4/cache/mod.pyc"), "half", -1);
	tree_write(in(depot->dir, "x-0123.5"), "half", -1);
	mount_on(depot, mnt, "");
	count_all(depot);
	/* mod's two, the other file, and the ledger. */
	assert_int_equal(tally.files, 4);
	assert_false(exists(in(depot->dir, "x-0123.4")));
	assert_false(exists(in(depot->dir, "x-0123.5")));
	assert_holds(pyc(mnt, "mod"), "code");
	assert_true(exists(in(mnt, "pkg/mod.pyc")));
	assert_holds(in(mnt, "pkg/__pycache__/data.txt"), "data");
	kill_all(depot);
	/* Without its stamp nobody knows what it was made from. */
	assert_int_equal(nftw(depot->dir, drop_stamp, 16, FTW_PHYS), 0);
	mount_on(depot, mnt, "");
	count_all(depot);
	assert_int_equal(tally.files, 2);
	unmount_last(mnt);
}

static void what_another_daemon_makes_is_not_swept(void **state)
{
	struct depot *depot = *state;
	const char *mnt = depot->cli->mnt;

	mount_on(depot, mnt, "");
	write_some(mnt);
	count_all(depot);
	size_t files = tally.files;
	mount_on(depot, depot->other, "");
	unmount(depot->other);
	count_all(depot);
	assert_int_equal(tally.files, files);
	assert_true(exists(in(depot->dir, "ledger")));
	assert_int_equal(rename(in(mnt, "pkg/__pycache__/mod.cpython-312.pyc.1234"),
				in(mnt, "pkg/__pycache__/mod.cpython-312.pyc")), 0);
	unmount_last(mnt);
	assert_int_equal(count_others(depot), 0);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		DEPOT(what_is_not_fit_is_refused),
		DEPOT(a_store_in_the_mountpoint_is_refused),
		DEPOT(bytecode_is_there_at_the_next_mount),
		DEPOT(bytecode_of_what_changed_meanwhile_is_stale),
		DEPOT(two_daemons_see_each_other),
		DEPOT(two_daemons_stay_within_the_limits),
		DEPOT(what_belongs_to_a_directory_that_is_gone_goes_first),
		DEPOT(whoever_makes_room_finds_out_what_is_gone),
		DEPOT(bytecode_of_what_is_not_where_it_was_goes_before_the_rest),
		DEPOT(what_was_renamed_is_not_taken_for_gone),
		DEPOT(room_is_made_for_whatever_takes_an_inode),
		DEPOT(what_cannot_go_fills_it),
		DEPOT(a_full_tmpfs_is_like_a_full_store),
		DEPOT(what_one_drops_the_other_lets_go),
		DEPOT(what_is_half_written_is_swept_away),
		DEPOT(what_another_daemon_makes_is_not_swept),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
