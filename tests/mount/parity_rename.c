/*
 * Parity of rename: onto each kind of name, with each flag, across directories.
 */
#include "parity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const kinds[] = {
	"file", "twin", "empty", "full", "link", "dangling", "fifo", "none",
	"none/below", "file/below", "full/inside", "full/deep", "full/new",
	"empty/new", "full/deep/new", ".", "..", "empty/.", "file/", "full/",
	"none/", "",
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

static void make_kinds(void)
{
	make("file", "content of file");
	TRY(link("file", "twin"));
	TRY(mkdir("empty", 0755));
	TRY(mkdir("full", 0755));
	make("full/inside", "content of inside");
	TRY(mkdir("full/deep", 0700));
	TRY(symlink("file", "link"));
	TRY(symlink("missing", "dangling"));
	TRY(mkfifo("fifo", 0644));
}

/* Every kind onto every kind, each time in a directory made afresh. */
static void rename_all(unsigned flags)
{
	char name[32];

	for (size_t from = 0; from < KINDS; from++) {
		for (size_t to = 0; to < KINDS; to++) {
			snprintf(name, sizeof(name), "%zu-%zu", from, to);
			if (mkdir(name, 0755) || chdir(name)) {
				say("no directory");
				return;
			}
			make_kinds();
			say("'%s' onto '%s', flags %u", kinds[from], kinds[to],
			    flags);
			TRY(renameat2(AT_FDCWD, kinds[from], AT_FDCWD,
				      kinds[to], flags));
			say_status(kinds[from]);
			say_status(kinds[to]);
			say_status("full");
			say_names(".");
			say_names("full");
			if (chdir("..")) {
				say("no way back");
				return;
			}
		}
	}
}

static void plain_rename(void)
{
	rename_all(0);
}

static void rename_noreplace(void)
{
	rename_all(RENAME_NOREPLACE);
}

static void rename_exchange(void)
{
	rename_all(RENAME_EXCHANGE);
}

static void rename_whiteout(void)
{
	rename_all(RENAME_WHITEOUT);
}

static void flags_that_exclude_each_other(void)
{
	make("a", "a");
	make("b", "b");
	TRY(renameat2(AT_FDCWD, "a", AT_FDCWD, "b",
		      RENAME_NOREPLACE | RENAME_EXCHANGE));
	TRY(renameat2(AT_FDCWD, "a", AT_FDCWD, "b",
		      RENAME_WHITEOUT | RENAME_EXCHANGE));
	TRY(renameat2(AT_FDCWD, "a", AT_FDCWD, "c",
		      RENAME_WHITEOUT | RENAME_NOREPLACE));
	TRY(renameat2(AT_FDCWD, "b", AT_FDCWD, "d", 1u << 30));
	say_names(".");
	say_status("a");
}

