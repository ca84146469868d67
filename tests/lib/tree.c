/*
 * Whole trees: make them, describe them, compare them, remove them.
 *
 * A description leaves out what two equal trees may differ in: inode numbers,
 * access times, and the size of directories, which on ext4 only ever grows.
 */
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

static void make_parents(const char *path)
{
	char *copy = strdup(path), *slash;

	assert_non_null(copy);
	for (slash = strchr(copy + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0777) && errno != EEXIST) {
			int error = errno;

			/* An existing directory of a read-only tree, say. */
			if (access(copy, F_OK))
				fail_msg("mkdir '%s': %s", copy,
					 strerror(error));
		}
		*slash = '/';
	}
	free(copy);
}

void tree_write(const char *path, const char *text, long size)
{
	size_t left = size < 0 ? strlen(text) : (size_t)size;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0 && errno == ENOENT) {
		make_parents(path);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			  0666);
	}
	if (fd < 0)
		fail_msg("creating '%s': %s", path, strerror(errno));
	while (left > 0) {
		ssize_t done = write(fd, text, left);

		if (done < 0 && errno != EINTR)
			fail_msg("writing '%s': %s", path, strerror(errno));
		if (done > 0) {
			text += done;
			left -= (size_t)done;
		}
	}
	if (close(fd))
		fail_msg("closing '%s': %s", path, strerror(errno));
}

char *tree_read(const char *path, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = 0, room = 0;
	char *text = NULL;
	ssize_t got = 1;

	if (fd < 0)
		fail_msg("opening '%s': %s", path, strerror(errno));
	while (got > 0) {
		if (room - size < 4096) {
			room = room * 2 + 8192;
			text = realloc(text, room);
			assert_non_null(text);
		}
		got = read(fd, text + size, room - size - 1);
		if (got < 0)
			fail_msg("reading '%s': %s", path, strerror(errno));
		size += (size_t)got;
	}
	close(fd);
	text[size] = '\0';
	if (ret_size)
		*ret_size = size;
	return text;
}

static int by_name(const void *a, const void *b)
{
	const char *const *left = a, *const *right = b;

	return strcmp(*left, *right);
}

/* The sorted names in a directory, NULL-ended; takes @fd. */
static char **read_names(int fd, const char *path, size_t *ret_count)
{
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t count = 0, room = 16;
	char **names = malloc(room * sizeof(*names));
	struct dirent *entry;

	assert_non_null(names);
	if (!dir)
		fail_msg("opening directory '%s': %s", path, strerror(errno));
	for (errno = 0; (entry = readdir(dir)); errno = 0) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (count + 1 == room) {
			room *= 2;
			names = realloc(names, room * sizeof(*names));
			assert_non_null(names);
		}
		names[count] = strdup(entry->d_name);
		assert_non_null(names[count++]);
	}
	if (errno)
		fail_msg("listing '%s': %s", path, strerror(errno));
	closedir(dir);
	qsort(names, count, sizeof(*names), by_name);
	names[count] = NULL;
	*ret_count = count;
	return names;
}

static void free_names(char **names)
{
	for (size_t i = 0; names[i]; i++)
		free(names[i]);
	free(names);
}

char *tree_list(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t count, size;
	char **names = read_names(fd, path, &count), *list;
	FILE *out = open_memstream(&list, &size);

	assert_non_null(out);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%s%s", i ? " " : "", names[i]);
	fclose(out);
	free_names(names);
	return list;
}

/* FNV-1a, which tells changed content well enough. */
static uint64_t digest(uint64_t hash, const void *data, size_t size)
{
	const unsigned char *byte = data;

	while (size-- > 0)
		hash = (hash ^ *byte++) * UINT64_C(0x100000001b3);
	return hash;
}

#define DIGEST_START UINT64_C(0xcbf29ce484222325)

static uint64_t digest_file(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	uint64_t hash = DIGEST_START;
	static char buffer[1 << 16];
	ssize_t got;

	if (fd < 0)
		fail_msg("opening '%s': %s", name, strerror(errno));
	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		hash = digest(hash, buffer, (size_t)got);
	if (got < 0)
		fail_msg("reading '%s': %s", name, strerror(errno));
	close(fd);
	return hash;
}

static void put_escaped(FILE *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c > ' ' && c < 0x7f && c != '\\')
			fputc(c, out);
		else
			fprintf(out, "\\x%02x", c);
	}
}

