/*
 * The watcher: hears of changes made behind the mount.
 *
 * Kernel lore (Linux 6.18 and before):
 * - A mark lies on the directory's inode, so it follows renames, and it holds the
 *   inode in memory whether or not we hold a descriptor.
 * - An event names the directory by file handle, and what has changed in it by
 *   name.  A table leads from the handle to our inode.
 * - Merged events come once; more than 16,384 waiting ones are lost, of which one
 *   overflow event tells.
 * - A first lookup may read old attributes while the file is being changed, and
 *   reach the kernel after the news did, which then found nothing to forget.  So
 *   expire_entry comes first: it waits for the directory's lock, which a lookup in
 *   progress holds, and inval_inode then finds the inode (fs/fuse/dir.c,
 *   fuse_reverse_inval_entry()).
 *
 * Locks: watcher->lock guards the table alone; nothing is called under it.
 */
#include "watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/vfs.h>

#include "bytecode.h"
#include "cred.h"
#include "log.h"
#include "names.h"
#include "route.h"
#include "util.h"

#include <uthash.h>

/* Names that came, went or moved; content; attributes. */
#define NAME_EVENTS (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO)
#define MARK_EVENTS (NAME_EVENTS | FAN_MODIFY | FAN_ATTRIB | FAN_ONDIR | \
		     FAN_EVENT_ON_CHILD)

struct marked {
	uint64_t digest;	/* of filesystem and file handle */
	uint64_t number;	/* of the inode */
	UT_hash_handle hh;
};

struct watcher {
	struct fs *fs;			/* borrowed; does not change, as below */
	struct notifier *notifier;	/* borrowed */
	int fanotify;			/* owned */
	int stop;			/* owned: an eventfd */
	pid_t pid;
	pthread_t thread;
	bool started;
	_Atomic bool warned;		/* of a mark that could not be placed */

	pthread_mutex_t lock;		/* guards all below */
	struct marked *marked;
};

/*
 * Filesystems that hear of all changes, since all are made through this kernel.
 * Any other may be a network's.
 */
static bool is_local(long type)
{
	static const long local[] = {
		EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
		TMPFS_MAGIC, OVERLAYFS_SUPER_MAGIC, SQUASHFS_MAGIC,
		F2FS_SUPER_MAGIC, 0x2fc12fc1 /* zfs */, 0xca451a4e /* bcachefs */,
		EROFS_SUPER_MAGIC_V1, MSDOS_SUPER_MAGIC, EXFAT_SUPER_MAGIC,
		REISERFS_SUPER_MAGIC, ISOFS_SUPER_MAGIC, RAMFS_MAGIC,
	};

	for (size_t i = 0; i < ARRAY_SIZE(local); i++)
		if (local[i] == type)
			return true;
	return false;
}

static uint64_t handle_digest(const void *fsid, const struct file_handle *handle)
{
	uint64_t sum = identity_digest(fsid, sizeof(fsid_t), IDENTITY_SEED);

	sum = identity_digest(&handle->handle_type, sizeof(handle->handle_type), sum);
	return identity_digest(handle->f_handle, handle->handle_bytes, sum);
}

/* The digest under which events will name the directory @fd. */
static int identify_mark(int fd, uint64_t *ret)
{
	union any_handle any;
	struct statfs fs;
	int err;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (!is_local((long)fs.f_type))
		return -EREMOTE;
	err = file_handle_get(fd, "", &any);
	if (err)
		return err;
	*ret = handle_digest(&fs.f_fsid, &any.handle);
	return 0;
}

static int remember(struct watcher *watcher, uint64_t sum, uint64_t number)
{
	struct marked *marked, *known;

	marked = calloc(1, sizeof(*marked));
	if (!marked)
		return -ENOMEM;
	marked->digest = sum;
	marked->number = number;
	pthread_mutex_lock(&watcher->lock);
	HASH_REPLACE(hh, watcher->marked, digest, sizeof(sum), marked, known);
	pthread_mutex_unlock(&watcher->lock);
	free(known);
	return 0;
}

