/*
 * Parity of extended attributes, POSIX ACLs and capabilities among them.
 */
#include "parity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/xattr.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const char *const kinds[] = {
	"file", "directory", "link", "dangling", "fifo", "none", ".",
};

static void make_kinds(void)
{
	make("file", "content");
	TRY(mkdir("directory", 0755));
	TRY(symlink("file", "link"));
	TRY(symlink("missing", "dangling"));
	TRY(mkfifo("fifo", 0644));
}

static int by_text(const void *a, const void *b)
{
	const char *const *left = a, *const *right = b;

	return strcmp(*left, *right);
}

static void say_list(const char *path)
{
	const char *sorted[64];
	size_t count = 0;
	char names[4096];
	ssize_t size = TRY(llistxattr(path, names, sizeof(names)));

	for (char *at = names; at < names + size && count < 64;
	     at += strlen(at) + 1)
		sorted[count++] = at;
	qsort(sorted, count, sizeof(*sorted), by_text);
	for (size_t i = 0; i < count; i++) {
		char value[1024] = "";

		TRY(lgetxattr(path, sorted[i], value, sizeof(value)));
		say("%s = %.20s", sorted[i], value);
	}
}

/* The whole life of one attribute of one file. */
static void use_attribute(const char *path, const char *name)
{
	char value[64] = "";

	say("%s of %s", name, path);
	TRY(lgetxattr(path, name, value, sizeof(value)));
	TRY(lremovexattr(path, name));
	TRY(lsetxattr(path, name, "none", 4, XATTR_REPLACE));
	TRY(lsetxattr(path, name, "first", 5, XATTR_CREATE));
	TRY(lsetxattr(path, name, "again", 5, XATTR_CREATE));
	TRY(lsetxattr(path, name, "second!", 7, XATTR_REPLACE));
	TRY(lsetxattr(path, name, "x", 1, XATTR_CREATE | XATTR_REPLACE));
	TRY(lsetxattr(path, name, "x", 1, 8));
	TRY(lgetxattr(path, name, NULL, 0));
	TRY(lgetxattr(path, name, value, 3));
	TRY(lgetxattr(path, name, value, 7));
	TRY(lgetxattr(path, name, value, sizeof(value)));
	say("%s", value);
	TRY(llistxattr(path, NULL, 0));
	TRY(llistxattr(path, value, 1));
	say_list(path);
	TRY(lsetxattr(path, name, "", 0, 0));
	TRY(lgetxattr(path, name, value, sizeof(value)));
	TRY(lgetxattr(path, name, NULL, 0));
	say_list(path);
	TRY(lremovexattr(path, name));
	TRY(lremovexattr(path, name));
	say_list(path);
}

static void all_attributes(void)
{
	static const char *const names[] = {
		"user.test", "user.", "user.\xff\xfe", "trusted.test",
		"security.test", "system.test", "other.test", "test", "",
	};

	make_kinds();
	for (size_t i = 0; i < COUNT(kinds); i++)
		for (size_t j = 0; j < COUNT(names); j++)
			use_attribute(kinds[i], names[j]);
}

static void all_attributes_of_a_user(void)
{
	TRY(chmod(".", 0777));
	as(USER, GROUP, all_attributes);
	TRY(setxattr("file", "trusted.hidden", "x", 1, 0));
	TRY(setxattr("file", "user.seen", "x", 1, 0));
	say_list("file");
	TRY(chown("file", 0, 0));
	TRY(chmod("file", 0600));
	as(USER, GROUP, all_attributes);
}

static void sizes_of_attributes(void)
{
	static const size_t lengths[] = {
		100, 3000, 4000, 4096, 10000, 65536, 65537,
	};
	static char value[70000];
	char name[400] = "user.";

	make("file", "");
	for (size_t i = 0; i < COUNT(lengths); i++) {
		say("%zu", lengths[i]);
		memset(value, 'v', lengths[i]);
		TRY(setxattr("file", "user.long", value, lengths[i], 0));
		TRY(getxattr("file", "user.long", value, sizeof(value)));
		TRY(getxattr("file", "user.long", value, lengths[i] - 1));
		TRY(getxattr("file", "user.long", NULL, 0));
	}
	TRY(removexattr("file", "user.long"));
	memset(name + 5, 'n', 250);
	TRY(setxattr("file", name, "x", 1, 0));
	name[255] = 'n';
	TRY(setxattr("file", name, "x", 1, 0));
	TRY(getxattr("file", name, value, 10));
	say_list("file");
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "user.number-%d", i);
		TRY(setxattr("file", name, "value", 5, 0));
	}
	TRY(listxattr("file", NULL, 0));
	TRY(listxattr("file", value, 100));
	say_list("file");
}

static void attributes_by_descriptor(void)
{
	char value[64] = "", path[64];
	int fd = open("file", O_RDWR | O_CREAT, 0644);
	int unlinked = open("gone", O_RDWR | O_CREAT, 0644);
	int by_path = open("file", O_PATH);

	TRY(fsetxattr(fd, "user.a", "1", 1, 0));
	TRY(fgetxattr(fd, "user.a", value, sizeof(value)));
	TRY(fgetxattr(by_path, "user.a", value, sizeof(value)));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", by_path);
	TRY(getxattr(path, "user.a", value, sizeof(value)));
	TRY(unlink("gone"));
	TRY(fsetxattr(unlinked, "user.b", "22", 2, 0));
	TRY(fgetxattr(unlinked, "user.b", value, sizeof(value)));
	TRY(flistxattr(unlinked, value, sizeof(value)));
	TRY(fremovexattr(unlinked, "user.b"));
	/* They belong to the file, not to its name. */
	TRY(link("file", "second"));
	TRY(rename("file", "renamed"));
	TRY(setxattr("second", "user.a", "333", 3, 0));
	TRY(fgetxattr(fd, "user.a", value, sizeof(value)));
	say("%.3s", value);
	say_list("renamed");
	TRY(system("cp -a renamed copied"));
	say_list("copied");
}

