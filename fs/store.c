/*
 * The store: a tmpfs of our own.  What is kept in it and where it shows is
 * decided in route.c.
 *
 * Locks: none.  Each function is one system call that counts, and the kernel
 * orders those; two makers of one part both succeed.
 */
#include "store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "log.h"
#include "util.h"

#define MODE_AS_SOURCE 01700

enum {
	/* "c-" and three numbers of 16 digits with dots between. */
	PART_NAME_SIZE = 2 + 3 * 17,
	/* Each level costs a descriptor; caches are flat. */
	MAX_COUNT_DEPTH = 64,
};

bool store_follows_source(unsigned mode)
{
	return (mode & 07777 & ~(unsigned)S_ISGID) == MODE_AS_SOURCE;
}

static void part_name(enum store_part part, const struct file_id *id,
		      char ret[PART_NAME_SIZE])
{
	static const char letters[] = {
		[STORE_CACHE] = 'c', [STORE_BESIDE] = 'b', [STORE_ORPHANS] = 'o',
	};

	snprintf(ret, PART_NAME_SIZE, "%c-%" PRIx64 ".%" PRIx64 ".%" PRIx64,
		 letters[part], id->dev, id->ino, id->birth);
}

/* A new tmpfs, mounted nowhere.  Returns its O_PATH descriptor or -errno. */
static int make_tmpfs(uint64_t size, uint64_t inodes)
{
	_cleanup_close_ int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	char bytes[24], files[24];
	int fd;

	if (context < 0)
		return -errno;
	snprintf(bytes, sizeof(bytes), "%" PRIu64, size);
	snprintf(files, sizeof(files), "%" PRIu64, inodes);
	if (fsconfig(context, FSCONFIG_SET_STRING, "size", bytes, 0) < 0 ||
	    fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", files, 0) < 0 ||
	    fsconfig(context, FSCONFIG_SET_STRING, "mode", "0700", 0) < 0)
		return -errno;
	/* Linux 6.4, and only for the first user namespace's root: bytecode is
	 * cheaper to make anew than to read from swap. */
	(void)fsconfig(context, FSCONFIG_SET_FLAG, "noswap", NULL, 0);
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID |
		     MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? -errno : fd;
}

static int write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

/* Enters a user namespace in which we are root over mounts, as ourselves. */
static int enter_namespace(uid_t uid, gid_t gid)
{
	char map[64];
	int err;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -errno;
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	err = write_file("/proc/self/uid_map", map);
	if (!err)
		err = write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	return err ? err : write_file("/proc/self/gid_map", map);
}

/*
 * Without the right to mount: a child that shares our descriptors makes the
 * tmpfs in a user namespace of its own, and we keep the descriptor.
 */
static int make_tmpfs_in_namespace(uint64_t size, uint64_t inodes)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int result = -EIO, ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid_t child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL,
				     NULL, NULL);
	if (child == 0) {
		result = enter_namespace(uid, gid);
		if (!result)
			result = make_tmpfs(size, inodes);
		/* The table is shared: the parent closes the pipe. */
		_exit(write(ends[1], &result, sizeof(result)) != sizeof(result));
	}
	if (child < 0) {
		result = -errno;
	} else {
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		/* Our own end is open too: never wait for what was not written. */
		fcntl(ends[0], F_SETFL, O_NONBLOCK);
		if (read(ends[0], &result, sizeof(result)) != sizeof(result))
			result = -EIO;
	}
	close(ends[0]);
	close(ends[1]);
	return result;
}

