/*
 * The store: a tmpfs of our own, and what it has in common with a directory of
 * another (depot.c).  What is kept in it is shadow.c's to say.
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
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ledger.h"
#include "log.h"
#include "namespace.h"
#include "origin.h"
#include "trees.h"
#include "util.h"

#define MAKING_PREFIX "m-"

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
	/* Exact atimes tell what was used last: see room.h. */
	fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
		     MOUNT_ATTR_NOEXEC | MOUNT_ATTR_STRICTATIME);
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

int store_set_up(struct store *store, uint64_t size, uint64_t inodes)
{
	if (!inodes)
		inodes = size / 4096 > 1024 ? size / 4096 : 1024;
	store->size = size;
	store->inodes = inodes;
	return getrandom(&store->serial.tag, sizeof(store->serial.tag), 0) < 0 ? -errno : 0;
}

int store_create(struct store *ret, uint64_t size, uint64_t inodes)
{
	struct store store = { .lock = -1 };
	struct stat st;
	int err = store_set_up(&store, size, inodes);

	if (err)
		return err;
	inodes = store.inodes + STORE_OWN_INODES;
	_cleanup_close_ int root = make_tmpfs(size, inodes);
	if (root == -EPERM)
		root = make_tmpfs_in_namespace(size, inodes);
	if (root < 0)
		return root;
	if (mkdirat(root, "empty", 0500) < 0 || fchmodat(root, "empty", 0500, 0) < 0)
		return -errno;
	_cleanup_close_ int empty = openat(root, "empty",
					   O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (empty < 0 || fstat(root, &st) < 0)
		return -errno;
	store.root = steal_fd(&root);
	store.empty = steal_fd(&empty);
	store.dev = st.st_dev;
	*ret = store;
	return 0;
}

void store_destroy(struct store *store)
{
	if (store->leave && store->lock >= 0)
		store->leave(store);
	ledger_close(store->ledger);
	store->ledger = NULL;
	origin_destroy(store->origin);
	store->origin = NULL;
	if (store->empty >= 0)
		close(store->empty);
	if (store->root >= 0)
		close(store->root);
	store->root = store->empty = -1;
}

void store_spare_name(struct store *store, char ret[STORE_SPARE_SIZE])
{
	trees_spare_name(&store->serial, MAKING_PREFIX, ret);
}

bool store_is_passing(const char *name)
{
	return starts_with(name, MAKING_PREFIX) || starts_with(name, TREES_PREFIX);
}

/* Tries again what could not be removed, for want of a descriptor perhaps.  What
 * another daemon removes is left to it. */
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
		if (trees_is_aside(&store->serial, entry->d_name) &&
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

int store_claim(struct store *store, uint64_t bytes, uint64_t inodes)
{
	const struct ledger_sums claim = { bytes, inodes };
	const struct ledger_sums limit = { store->size, store->inodes };

	return !store->ledger || ledger_claim(store->ledger, &claim, &limit)
		? 0 : -ENOSPC;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void store_limit(const struct store *store, struct statvfs *fs)
{
	struct ledger_sums used;
	uint64_t blocks, files;

	if (!store->ledger) {
		/* What the store needs for itself is not what the user has given. */
		fs->f_files -= STORE_OWN_INODES;
		return;
	}
	used = ledger_read(store->ledger);
	blocks = store->size / fs->f_frsize;
	files = store->inodes - smaller(store->inodes, used.inodes);
	used.bytes = smaller(used.bytes / fs->f_frsize, blocks);
	/* A tmpfs without limits says that it has no blocks and no files. */
	fs->f_bfree = fs->f_blocks ? smaller(fs->f_bfree, blocks - used.bytes)
				   : blocks - used.bytes;
	fs->f_ffree = fs->f_files ? smaller(fs->f_ffree, files) : files;
	fs->f_bavail = fs->f_bfree;
	fs->f_favail = fs->f_ffree;
	fs->f_blocks = blocks;
	fs->f_files = store->inodes;
}

/* Counts what lies below a directory; what goes meanwhile does not count. */
static void count(int at, const char *name, int depth, struct store_usage *usage)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	struct stat st;

	if (depth > MAX_COUNT_DEPTH || open_dir_at(at, name, &dir) < 0)
		return;
	while ((entry = readdir(dir))) {
		if (is_dot(entry->d_name))
			continue;
		usage->inodes_used++;
		if (entry->d_type == DT_DIR) {
			count(dirfd(dir), entry->d_name, depth + 1, usage);
		} else if (entry->d_type == DT_REG &&
			   fstatat(dirfd(dir), entry->d_name, &st,
				   AT_SYMLINK_NOFOLLOW) == 0) {
			usage->files++;
			usage->used += (uint64_t)st.st_blocks * 512 / st.st_nlink;
		}
	}
}

void store_count(const struct store *store, const char *name,
		 struct store_usage *usage)
{
	usage->inodes_used++;
	count(store->root, name, 0, usage);
}

/* The same for the whole store.  Its directory may hold what is not ours. */
static int count_all(const struct store *store, struct store_usage *usage)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	int err = open_dir_at(store->root, ".", &dir);

	while (!err && (entry = readdir(dir))) {
		if (!starts_with(entry->d_name, "s-") &&
		    !store_is_passing(entry->d_name))
			continue;
		if (entry->d_type == DT_DIR)
			store_count(store, entry->d_name, usage);
		else
			usage->inodes_used++;
	}
	return err;
}

int store_usage(const struct store *store, struct store_usage *ret)
{
	struct store_usage usage = { .size = store->size, .inodes = store->inodes };
	struct statvfs fs;
	int err = count_all(store, &usage);

	if (err)
		return err;
	if (!store_is_shared(store)) {
		if (fstatvfs(store->root, &fs) < 0)
			return -errno;
		usage.used = (fs.f_blocks - fs.f_bfree) * fs.f_frsize;
		usage.inodes_used = fs.f_files - fs.f_ffree - STORE_OWN_INODES;
	}
	*ret = usage;
	return 0;
}
