/*
 * Requests and their replies: every answer to the kernel leaves from here, and
 * each request is answered once.
 *
 * An operation op_x() begins a request, lets do_x() do the work, which returns 0
 * or negative errno, and replies.
 */
#ifndef PYCACHEFS_REPLY_H
#define PYCACHEFS_REPLY_H

#define FUSE_USE_VERSION 317
#include <fuse_lowlevel.h>

#include "cred.h"
#include "fs.h"
#include "route.h"

struct request {
	fuse_req_t req;
	struct fs *fs;
	enum fs_operation operation;
	uint64_t number;	/* of the inode that it is about */
	const char *name;	/* in that inode, or NULL; borrowed */
	struct inode *inode;	/* a reference; NULL when the number is not known */
	int err;		/* negative errno when it can't be served, else 0 */
	gid_t *groups;		/* owned; see request_caller() */
};

/* Counts the request and makes the thread fit to serve it; see its err. */
struct request request_begin(fuse_req_t req, enum fs_operation operation,
			     uint64_t number, const char *name);
void request_end(struct request *request);
#define _cleanup_request_ __attribute__((cleanup(request_end)))

/* Begins a request as @r, or answers that it can't be served and leaves the
 * function. */
#define BEGIN_REQUEST(r, req, operation, number, name) \
	_cleanup_request_ struct request r = \
		request_begin(req, operation, number, name); \
	if (r.err) { \
		reply_error(&r, r.err); \
		return; \
	}

/*
 * Who asks.  @with_groups: also their supplementary groups, which costs reading
 * them from /proc; they stay valid until the request ends.
 */
struct caller request_caller(struct request *request, bool with_groups);

/*
 * Completes @place, at which route() has found the `__pycache__` of the request's
 * directory; others are left alone.  Returns 0 or negative errno.
 */
int request_whose(struct request *request, struct place *place);

/* Owner, mode or ACL of the request's directory were changed: its `__pycache__`,
 * which shows them, is to be asked for again. */
void reply_tell_shadow(struct request *r);

/*
 * What is called @name in @directory came, changed or went by this request: if it is
 * a module, its bytecode is dropped, and the kernel knows before the answer.
 */
void reply_module_changed(struct request *r, struct inode *directory,
			  const char *name, bool came);

/* The same when a file's content or times were changed. */
void reply_content_changed(struct request *r, struct inode *file);

/* @err is 0 or negative errno. */
void reply_error(struct request *request, int err);

/* An entry whose inode was looked up once; @inode's reference stays the caller's.
 * When the kernel has gone on meanwhile, the lookup is taken back. */
void reply_entry(struct request *request, const struct fuse_entry_param *entry);
void reply_create(struct request *request, const struct fuse_entry_param *entry,
		  const struct fuse_file_info *fi);

void reply_attr(struct request *request, const struct statx *attr);
void reply_statx(struct request *request, const struct statx *attr);
void reply_data(struct request *request, const void *data, size_t size);
void reply_text(struct request *request, const char *text);
void reply_count(struct request *request, size_t count);
void reply_offset(struct request *request, off_t offset);
void reply_statfs(struct request *request, const struct statvfs *fs);

/* The answer to a call that gets an xattr or a list of them: @size 0 asks how long
 * it is, else it must fit (ERANGE). */
void reply_xattr(struct request *request, const void *value, size_t length,
		 size_t size);

#endif
