/*
 * The watcher: hears of changes made behind the mount.
 *
 * Kernel lore (Linux 6.18 and before):
 * - Merged events come once; more than 16,384 waiting ones are lost, of which one
 *   overflow event tells.
 * - A first lookup may read old attributes while the file is being changed, and
 *   reach the kernel after the news did, which then found nothing to forget.  So
 *   expire_entry comes first: it waits for the directory's lock, which a lookup in
 *   progress holds, and inval_inode then finds the inode (fs/fuse/dir.c,
 *   fuse_reverse_inval_entry()).  A lookup that holds no lock is what echoes are for.
 * - /proc/self/mountinfo tells by POLLPRI that mounts came or went.
 *
 * All is done by one thread, which alone uses what has no lock.
 */
#include "watch.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>

#include "below.h"
#include "bytecode.h"
#include "echo.h"
#include "log.h"
#include "marks.h"
#include "mounts.h"
#include "names.h"
#include "orphan.h"
#include "resync.h"
#include "shadow.h"
#include "sweep.h"
#include "util.h"

enum {
	/*
	 * In ms.  Who changes much through the mount makes an event of each change, and
	 * to be woken by each took an eighth of the time in which files are created,
	 * written, renamed and unlinked (Linux 6.18, 2 CPUs).
	 */
	BREATHER = 1,
};

struct watcher {
	/* Do not change while the thread runs. */
	struct fs *fs;			/* borrowed */
	struct notifier *notifier;	/* borrowed */
	struct marks *marks;		/* owned; NULL: a time limit instead */
	int mounts;			/* owned: the list of mounts, or negative */
	int stop;			/* owned: an eventfd */
	pid_t pid;
	pthread_t thread;
	bool started;

	_Atomic bool stopping;
	_Atomic bool warned;		/* of a mark that could not be placed */

	/* The thread's. */
	struct echo *echo;		/* owned, as below */
	struct sweep *sweep;
	uint64_t below;			/* see below_digest() */
	bool lost;			/* events, since the last resync */
	bool foreign;			/* an event that the daemon did not cause */
	uint64_t again;			/* see resync_soon(); in ms, 0: nothing is to do */
	bool all_again;
	bool drop;			/* the descriptors of directories, then */
};

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
	int err = marks_place(watcher->marks, directory, fd);

	if (err)
		warn_once(watcher, err);
	return err;
}

/* The inode table's hook: a marked directory is forgotten.  That may be because it was
 * removed, before anybody here has heard of it. */
static void unwatch_directory(void *data, struct inode *directory, int fd)
{
	struct watcher *watcher = data;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink == 0)
		shadow_drop(&watcher->fs->store, inode_id(directory));
	marks_remove(watcher->marks, directory, fd);
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

/* Once more, in a second: for answers that were on their way, and @all for what could
 * not be done now. */
static void resync_soon(struct watcher *watcher, bool all)
{
	watcher->all_again = watcher->all_again || all;
	watcher->again = milliseconds() + ECHO_SECOND;
}

static void resync(struct watcher *watcher)
{
	bool complete = resync_all(watcher->fs, watcher->notifier);

	watcher->lost = false;
	sweep_want(watcher->sweep);
	resync_soon(watcher, !complete);
}

static void name_changed(struct watcher *watcher, struct inode *directory,
			 const char *name, uint64_t mask)
{
	bool came = mask & (FAN_CREATE | FAN_MOVED_TO);
	struct inode *child;

	bytecode_module_changed(watcher->fs, directory, name,
				BYTECODE_HEARD | (came ? BYTECODE_CAME : 0));
	if (mask & MARKS_NAME_EVENTS)
		orphan_name_heard(watcher->fs, directory, name);
	if (came || mask & MARKS_CONTENT_EVENTS)
		orphan_content_heard(watcher->fs, directory, name);
	notify_name(watcher->notifier, inode_number(directory), name);
	if ((mask & MARKS_NAME_EVENTS) && !echo_add(watcher->echo, directory, name))
		resync_soon(watcher, false);
	if (mask & (FAN_DELETE | FAN_MOVED_TO))
		sweep_want(watcher->sweep);
	child = find_child(watcher, directory, name);
	if (child && inode_type(child) == S_IFDIR)
		directory_changed(watcher, child);
	else if (child)
		notify_inode(watcher->notifier, inode_number(child),
			     mask & (MARKS_CONTENT_EVENTS | MARKS_NAME_EVENTS));
	inode_put(watcher->fs->inodes, child);
}

