/*
 * Parity of directories: listing, positions in a listing, changes during one.
 */
#include "parity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define MANY 2000

static const char *number(int i)
{
	static char name[32];

	snprintf(name, sizeof(name), "number-%04d", i);
	return name;
}

static void make_many(const char *directory, int count)
{
	int dir;

	if (mkdir(directory, 0755))
		say("no %s", directory);
	dir = open(directory, O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < count; i++)
		if (mknodat(dir, number(i), S_IFREG | 0644, 0))
			say("no %s", number(i));
	close(dir);
}

/*
 * Reads on to the end and marks what was seen.  Says how many names came, how
 * many came twice, and how many of the numbered ones did not.
 */
static void say_rest(DIR *dir, int expected)
{
	static char seen[MANY];
	int count = 0, twice = 0, missing = 0, dots = 0;
	struct dirent *entry;
	int i;

	memset(seen, 0, sizeof(seen));
	for (errno = 0; (entry = readdir(dir)); errno = 0) {
		count++;
		if (entry->d_name[0] == '.')
			dots++;
		else if (sscanf(entry->d_name, "number-%d", &i) == 1 &&
			 i >= 0 && i < MANY)
			twice += seen[i]++;
	}
	for (i = 0; i < expected; i++)
		missing += !seen[i];
	say("%d names, %d dots, %d twice, %d missing: %s", count, dots, twice,
	    missing, strerrorname_np(errno));
}

static void kinds_are_told(void)
{
	say_names(".");
	make("file", "");
	TRY(mkdir("directory", 0755));
	TRY(symlink("file", "link"));
	TRY(mkfifo("fifo", 0644));
	TRY(mknod("char", S_IFCHR | 0600, 0x103));
	TRY(mknod("block", S_IFBLK | 0600, 0x103));
	TRY(mknod("socket", S_IFSOCK | 0600, 0));
	say_names(".");
	say_names("directory");
	say_names("file");
	say_names("none");
	TRY(rename("file", "directory/file"));
	TRY(unlink("fifo"));
	say_names(".");
	say_names("directory");
	TRY(rename("directory/file", "link"));
	say_names(".");
	say_names("directory");
}

static void many_names(void)
{
	DIR *dir;

	make_many("many", MANY);
	dir = opendir("many");
	say_rest(dir, MANY);
	say_rest(dir, 0);
	rewinddir(dir);
	say_rest(dir, MANY);
	closedir(dir);
	TRY(system("ls -f many | wc -l >count && find many -type f | wc -l"
		   " >>count && ls -l many | wc -l >>count"));
	say_content("count");
	TRY(rmdir("many"));
}

/* As rm -rf does: what was just read is removed while the reading goes on. */
static void removal_during_reading(void)
{
	struct dirent *entry;
	int removed = 0;
	DIR *dir;

	make_many("many", MANY);
	dir = opendir("many");
	for (errno = 0; (entry = readdir(dir)); errno = 0)
		if (entry->d_name[0] != '.' &&
		    unlinkat(dirfd(dir), entry->d_name, 0) == 0)
			removed++;
	say("%d removed: %s", removed, strerrorname_np(errno));
	rewinddir(dir);
	say_rest(dir, 0);
	closedir(dir);
	TRY(rmdir("many"));
	make_many("again", MANY);
	TRY(system("rm -rf again"));
	say_names(".");
}