/* Forgets the mark of inode @number, unless it is another's by now. */
static bool forget(struct watcher *watcher, uint64_t sum, uint64_t number)
{
	struct marked *marked;
	bool found;

	pthread_mutex_lock(&watcher->lock);
	HASH_FIND(hh, watcher->marked, &sum, sizeof(sum), marked);
	found = marked && marked->number == number;
	if (found)
		HASH_DEL(watcher->marked, marked);
	pthread_mutex_unlock(&watcher->lock);
	if (found)
		free(marked);
	return found;
}

static int place_mark(struct watcher *watcher, int fd, unsigned flags)
{
	char name[FD_NAME_SIZE];

	return fanotify_mark(watcher->fanotify, flags | FAN_MARK_ONLYDIR, MARK_EVENTS,
			     cred_proc_fd(), fd_name(fd, name)) < 0 ? -errno : 0;
}

static void warn_once(struct watcher *watcher, int err)
{
	if (err == -EREMOTE || atomic_exchange(&watcher->warned, true))
		return;
	log_warning("a directory can't be watched, its names are cached for %g s: %s%s",
		    watcher->fs->timeout, strerror(-err), err == -ENOSPC ?
		    "; raise fs.fanotify.max_user_marks" : "");
}

/* The hook of fs.h: marks a directory that the kernel is about to know. */
static int watch_directory(void *data, struct inode *directory, int fd)
{
	struct watcher *watcher = data;
	uint64_t sum;
	int err = identify_mark(fd, &sum);

	if (!err)
		err = remember(watcher, sum, inode_number(directory));
	if (!err) {
		err = place_mark(watcher, fd, FAN_MARK_ADD);
		if (err)
			forget(watcher, sum, inode_number(directory));
	}
	if (err)
		warn_once(watcher, err);
	return err;
}

/* The inode table's hook: a marked directory is forgotten.  Without a descriptor
 * the mark stays, its events name nobody, and a later lookup finds it placed. */
static void unwatch_directory(void *data, struct inode *directory, int fd)
{
	struct watcher *watcher = data;
	uint64_t sum;

	if (fd >= 0 && identify_mark(fd, &sum) == 0 &&
	    forget(watcher, sum, inode_number(directory)))
		(void)place_mark(watcher, fd, FAN_MARK_REMOVE);
}

static struct inode *find_directory(struct watcher *watcher, uint64_t sum)
{
	struct marked *marked;
	uint64_t number = 0;

	pthread_mutex_lock(&watcher->lock);
	HASH_FIND(hh, watcher->marked, &sum, sizeof(sum), marked);
	if (marked)
		number = marked->number;
	pthread_mutex_unlock(&watcher->lock);
	return number ? inode_get(watcher->fs->inodes, number) : NULL;
}

/* A directory's attributes, and those of its `__pycache__`, which follow them. */
static void directory_changed(struct watcher *watcher, const struct inode *directory)
{
	struct inode *shadow = inode_find(watcher->fs->inodes, INODE_SHADOW,
					  inode_id(directory));

	notify_inode(watcher->notifier, inode_number(directory), false);
	if (shadow)
		notify_inode(watcher->notifier, inode_number(shadow), false);
	/* It may be the user's own from now on, or shared: see fresh_name(). */
	if (!watcher->fs->several_users)
		notify_name(watcher->notifier, inode_number(directory),
			    NAMES_PYCACHE);
	inode_put(watcher->fs->inodes, shadow);
}

/* Whatever bears @name in @directory now, if the kernel knows it. */
static struct inode *find_child(struct watcher *watcher, struct inode *directory,
				const char *name)
{
	_cleanup_handle_ struct handle *handle = NULL;
	struct file_id id;
	struct stat st;

	if (inode_open(watcher->fs->inodes, directory, HANDLE_PATH, &handle) < 0 ||
	    identify(&watcher->fs->devices, handle_fd(handle), name, &st, &id) < 0)
		return NULL;
	return inode_find(watcher->fs->inodes, INODE_SOURCE, &id);
}

