/*
 * Parity of attributes: mode, owner, times, access checks, sizes of the
 * filesystem.  Those of users without privileges: parity_owner.c.
 */
#include "parity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const char *const kinds[] = {
	"file", "directory", "link", "dangling", "link-to-dir", "fifo",
	"none", "file/below",
};

static void make_kinds(void)
{
	make("file", "content");
	TRY(mkdir("directory", 0755));
	TRY(symlink("file", "link"));
	TRY(symlink("missing", "dangling"));
	TRY(symlink("directory", "link-to-dir"));
	TRY(mkfifo("fifo", 0644));
}

static void changing_modes(void)
{
	static const mode_t modes[] = {
		0, 0777, 07777, 0644, 01000, 02000, 04000, 0100644, 0200000,
	};

	make_kinds();
	for (size_t i = 0; i < COUNT(kinds); i++) {
		for (size_t j = 0; j < COUNT(modes); j++) {
			int fd;

			say("%s %o", kinds[i], modes[j]);
			TRY(chmod(kinds[i], modes[j]));
			say_status(kinds[i]);
			TRY(fchmodat(AT_FDCWD, kinds[i], modes[j] ^ 0111,
				     AT_SYMLINK_NOFOLLOW));
			say_status(kinds[i]);
			fd = open(kinds[i], O_RDONLY | O_NONBLOCK);
			TRY(fchmod(fd, modes[j] | 0500));
			close(fd);
			say_status(kinds[i]);
		}
	}
	say_status("file");
	say_status("directory");
}

static void changing_owners(void)
{
	static const struct {
		uid_t uid;
		gid_t gid;
	} owners[] = {
		{ 0, 0 }, { USER, GROUP }, { (uid_t)-1, OTHER_GROUP },
		{ 5, (gid_t)-1 }, { (uid_t)-1, (gid_t)-1 },
		{ 0x7ffffffe, 0x7fffffff }, { 0xfffffffe, 0xfffffffe },
	};

	make_kinds();
	for (size_t i = 0; i < COUNT(kinds); i++) {
		for (size_t j = 0; j < COUNT(owners); j++) {
			uid_t uid = owners[j].uid;
			gid_t gid = owners[j].gid;

			say("%s %u:%u", kinds[i], uid, gid);
			/* The change of owner strips these, or does not. */
			(void)!chmod("file", 06755);
			(void)!chmod("directory", 06755);
			TRY(lchown(kinds[i], uid, gid));
			say_status(kinds[i]);
			(void)!chmod("file", 02745);
			TRY(chown(kinds[i], gid, uid));
			say_status(kinds[i]);
			say_status("file");
		}
	}
	TRY(fchown(open("file", O_RDONLY), 3, 4));
	TRY(fchownat(open("link", O_PATH | O_NOFOLLOW), "", 7, 8,
		     AT_EMPTY_PATH));
	say_status("file");
	say_status("link");
}

