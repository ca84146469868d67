/*
 * Parity of what makes, moves and removes names: mkdir, rmdir, unlink, symlink,
 * mknod, link, and names of all lengths and bytes.  Renames: parity_rename.c.
 */
#include "parity.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

/* One of each kind, to aim calls at. */
static void make_kinds(void)
{
	make("file", "content");
	TRY(mkdir("empty", 0755));
	TRY(mkdir("full", 0755));
	make("full/inside", "content");
	TRY(symlink("file", "link"));
	TRY(symlink("missing", "dangling"));
	TRY(symlink("full", "link-to-dir"));
	TRY(symlink("loop", "loop"));
	TRY(mkfifo("fifo", 0644));
}

static const char *const kinds[] = {
	"file", "empty", "full", "link", "dangling", "link-to-dir", "loop",
	"fifo", "none", "none/below", "file/below", "link/below", "loop/below",
	"full/", "file/", "empty/.", "empty/..", ".", "..", "link-to-dir/", "",
};

#define EACH_KIND(i) (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)

static void mkdir_and_rmdir(void)
{
	make_kinds();
	for EACH_KIND(i) {
		say("%s", kinds[i]);
		TRY(mkdir(kinds[i], 0755));
	}
	TRY(rmdir("none"));
	for EACH_KIND(i) {
		say("%s", kinds[i]);
		TRY(rmdir(kinds[i]));
	}
	TRY(unlink("full/inside"));
	TRY(rmdir("full"));
	TRY(rmdir("full"));
	TRY(mkdir("full", 0755));
	say_names(".");
	say_status(".");
}

static void mkdir_modes(void)
{
	static const mode_t modes[] = { 0, 0700, 0777, 01777, 02755, 04755 };
	static const mode_t umasks[] = { 0, 022, 077, 0777 };
	char name[32];

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		for (size_t j = 0; j < sizeof(umasks) / sizeof(*umasks); j++) {
			umask(umasks[j]);
			snprintf(name, sizeof(name), "d%zu-%zu", i, j);
			TRY(mkdir(name, modes[i]));
			say_status(name);
			snprintf(name, sizeof(name), "f%zu-%zu", i, j);
			TRY_OPEN(open(name, O_CREAT | O_WRONLY, modes[i]));
			say_status(name);
			snprintf(name, sizeof(name), "p%zu-%zu", i, j);
			TRY(mkfifo(name, modes[i]));
			say_status(name);
		}
	}
}

static void unlink_each_kind(void)
{
	make_kinds();
	for EACH_KIND(i) {
		say("%s", kinds[i]);
		TRY(unlink(kinds[i]));
	}
	TRY(unlink("file"));
	say_names(".");
}

static void directories_count_their_subdirectories(void)
{
	say_status(".");
	TRY(mkdir("a", 0755));
	say_status(".");
	TRY(mkdir("a/b", 0755));
	say_status("a");
	TRY(mkdir("c", 0755));
	TRY(rename("a/b", "c/b"));
	say_status("a");
	say_status("c");
	say_status(".");
	TRY(rmdir("c/b"));
	say_status("c");
	TRY(rmdir("a"));
	say_status(".");
}

static void say_target(const char *path)
{
	char target[PATH_MAX + 1];
	ssize_t length = TRY(readlink(path, target, PATH_MAX));

	if (length >= 0) {
		target[length] = '\0';
		say("%s leads to %s", path, target);
	}
}

static void symlinks(void)
{
	char start[4];

	make_kinds();
	for EACH_KIND(i) {
		say("%s", kinds[i]);
		TRY(symlink("to", kinds[i]));
		say_target(kinds[i]);
	}
	TRY(symlink("", "no-target"));
	TRY(symlink("/absolute/dangling", "absolute"));
	say_target("absolute");
	TRY(symlink("../..", "up"));
	say_target("up");
	TRY(symlink("\xff\xfe caf\xe9\n", "bytes"));
	say_target("bytes");
	TRY(readlink("absolute", start, sizeof(start)));
	TRY(readlinkat(AT_FDCWD, "absolute", start, 0));
	TRY(symlink(repeat('t', PATH_MAX), "too-long"));
	/* Within one block, over it by a bit, and the longest that there is. */
	TRY(symlink(repeat('t', 59), "t59"));
	TRY(symlink(repeat('t', 60), "t60"));
	TRY(symlink(repeat('t', 3000), "t3000"));
	TRY(symlink(repeat('t', PATH_MAX - 1), "t4095"));
	say_status("t59");
	say_status("t3000");
	say_target("t60");
	say_target("t3000");
	say_target("t4095");
	TRY(unlink("t3000"));
	TRY(symlink("short", "t3000"));
	say_target("t3000");
	say_content("link");
	say_content("loop");
	say_content("dangling");
}