int store_create(struct store *ret, uint64_t size, uint64_t inodes)
{
	struct stat st;

	if (!inodes)
		inodes = size / 4096 > 1024 ? size / 4096 : 1024;
	_cleanup_close_ int root = make_tmpfs(size, inodes + STORE_OWN_INODES);
	if (root == -EPERM)
		root = make_tmpfs_in_namespace(size, inodes + STORE_OWN_INODES);
	if (root < 0)
		return root;
	if (mkdirat(root, "empty", 0500) < 0)
		return -errno;
	_cleanup_close_ int empty = openat(root, "empty",
					   O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (empty < 0 || fstat(root, &st) < 0)
		return -errno;
	*ret = (struct store){
		.root = steal_fd(&root),
		.empty = steal_fd(&empty),
		.dev = st.st_dev,
		.size = size,
		.inodes = inodes,
	};
	return 0;
}

void store_destroy(struct store *store)
{
	if (store->empty >= 0)
		close(store->empty);
	if (store->root >= 0)
		close(store->root);
	store->root = store->empty = -1;
}

int store_open_part(const struct store *store, enum store_part part,
		    const struct file_id *id, int *ret_fd)
{
	char name[PART_NAME_SIZE];
	int fd;

	part_name(part, id, name);
	fd = openat(store->root, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/*
 * What is created in the part inherits from it, so it takes from the source's
 * directory what is inherited.  Less than that is no error: a plain user can't
 * give a group away that is not theirs.
 */
static void inherit_from(int model, int store_root, const char *name)
{
	char from[64], to[64 + PART_NAME_SIZE], acl[4096];
	mode_t mode = MODE_AS_SOURCE;
	struct stat st;
	ssize_t size;

	if (fstat(model, &st) < 0)
		return;
	if (fchownat(store_root, name, st.st_uid, st.st_gid, 0) < 0)
		(void)fchownat(store_root, name, (uid_t)-1, st.st_gid, 0);
	mode |= st.st_mode & S_ISGID;
	(void)fchmodat(store_root, name, mode, 0);

	snprintf(from, sizeof(from), "/proc/self/fd/%d", model);
	size = getxattr(from, "system.posix_acl_default", acl, sizeof(acl));
	if (size <= 0)
		return;
	snprintf(to, sizeof(to), "/proc/self/fd/%d/%s", store_root, name);
	(void)setxattr(to, "system.posix_acl_default", acl, (size_t)size, 0);
}

/* A name that nothing in the root of the store has. */
static void spare_name(struct store *store, char ret[PART_NAME_SIZE])
{
	snprintf(ret, PART_NAME_SIZE, "x-%" PRIu64,
		 atomic_fetch_add(&store->serial, 1));
}

int store_make_part(struct store *store, enum store_part part,
		    const struct file_id *id, int model, int *ret_fd)
{
	char name[PART_NAME_SIZE], making[PART_NAME_SIZE];
	int err = store_open_part(store, part, id, ret_fd);

	if (err != -ENOENT)
		return err;
	/* It gets its name when it is whole, so that nobody makes a file in it that
	 * has not inherited. */
	part_name(part, id, name);
	spare_name(store, making);
	if (mkdirat(store->root, making, MODE_AS_SOURCE) < 0)
		return -errno;
	inherit_from(model, store->root, making);
	if (renameat2(store->root, making, store->root, name, RENAME_NOREPLACE) < 0) {
		err = -errno;
		unlinkat(store->root, making, AT_REMOVEDIR);
		if (err != -EEXIST)
			return err;
	}
	return store_open_part(store, part, id, ret_fd);
}

int store_remove_cache(const struct store *store, const struct file_id *id)
{
	char name[PART_NAME_SIZE];

	part_name(STORE_CACHE, id, name);
	if (unlinkat(store->root, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static void drop_part(struct store *store, const char *name)
{
	char going[PART_NAME_SIZE];
	int err;

	/* Out of the way first, so that nobody meets it half removed. */
	spare_name(store, going);
	if (renameat(store->root, name, store->root, going) < 0) {
		err = -errno;
		if (err != -ENOENT)
			log_warning("store: can't drop '%s': %s", name, strerror(-err));
		return;
	}
	err = remove_tree_at(store->root, going);
	if (err)
		log_warning("store: can't remove '%s', its memory stays in use: %s",
			    going, strerror(-err));
}

void store_drop(struct store *store, const struct file_id *id)
{
	static const enum store_part parts[] = {
		STORE_CACHE, STORE_BESIDE, STORE_ORPHANS
	};
	char name[PART_NAME_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		part_name(parts[i], id, name);
		drop_part(store, name);
	}
}

int store_mark(struct store *store, const struct file_id *id, int model,
	       const char *name)
{
	_cleanup_close_ int part = -1;
	int err = store_make_part(store, STORE_ORPHANS, id, model, &part);

	if (err)
		return err;
	if (mknodat(part, name, S_IFREG | 0600, 0) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

bool store_is_marked(const struct store *store, const struct file_id *id,
		     const char *name)
{
	_cleanup_close_ int part = -1;
	struct stat st;

	return store_open_part(store, STORE_ORPHANS, id, &part) == 0 &&
		fstatat(part, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

void store_unmark(const struct store *store, const struct file_id *id,
		  const char *name)
{
	_cleanup_close_ int part = -1;

	if (store_open_part(store, STORE_ORPHANS, id, &part) == 0)
		(void)unlinkat(part, name, 0);
}

/* Counts the regular files below a directory; what goes meanwhile does not count. */
static void count_files(int at, const char *name, int depth, uint64_t *count)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;

	if (depth > MAX_COUNT_DEPTH || open_dir_at(at, name, &dir) < 0)
		return;
	while ((entry = readdir(dir))) {
		if (entry->d_type == DT_REG)
			++*count;
		else if (entry->d_type == DT_DIR && !is_dot(entry->d_name))
			count_files(dirfd(dir), entry->d_name, depth + 1, count);
	}
}

int store_usage(const struct store *store, struct store_usage *ret)
{
	struct statvfs fs;

	if (fstatvfs(store->root, &fs) < 0)
		return -errno;
	*ret = (struct store_usage){
		.size = store->size,
		.used = (fs.f_blocks - fs.f_bfree) * fs.f_frsize,
		.inodes = store->inodes,
		.inodes_used = fs.f_files - fs.f_ffree - STORE_OWN_INODES,
	};
	count_files(store->root, ".", 0, &ret->files);
	return 0;
}
