/*
 * Parity of whom files belong to and of what a user may do: callers' users and
 * groups, umask, setgid and sticky directories, privileges that a write strips.
 */
#include "parity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* One of everything that can be made, in the working directory. */
static void make_one_of_each(void)
{
	static const mode_t masks[] = { 022, 007, 0 };
	char name[32];

	for (size_t i = 0; i < COUNT(masks); i++) {
		umask(masks[i]);
#define NAMED(kind) (snprintf(name, sizeof(name), kind "-%zu", i), name)
		TRY_OPEN(open(NAMED("file"), O_CREAT | O_RDWR, 0666));
		say_status(name);
		TRY(mkdir(NAMED("directory"), 0777));
		say_status(name);
		TRY(symlink("x", NAMED("link")));
		say_status(name);
		TRY(mkfifo(NAMED("fifo"), 0666));
		say_status(name);
		TRY(linkat(open(".", O_TMPFILE | O_RDWR, 0666), "", AT_FDCWD,
			   NAMED("unnamed"), AT_EMPTY_PATH));
		say_status(name);
		TRY_OPEN(open(NAMED("setgid"), O_CREAT | O_RDWR, 02775));
		say_status(name);
		TRY(mkdir(NAMED("setgid-directory"), 02775));
		say_status(name);
#undef NAMED
	}
	umask(022);
	TRY(mknod("device", S_IFCHR | 0666, 0x103));
}

static void files_belong_to_their_maker(void)
{
	TRY(chmod(".", 0777));
	as(USER, GROUP, make_one_of_each);
	TRY(system("rm -rf *"));
	as_member(USER, GROUP, OTHER_GROUP, make_one_of_each);
	TRY(system("rm -rf *"));
	as(0, GROUP, make_one_of_each);
}

static void setgid_directories(void)
{
	/* One whose group the maker is not in, and one where it is. */
	TRY(chown(".", 0, OTHER_GROUP));
	TRY(chmod(".", 02777));
	as(USER, GROUP, make_one_of_each);
	TRY(system("rm -rf *"));
	as_member(USER, GROUP, OTHER_GROUP, make_one_of_each);
	TRY(system("rm -rf *"));
	make_one_of_each();
	say_status(".");
}

static void use_groups(void)
{
	say_content("groups-file");
	TRY_OPEN(open("groups-file", O_WRONLY));
	TRY_OPEN(open("groups-directory/new", O_CREAT | O_WRONLY, 0644));
	TRY(rename("groups-directory/old", "groups-directory/older"));
	TRY(unlink("groups-directory/older"));
	say_names("groups-directory");
	TRY(chmod("groups-file", 0666));
	TRY(chown("mine", (uid_t)-1, OTHER_GROUP));
	say_status("mine");
	TRY(chown("mine", (uid_t)-1, 0));
	TRY(chown("mine", 0, (gid_t)-1));
	TRY(chown("mine", USER, GROUP));
	TRY(chmod("mine", 02755));
	say_status("mine");
	/* A group that one is not in can't be given setgid. */
	TRY(chmod("foreign-group", 02755));
	say_status("foreign-group");
}

static void supplementary_groups(void)
{
	TRY(chmod(".", 0777));
	make("groups-file", "content");
	make("mine", "");
	make("foreign-group", "");
	TRY(mkdir("groups-directory", 0777));
	make("groups-directory/old", "");
	TRY(chown("groups-file", 0, OTHER_GROUP));
	TRY(chmod("groups-file", 0660));
	TRY(chown("groups-directory", 0, OTHER_GROUP));
	TRY(chmod("groups-directory", 0770));
	TRY(chown("mine", USER, GROUP));
	TRY(chown("foreign-group", USER, OTHER_GROUP + 1));
	as(USER, GROUP, use_groups);
	as_member(USER, GROUP, OTHER_GROUP, use_groups);
}