/* An event of the directory that @info is about, on the name that it holds. */
static void handle_event(struct watcher *watcher, uint64_t mask,
			 const struct fanotify_event_info_fid *info)
{
	const struct file_handle *handle = (const void *)info->handle;
	struct inode *directory = marks_find(watcher->marks, info);
	const char *name = info->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID ? "." :
		(const char *)handle->f_handle + handle->handle_bytes;
	struct file_id id;

	if ((mask & FAN_DELETE_SELF) && marks_forget(watcher->marks, info, &id) &&
	    !directory)
		shadow_drop(&watcher->fs->store, &id);
	if (!directory)
		return;
	if (mask & FAN_DELETE_SELF)
		sweep_removed(watcher->sweep, directory);
	else if (strcmp(name, ".") == 0)
		directory_changed(watcher, directory);
	else
		name_changed(watcher, directory, name, mask);
	inode_put(watcher->fs->inodes, directory);
}

/* @rest is what follows the event's head, aligned to 4 bytes. */
static void take_event(struct watcher *watcher,
		       const struct fanotify_event_metadata *event,
		       const void *rest)
{
	const struct fanotify_event_info_fid *info = rest;

	if (event->mask & FAN_Q_OVERFLOW)
		watcher->lost = watcher->foreign = true;
	/* What the daemon does, it does for the kernel, which knows.  But a directory that
	 * others remove goes when its last descriptor is closed, which may be ours. */
	if (watcher->lost ||
	    (event->pid == watcher->pid && !(event->mask & FAN_DELETE_SELF)) ||
	    event->event_len < sizeof(*event) + sizeof(*info) ||
	    (info->hdr.info_type != FAN_EVENT_INFO_TYPE_DFID_NAME &&
	     info->hdr.info_type != FAN_EVENT_INFO_TYPE_DFID))
		return;
	watcher->foreign = true;
	handle_event(watcher, event->mask, info);
}

/* Takes one read's worth.  Returns 0, 1 when there was nothing, or negative errno
 * when nothing will come any more. */
static int read_events(struct watcher *watcher)
{
	union {
		uint32_t align;
		char bytes[65536];
	} buffer;
	struct fanotify_event_metadata event;
	ssize_t length = read(marks_fd(watcher->marks), buffer.bytes,
			      sizeof(buffer.bytes));

	if (length < 0)
		return errno == EAGAIN || errno == EINTR ? 1 : -errno;
	for (const char *at = buffer.bytes; length >= (ssize_t)sizeof(event);
	     at += event.event_len, length -= event.event_len) {
		/* Lengths are multiples of 4, but the head holds 64 bits. */
		memcpy(&event, at, sizeof(event));
		if (event.event_len < sizeof(event) ||
		    (ssize_t)event.event_len > length)
			return -EPROTO;
		take_event(watcher, &event, at + sizeof(event));
	}
	return 0;
}

/* No new promise without a limit, and the old ones taken back. */
static void fall_back(struct watcher *watcher, int err)
{
	log_warning("changes behind the mount can't be heard any more, names are "
		    "cached for %g s from now on: %s", watcher->fs->timeout,
		    strerror(-err));
	watcher->fs->not_watching = "hearing of changes has failed";
	atomic_store(&watcher->fs->watching, false);
	marks_flush(watcher->marks);
	resync(watcher);
	/* Requests that had found it still watching have been answered by then. */
	resync_soon(watcher, true);
}

static bool is_hearing(const struct watcher *watcher)
{
	return watcher->marks && atomic_load(&watcher->fs->watching);
}

/* Returns whether all was the daemon's own, so that more of that is to be expected. */
static bool hear_changes(struct watcher *watcher)
{
	/* As many as a full queue takes. */
	enum { MAX_READS = 64 };
	int result;

	watcher->foreign = false;
	result = read_events(watcher);
	if (watcher->lost) {
		log_info("too many changes at once behind the mount: forgetting all "
			 "that is cached");
		/* What still waits has happened before the resync as well. */
		for (int i = 0; result == 0 && i < MAX_READS; i++)
			result = read_events(watcher);
		resync(watcher);
	}
	if (result < 0)
		fall_back(watcher, result);
	return result == 0 && !watcher->foreign;
}

static void hear_mounts(struct watcher *watcher)
{
	uint64_t now;
	int err = below_digest(&watcher->fs->source, watcher->mounts, &now);

	if (err) {
		log_warning("the list of mounts can't be read, mounts made below the "
			    "source may go unseen: %s", strerror(-err));
		return;
	}
	if (now == watcher->below)
		return;
	log_info("mounts below the source have changed");
	watcher->below = now;
	resync(watcher);
	/* A directory that is found again may be reached by another mount than its
	 * descriptor was, on which other mounts lie.  Later, since who has opened one
	 * that is covered now shall not find it stale in the middle of listing it. */
	resync_soon(watcher, true);
	watcher->drop = true;
}

