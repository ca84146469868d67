/*
 * The mounts of this mount namespace.  The format of a line stands in
 * Documentation/filesystems/proc.rst, section 3.5:
 *   ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD...] - TYPE ORIGIN SUPER
 */
#include "mounts.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "util.h"

/* Resolves the octal escapes of space, tab, newline and backslash in place. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' &&
		    from[2] >= '0' && from[2] <= '7' &&
		    from[3] >= '0' && from[3] <= '7') {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 |
				     (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* Cuts the line into an entry that points into it; false for a strange line. */
static bool parse_line(char *line, struct mount_entry *ret)
{
	int id, parent;
	unsigned major, minor;
	char *rest = line, *field = NULL, *root = NULL, *point = NULL;

	for (int i = 0; i < 5; i++) {
		field = strsep(&rest, " ");
		if (!field)
			return false;
		if ((i == 0 && sscanf(field, "%d", &id) != 1) ||
		    (i == 1 && sscanf(field, "%d", &parent) != 1) ||
		    (i == 2 && sscanf(field, "%u:%u", &major, &minor) != 2))
			return false;
		if (i == 3)
			root = field;
		if (i == 4)
			point = field;
	}
	do
		field = strsep(&rest, " ");
	while (field && strcmp(field, "-") != 0);
	char *type = strsep(&rest, " "), *origin = strsep(&rest, " ");
	if (!type || !origin)
		return false;
	unescape(root);
	unescape(point);
	unescape(origin);
	*ret = (struct mount_entry){
		.id = id,
		.parent = parent,
		.dev = makedev(major, minor),
		.root = root,
		.point = point,
		.type = type,
		.origin = origin,
	};
	return true;
}

static int each_line(FILE *file,
		     int (*each)(const struct mount_entry *entry, void *data),
		     void *data)
{
	_cleanup_free_ char *line = NULL;
	struct mount_entry entry;
	size_t size = 0;
	ssize_t length;
	int result = 0;

	while (!result && (length = getline(&line, &size, file)) > 0) {
		if (line[length - 1] == '\n')
			line[length - 1] = '\0';
		if (parse_line(line, &entry))
			result = each(&entry, data);
	}
	return !result && ferror(file) ? -EIO : result;
}

int mounts_open(void)
{
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int mounts_each_in(int fd, int (*each)(const struct mount_entry *entry, void *data),
		   void *data)
{
	_cleanup_close_ int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	FILE *file = copy < 0 ? NULL : fdopen(copy, "r");
	int result;

	if (!file)
		return -errno;
	steal_fd(&copy);
	rewind(file);
	result = each_line(file, each, data);
	fclose(file);
	return result;
}

int mounts_each(int (*each)(const struct mount_entry *entry, void *data),
		void *data)
{
	_cleanup_close_ int fd = mounts_open();

	return fd < 0 ? fd : mounts_each_in(fd, each, data);
}

/* Of Linux 6.8. */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x00004000U
#endif
static int match_ours(const struct mount_entry *entry, void *data)
{
	return entry->dev == *(uint64_t *)data &&
		strcmp(entry->type, MOUNTS_TYPE) == 0;
}

int mounts_have_ours(uint64_t dev)
{
	return mounts_each(match_ours, &dev);
}

struct search {
	const char *point;
	struct mount_id mount;
	bool found, ours;
};

static int match(const struct mount_entry *entry, void *data)
{
	struct search *search = data;

	if (strcmp(entry->point, search->point) == 0) {
		search->found = true;
		search->mount = (struct mount_id){
			.dev = entry->dev, .id = entry->id,
		};
		search->ours = strcmp(entry->type, MOUNTS_TYPE) == 0;
	}
	return 0;
}

int mounts_find(const char *point, uint64_t *ret_dev, bool *ret_ours)
{
	struct search search = { .point = point };
	int err = mounts_each(match, &search);

	if (err)
		return err;
	if (!search.found)
		return 0;
	*ret_dev = search.mount.dev;
	*ret_ours = search.ours;
	return 1;
}

/*
 * Asks which mount the path leads to: for one of the numbers of a mount, or for 0 for
 * its device alone.  With such a mask and without a sync, the kernel answers from what
 * it holds (fs/fuse/dir.c, fuse_update_get_attr()), so no daemon is asked.
 */
static bool look_at(const char *point, unsigned mask, struct statx *ret)
{
	return statx(AT_FDCWD, point, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT |
		     AT_STATX_DONT_SYNC, mask, ret) == 0;
}

/* Whether the path leads to the mount. */
static bool leads_to(const char *point, const struct mount_id *mount)
{
	struct statx stx;

	if (mount->unique)
		return look_at(point, STATX_MNT_ID_UNIQUE, &stx) &&
			stx.stx_mnt_id == mount->unique;
	/* Before Linux 5.8 there is no number at all to be had. */
	return look_at(point, STATX_MNT_ID, &stx) &&
		makedev(stx.stx_dev_major, stx.stx_dev_minor) == mount->dev &&
		(!(stx.stx_mask & STATX_MNT_ID) ||
		 stx.stx_mnt_id == (uint64_t)mount->id);
}

int mounts_identify(const char *point, struct mount_id *ret)
{
	struct search search = { .point = point };
	int err = mounts_each(match, &search);
	struct statx stx;

	if (err)
		return err;
	if (!search.found || !search.ours || !leads_to(point, &search.mount))
		return -ENOENT;
	if (look_at(point, STATX_MNT_ID_UNIQUE, &stx) &&
	    stx.stx_mask & STATX_MNT_ID_UNIQUE)
		search.mount.unique = stx.stx_mnt_id;
	*ret = search.mount;
	return 0;
}

struct locating {
	struct mount_id mount;
	char *point;	/* owned */
};

static int match_id(const struct mount_entry *entry, void *data)
{
	struct locating *locating = data;

	if (entry->dev != locating->mount.dev || entry->id != locating->mount.id)
		return 0;
	locating->point = strdup(entry->point);
	return locating->point ? 1 : -ENOMEM;
}

int mounts_locate(const struct mount_id *mount, char **ret_point)
{
	struct locating locating = { .mount = *mount };
	int found = mounts_each(match_id, &locating);

	if (found < 0)
		return found;
	if (!found)
		return -ENOENT;
	*ret_point = locating.point;
	return leads_to(locating.point, mount) ? 0 : -EBUSY;
}
