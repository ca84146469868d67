/*
 * Depots: opening, checking and sweeping.  What a store is otherwise is told in
 * store.h.
 */
#include "depot.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "ledger.h"
#include "log.h"
#include "names.h"
#include "shadow.h"
#include "trees.h"
#include "util.h"

/* The first bytes of an X.pyc of CPython 2.7, and of PyPy 2.7. */
static const unsigned char legacy_magics[][4] = {
	{ 0x03, 0xf3, '\r', '\n' }, { 0x0a, 0xf3, '\r', '\n' },
};

static int check(int fd, const char **ret_why)
{
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0) {
		*ret_why = strerror(errno);
		return -errno;
	}
	if (S_ISLNK(st.st_mode))
		*ret_why = "is a symbolic link; give the directory itself";
	else if (!S_ISDIR(st.st_mode))
		*ret_why = "is not a directory";
	else if (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC)
		*ret_why = "is not on a tmpfs; give a directory below /dev/shm or /run";
	else if (st.st_uid != geteuid())
		*ret_why = "belongs to another user; make one of your own";
	else if ((st.st_mode & 0777) != 0700)
		*ret_why = "is open to others, or closed to its owner; close it to "
			"others by 'chmod 700'";
	else
		return 0;
	return -EINVAL;
}

/* Whether @fd lies in the directory @other or is it. */
static bool is_within(int fd, int other)
{
	_cleanup_close_ int at = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	struct stat st, wanted;
	struct stat last = { 0 };

	if (fstat(other, &wanted) < 0)
		return false;
	while (at >= 0 && fstat(at, &st) == 0) {
		int above;

		if (st.st_dev == wanted.st_dev && st.st_ino == wanted.st_ino)
			return true;
		/* ".." of the root is itself. */
		if (st.st_dev == last.st_dev && st.st_ino == last.st_ino)
			return false;
		last = st;
		above = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = above;
	}
	return false;
}

static bool has_stamp(const struct store *store, const struct file_id *id,
		      const char *name)
{
	char module[NAME_SIZE], stamp[NOTE_SIZE];

	for (unsigned i = 0; names_module(name, i, module); i++)
		if (shadow_get_stamp(store, id, module, stamp) == 0)
			return true;
	return false;
}

/* Whether Python 2 has begun to write a file and not come to its end. */
static bool has_no_time(int part, const char *name)
{
	_cleanup_close_ int fd = openat(part, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	unsigned char head[8];

	if (fd < 0 || pread(fd, head, sizeof(head), 0) != sizeof(head))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(legacy_magics); i++)
		if (memcmp(head, legacy_magics[i], sizeof(legacy_magics[i])) == 0)
			return memcmp(head + 4, "\0\0\0\0", 4) == 0;
	return false;
}

static bool is_to_be_swept(const struct store *store, const struct file_id *id,
			   enum shadow_part part, int fd, const char *name)
{
	switch (names_use(name)) {
	case NAME_OTHER:
		return false;
	case NAME_UNFINISHED:
		return true;
	case NAME_CACHED:
		break;
	}
	return !has_stamp(store, id, name) || ends_with(name, "$py.class") ||
		(part == SHADOW_BESIDE && has_no_time(fd, name));
}

static void sweep_part(const struct store *store, const struct file_id *id,
		       enum shadow_part part)
{
	_cleanup_close_ int fd = -1;
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;

	if (shadow_open(store, part, id, &fd) < 0 || dir_reopen(fd, &dir) < 0)
		return;
	while ((entry = readdir(dir)))
		if (!is_dot(entry->d_name) &&
		    is_to_be_swept(store, id, part, fd, entry->d_name))
			(void)unlinkat(fd, entry->d_name, 0);
}

/* A stamp in the making is a symlink; all else are directories. */
static void sweep_passing(struct store *store, const char *name)
{
	if (unlinkat(store->root, name, 0) < 0)
		(void)trees_remove(&store->serial, store->root, name);
}