static void meddle(void)
{
	static const struct timespec old[2] = { { 1, 0 }, { 1, 0 } };
	char text[16];

	TRY(read(open("file", O_RDONLY), text, sizeof(text)));
	TRY_OPEN(open("file", O_WRONLY));
	TRY_OPEN(open("file", O_RDONLY | O_TRUNC));
	TRY(truncate("file", 1));
	TRY(chmod("file", 0777));
	TRY(chown("file", USER, GROUP));
	TRY(utimensat(AT_FDCWD, "file", old, 0));
	TRY(utimensat(AT_FDCWD, "file", NULL, 0));
	TRY(setxattr("file", "user.x", "x", 1, 0));
	TRY(link("file", "closed/new"));
	TRY(unlink("closed/file"));
	TRY(rename("closed/file", "open/file"));
	TRY(rename("open/theirs", "closed/theirs"));
	TRY(rename("open/theirs", "closed/file"));
	TRY(mkdir("closed/new", 0755));
	TRY(rmdir("closed/empty"));
	TRY(rmdir("sticky/empty"));
	TRY(unlink("sticky/file"));
	TRY(rename("sticky/file", "sticky/other"));
	TRY(symlink("x", "closed/link"));
	TRY(mkfifo("closed/fifo", 0600));
	TRY_OPEN(open("closed", O_TMPFILE | O_RDWR, 0600));
	say_names("closed");
	say_names("secret");
	say_status("secret/file");
	TRY(access("secret/file", F_OK));
	TRY_OPEN(open("secret/file", O_RDONLY));
	TRY(chdir("secret"));
	/* May be passed through, but not listed. */
	say_names("passage");
	say_content("passage/file");
	TRY(access("passage/none", F_OK));
	/* May be listed, but not passed through. */
	say_status("listed/file");
	TRY_OPEN(open("listed", O_RDONLY | O_DIRECTORY));
}

static void foreign_files_are_safe(void)
{
	static const char *const directories[] = {
		"open", "closed", "sticky", "secret", "passage", "listed",
	};
	static const mode_t modes[] = {
		0777, 0755, 01777, 0700, 0711, 0744,
	};
	char path[64];

	for (size_t i = 0; i < COUNT(directories); i++) {
		TRY(mkdir(directories[i], 0755));
		snprintf(path, sizeof(path), "%s/file", directories[i]);
		make(path, "content");
		snprintf(path, sizeof(path), "%s/empty", directories[i]);
		TRY(mkdir(path, 0755));
		TRY(chmod(directories[i], modes[i]));
	}
	make("open/theirs", "");
	make("file", "content");
	for (mode_t mode = 0; mode <= 07; mode++) {
		TRY(chmod("file", 0600 | mode));
		as(USER, GROUP, meddle);
	}
	TRY(chown("file", USER, GROUP));
	TRY(chmod("file", 0200));
	as(USER, GROUP, meddle);
	TRY(chmod("file", 0400));
	as(USER, GROUP, meddle);
}

/* A privilege may be gone at once, not only when a cache is over. */
static int fd_before;

static void use_descriptor(void)
{
	char text[8] = "";

	TRY(pread(fd_before, text, sizeof(text), 0));
	TRY(pwrite(fd_before, "user", 4, 0));
	TRY_OPEN(open("file", O_RDWR));
}

static void descriptors_are_handed_on(void)
{
	make("file", "content");
	TRY(chmod("file", 0600));
	fd_before = open("file", O_RDWR);
	as(USER, GROUP, use_descriptor);
	TRY(chmod("file", 0666));
	as(USER, GROUP, use_descriptor);
	TRY(chmod("file", 0600));
	as(USER, GROUP, use_descriptor);
	TRY(chmod(".", 0700));
	as(USER, GROUP, use_descriptor);
	TRY(unlink("file"));
	as(USER, GROUP, use_descriptor);
}

/* The way in which a privileged file is changed. */
static const char *how;

/* A file that runs with privileges, as setuid, setgid and capability say. */
static void make_privileged(const char *name, mode_t mode)
{
	/* cap_net_raw+ep, of version 2 */
	static const unsigned char capability[20] = {
		1, 0, 0, 2, 0, 0x20,
	};

	make(name, "content");
	TRY(chown(name, USER, GROUP));
	TRY(chmod(name, mode));
	/*
	 * A mapped page comes to the daemon as a write, and any write drops a
	 * capability: safer than a native map, which leaves it.
	 */
	if (strcmp(how, "map"))
		TRY(setxattr(name, "security.capability", capability,
			     sizeof(capability), 0));
}

static void say_privileges(const char *name)
{
	say_status(name);
	TRY(getxattr(name, "security.capability", NULL, 0));
}

