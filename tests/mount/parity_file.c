/*
 * Parity of opening, reading and writing files.
 */
#include "parity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const char *const kinds[] = {
	"file", "empty", "directory", "link", "dangling", "link-to-dir",
	"loop", "fifo", "none", "none/below", "file/below", "file/",
	"directory/", "none/", "directory/.", "directory/..", "directory/new",
};

static void make_kinds(void)
{
	make("file", "content");
	make("empty", "");
	TRY(mkdir("directory", 0755));
	TRY(symlink("file", "link"));
	TRY(symlink("missing", "dangling"));
	TRY(symlink("directory", "link-to-dir"));
	TRY(symlink("loop", "loop"));
	TRY(mkfifo("fifo", 0644));
}

/*
 * Opens each kind with each combination of flags, in a fresh directory for each
 * combination, and looks at what that did.
 */
static void open_with_all_flags(void)
{
	static const int access_modes[] = { O_RDONLY, O_WRONLY, O_RDWR };
	static const int flags[] = {
		O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW,
	};
	char name[32], text[16];

	for (unsigned set = 0; set < 3u << COUNT(flags); set++) {
		int chosen = access_modes[set >> COUNT(flags)] | O_NONBLOCK;

		/* Without O_CREAT, O_EXCL is undefined. */
		if ((set & 3) == 2)
			continue;
		for (size_t i = 0; i < COUNT(flags); i++)
			chosen |= set & 1u << i ? flags[i] : 0;
		snprintf(name, sizeof(name), "set-%02x", set);
		if (mkdir(name, 0755) || chdir(name)) {
			say("no directory");
			return;
		}
		make_kinds();
		for (size_t i = 0; i < COUNT(kinds); i++) {
			int fd;

			say("%s with flags %#o", kinds[i], chosen);
			fd = TRY_OPEN(open(kinds[i], chosen, 0640));
			if (fd < 0)
				continue;
			say_status_of(fd);
			TRY(read(fd, text, sizeof(text)));
			TRY(write(fd, "w", 1));
			TRY(fcntl(fd, F_GETFL));
			close(fd);
		}
		say_names(".");
		if (chdir(".."))
			return;
	}
}

static void open_path_descriptors(void)
{
	char text[16];

	make_kinds();
	for (size_t i = 0; i < COUNT(kinds); i++) {
		int fd;

		say("%s", kinds[i]);
		TRY_OPEN(open(kinds[i], O_PATH | O_DIRECTORY));
		fd = TRY_OPEN(open(kinds[i], O_PATH | O_NOFOLLOW));
		if (fd < 0)
			continue;
		say_status_of(fd);
		TRY(read(fd, text, sizeof(text)));
		TRY(fchmod(fd, 0600));
		TRY(fchown(fd, 0, 0));
		TRY(ftruncate(fd, 0));
		TRY(readlinkat(fd, "", text, sizeof(text)));
		TRY(faccessat(fd, "new", F_OK, 0));
		TRY_OPEN(openat(fd, "new", O_CREAT | O_WRONLY, 0600));
		TRY(fchmodat(fd, "new", 0604, 0));
		close(fd);
	}
}