/* Does what is due.  Returns in how many milliseconds there is more, or -1. */
static int do_due(struct watcher *watcher)
{
	int echo = echo_send(watcher->echo), sweep = sweep_step(watcher->sweep);
	uint64_t now = milliseconds();
	int soonest = sweep < 0 || (echo >= 0 && echo < sweep) ? echo : sweep;
	int left;

	if (watcher->again && watcher->again <= now) {
		bool all = watcher->all_again;

		watcher->again = 0;
		watcher->all_again = false;
		if (watcher->drop)
			inode_drop_directories(watcher->fs->inodes);
		watcher->drop = false;
		if (!all)
			resync_echo(watcher->fs, watcher->notifier);
		else if (!resync_all(watcher->fs, watcher->notifier))
			resync_soon(watcher, true);
	}
	if (!watcher->again)
		return soonest;
	left = watcher->again > now ? (int)(watcher->again - now) : 0;
	return soonest < 0 || left < soonest ? left : soonest;
}

static void *hear(void *data)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	struct watcher *watcher = data;
	enum { STOP, MOUNTS, CHANGES, COUNT };
	bool pausing = false;

	while (!atomic_load(&watcher->stopping)) {
		int due = do_due(watcher);
		struct pollfd polls[COUNT] = {
			[STOP] = { .fd = watcher->stop, .events = POLLIN },
			[MOUNTS] = { .fd = watcher->mounts, .events = POLLPRI },
			[CHANGES] = { .fd = -1, .events = POLLIN },
		};

		if (pausing)
			due = due < 0 || due > BREATHER ? BREATHER : due;
		else if (is_hearing(watcher))
			polls[CHANGES].fd = marks_fd(watcher->marks);
		if (poll(polls, COUNT, due) < 0 && errno != EINTR) {
			if (is_hearing(watcher))
				fall_back(watcher, -errno);
			nanosleep(&pause, NULL);
			continue;
		}
		pausing = polls[CHANGES].revents && hear_changes(watcher);
		if (polls[MOUNTS].revents)
			hear_mounts(watcher);
	}
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

/* Marks the root, and has every directory marked that comes. */
static int start_marks(struct watcher *watcher)
{
	struct fs *fs = watcher->fs;
	struct inode *root;
	int err = marks_create(&watcher->marks, fs);

	if (err)
		return err;
	root = inode_get(fs->inodes, INODE_ROOT);
	err = marks_place(watcher->marks, root, fs->source.fd);
	if (!err)
		inode_set_watched(root);
	inode_put(fs->inodes, root);
	if (err)
		return err;
	fs->watcher = watcher;
	fs->watch = watch_directory;
	inode_table_on_free(fs->inodes, unwatch_directory, watcher);
	atomic_store(&fs->watching, true);
	return 0;
}

int watcher_create(struct watcher **ret, struct fs *fs, bool marks)
{
	struct watcher *watcher = calloc(1, sizeof(*watcher));
	int err;

	if (!watcher)
		return -ENOMEM;
	watcher->fs = fs;
	watcher->pid = getpid();
	watcher->stop = eventfd(0, EFD_CLOEXEC);
	if (watcher->stop < 0) {
		err = -errno;
		free(watcher);
		return err;
	}
	watcher->mounts = mounts_open();
	if (watcher->mounts >= 0)
		(void)below_digest(&fs->source, watcher->mounts, &watcher->below);
	/* Less is no failure: then there is a time limit. */
	err = marks ? start_marks(watcher) : 0;
	if (err) {
		marks_destroy(watcher->marks);
		watcher->marks = NULL;
		fs->not_watching = explain(err);
	}
	*ret = watcher;
	return 0;
}

int watcher_start(struct watcher *watcher, struct notifier *notifier)
{
	int err;

	watcher->notifier = notifier;
	watcher->echo = echo_create(notifier);
	watcher->sweep = sweep_create(watcher->fs, notifier);
	if (!watcher->echo || !watcher->sweep)
		return -ENOMEM;
	err = thread_start(&watcher->thread, hear, watcher);
	watcher->started = !err;
	return err;
}

void watcher_stop(struct watcher *watcher)
{
	const uint64_t one = 1;

	if (!watcher)
		return;
	/* All marks go with their descriptor. */
	inode_table_on_free(watcher->fs->inodes, NULL, NULL);
	if (!watcher->started)
		return;
	atomic_store(&watcher->stopping, true);
	if (write(watcher->stop, &one, sizeof(one)) != sizeof(one))
		log_warning("the watcher can't be woken: %s", strerror(errno));
	pthread_join(watcher->thread, NULL);
	watcher->started = false;
}

void watcher_destroy(struct watcher *watcher)
{
	if (!watcher)
		return;
	echo_destroy(watcher->echo);
	sweep_destroy(watcher->sweep);
	marks_destroy(watcher->marks);
	cleanup_close(&watcher->mounts);
	cleanup_close(&watcher->stop);
	free(watcher);
}