static void special_files(void)
{
	static const struct {
		const char *name;
		mode_t mode;
		unsigned major, minor;
	} nodes[] = {
		{ "fifo2", S_IFIFO | 0640, 0, 0 },
		{ "socket", S_IFSOCK | 0600, 0, 0 },
		{ "char", S_IFCHR | 0666, 1, 3 },
		{ "block", S_IFBLK | 0660, 7, 300 },
		{ "whiteout", S_IFCHR, 0, 0 },
		{ "regular", S_IFREG | 0604, 0, 0 },
		{ "typeless", 0600, 0, 0 },
		{ "directory", S_IFDIR | 0755, 0, 0 },
		{ "link2", S_IFLNK | 0777, 0, 0 },
		{ "nonsense", S_IFMT | 0600, 0, 0 },
		{ "file", S_IFIFO | 0600, 0, 0 },
		{ "none/x", S_IFIFO | 0600, 0, 0 },
		{ "file/x", S_IFIFO | 0600, 0, 0 },
	};

	make_kinds();
	for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
		say("%s", nodes[i].name);
		TRY(mknod(nodes[i].name, nodes[i].mode,
			  makedev(nodes[i].major, nodes[i].minor)));
		say_status(nodes[i].name);
	}
	say_names(".");
}

static void sockets_and_fifos_connect(void)
{
	const struct sockaddr_un address = { AF_UNIX, "socket" };
	const struct sockaddr *any = (const struct sockaddr *)&address;
	int server = TRY_OPEN(socket(AF_UNIX, SOCK_STREAM, 0));
	int client = TRY_OPEN(socket(AF_UNIX, SOCK_STREAM, 0));
	char text[8] = "";
	int fifo;

	TRY(bind(server, any, sizeof(address)));
	say_status("socket");
	TRY(connect(client, any, sizeof(address)));
	TRY(listen(server, 1));
	TRY(connect(client, any, sizeof(address)));
	TRY_OPEN(open("socket", O_RDONLY));
	TRY(bind(client, any, sizeof(address)));
	TRY(mkfifo("fifo", 0600));
	TRY_OPEN(open("fifo", O_WRONLY | O_NONBLOCK));
	fifo = TRY_OPEN(open("fifo", O_RDWR | O_NONBLOCK));
	TRY(write(fifo, "through", 7));
	TRY(read(fifo, text, sizeof(text)));
	say("%s", text);
}