static void unnamed_files(void)
{
	char path[64], text[16] = "";
	int fd;

	TRY_OPEN(open(".", O_TMPFILE | O_RDONLY, 0600));
	TRY_OPEN(open("none", O_TMPFILE | O_RDWR, 0600));
	make("file", "");
	TRY_OPEN(open("file", O_TMPFILE | O_RDWR, 0600));
	fd = TRY_OPEN(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
	TRY(linkat(fd, "", AT_FDCWD, "never", AT_EMPTY_PATH));

	fd = TRY_OPEN(open(".", O_TMPFILE | O_RDWR, 0666));
	say_status_of(fd);
	say_names(".");
	TRY(write(fd, "unnamed", 7));
	TRY(pread(fd, text, sizeof(text), 0));
	say("%s", text);
	TRY(ftruncate(fd, 5));
	TRY(fchmod(fd, 0640));
	say_status_of(fd);
	TRY(linkat(fd, "", AT_FDCWD, "file", AT_EMPTY_PATH));
	TRY(linkat(fd, "", AT_FDCWD, "named", AT_EMPTY_PATH));
	say_status_of(fd);
	say_content("named");
	TRY(write(fd, "more", 4));
	say_content("named");
	say_names(".");

	fd = TRY_OPEN(open(".", O_TMPFILE | O_WRONLY, 0600));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	TRY(write(fd, "by /proc", 8));
	TRY(linkat(AT_FDCWD, path, AT_FDCWD, "by-proc", AT_SYMLINK_FOLLOW));
	say_content("by-proc");
	/* One that is dropped leaves nothing. */
	fd = TRY_OPEN(open(".", O_TMPFILE | O_RDWR, 0600));
	TRY(write(fd, "dropped", 7));
	close(fd);
	say_names(".");
}

static void reading(void)
{
	static const struct {
		off_t offset;
		size_t size;
	} reads[] = {
		{ 0, 1 }, { 0, 0 }, { 0, 5000 }, { 4999, 1 }, { 4999, 100 },
		{ 5000, 1 }, { 5001, 1 }, { 1 << 20, 10 }, { -1, 1 },
		{ (off_t)1 << 62, 1 }, { 4096, 4096 }, { 1, 4998 },
	};
	static char text[8192], second[8192];
	struct iovec parts[3] = { { text, 10 }, { second, 0 }, { second, 8000 } };
	int fd;

	memset(text, 'r', sizeof(text));
	text[5000] = '\0';
	make("file", text);
	fd = TRY_OPEN(open("file", O_RDONLY));
	for (size_t i = 0; i < COUNT(reads); i++) {
		say("%jd %zu", (intmax_t)reads[i].offset, reads[i].size);
		TRY(pread(fd, text, reads[i].size, reads[i].offset));
	}
	TRY(readv(fd, parts, 3));
	TRY(readv(fd, parts, 3));
	TRY(lseek(fd, 0, SEEK_CUR));
	TRY(lseek(fd, -1, SEEK_SET));
	TRY(lseek(fd, -10, SEEK_END));
	TRY(read(fd, text, 100));
	TRY(lseek(fd, 10000, SEEK_END));
	TRY(read(fd, text, 100));
	TRY(preadv2(fd, parts, 3, 4990, 0));
	TRY(write(fd, "x", 1));
	TRY(pwrite(fd, "x", 1, 0));
	TRY(ftruncate(fd, 0));
	TRY(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	TRY(readahead(fd, 0, 4096));
	TRY(pread(fd, text, 100, 4950));
}

static void writing(void)
{
	static char text[300000];
	const struct iovec parts[2] = { { text, 5 }, { text + 10, 7 } };
	int fd, other;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 23);
	fd = TRY_OPEN(open("file", O_RDWR | O_CREAT, 0644));
	TRY(write(fd, text, sizeof(text)));
	say_status("file");
	TRY(pwrite(fd, text, 100000, 12345));
	TRY(pwrite(fd, text, 1, 400000));
	TRY(pwrite(fd, text, 0, 500000));
	TRY(pwrite(fd, text, 1, -1));
	TRY(write(fd, "end", 3));
	TRY(writev(fd, parts, 2));
	TRY(pwritev2(fd, parts, 2, 7, 0));
	TRY(pwritev2(fd, parts, 2, -1, RWF_APPEND));
	TRY(pwritev2(fd, parts, 2, 3, RWF_DSYNC));
	TRY(lseek(fd, 0, SEEK_CUR));
	say_status_of(fd);
	TRY(fsync(fd));
	TRY(fdatasync(fd));
	TRY(syncfs(fd));
	TRY(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));

	/* What one descriptor wrote, another reads at once. */
	other = TRY_OPEN(open("file", O_RDONLY));
	TRY(pwrite(fd, "12345", 5, 0));
	memset(text, 0, 6);
	TRY(pread(other, text, 5, 0));
	say("%s", text);
	TRY(pwrite(fd, text, 1, (off_t)1 << 62));
	/* A tmpfs takes it, and nobody has the time to compare all of that. */
	TRY(ftruncate(fd, 6000));
	other = TRY_OPEN(open("sync", O_RDWR | O_CREAT | O_SYNC, 0644));
	TRY(write(other, text, 10000));
	other = TRY_OPEN(open("dsync", O_RDWR | O_CREAT | O_DSYNC, 0644));
	TRY(write(other, text, 10000));
}

static void appending_by_two(void)
{
	int one = TRY_OPEN(open("log", O_WRONLY | O_CREAT | O_APPEND, 0644));
	int two = TRY_OPEN(open("log", O_RDWR | O_APPEND));
	int three = TRY_OPEN(open("log", O_RDWR));
	char text[64] = "";

	for (int i = 0; i < 4; i++) {
		TRY(write(one, "one ", 4));
		TRY(write(two, "two ", 4));
	}
	/* Linux appends whatever offset is asked for. */
	TRY(pwrite(one, "appended ", 9, 0));
	TRY(write(three, "THREE", 5));
	TRY(lseek(one, 0, SEEK_CUR));
	TRY(lseek(two, 0, SEEK_CUR));
	TRY(lseek(three, 0, SEEK_CUR));
	TRY(ftruncate(three, 10));
	TRY(write(two, "after", 5));
	say_content("log");
	/* The flag is changed on an open descriptor. */
	TRY(fcntl(three, F_SETFL, O_APPEND));
	TRY(write(three, "at the end", 10));
	TRY(fcntl(one, F_SETFL, 0));
	TRY(pwrite(one, "ONE", 3, 0));
	TRY(pread(two, text, sizeof(text), 0));
	say("%s", text);
}