static void run(const char *command)
{
	say("%s: %d", command, system(command));
}

static void say_acls(const char *path)
{
	char command[256];
	FILE *out;
	char line[256];

	snprintf(command, sizeof(command), "getfacl -cn -- '%s' 2>&1", path);
	out = popen(command, "r");
	while (out && fgets(line, sizeof(line), out)) {
		line[strcspn(line, "\n")] = '\0';
		say("%s: %s", path, line);
	}
	if (out)
		pclose(out);
	say_status(path);
}

static void access_lists(void)
{
	make("file", "content");
	TRY(mkdir("directory", 0750));
	run("setfacl -m u:1000:rw,g:2000:r,m::rwx file");
	say_acls("file");
	TRY(chmod("file", 0640));
	say_acls("file");
	run("setfacl -m m::r file");
	say_acls("file");
	/* One that says no more than the mode does leaves none behind. */
	run("setfacl -b file");
	say_acls("file");
	say_list("file");
	run("setfacl -m u::rwx,g::r,o::- file");
	say_acls("file");
	say_list("file");
	run("setfacl -m u:1000:rwx directory");
	say_acls("directory");
	run("setfacl -d -m u:1000:rwx file 2>/dev/null");
	TRY(setxattr("file", "system.posix_acl_access", "nonsense", 8, 0));
	TRY(setxattr("file", "system.posix_acl_access", "", 0, 0));
	TRY(setxattr("file", "system.posix_acl_default", "x", 1, 0));
	TRY(removexattr("file", "system.posix_acl_access"));
	TRY(removexattr("directory", "system.posix_acl_access"));
	TRY(removexattr("directory", "system.posix_acl_default"));
	say_acls("directory");
	TRY(symlink("file", "link"));
	TRY(lgetxattr("link", "system.posix_acl_access", NULL, 0));
}

static void default_lists_are_inherited(void)
{
	static const mode_t umasks[] = { 022, 077, 0 };
	char name[64];

	TRY(mkdir("directory", 0755));
	run("setfacl -d -m u::rwx,u:1000:rwx,g::r-x,g:2000:rw,o::r directory");
	say_acls("directory");
	for (size_t i = 0; i < COUNT(umasks); i++) {
		/* A default list takes the place of the umask. */
		umask(umasks[i]);
		snprintf(name, sizeof(name), "directory/file-%zu", i);
		make(name, "");
		say_acls(name);
		snprintf(name, sizeof(name), "directory/below-%zu", i);
		TRY(mkdir(name, 0777));
		say_acls(name);
		snprintf(name, sizeof(name), "directory/private-%zu", i);
		TRY(mkdir(name, 0700));
		say_acls(name);
		snprintf(name, sizeof(name), "directory/fifo-%zu", i);
		TRY(mkfifo(name, 0666));
		say_acls(name);
		snprintf(name, sizeof(name), "directory/link-%zu", i);
		TRY(symlink("x", name));
		say_status(name);
	}
	TRY(linkat(open("directory", O_TMPFILE | O_RDWR, 0666), "", AT_FDCWD,
		   "directory/unnamed", AT_EMPTY_PATH));
	say_acls("directory/unnamed");
	TRY(mkdir("directory/below-0/deeper", 0777));
	say_acls("directory/below-0/deeper");
	TRY(rename("directory/file-0", "moved"));
	say_acls("moved");
	run("cp -a directory copied && getfacl -Rcn copied | md5sum >sum");
	say_content("sum");
	run("setfacl -k directory");
	say_acls("directory");
}

static void read_and_write(void)
{
	say_content("readable");
	say_content("hidden");
	TRY_OPEN(open("readable", O_WRONLY));
	TRY_OPEN(open("writable", O_WRONLY));
	TRY(access("writable", W_OK));
	TRY(access("hidden", R_OK));
	TRY(mkdir("open/new", 0755));
	TRY(mkdir("closed/new", 0755));
	TRY(unlink("open/file"));
	TRY(unlink("closed/file"));
}

static void access_lists_are_obeyed(void)
{
	TRY(mkdir("open", 0755));
	TRY(mkdir("closed", 0777));
	make("open/file", "");
	make("closed/file", "");
	make("readable", "for some");
	make("writable", "for some");
	make("hidden", "from one");
	TRY(chmod("readable", 0600));
	TRY(chmod("writable", 0600));
	run("setfacl -m u:1000:r readable");
	run("setfacl -m g:2000:rw writable");
	run("setfacl -m u:1000:- hidden closed");
	run("setfacl -m u:1000:rwx open");
	as(USER, GROUP, read_and_write);
	as_member(USER, GROUP, OTHER_GROUP, read_and_write);
	as_member(USER + 1, GROUP, OTHER_GROUP, read_and_write);
	/* A change counts at once. */
	run("setfacl -m u:1000:r hidden");
	run("setfacl -m u:1000:- readable");
	as(USER, GROUP, read_and_write);
	say_names("open");
}

static const struct parity_case cases[] = {
	{ "attributes are set, read, listed and removed", all_attributes },
	{ "a user's attributes are those allowed", all_attributes_of_a_user },
	{ "attributes have any size that there is room for",
		sizes_of_attributes },
	{ "attributes are reached by descriptor", attributes_by_descriptor },
	{ "access lists and modes move together", access_lists },
	{ "default access lists are inherited", default_lists_are_inherited },
	{ "access lists are obeyed", access_lists_are_obeyed },
};

int main(void)
{
	return parity_main(cases, COUNT(cases));
}
