/*
 * The store: a tmpfs of our own.  What is kept in it is shadow.c's to say.
 *
 * Names in its root: "s-" are shadows, "m-" what is in the making, "x-" trees on their
 * way out.
 */
#include "store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "log.h"
#include "namespace.h"
#include "trees.h"
#include "util.h"

/* Each level costs a descriptor; caches are flat. */
enum { MAX_COUNT_DEPTH = 64 };

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

/*
 * Without the right to mount: a child that shares our descriptors makes the
 * tmpfs in a user namespace of its own, and we keep the descriptor.
 */
static int make_tmpfs_in_namespace(uint64_t size, uint64_t inodes)
{
	int result = -EIO, ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid_t child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL,
				     NULL, NULL);
	if (child == 0) {
		result = namespace_enter_as_user();
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
	if (mkdirat(root, "empty", 0500) < 0 || fchmodat(root, "empty", 0500, 0) < 0)
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

void store_spare_name(struct store *store, char ret[STORE_SPARE_SIZE])
{
	snprintf(ret, STORE_SPARE_SIZE, "m-%" PRIu64,
		 atomic_fetch_add(&store->serial, 1));
}

/* Tries again what could not be removed, for want of a descriptor perhaps. */
static void remove_left_behind(struct store *store)
{
	_cleanup_dir_ DIR *root = NULL;
	struct dirent *entry;

	if (!atomic_exchange(&store->left_behind, false))
		return;
	if (open_dir_at(store->root, ".", &root) < 0) {
		atomic_store(&store->left_behind, true);
		return;
	}
	while ((entry = readdir(root)))
		if (starts_with(entry->d_name, "x-") &&
		    trees_remove(&store->serial, store->root, entry->d_name) < 0)
			atomic_store(&store->left_behind, true);
}

void store_remove(struct store *store, const char *name)
{
	char going[TREES_NAME_SIZE];
	int err;

	remove_left_behind(store);
	/* Out of the way first, so that nobody meets it half removed. */
	err = trees_move_aside(&store->serial, store->root, name, store->root, going);
	if (err == -ENOENT)
		return;
	if (!err)
		err = trees_remove(&store->serial, store->root, going);
	if (!err)
		return;
	atomic_store(&store->left_behind, true);
	log_warning("store: can't remove '%s' yet, its memory stays in use: %s", name,
		    strerror(-err));
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