static void exchanged_contents_show_at_once(void)
{
	make("a", "content of a");
	make("b", "b");
	TRY(mkdir("directory", 0700));
	make("directory/inside", "inside");
	say_content("a");
	say_content("b");
	TRY(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
	say_content("a");
	say_content("b");
	say_status("a");
	say_status("b");
	TRY(renameat2(AT_FDCWD, "a", AT_FDCWD, "directory", RENAME_EXCHANGE));
	say_content("directory");
	say_content("a/inside");
	say_names("a");
	TRY(renameat2(AT_FDCWD, "a/inside", AT_FDCWD, "b", RENAME_EXCHANGE));
	say_content("a/inside");
	say_content("b");
}

static void renamed_while_open(void)
{
	char text[64] = "";
	int fd, directory;

	make("a", "first");
	make("b", "second");
	fd = TRY_OPEN(open("a", O_RDWR));
	TRY(rename("a", "c"));
	TRY(pwrite(fd, "F", 1, 0));
	say_content("c");
	TRY(rename("b", "c"));
	say_status_of(fd);
	TRY(pread(fd, text, sizeof(text), 0));
	say("%s", text);
	TRY(pwrite(fd, "f", 1, 0));
	say_content("c");

	TRY(mkdir("d", 0755));
	directory = TRY_OPEN(open("d", O_RDONLY | O_DIRECTORY));
	TRY(rename("d", "e"));
	TRY_OPEN(openat(directory, "inside", O_CREAT | O_WRONLY, 0644));
	TRY(mkdirat(directory, "below", 0755));
	TRY(renameat(directory, "inside", AT_FDCWD, "outside"));
	TRY(faccessat(directory, "../outside", F_OK, 0));
	say_names("e");
	say_names(".");
}

static void the_working_directory_moves_along(void)
{
	TRY(mkdir("a", 0755));
	TRY(mkdir("a/b", 0755));
	TRY(mkdir("c", 0755));
	TRY(chdir("a/b"));
	make("inside", "1");
	TRY(rename("../../a/b", "../../c/moved"));
	say_content("inside");
	TRY(access("../../c/moved/inside", F_OK));
	TRY(access("../moved/inside", F_OK));
	make("later", "2");
	TRY(chdir("../.."));
	say_names("c/moved");
	say_names("a");
}

static void a_removed_working_directory(void)
{
	TRY(mkdir("gone", 0755));
	TRY(chdir("gone"));
	TRY(rmdir("../gone"));
	TRY_OPEN(open("x", O_CREAT | O_WRONLY, 0644));
	TRY(mkdir("x", 0755));
	TRY(symlink("x", "x"));
	TRY(rename("../gone", "x"));
	TRY(access(".", F_OK));
	TRY(access("..", F_OK));
	say_names(".");
	say_status(".");
	TRY(chdir(".."));
}

/* A time in the past, so that any change of it is seen. */
static void age(const char *path)
{
	const struct timespec past[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };

	TRY(utimensat(AT_FDCWD, path, past, 0));
}

static void say_aged(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		say("no %s", path);
	else
		say("%s is %s", path, st.st_mtim.tv_sec == 1 ? "old" : "new");
}

static void age_all(void)
{
	age(".");
	age("a");
	age("b");
}

static void say_all_aged(void)
{
	say_aged(".");
	say_aged("a");
	say_aged("b");
}

static void changes_move_the_directorys_time(void)
{
	TRY(mkdir("a", 0755));
	TRY(mkdir("b", 0755));
	make("a/1", "");
	make("a/2", "");
	age_all();
	say_all_aged();
	TRY(rename("a/1", "b/1"));
	say_all_aged();
	age_all();
	TRY(rename("b/1", "a/2"));
	say_all_aged();
	age_all();
	TRY(link("a/2", "b/3"));
	say_all_aged();
	age_all();
	TRY(unlink("a/2"));
	say_all_aged();
	age_all();
	TRY(mkdir("a/d", 0755));
	say_all_aged();
	age_all();
	TRY(rename("a/d", "b/d"));
	say_all_aged();
	age_all();
	TRY(rmdir("b/d"));
	say_all_aged();
	age_all();
	TRY(symlink("x", "a/s"));
	say_all_aged();
	age_all();
	TRY(mkfifo("b/p", 0600));
	say_all_aged();
	age_all();
	make("b/3", "only the file changes");
	TRY(chmod("b/3", 0600));
	TRY(mkdir("a", 0755));
	TRY(rmdir("a"));
	say_all_aged();
}

static const struct parity_case cases[] = {
	{ "each kind of name is renamed onto each other", plain_rename },
	{ "NOREPLACE replaces nothing", rename_noreplace },
	{ "EXCHANGE exchanges each kind with each", rename_exchange },
	{ "WHITEOUT leaves a whiteout", rename_whiteout },
	{ "flags of rename exclude each other", flags_that_exclude_each_other },
	{ "an exchange shows at once", exchanged_contents_show_at_once },
	{ "a renamed file stays open", renamed_while_open },
	{ "a working directory moves along", the_working_directory_moves_along },
	{ "a removed working directory is dead", a_removed_working_directory },
	{ "a changed name moves its directory's time",
		changes_move_the_directorys_time },
};

int main(void)
{
	return parity_main(cases, sizeof(cases) / sizeof(*cases));
}
