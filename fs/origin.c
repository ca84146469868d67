/*
 * Origins of shadows.  A note is "TYPE:HANDLE PATH", with the handle's bytes in hex; "-"
 * stands for what is not known.  The path comes last, whatever characters it has.
 */
#include "origin.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "mounts.h"
#include "util.h"

/* The inode number of the first user namespace: PROC_USER_INIT_INO of the kernel's
 * linux/proc_ns.h, which never changes. */
#define FIRST_USER_NAMESPACE 0xEFFFFFFDU

/* None changes after origin_create(). */
struct origin {
	int source;		/* borrowed */
	struct devices devices;
	uint64_t dev;		/* the source's filesystem */
	/* By which handles are opened, and which is not O_PATH; owned; -1: they can't be. */
	int handles;
	bool all_handles;	/* can be, whatever they stand for */
	uint64_t mount;		/* by which the source is reached; its id */
	char *root, *point;	/* owned: its root in the filesystem, and where it is */
};

/* The directories "/" and "" are the same to whoever appends "/name". */
static char *without_slash(const char *path)
{
	return strdup(strcmp(path, "/") == 0 ? "" : path);
}

static int take_mount(const struct mount_entry *entry, void *data)
{
	struct origin *origin = data;

	if ((uint64_t)entry->id != origin->mount)
		return 0;
	origin->root = without_slash(entry->root);
	origin->point = without_slash(entry->point);
	return origin->root && origin->point ? 1 : -ENOMEM;
}

static bool mount_of(int fd, uint64_t *ret)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0 ||
	    !(stx.stx_mask & STATX_MNT_ID))
		return false;
	*ret = stx.stx_mnt_id;
	return true;
}

/* A handle that can be opened, by whoever may; 0 or negative errno. */
static int get_handle(int fd, union any_handle *ret)
{
	int mount_id;

	ret->handle.handle_bytes = MAX_HANDLE_SZ;
	return name_to_handle_at(fd, "", &ret->handle, &mount_id, AT_EMPTY_PATH) < 0
		? -errno : 0;
}

static int open_for_handles(int source)
{
	_cleanup_close_ int by = openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	union any_handle any;

	if (by >= 0 && get_handle(source, &any) == 0)
		fd = open_by_handle_at(by, &any.handle, O_PATH | O_CLOEXEC);
	return fd < 0 ? -1 : steal_fd(&by);
}

static bool is_in_first_user_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/user", &st) == 0 && st.st_ino == FIRST_USER_NAMESPACE;
}

int origin_create(struct origin **ret, int source)
{
	struct origin *origin = calloc(1, sizeof(*origin));
	struct statfs fs;
	struct stat st;
	int err = origin ? devices_init(&origin->devices) : -ENOMEM;

	if (err) {
		free(origin);
		return err;
	}
	origin->source = source;
	origin->handles = -1;
	err = fstat(source, &st) < 0 || fstatfs(source, &fs) < 0 ? -errno : 0;
	/* Elsewhere 0, which is no filesystem's: there is nothing to note or to judge. */
	if (!err && type_is_local((long)fs.f_type)) {
		origin->dev = st.st_dev;
		origin->handles = open_for_handles(source);
		origin->all_handles = origin->handles >= 0 && is_in_first_user_namespace();
		if (mount_of(source, &origin->mount))
			err = mounts_each(take_mount, origin);
	}
	if (err < 0) {
		origin_destroy(origin);
		return err;
	}
	*ret = origin;
	return 0;
}

void origin_destroy(struct origin *origin)
{
	if (!origin)
		return;
	cleanup_close(&origin->handles);
	devices_destroy(&origin->devices);
	free(origin->root);
	free(origin->point);
	free(origin);
}

/* The path of @fd from where the mount is; false when it is none of that mount. */
static bool path_in_mount(const struct origin *origin, int fd, char ret[PATH_MAX])
{
	char name[PROC_NAME_SIZE], path[PATH_MAX];
	size_t skip = origin->point ? strlen(origin->point) : 0;
	uint64_t mount;
	ssize_t length;

	if (!origin->point || !mount_of(fd, &mount) || mount != origin->mount)
		return false;
	length = readlink(proc_name(fd, name), path, sizeof(path) - 1);
	if (length < 0)
		return false;
	path[length] = '\0';
	if (!starts_with(path, origin->point) || (path[skip] && path[skip] != '/'))
		return false;
	strcpy(ret, strcmp(path, "/") == 0 ? "" : path + skip);
	return true;
}