static void name_changed(struct watcher *watcher, struct inode *directory,
			 const char *name, uint64_t mask)
{
	struct inode *child;

	bytecode_module_changed(watcher->fs, directory, name, BYTECODE_HEARD |
				(mask & (FAN_CREATE | FAN_MOVED_TO)
				 ? BYTECODE_CAME : 0));
	notify_name(watcher->notifier, inode_number(directory), name);
	child = find_child(watcher, directory, name);
	if (child && inode_type(child) == S_IFDIR)
		directory_changed(watcher, child);
	else if (child)
		notify_inode(watcher->notifier, inode_number(child),
			     mask & (FAN_MODIFY | NAME_EVENTS));
	inode_put(watcher->fs->inodes, child);
}

/* Inodes of the table, to be gone through without its lock. */
struct numbers {
	uint64_t *values;
	size_t count;
};

static void resync_names(struct watcher *watcher, struct inode *directory)
{
	_cleanup_handle_ struct handle *handle = NULL;
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	int fd;

	if (inode_open(watcher->fs->inodes, directory, HANDLE_PATH, &handle) < 0)
		return;
	fd = cred_reopen(handle_fd(handle), O_RDONLY | O_DIRECTORY);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		cleanup_close(&fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (!is_dot(entry->d_name))
			notify_name(watcher->notifier, inode_number(directory),
				    entry->d_name);
}

/*
 * Events were lost: anything may have changed.  Names that the kernel knows to be
 * there are those of the table; names that it knows to be missing, but that are
 * there now, are found by listing.
 */
static void resync_inode(struct watcher *watcher, uint64_t number)
{
	struct inode *inode = inode_get(watcher->fs->inodes, number);
	char name[NAME_SIZE];

	/* Bytecode is asked for again too: its module may have changed. */
	if (inode && inode_kind(inode) != INODE_SHADOW) {
		struct inode *parent = inode_place(watcher->fs->inodes, inode, name);

		if (parent)
			notify_name(watcher->notifier, inode_number(parent), name);
		inode_put(watcher->fs->inodes, parent);
		notify_inode(watcher->notifier, number, true);
		if (inode_type(inode) == S_IFDIR && inode_kind(inode) == INODE_SOURCE) {
			resync_names(watcher, inode);
			directory_changed(watcher, inode);
		}
	}
	inode_put(watcher->fs->inodes, inode);
}

static void resync(struct watcher *watcher)
{
	struct numbers numbers;

	log_info("too many changes at once behind the mount: forgetting all that is cached");
	if (inode_numbers(watcher->fs->inodes, &numbers.values, &numbers.count) < 0) {
		log_error("short of memory: changes behind the mount may go unseen");
		return;
	}
	for (size_t i = 0; i < numbers.count; i++)
		resync_inode(watcher, numbers.values[i]);
	free(numbers.values);
}

/* @rest is what follows the event's head, aligned to 4 bytes. */
static void handle_event(struct watcher *watcher,
			 const struct fanotify_event_metadata *event,
			 const void *rest)
{
	const struct fanotify_event_info_fid *info = rest;
	const struct file_handle *handle = (const void *)info->handle;
	struct inode *directory;
	const char *name;

	if (event->mask & FAN_Q_OVERFLOW) {
		resync(watcher);
		return;
	}
	if (event->pid == watcher->pid ||
	    event->event_len < sizeof(*event) + sizeof(*info) ||
	    (info->hdr.info_type != FAN_EVENT_INFO_TYPE_DFID_NAME &&
	     info->hdr.info_type != FAN_EVENT_INFO_TYPE_DFID))
		return;
	directory = find_directory(watcher, handle_digest(&info->fsid, handle));
	if (!directory)
		return;
	name = info->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID ? "." :
		(const char *)handle->f_handle + handle->handle_bytes;
	if (strcmp(name, ".") == 0)
		directory_changed(watcher, directory);
	else
		name_changed(watcher, directory, name, event->mask);
	inode_put(watcher->fs->inodes, directory);
}

/* Reads what there is.  Returns false when nothing will come any more. */
static bool read_events(struct watcher *watcher)
{
	union {
		uint32_t align;
		char bytes[65536];
	} buffer;
	struct fanotify_event_metadata event;
	ssize_t length = read(watcher->fanotify, buffer.bytes, sizeof(buffer.bytes));

	if (length < 0)
		return errno == EAGAIN || errno == EINTR;
	for (const char *at = buffer.bytes; length >= (ssize_t)sizeof(event);
	     at += event.event_len, length -= event.event_len) {
		/* Lengths are multiples of 4, but the head holds 64 bits. */
		memcpy(&event, at, sizeof(event));
		if (event.event_len < sizeof(event) ||
		    (ssize_t)event.event_len > length)
			break;
		handle_event(watcher, &event, at + sizeof(event));
	}
	return true;
}

static void *hear(void *data)
{
	struct watcher *watcher = data;
	struct pollfd polls[] = {
		{ .fd = watcher->fanotify, .events = POLLIN },
		{ .fd = watcher->stop, .events = POLLIN },
	};

	for (;;) {
		if (poll(polls, ARRAY_SIZE(polls), -1) < 0 && errno != EINTR)
			break;
		if (polls[1].revents)
			return NULL;
		if (polls[0].revents && !read_events(watcher))
			break;
	}
	log_warning("changes behind the mount can't be heard any more, names are "
		    "cached for %g s from now on: %s", watcher->fs->timeout,
		    strerror(errno));
	/* No new promise without a limit, and the old ones taken back. */
	watcher->fs->not_watching = "hearing of changes has failed";
	atomic_store(&watcher->fs->watching, false);
	resync(watcher);
	return NULL;
}

static const char *explain(int err)
{
	switch (err) {
	case -EREMOTE:
		return "the source's filesystem may be changed elsewhere";
	case -EPERM:
	case -EINVAL:
	case -ENOSYS:
		return "the kernel does not let this user watch directories";
	case -ENOSPC:
	case -EMFILE:
		return "the user's limit of watches is used up";
	default:
		return "the source's filesystem can't be watched";
	}
}

int watcher_create(struct watcher **ret, struct fs *fs, const char **ret_why)
{
	struct watcher *watcher = calloc(1, sizeof(*watcher));
	struct inode *root = inode_get(fs->inodes, INODE_ROOT);
	int err = watcher ? 0 : -ENOMEM;

	if (!err) {
		watcher->fs = fs;
		watcher->pid = getpid();
		pthread_mutex_init(&watcher->lock, NULL);
		watcher->stop = eventfd(0, EFD_CLOEXEC);
		watcher->fanotify = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC |
			FAN_NONBLOCK | FAN_REPORT_DFID_NAME |
			(cred_can_switch() ? FAN_UNLIMITED_MARKS : 0), O_RDONLY);
		if (watcher->fanotify < 0 || watcher->stop < 0)
			err = -errno;
	}
	if (!err) {
		/* Why the root can't be watched is said by `status`. */
		atomic_store(&watcher->warned, true);
		err = watch_directory(watcher, root, fs->source.fd);
		atomic_store(&watcher->warned, false);
	}
	if (!err)
		inode_set_watched(root);
	inode_put(fs->inodes, root);
	if (err) {
		*ret_why = explain(err);
		watcher_destroy(watcher);
		return err;
	}
	fs->watcher = watcher;
	fs->watch = watch_directory;
	inode_table_on_free(fs->inodes, unwatch_directory, watcher);
	atomic_store(&fs->watching, true);
	*ret = watcher;
	return 0;
}

int watcher_start(struct watcher *watcher, struct notifier *notifier)
{
	int err;

	watcher->notifier = notifier;
	err = thread_start(&watcher->thread, hear, watcher);
	watcher->started = !err;
	return err;
}

void watcher_stop(struct watcher *watcher)
{
	const uint64_t one = 1;

	if (!watcher || !watcher->started)
		return;
	if (write(watcher->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(watcher->thread, NULL);
	watcher->started = false;
}

void watcher_destroy(struct watcher *watcher)
{
	struct marked *marked, *next;

	if (!watcher)
		return;
	HASH_ITER(hh, watcher->marked, marked, next) {
		HASH_DEL(watcher->marked, marked);
		free(marked);
	}
	cleanup_close(&watcher->fanotify);
	cleanup_close(&watcher->stop);
	pthread_mutex_destroy(&watcher->lock);
	free(watcher);
}
