/*
 * The fanotify marks of source directories.
 *
 * Kernel lore (Linux 6.18 and before):
 * - A mark lies on the directory's inode, so it follows renames, and it holds the
 *   inode in memory whether or not we hold a descriptor.
 * - The limit of marks counts a user's, over all of that user's processes; root's
 *   daemon has none (FAN_UNLIMITED_MARKS).
 *
 * Lock: marks->lock guards the table, and makes one step of a change to it and the
 * kernel's mark, since a directory that is forgotten may be looked up anew at the
 * same time.  It is held over fanotify_mark(2), which can't wait for us: it follows
 * a link of /proc to an open file of a local filesystem, and sends no request.
 */
#include "marks.h"

#include <pthread.h>
#include <string.h>
#include <sys/vfs.h>

#include "cred.h"
#include "util.h"

/* Short of memory, adding fails instead of ending the process. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(marked) ((marked)->out_of_memory = true)
#include <uthash.h>

#define MARK_EVENTS (MARKS_NAME_EVENTS | MARKS_CONTENT_EVENTS | FAN_ATTRIB | \
		     FAN_DELETE_SELF | FAN_ONDIR | FAN_EVENT_ON_CHILD)

struct marked {
	uint64_t digest;	/* of filesystem and file handle */
	uint64_t number;	/* of the inode */
	struct file_id id;
	UT_hash_handle hh;
	bool out_of_memory;	/* while adding */
};

struct marks {
	struct fs *fs;		/* borrowed; does not change, as below */
	int fanotify;		/* owned */

	pthread_mutex_t lock;	/* guards all below */
	struct marked *table;
};

static uint64_t digest_handle(const void *fsid, const struct file_handle *handle)
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
	if (!type_is_local((long)fs.f_type))
		return -EREMOTE;
	err = file_handle_get(fd, "", &any);
	if (err)
		return err;
	*ret = digest_handle(&fs.f_fsid, &any.handle);
	return 0;
}

static struct marked *find_locked(struct marks *marks, uint64_t digest)
{
	struct marked *marked;

	HASH_FIND(hh, marks->table, &digest, sizeof(digest), marked);
	return marked;
}

static int remember_locked(struct marks *marks, uint64_t digest,
			   const struct inode *directory)
{
	struct marked *marked = find_locked(marks, digest);

	if (marked) {
		marked->number = inode_number(directory);
		return 0;
	}
	marked = calloc(1, sizeof(*marked));
	if (!marked)
		return -ENOMEM;
	marked->digest = digest;
	marked->number = inode_number(directory);
	marked->id = *inode_id(directory);
	HASH_ADD(hh, marks->table, digest, sizeof(digest), marked);
	if (marked->out_of_memory) {
		free(marked);
		return -ENOMEM;
	}
	return 0;
}

static void drop_locked(struct marks *marks, struct marked *marked)
{
	HASH_DEL(marks->table, marked);
	free(marked);
}

/* Forgets the mark of inode @number, unless it is another's by now. */
static bool forget_locked(struct marks *marks, uint64_t digest, uint64_t number)
{
	struct marked *marked = find_locked(marks, digest);

	if (!marked || marked->number != number)
		return false;
	drop_locked(marks, marked);
	return true;
}

static int change_mark(struct marks *marks, int fd, unsigned flags)
{
	char name[FD_NAME_SIZE];

	return fanotify_mark(marks->fanotify, flags | FAN_MARK_ONLYDIR, MARK_EVENTS,
			     cred_proc_fd(), fd_name(fd, name)) < 0 ? -errno : 0;
}

int marks_place(struct marks *marks, const struct inode *directory, int fd)
{
	uint64_t digest;
	int err = identify_mark(fd, &digest);

	if (err)
		return err;
	pthread_mutex_lock(&marks->lock);
	err = remember_locked(marks, digest, directory);
	if (!err) {
		err = change_mark(marks, fd, FAN_MARK_ADD);
		if (err)
			forget_locked(marks, digest, inode_number(directory));
	}
	pthread_mutex_unlock(&marks->lock);
	return err;
}

/* Opens a directory that is about to be freed, if it is still where it was seen. */
static int open_at_place(struct fs *fs, struct inode *directory)
{
	char name[NAME_SIZE];
	struct inode *parent = inode_place(fs->inodes, directory, name);
	_cleanup_handle_ struct handle *handle = NULL;
	_cleanup_close_ int fd = -1;
	struct file_id id;
	struct stat st;
	int err = parent ? inode_open(fs->inodes, parent, HANDLE_PATH, &handle)
			 : -ENOENT;

	inode_put(fs->inodes, parent);
	if (!err)
		err = source_open_child(&fs->source, handle_fd(handle), name, &fd);
	if (!err)
		err = identify(&fs->devices, fd, "", &st, &id);
	if (err || memcmp(&id, inode_id(directory), sizeof(id)) != 0)
		return -1;
	return steal_fd(&fd);
}

void marks_remove(struct marks *marks, struct inode *directory, int fd)
{
	/* A mark that is left behind would hold the directory's inode in memory and
	 * count against the limit. */
	_cleanup_close_ int own = fd < 0 ? open_at_place(marks->fs, directory) : -1;
	uint64_t digest;

	if (fd < 0)
		fd = own;
	if (fd < 0 || identify_mark(fd, &digest) < 0)
		return;
	pthread_mutex_lock(&marks->lock);
	if (forget_locked(marks, digest, inode_number(directory)))
		(void)change_mark(marks, fd, FAN_MARK_REMOVE);
	pthread_mutex_unlock(&marks->lock);
}

void marks_flush(struct marks *marks)
{
	(void)fanotify_mark(marks->fanotify, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
}

static uint64_t digest_info(const struct fanotify_event_info_fid *info)
{
	return digest_handle(&info->fsid, (const void *)info->handle);
}

bool marks_forget(struct marks *marks, const struct fanotify_event_info_fid *info,
		  struct file_id *ret)
{
	struct marked *marked;

	pthread_mutex_lock(&marks->lock);
	marked = find_locked(marks, digest_info(info));
	if (marked) {
		*ret = marked->id;
		drop_locked(marks, marked);
	}
	pthread_mutex_unlock(&marks->lock);
	return marked != NULL;
}

struct inode *marks_find(struct marks *marks,
			 const struct fanotify_event_info_fid *info)
{
	struct marked *marked;
	uint64_t number = 0;

	pthread_mutex_lock(&marks->lock);
	marked = find_locked(marks, digest_info(info));
	if (marked)
		number = marked->number;
	pthread_mutex_unlock(&marks->lock);
	return number ? inode_get(marks->fs->inodes, number) : NULL;
}

int marks_fd(const struct marks *marks)
{
	return marks->fanotify;
}

int marks_create(struct marks **ret, struct fs *fs)
{
	struct marks *marks = calloc(1, sizeof(*marks));
	int err;

	if (!marks)
		return -ENOMEM;
	marks->fs = fs;
	pthread_mutex_init(&marks->lock, NULL);
	marks->fanotify = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK |
		FAN_REPORT_DFID_NAME | (cred_can_switch() ? FAN_UNLIMITED_MARKS : 0),
		O_RDONLY);
	if (marks->fanotify < 0) {
		err = -errno;
		marks_destroy(marks);
		return err;
	}
	*ret = marks;
	return 0;
}

void marks_destroy(struct marks *marks)
{
	struct marked *marked, *next;

	if (!marks)
		return;
	HASH_ITER(hh, marks->table, marked, next)
		drop_locked(marks, marked);
	cleanup_close(&marks->fanotify);
	pthread_mutex_destroy(&marks->lock);
	free(marks);
}