static void hard_links(void)
{
	make_kinds();
	for EACH_KIND(i) {
		say("%s", kinds[i]);
		TRY(link(kinds[i], "new"));
		say_status(kinds[i]);
		say_status("new");
		TRY(unlink("new"));
		TRY(link("file", kinds[i]));
	}
	TRY(linkat(AT_FDCWD, "link", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
	say_status("followed");
	TRY(link("file", "full/second"));
	say_status("file");
	TRY(unlink("file"));
	say_status("full/second");
	say_content("full/second");
	make("full/second", "written through one name");
	say_content("followed");
	TRY(chmod("followed", 0600));
	say_status("full/second");
	TRY(truncate("followed", 3));
	say_status("full/second");
	say_content("full/second");
	TRY(link("fifo", "full/fifo"));
	TRY(link("dangling", "full/dangling"));
	say_status("dangling");
}

static void link_from_descriptor(void)
{
	char path[64];
	int fd, directory;

	make("file", "content");
	fd = TRY_OPEN(open("file", O_PATH));
	directory = TRY_OPEN(open(".", O_PATH | O_DIRECTORY));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	TRY(linkat(fd, "", directory, "by-descriptor", AT_EMPTY_PATH));
	TRY(linkat(AT_FDCWD, path, directory, "by-proc", AT_SYMLINK_FOLLOW));
	TRY(unlink("file"));
	TRY(unlink("by-proc"));
	TRY(unlink("by-descriptor"));
	TRY(linkat(fd, "", directory, "gone", AT_EMPTY_PATH));
	say_status_of(fd);
}

static void use_name(const char *name)
{
	say("a name of %zu bytes", strlen(name));
	TRY_OPEN(open(name, O_CREAT | O_EXCL | O_WRONLY, 0644));
	say_status(name);
	TRY(link(name, "second"));
	TRY(rename("second", name));
	TRY(rename(name, "second"));
	TRY(rename("second", name));
	TRY(unlink(name));
	TRY(mkdir(name, 0755));
	TRY(rmdir(name));
	TRY(symlink(name, name));
	TRY(unlink(name));
	TRY(mkfifo(name, 0644));
	TRY(access(name, F_OK));
	TRY(chmod(name, 0600));
	TRY_OPEN(open(name, O_RDONLY | O_NONBLOCK));
	say_names(".");
	TRY(unlink("second"));
}

static void names_of_all_lengths(void)
{
	static const size_t lengths[] = {
		1, 254, 255, 256, 257, 1023, 1024, 1025, PATH_MAX - 2,
		PATH_MAX - 1, PATH_MAX, PATH_MAX + 1,
	};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
		use_name(repeat('n', lengths[i]));
}

static void names_of_all_bytes(void)
{
	char name[3] = "xx";

	use_name("caf\xc3\xa9");
	use_name("caf\xe9");
	use_name("\xff\xfe\xfd");
	use_name("\n\t \\ \"' *?[]");
	use_name("-rf");
	use_name("...");
	use_name(" ");
	for (int c = 1; c < 256; c++) {
		name[1] = (char)c;
		make(name, "");
	}
	say_names(".");
}

static void paths_of_path_max(void)
{
	char path[PATH_MAX + 16];
	size_t length = 0;

	/* Each step adds 250 bytes; the calls use the whole path each time. */
	while (length + 251 < PATH_MAX) {
		memset(path + length, 'd', 249);
		path[length + 249] = '\0';
		TRY(mkdir(path, 0755));
		path[length + 249] = '/';
		length += 250;
	}
	for (int over = -2; over <= 2; over++) {
		size_t last = (size_t)(PATH_MAX - 1 + over) - length;

		memset(path + length, 'f', last);
		path[length + last] = '\0';
		say("a path of %zu bytes", strlen(path));
		TRY_OPEN(open(path, O_CREAT | O_WRONLY, 0644));
		TRY(access(path, F_OK));
		TRY(unlink(path));
	}
}

static void create_shows_at_once(void)
{
	struct stat st;

	TRY(stat("new", &st));
	make("new", "1");
	TRY(stat("new", &st));
	say_names(".");
	TRY(unlink("new"));
	TRY(stat("new", &st));
	say_names(".");
	TRY(mkdir("new", 0755));
	TRY(stat("new/x", &st));
	make("new/x", "2");
	say_names("new");
	TRY(rename("new", "newer"));
	TRY(stat("new/x", &st));
	TRY(stat("newer/x", &st));
	say_names("newer");
	say_content("newer/x");
}

static const struct parity_case cases[] = {
	{ "mkdir and rmdir meet each kind of name", mkdir_and_rmdir },
	{ "new files take their mode less the umask", mkdir_modes },
	{ "unlink meets each kind of name", unlink_each_kind },
	{ "a directory's links count its subdirectories",
		directories_count_their_subdirectories },
	{ "a symlink holds any target", symlinks },
	{ "special files are made as such", special_files },
	{ "sockets and fifos connect", sockets_and_fifos_connect },
	{ "hard links are one file", hard_links },
	{ "a descriptor can be linked", link_from_descriptor },
	{ "a name has 1 to 255 bytes", names_of_all_lengths },
	{ "a name holds any bytes", names_of_all_bytes },
	{ "a path has up to PATH_MAX bytes", paths_of_path_max },
	{ "a change of names shows at once", create_shows_at_once },
};

int main(void)
{
	return parity_main(cases, sizeof(cases) / sizeof(*cases));
}