/* What stays there all the time is seen exactly once whatever else changes. */
static void changes_during_reading(void)
{
	struct dirent *entry;
	int seen[MANY] = { 0 }, wrong = 0, step = 0, i;
	DIR *dir;

	make_many("many", MANY);
	dir = opendir("many");
	/* Of those with odd numbers some go, others come and are renamed. */
	while ((entry = readdir(dir))) {
		char name[32];

		if (sscanf(entry->d_name, "number-%d", &i) != 1 || i >= MANY)
			continue;
		seen[i]++;
		if (i % 2 || ++step % 5)
			continue;
		unlinkat(dirfd(dir), number(2 * step - 1), 0);
		snprintf(name, sizeof(name), "new-%d", step);
		mknodat(dirfd(dir), name, S_IFREG | 0644, 0);
		renameat(dirfd(dir), name, dirfd(dir), "renamed");
	}
	for (i = 0; i < MANY; i += 2)
		wrong += seen[i] != 1;
	say("%d of those that stayed were not seen once", wrong);
	rewinddir(dir);
	for (wrong = 0; (entry = readdir(dir));)
		wrong += !strncmp(entry->d_name, "new-", 4);
	say("%d renamed ones are still listed", wrong);
	closedir(dir);
	/* Which of the others were met is the filesystem's business. */
	TRY(system("rm -rf many"));
}

static void positions(void)
{
	char names[300][32];
	long places[300];
	int count = 0, wrong = 0;
	struct dirent *entry;
	DIR *dir;

	make_many("some", 250);
	dir = opendir("some");
	for (places[0] = telldir(dir); (entry = readdir(dir)) && count < 299;
	     places[count] = telldir(dir))
		snprintf(names[count++], 32, "%.31s", entry->d_name);
	say("%d names", count);
	for (int i = count - 1; i >= 0; i -= 7) {
		seekdir(dir, places[i]);
		entry = readdir(dir);
		wrong += !entry || strcmp(entry->d_name, names[i]);
	}
	say("%d places lead elsewhere", wrong);
	seekdir(dir, places[count]);
	say("at the end: %s", readdir(dir) ? "a name" : "nothing");
	seekdir(dir, places[100]);
	for (int i = 100; i < count; i++) {
		entry = readdir(dir);
		wrong += !entry || strcmp(entry->d_name, names[i]);
	}
	say("%d names differ after a place", wrong);
	/* A place stays good when names before it go. */
	for (int i = 0; i < 100; i++)
		unlinkat(dirfd(dir), names[i], 0);
	seekdir(dir, places[150]);
	entry = readdir(dir);
	say("after a removal: %s",
	    entry && !strcmp(entry->d_name, names[150]) ? "the same name" :
	    "another one");
	TRY(lseek(dirfd(dir), -1, SEEK_SET));
	closedir(dir);
}

static void rewinding_shows_changes(void)
{
	DIR *dir;

	make_many("some", 10);
	dir = opendir("some");
	say_rest(dir, 10);
	TRY(unlink("some/number-0003"));
	make("some/number-0010", "");
	TRY(rename("some/number-0004", "some/number-0011"));
	rewinddir(dir);
	say_rest(dir, 12);
	TRY(system("rm -r some"));
	rewinddir(dir);
	say_rest(dir, 0);
	closedir(dir);
}

static void two_readers(void)
{
	DIR *one, *two;
	int seen = 0;

	make_many("many", 1000);
	one = opendir("many");
	two = opendir("many");
	for (int i = 0; i < 500; i++)
		seen += !!readdir(one);
	say("%d", seen);
	say_rest(two, 1000);
	for (errno = 0; readdir(one); errno = 0)
		seen++;
	say("%d %s", seen, strerrorname_np(errno));
	closedir(one);
	closedir(two);
}

/* Small buffers: each getdents64 must go on where the last one ended. */
static void small_buffers(void)
{
	static const size_t sizes[] = { 1, 24, 31, 32, 48, 64, 100, 333 };
	char buffer[400];

	make_many("some", 100);
	TRY(mkdir("some/a-directory-with-a-longer-name", 0755));
	for (size_t i = 0; i < COUNT(sizes); i++) {
		int fd = open("some", O_RDONLY | O_DIRECTORY);
		int total = 0;
		long got;

		do {
			got = syscall(SYS_getdents64, fd, buffer, sizes[i]);
			for (long at = 0; at < got; total++)
				at += ((struct dirent64 *)(void *)
				       (buffer + at))->d_reclen;
		} while (got > 0);
		say("buffers of %zu: %d names, %s", sizes[i], total,
		    got ? strerrorname_np(errno) : "to the end");
		close(fd);
	}
}