/* Writes the handle of @fd; "-" when there is none. */
static void write_handle(const struct origin *origin, int fd,
			 char ret[ORIGIN_NOTE_SIZE])
{
	union any_handle any;
	size_t at;

	strcpy(ret, "-");
	if (origin->handles < 0 || get_handle(fd, &any) < 0 ||
	    any.handle.handle_bytes * 2 + 16 > ORIGIN_NOTE_SIZE)
		return;
	at = (size_t)sprintf(ret, "%x:", (unsigned)any.handle.handle_type);
	for (unsigned i = 0; i < any.handle.handle_bytes; i++)
		at += (size_t)sprintf(ret + at, "%02x", any.handle.f_handle[i]);
}

int origin_note(struct origin *origin, int fd, char ret[ORIGIN_NOTE_SIZE])
{
	char handle[ORIGIN_NOTE_SIZE], path[PATH_MAX];
	struct stat st;
	int length = ORIGIN_NOTE_SIZE;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_dev != origin->dev)
		return -ENODATA;
	write_handle(origin, fd, handle);
	if (path_in_mount(origin, fd, path))
		length = snprintf(ret, ORIGIN_NOTE_SIZE, "%s %s%s/", handle, origin->root,
				  path);
	/* One that is too long for the note is left out. */
	if (length >= ORIGIN_NOTE_SIZE)
		length = snprintf(ret, ORIGIN_NOTE_SIZE, "%s -", handle);
	return strcmp(ret, "- -") == 0 || length >= ORIGIN_NOTE_SIZE ? -ENODATA : 0;
}

static bool read_handle(const char *note, union any_handle *ret)
{
	unsigned type, byte, count = 0;
	int end = 0;

	if (sscanf(note, "%x:%n", &type, &end) != 1 || !end)
		return false;
	for (note += end; count < MAX_HANDLE_SZ && isxdigit((unsigned char)note[0]) &&
	     isxdigit((unsigned char)note[1]) && sscanf(note, "%2x", &byte) == 1; note += 2)
		ret->handle.f_handle[count++] = (unsigned char)byte;
	ret->handle.handle_type = (int)type;
	ret->handle.handle_bytes = count;
	return *note == ' ';
}

/* What was found out by one of the two ways. */
enum answer { UNKNOWN, FOUND, NOT_FOUND };

/* Whether the directory @fd is @id and has a name. */
static enum answer compare(struct origin *origin, int fd, const struct file_id *id)
{
	struct file_id found;
	struct stat st;

	if (identify(&origin->devices, fd, "", &st, &found) < 0)
		return UNKNOWN;
	return memcmp(&found, id, sizeof(found)) == 0 && st.st_nlink ? FOUND : NOT_FOUND;
}

static enum answer look_by_handle(struct origin *origin, const struct file_id *id,
				  const char *note)
{
	union any_handle any;
	_cleanup_close_ int fd = -1;

	if (origin->handles < 0 || !read_handle(note, &any))
		return UNKNOWN;
	fd = open_by_handle_at(origin->handles, &any.handle, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ESTALE ? NOT_FOUND : UNKNOWN;
	return compare(origin, fd, id);
}

/* From the source to the directory @path of the filesystem: up to the root of the mount,
 * and down from there.  Returns false when it does not lie below that, or is too long. */
static bool way_from_source(const struct origin *origin, const char *path,
			    char ret[PATH_MAX])
{
	char source[PATH_MAX];
	size_t at = 0, skip = origin->root ? strlen(origin->root) : 0;

	if (!origin->root || !starts_with(path, origin->root) || path[skip] != '/' ||
	    !path_in_mount(origin, origin->source, source))
		return false;
	for (const char *up = source; *up; up++)
		if (*up == '/' && at + 3 < PATH_MAX)
			at += (size_t)sprintf(ret + at, "../");
	return snprintf(ret + at, PATH_MAX - at, ".%s", path + skip) <
		(int)(PATH_MAX - at);
}

static enum answer look_by_path(struct origin *origin, const struct file_id *id,
				const char *note)
{
	/* No mount is entered: ours may lie there, and would wait for us. */
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS,
	};
	const char *path = strchr(note, ' ');
	char way[PATH_MAX];

	if (!path || !way_from_source(origin, path + 1, way))
		return UNKNOWN;
	_cleanup_close_ int fd = (int)syscall(SYS_openat2, origin->source, way, &how,
					      sizeof(how));
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
			? NOT_FOUND : UNKNOWN;
	return compare(origin, fd, id);
}

enum origin_fate origin_judge(struct origin *origin, const struct file_id *id,
			      const char *note)
{
	enum answer by_handle, by_path;

	if (id->dev != origin->dev)
		return ORIGIN_THERE;
	by_handle = look_by_handle(origin, id, note);
	by_path = by_handle == FOUND ? FOUND : look_by_path(origin, id, note);
	if (by_path == FOUND)
		return ORIGIN_THERE;
	if (by_handle == NOT_FOUND && origin->all_handles)
		return ORIGIN_GONE;
	return by_handle == NOT_FOUND || by_path == NOT_FOUND ? ORIGIN_MISSING
							      : ORIGIN_THERE;
}