static void direct_io(void)
{
	static char block[8192] __attribute__((aligned(4096)));
	int fd;

	memset(block, 'd', sizeof(block));
	fd = TRY_OPEN(open("direct", O_RDWR | O_CREAT | O_DIRECT, 0644));
	TRY(pwrite(fd, block, 8192, 0));
	TRY(pread(fd, block, 4096, 4096));
	say_status("direct");
	close(fd);
	fd = TRY_OPEN(open("direct", O_RDWR | O_DIRECT));
	TRY(pwrite(fd, block, 4096, 4096));
	TRY(pread(fd, block, 8192, 4096));
	TRY(pread(fd, block, 8192, 8192));
}

static void unlinked_while_open(void)
{
	char text[32] = "", path[64];
	int fd, other;

	make("file", "unlinked");
	fd = TRY_OPEN(open("file", O_RDWR));
	TRY(unlink("file"));
	TRY(access("file", F_OK));
	say_status_of(fd);
	TRY(pread(fd, text, sizeof(text), 0));
	say("%s", text);
	TRY(pwrite(fd, "UN", 2, 0));
	TRY(lseek(fd, 0, SEEK_END));
	TRY(write(fd, " and longer", 11));
	TRY(ftruncate(fd, 15));
	TRY(fchmod(fd, 0600));
	TRY(fchown(fd, USER, GROUP));
	TRY(futimens(fd, NULL));
	TRY(fsync(fd));
	TRY(posix_fallocate(fd, 0, 100));
	say_status_of(fd);
	/* Its pages are dropped, so that they must be read anew. */
	TRY(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	memset(text, 0, sizeof(text));
	TRY(pread(fd, text, sizeof(text) - 1, 0));
	say("%s", text);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = TRY_OPEN(open(path, O_RDWR));
	TRY(pwrite(other, "again", 5, 0));
	TRY(pread(fd, text, 5, 0));
	say("%s", text);
	TRY(linkat(fd, "", AT_FDCWD, "back", AT_EMPTY_PATH));
	/* The same name is another file now. */
	make("file", "successor");
	say_content("file");
	say_status_of(fd);
	TRY(pwrite(fd, "mine", 4, 0));
	say_content("file");
}

static void created_and_unlinked_at_once(void)
{
	int fd = TRY_OPEN(open("t", O_RDWR | O_CREAT | O_EXCL, 0600));
	char text[16] = "";

	TRY(unlink("t"));
	TRY(write(fd, "temporary", 9));
	TRY(pread(fd, text, sizeof(text), 0));
	say("%s", text);
	say_status_of(fd);
	TRY(ftruncate(fd, 4));
	say_status_of(fd);
}

static void read_only_mode_after_opening(void)
{
	int fd, made;

	make("file", "content");
	fd = TRY_OPEN(open("file", O_RDWR));
	TRY(chmod("file", 0444));
	TRY(write(fd, "still", 5));
	TRY(fchmod(fd, 0));
	TRY(write(fd, "!", 1));
	TRY(ftruncate(fd, 6));
	made = TRY_OPEN(open("made", O_RDWR | O_CREAT | O_EXCL, 0444));
	TRY(write(made, "content", 7));
	TRY(ftruncate(made, 3));
	TRY(fallocate(made, 0, 0, 5));
	say_content("made");
	say_content("file");
}

static void read_only_mode_after_opening_by_a_user(void)
{
	if (chmod(".", 0777))
		say("no chmod");
	as(USER, GROUP, read_only_mode_after_opening);
}

static const struct parity_case cases[] = {
	{ "each kind of name opens with all flags", open_with_all_flags },
	{ "O_PATH descriptors do what they may", open_path_descriptors },
	{ "O_TMPFILE files have no name until linked", unnamed_files },
	{ "reads end where the file ends", reading },
	{ "writes land where they are aimed", writing },
	{ "two appenders lose nothing", appending_by_two },
	{ "O_DIRECT reads and writes", direct_io },
	{ "an unlinked file stays in use", unlinked_while_open },
	{ "a file is created and unlinked at once",
		created_and_unlinked_at_once },
	{ "a descriptor stays writable after chmod",
		read_only_mode_after_opening },
	{ "a user's descriptor stays writable after chmod",
		read_only_mode_after_opening_by_a_user },
};

int main(void)
{
	return parity_main(cases, COUNT(cases));
}