static void parents(void)
{
	struct stat up, here;

	TRY(mkdir("a", 0755));
	TRY(mkdir("a/b", 0755));
	TRY(stat("a/b/..", &up));
	TRY(stat("a", &here));
	say("%d", up.st_ino == here.st_ino);
	TRY(stat("a/b/../../a/b/./..", &up));
	say("%d", up.st_ino == here.st_ino);
	TRY(mkdir("c", 0755));
	TRY(chdir("a/b"));
	TRY(rename("../b", "../../c/b"));
	TRY(stat("..", &up));
	TRY(stat("../../c", &here));
	say("%d", up.st_ino == here.st_ino);
	say_names("..");
	TRY(open("../../a/../c/b/../../none", O_RDONLY));
	TRY(rmdir(".."));
	TRY(rmdir("../b/."));
	TRY(unlink(".."));
	TRY(rename("..", "x"));
	TRY(mkdir("..", 0755));
	TRY(chdir("../.."));
}

static void open_directories(void)
{
	char text[16];
	int fd;

	TRY(mkdir("d", 0755));
	make("d/file", "content");
	fd = TRY_OPEN(open("d", O_RDONLY | O_DIRECTORY));
	TRY(read(fd, text, sizeof(text)));
	TRY(write(fd, text, 1));
	TRY(ftruncate(fd, 0));
	TRY(fsync(fd));
	TRY(fdatasync(fd));
	TRY_OPEN(open("d", O_WRONLY));
	TRY_OPEN(open("d", O_RDWR));
	TRY_OPEN(open("d", O_RDONLY | O_CREAT, 0644));
	TRY_OPEN(openat(fd, "file", O_RDONLY));
	TRY(unlinkat(fd, "file", AT_REMOVEDIR));
	TRY(unlinkat(fd, "file", 0));
	TRY(unlinkat(AT_FDCWD, "d", 0));
	/* It is removed while it is open. */
	TRY(rmdir("d"));
	say_status_of(fd);
	TRY_OPEN(openat(fd, "file", O_CREAT | O_WRONLY, 0644));
	TRY(mkdirat(fd, "below", 0755));
	TRY(syscall(SYS_getdents64, fd, text, sizeof(text)));
	TRY(fchmod(fd, 0700));
	TRY(fsync(fd));
	say_status_of(fd);
	TRY(mkdir("d", 0711));
	say_status_of(fd);
	say_status("d");
}

static void moved_while_read(void)
{
	DIR *dir;

	make_many("many", 2000);
	TRY(mkdir("elsewhere", 0755));
	dir = opendir("many");
	for (int i = 0; i < 50; i++)
		readdir(dir);
	TRY(rename("many", "elsewhere/moved"));
	rewinddir(dir);
	say_rest(dir, 2000);
	TRY(unlinkat(dirfd(dir), "number-0007", 0));
	closedir(dir);
	TRY(access("elsewhere/moved/number-0007", F_OK));
	TRY(system("rm -r elsewhere"));
	say_names(".");
}

static const struct parity_case cases[] = {
	{ "a listing tells the kind of each name", kinds_are_told },
	{ "2,000 names are listed once each", many_names },
	{ "names are removed while they are read", removal_during_reading },
	{ "names that stay are read once", changes_during_reading },
	{ "a position leads back to its name", positions },
	{ "rewinding shows what changed", rewinding_shows_changes },
	{ "two readers don't disturb each other", two_readers },
	{ "small buffers list everything", small_buffers },
	{ "'..' leads to the parent of now", parents },
	{ "directories are opened and outlive their removal",
		open_directories },
	{ "a directory moves while it is read", moved_while_read },
};

int main(void)
{
	return parity_main(cases, COUNT(cases));
}