/* Removes what is half-made; nobody else uses the store. */
static void sweep(struct store *store)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	struct file_id id;

	if (open_dir_at(store->root, ".", &dir) < 0)
		return;
	while ((entry = readdir(dir))) {
		if (store_is_passing(entry->d_name)) {
			sweep_passing(store, entry->d_name);
		} else if (shadow_parse(entry->d_name, &id)) {
			sweep_part(store, &id, SHADOW_CACHE);
			sweep_part(store, &id, SHADOW_BESIDE);
			(void)shadow_tidy(store, &id, false);
		}
	}
}

/* A new ledger begins with what lies in the store. */
static int open_ledger(struct store *store)
{
	struct ledger_sums before;
	struct store_usage usage;
	bool is_new;
	int err;

	ledger_close(store->ledger);
	store->ledger = NULL;
	err = ledger_open(&store->ledger, store->root, &is_new);
	if (err || !is_new)
		return err;
	/* First, so that claims made meanwhile count twice rather than not at all. */
	before = ledger_read(store->ledger);
	err = store_usage(store, &usage);
	if (!err)
		ledger_correct(store->ledger, (int64_t)(usage.used - before.bytes),
			       (int64_t)(usage.inodes_used - before.inodes));
	return err;
}

static int open_empty(struct store *store)
{
	if (mkdirat(store->root, "empty", 0500) < 0 && errno != EEXIST)
		return -errno;
	/* Whatever the umask was. */
	if (fchmodat(store->root, "empty", 0500, 0) < 0)
		return -errno;
	store->empty = openat(store->root, "empty",
			      O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return store->empty < 0 ? -errno : 0;
}

/* Removes what nobody uses: nobody but us. */
static void clear(struct store *store)
{
	sweep(store);
	ledger_remove(store->root);
	(void)unlinkat(store->root, "empty", AT_REMOVEDIR);
}

/*
 * Joins those who use the store; clears it when there are none.  A lock that is ours
 * alone does not become a shared one at one stroke (flock(2)): others may come in
 * between, clear once more and go.  We have written nothing by then, and what is
 * opened afterwards stays.
 */
static int join(struct store *store)
{
	bool alone = flock(store->lock, LOCK_EX | LOCK_NB) == 0;
	int err = 0;

	if (!alone && errno != EWOULDBLOCK)
		return -errno;
	if (alone) {
		clear(store);
		err = open_ledger(store);
	}
	if (!err && flock(store->lock, LOCK_SH) < 0)
		err = -errno;
	if (!err)
		err = open_ledger(store);
	return err ? err : open_empty(store);
}

static void leave(struct store *store)
{
	if (flock(store->lock, LOCK_EX | LOCK_NB) == 0)
		clear(store);
	close(store->lock);
	store->lock = -1;
}

static int open_checked(const char *path, const int *outside, size_t count,
			int *ret_fd, const char **ret_why)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int err = fd < 0 ? -errno : 0;

	if (err == -ENOENT)
		*ret_why = "does not exist; make it by 'mkdir -m 700'";
	else if (err)
		*ret_why = strerror(-err);
	else
		err = check(fd, ret_why);
	for (size_t i = 0; !err && i < count; i++)
		if (is_within(fd, outside[i])) {
			*ret_why = "lies in what is mounted; give one outside of it";
			err = -EINVAL;
		}
	if (!err)
		*ret_fd = steal_fd(&fd);
	return err;
}

int depot_open(struct store *ret, const char *path, uint64_t size, uint64_t inodes,
	       const int *outside, size_t count, const char **ret_why)
{
	struct store store = { .root = -1, .empty = -1, .lock = -1, .path = path };
	struct stat st;
	int err = open_checked(path, outside, count, &store.root, ret_why);

	if (err)
		return err;
	store.leave = leave;
	err = store_set_up(&store, size, inodes);
	if (!err) {
		store.lock = openat(store.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = store.lock < 0 || fstat(store.root, &st) < 0 ? -errno : 0;
	}
	if (!err) {
		store.dev = st.st_dev;
		err = join(&store);
	}
	if (err) {
		*ret_why = strerror(-err);
		store_destroy(&store);
		return err;
	}
	*ret = store;
	return 0;
}