static void describe_xattrs(FILE *out, int dir, const char *name)
{
	char path[600], names[8192], value[65536];
	const char *each[256];
	size_t count = 0;
	ssize_t size;

	/* The *xattrat calls are too new: go through the directory's link. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, name);
	size = llistxattr(path, names, sizeof(names));
	if (size < 0) {
		if (errno == ENOTSUP)
			return;
		fail_msg("llistxattr '%s': %s", name, strerror(errno));
	}
	for (char *at = names; at < names + size && count < 256;
	     at += strlen(at) + 1)
		each[count++] = at;
	qsort(each, count, sizeof(*each), by_name);
	for (size_t i = 0; i < count; i++) {
		ssize_t length = lgetxattr(path, each[i], value, sizeof(value));

		fprintf(out, " %s=", each[i]);
		if (length < 0)
			fprintf(out, "%s", strerror(errno));
		else
			fprintf(out, "%zd:%016" PRIx64, length,
				digest(DIGEST_START, value, (size_t)length));
	}
}

static char type_letter(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR: return 'd';
	case S_IFREG: return '-';
	case S_IFLNK: return 'l';
	case S_IFIFO: return 'p';
	case S_IFSOCK: return 's';
	case S_IFCHR: return 'c';
	case S_IFBLK: return 'b';
	default: return '?';
	}
}

static void describe_entry(FILE *out, int dir, const char *prefix,
			   const char *name, const struct stat *st, bool times)
{
	char target[4097];
	ssize_t length;

	put_escaped(out, prefix);
	put_escaped(out, name);
	fprintf(out, " %c%04o %u:%u links=%ju", type_letter(st->st_mode),
		st->st_mode & 07777, st->st_uid, st->st_gid,
		(uintmax_t)st->st_nlink);
	if (!S_ISDIR(st->st_mode))
		fprintf(out, " size=%jd", (intmax_t)st->st_size);
	if (times)
		fprintf(out, " mtime=%jd.%09ld ctime=%jd.%09ld",
			(intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
			(intmax_t)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
	if (S_ISREG(st->st_mode)) {
		fprintf(out, " content=%016" PRIx64, digest_file(dir, name));
	} else if (S_ISLNK(st->st_mode)) {
		length = readlinkat(dir, name, target, sizeof(target) - 1);
		if (length < 0)
			fail_msg("readlink '%s': %s", name, strerror(errno));
		target[length] = '\0';
		fputs(" to=", out);
		put_escaped(out, target);
	} else if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
		fprintf(out, " device=%u:%u", major(st->st_rdev),
			minor(st->st_rdev));
	}
	describe_xattrs(out, dir, name);
	fputc('\n', out);
}

static void describe_below(FILE *out, int dir, const char *prefix, bool times)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t count;
	char **names = read_names(fd, prefix, &count);

	for (size_t i = 0; i < count; i++) {
		struct stat st;
		char *below = NULL;
		int child;

		if (fstatat(dir, names[i], &st, AT_SYMLINK_NOFOLLOW))
			fail_msg("stat '%s%s': %s", prefix, names[i],
				 strerror(errno));
		describe_entry(out, dir, prefix, names[i], &st, times);
		if (!S_ISDIR(st.st_mode))
			continue;
		child = openat(dir, names[i], O_RDONLY | O_DIRECTORY |
			       O_NOFOLLOW | O_CLOEXEC);
		if (child < 0 || asprintf(&below, "%s%s/", prefix, names[i]) < 0)
			fail_msg("opening '%s%s': %s", prefix, names[i],
				 strerror(errno));
		describe_below(out, child, below, times);
		free(below);
		close(child);
	}
	free_names(names);
}

char *tree_describe(const char *path, bool times)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	if (fd < 0)
		fail_msg("opening '%s': %s", path, strerror(errno));
	describe_below(out, fd, "", times);
	close(fd);
	fclose(out);
	return text;
}

/*
 * Empties directory @name of @top: files go, directories that hold something
 * move up into @top under a fresh name.  So a tree of any depth needs only two
 * descriptors.  Returns whether the directory could be emptied.
 */
static bool flatten(int top, const char *name, dev_t device, unsigned *fresh)
{
	int fd = openat(top, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct dirent *entry;
	bool emptied = true;
	struct stat st;
	char moved[32];
	DIR *dir;

	if (fd < 0)
		return false;
	/* Another device is mounted here: that is not ours to empty. */
	if (fstat(fd, &st) || st.st_dev != device) {
		close(fd);
		return false;
	}
	fchmod(fd, 0700);
	dir = fdopendir(fd);
	while (dir && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (!unlinkat(fd, entry->d_name, 0) ||
		    !unlinkat(fd, entry->d_name, AT_REMOVEDIR))
			continue;
		fchmodat(fd, entry->d_name, 0700, 0);
		do
			snprintf(moved, sizeof(moved), ".removed-%u",
				 (*fresh)++);
		while (renameat2(fd, entry->d_name, top, moved,
				 RENAME_NOREPLACE) &&
		       errno == EEXIST);
		emptied = emptied && faccessat(fd, entry->d_name, F_OK,
					       AT_SYMLINK_NOFOLLOW) != 0;
	}
	closedir(dir);
	return emptied;
}

void tree_remove(const char *path)
{
	int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool progress = true;
	unsigned fresh = 0;
	struct stat st;

	if (top < 0) {
		unlink(path);
		return;
	}
	if (fstat(top, &st)) {
		close(top);
		return;
	}
	fchmod(top, 0700);
	while (progress) {
		int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *dir = fd < 0 ? NULL : fdopendir(fd);
		struct dirent *entry;

		progress = false;
		while (dir && (entry = readdir(dir))) {
			const char *name = entry->d_name;

			if (!strcmp(name, ".") || !strcmp(name, ".."))
				continue;
			if (!unlinkat(top, name, 0) ||
			    !unlinkat(top, name, AT_REMOVEDIR) ||
			    (flatten(top, name, st.st_dev, &fresh) &&
			     !unlinkat(top, name, AT_REMOVEDIR)))
				progress = true;
		}
		if (dir)
			closedir(dir);
	}
	close(top);
	rmdir(path);
}