static void strip_privileges(void)
{
	int fd = open("file", O_RDWR);

	say("by %s", how);
	if (!strcmp(how, "write")) {
		TRY(write(fd, "x", 1));
	} else if (!strcmp(how, "write of nothing")) {
		TRY(write(fd, "x", 0));
	} else if (!strcmp(how, "append")) {
		TRY(write(open("file", O_WRONLY | O_APPEND), "x", 1));
	} else if (!strcmp(how, "ftruncate")) {
		TRY(ftruncate(fd, 3));
	} else if (!strcmp(how, "truncate")) {
		TRY(truncate("file", 100));
	} else if (!strcmp(how, "O_TRUNC")) {
		TRY_OPEN(open("file", O_WRONLY | O_TRUNC));
	} else if (!strcmp(how, "fallocate")) {
		TRY(fallocate(fd, 0, 0, 100));
	} else if (!strcmp(how, "punch")) {
		TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      0, 5));
	} else if (!strcmp(how, "chown")) {
		TRY(chown("file", (uid_t)-1, OTHER_GROUP));
	} else if (!strcmp(how, "chown to the same")) {
		TRY(chown("file", USER, GROUP));
	} else if (!strcmp(how, "chown to none")) {
		TRY(chown("file", (uid_t)-1, (gid_t)-1));
	} else if (!strcmp(how, "copy_file_range")) {
		off_t from = 0, to = 100;

		TRY(copy_file_range(fd, &from, fd, &to, 5, 0));
	} else if (!strcmp(how, "map")) {
		char *map = mmap(NULL, 7, PROT_READ | PROT_WRITE, MAP_SHARED,
				 fd, 0);

		map[0] = 'm';
		TRY(msync(map, 7, MS_SYNC));
		TRY(munmap(map, 7));
	} else {
		TRY(utimensat(AT_FDCWD, "file", NULL, 0));
	}
	say_privileges("file");
}

static void changes_strip_privileges(void)
{
	static const char *const ways[] = {
		"write", "write of nothing", "append", "ftruncate", "truncate",
		"O_TRUNC", "fallocate", "punch", "chown", "chown to the same",
		/* Not chown to none: the kernel hands it on as it does a
		 * write, see the README's limits. */
		"copy_file_range", "map", "utimensat",
	};
	static const mode_t modes[] = { 06777, 04755, 02755, 02745, 06666 };

	TRY(chmod(".", 0777));
	for (size_t i = 0; i < COUNT(ways); i++) {
		for (size_t j = 0; j < COUNT(modes); j++) {
			how = ways[i];
			say("mode %o", modes[j]);
			make_privileged("file", modes[j]);
			as_member(USER, GROUP, OTHER_GROUP, strip_privileges);
			say_privileges("file");
			make_privileged("file", modes[j]);
			(void)!chmod("file", modes[j] | 0006);
			as(USER + 1, GROUP + 1, strip_privileges);
			TRY(unlink("file"));
			make_privileged("file", modes[j]);
			strip_privileges();
			TRY(unlink("file"));
		}
	}
}

static void see_root(void)
{
	say_status("roots");
	TRY(mkdir("nobodys", 0755));
	say_status("nobodys");
	TRY(unlink("roots"));
}

static void an_unprivileged_root_group(void)
{
	/* uid 0 is special; gid 0 is not. */
	make("roots", "");
	TRY(chmod(".", 0775));
	as(USER, 0, see_root);
	as(USER, GROUP, see_root);
	as(65534, 65534, see_root);
	as(0x7fffffff, 0x7fffffff, see_root);
	TRY(chmod(".", 0777));
	as(0x7fffffff, 0x7fffffff, see_root);
}

static const struct parity_case cases[] = {
	{ "files belong to who makes them", files_belong_to_their_maker },
	{ "setgid directories hand on their group", setgid_directories },
	{ "supplementary groups count", supplementary_groups },
	{ "foreign files are safe", foreign_files_are_safe },
	{ "descriptors are handed on to other users",
		descriptors_are_handed_on },
	{ "changes strip privileges", changes_strip_privileges },
	{ "a group of 0 is no privilege", an_unprivileged_root_group },
};

int main(void)
{
	return parity_main(cases, COUNT(cases));
}