static void say_modified(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		say("%s: %s", path, strerrorname_np(errno));
	else
		say("%s: modified %jd.%09ld", path,
		    (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

/* All that a symlink's own access time tells is who followed it when. */
static void say_times(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		say("%s: %s", path, strerrorname_np(errno));
	else if (S_ISLNK(st.st_mode))
		say_modified(path);
	else
		say("%s: accessed %jd.%09ld, modified %jd.%09ld", path,
		    (intmax_t)st.st_atim.tv_sec, st.st_atim.tv_nsec,
		    (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static void setting_times(void)
{
	static const struct timespec times[][2] = {
		{ { 1, 0 }, { 2, 0 } },
		{ { 1000000000, 123456789 }, { 1700000000, 999999999 } },
		{ { 5, 1 }, { 0, UTIME_OMIT } },
		{ { 0, UTIME_OMIT }, { 6, 2 } },
		{ { 0, UTIME_OMIT }, { 0, UTIME_OMIT } },
		{ { 0, 0 }, { 0, 0 } },
		{ { -1, 0 }, { -1, 999999999 } },
		{ { -2147483648L, 0 }, { 2147483648L, 1 } },
		{ { 9999999999L, 5 }, { 4294967296L, 5 } },
		{ { -9999999999L, 5 }, { 99999999999L, 5 } },
		{ { 0, 1000000000 }, { 0, 0 } },
		{ { 0, 0 }, { 0, -1 } },
	};

	make_kinds();
	for (size_t i = 0; i < COUNT(kinds); i++) {
		for (size_t j = 0; j < COUNT(times); j++) {
			say("%s, pair %zu", kinds[i], j);
			TRY(utimensat(AT_FDCWD, kinds[i], times[j],
				      AT_SYMLINK_NOFOLLOW));
			say_times(kinds[i]);
			TRY(utimensat(AT_FDCWD, kinds[i], times[j], 0));
			say_times(kinds[i]);
		}
	}
	TRY(futimens(open("file", O_RDONLY), times[1]));
	say_times("file");
}

/* Whether the times lie between two moments or are still the old ones. */
static void say_freshness(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		say("%s: %s", path, strerrorname_np(errno));
	else
		say("%s: accessed %s, modified %s, changed %s", path,
		    st.st_atim.tv_sec == 1 ? "then" : "now",
		    st.st_mtim.tv_sec == 2 ? "then" : "now",
		    labs(st.st_ctim.tv_sec - time(NULL)) < 100 ? "now" :
		    "then");
}

static void what_moves_times(void)
{
	static const struct timespec old[2] = { { 1, 0 }, { 2, 0 } };
	static const struct timespec now_then[2] = {
		{ 0, UTIME_NOW }, { 0, UTIME_OMIT },
	};
	static const struct timespec then_now[2] = {
		{ 0, UTIME_OMIT }, { 0, UTIME_NOW },
	};
	int fd;

	make("file", "content");
	fd = open("file", O_RDWR);
#define AGED(call) do { \
		TRY(futimens(fd, old)); \
		say_freshness("file"); \
		TRY(call); \
		say_freshness("file"); \
	} while (0)
	AGED(utimensat(AT_FDCWD, "file", NULL, 0));
	AGED(futimens(fd, now_then));
	AGED(futimens(fd, then_now));
	AGED(write(fd, "x", 1));
	AGED(pwrite(fd, "x", 1, 100));
	AGED(ftruncate(fd, 50));
	AGED(ftruncate(fd, 50));
	AGED(truncate("file", 50));
	AGED(truncate("file", 60));
	AGED(chmod("file", 0600));
	AGED(chown("file", 1, 1));
	AGED(rename("file", "renamed"));
	TRY(rename("renamed", "file"));
	AGED(link("file", "second"));
	AGED(fallocate(fd, 0, 0, 1000));
	AGED(open("file", O_WRONLY | O_TRUNC));
	AGED(open("file", O_WRONLY | O_TRUNC));
	AGED(open("file", O_WRONLY | O_CREAT, 0644));
#undef AGED
	say_freshness(".");
}

/* A time that was set survives the close and a later look. */
static void set_times_stay(void)
{
	static const struct timespec old[2] = { { 1, 5 }, { 2, 7 } };
	int fd = open("file", O_RDWR | O_CREAT, 0644);

	TRY(write(fd, "content", 7));
	TRY(futimens(fd, old));
	TRY(fsync(fd));
	TRY(close(fd));
	say_modified("file");
	TRY(chmod("file", 0600));
	TRY(rename("file", "other"));
	say_modified("other");
	say_content("other");
	TRY(mkdir("directory", 0755));
	make("directory/inside", "");
	TRY(utimensat(AT_FDCWD, "directory", old, 0));
	say_modified("directory");
	make("directory/inside", "changed");
	TRY(truncate("directory/inside", 1));
	say_modified("directory");
	TRY(system("cp -a other copied && tar -cf - copied directory |"
		   " (mkdir x && tar -xf - -C x)"));
	say_modified("copied");
	say_modified("x/copied");
	say_modified("x/directory");
}

static void sizes_of_the_filesystem(void)
{
	static const char *const places[] = {
		".", "file", "directory", "dangling", "none",
	};
	struct statfs fs;
	struct statvfs vfs;

	make_kinds();
	for (size_t i = 0; i < COUNT(places); i++) {
		say("%s", places[i]);
		if (TRY(statfs(places[i], &fs)) == 0)
			say("%jd blocks of %jd, fragments of %jd, %jd files,"
			    " names of %jd", (intmax_t)fs.f_blocks,
			    (intmax_t)fs.f_bsize, (intmax_t)fs.f_frsize,
			    (intmax_t)fs.f_files, (intmax_t)fs.f_namelen);
		TRY(statvfs(places[i], &vfs));
	}
	/* Free ones come and go; that there are some does not. */
	say("%d %d", fs.f_bfree > 0, fs.f_bavail > 0);
	TRY(pathconf("file", _PC_NAME_MAX));
	TRY(pathconf("file", _PC_PATH_MAX));
	TRY(pathconf("file", _PC_PIPE_BUF));
}

static void syncing(void)
{
	make_kinds();
	for (size_t i = 0; i < COUNT(kinds); i++) {
		int fd = open(kinds[i], O_RDONLY | O_NONBLOCK);

		say("%s", kinds[i]);
		TRY(fsync(fd));
		TRY(fdatasync(fd));
		TRY(syncfs(fd));
		close(fd);
	}
	TRY(fsync(open(".", O_RDONLY | O_DIRECTORY)));
	TRY(fsync(open(".", O_PATH)));
}

static void checking_access(void)
{
	static const mode_t modes[] = { 0, 0111, 0222, 0444, 0644, 0700, 0777 };

	make_kinds();
	for (size_t i = 0; i < COUNT(kinds); i++) {
		for (size_t j = 0; j < COUNT(modes); j++) {
			(void)!chmod("file", modes[j]);
			(void)!chmod("directory", modes[j]);
			for (int mask = 0; mask < 9; mask++) {
				say("%s %o %d", kinds[i], modes[j], mask);
				TRY(access(kinds[i], mask));
				TRY(faccessat(AT_FDCWD, kinds[i], mask,
					      AT_EACCESS));
				TRY(faccessat(AT_FDCWD, kinds[i], mask,
					      AT_SYMLINK_NOFOLLOW));
			}
		}
	}
}

static void checking_access_as_a_user(void)
{
	TRY(chmod(".", 0777));
	as(USER, GROUP, checking_access);
	TRY(system("rm -rf *"));
	checking_access();
	as(USER, GROUP, checking_access);
}

static void block_counts(void)
{
	struct stat st;

	make("file", "content");
	TRY(truncate("file", 123456));
	TRY(stat("file", &st));
	say("%jd %jd", (intmax_t)st.st_blksize, (intmax_t)st.st_blocks);
	TRY(stat(".", &st));
	say("%jd", (intmax_t)st.st_blksize);
	TRY(statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS,
		  &(struct statx){ 0 }));
	TRY(statx(AT_FDCWD, "none", 0, STATX_BASIC_STATS,
		  &(struct statx){ 0 }));
}

static const struct parity_case cases[] = {
	{ "chmod sets every mode", changing_modes },
	{ "chown sets every owner", changing_owners },
	{ "utimensat sets every time", setting_times },
	{ "what changes a file moves its times", what_moves_times },
	{ "times that were set stay", set_times_stay },
	{ "statfs tells of the source's filesystem", sizes_of_the_filesystem },
	{ "each kind of file is synced", syncing },
	{ "access is checked", checking_access },
	{ "a user's access is checked", checking_access_as_a_user },
	{ "blocks are counted", block_counts },
};

int main(void)
{
	return parity_main(cases, COUNT(cases));
}
