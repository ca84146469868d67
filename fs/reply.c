/*
 * Requests and their replies.
 */
#include "reply.h"

#include <string.h>

#include "bytecode.h"
#include "config.h"
#include "fresh.h"
#include "inode_names.h"
#include "log.h"
#include "names.h"
#include "sharing.h"

static const char *const operation_names[] = {
#define X(upper, lower) [FS_##upper] = #lower,
	FS_OPERATIONS(X)
#undef X
};

struct request request_begin(fuse_req_t req, enum fs_operation operation,
			     uint64_t number, const char *name)
{
	struct fs *fs = fuse_req_userdata(req);
	struct request request = {
		.req = req,
		.fs = fs,
		.operation = operation,
		.number = number,
		.name = name,
		.inode = inode_get(fs->inodes, number),
		.err = cred_thread_init(),
	};

	atomic_fetch_add_explicit(&fs->figures.requests[operation], 1,
				  memory_order_relaxed);
	if (request.err)
		log_error("a thread can't have a umask and a directory of its own: %s",
			  strerror(-request.err));
	else if (!request.inode)
		request.err = -ESTALE;
	return request;
}

void request_end(struct request *request)
{
	inode_put(request->fs->inodes, request->inode);
	free(request->groups);
}

/* A line for each request, put together only when it is wanted. */
static void trace(const struct request *request, int err)
{
	if (!log_wants(LOG_LEVEL_DEBUG))
		return;
	log_debug("%s %llu%s%s%s: %s", operation_names[request->operation],
		  (unsigned long long)request->number,
		  request->name ? " '" : "", request->name ? request->name : "",
		  request->name ? "'" : "", err ? strerror(-err) : "done");
}

struct caller request_caller(struct request *request, bool with_groups)
{
	const struct fuse_ctx *context = fuse_req_ctx(request->req);
	struct caller caller = {
		.uid = context->uid,
		.gid = context->gid,
		.umask = context->umask,
	};

	if (with_groups && cred_can_switch() && caller.uid != 0) {
		int count = fuse_req_getgroups(request->req, 0, NULL);

		free(request->groups);
		request->groups = calloc((size_t)(count > 0 ? count : 0) + 1,
					 sizeof(gid_t));
		if (request->groups && count > 0)
			count = fuse_req_getgroups(request->req, count,
						   request->groups);
		/* Who has ended meanwhile has no groups left to count. */
		caller.groups = request->groups;
		caller.group_count = count > 0 ? count : 0;
	}
	return caller;
}

int request_whose(struct request *request, struct place *place)
{
	struct caller caller;
	int err;

	if (place->kind != INODE_SHADOW)
		return 0;
	caller = request_caller(request, false);
	err = sharing_whose(request->fs, request->inode, &caller, &place->user);
	if (err == -EAGAIN) {
		caller = request_caller(request, true);
		err = sharing_whose(request->fs, request->inode, &caller,
				    &place->user);
	}
	place->group = caller.gid;
	/* Short of memory for the groups. */
	return err == -EAGAIN ? -ENOMEM : err;
}

void reply_error(struct request *request, int err)
{
	trace(request, err);
	fuse_reply_err(request->req, -err);
}

/* An interrupted request: the kernel did not take the entry (-ENOENT). */
static void entry_sent(struct request *request,
		       const struct fuse_entry_param *entry, int result)
{
	if (result < 0 && entry->ino)
		inode_forget(request->fs->inodes, entry->ino, 1);
}

void reply_entry(struct request *request, const struct fuse_entry_param *entry)
{
	trace(request, entry->ino ? 0 : -ENOENT);
	entry_sent(request, entry, fuse_reply_entry(request->req, entry));
}

void reply_create(struct request *request, const struct fuse_entry_param *entry,
		  const struct fuse_file_info *fi)
{
	trace(request, 0);
	entry_sent(request, entry, fuse_reply_create(request->req, entry, fi));
}

void reply_attr(struct request *request, const struct statx *attr)
{
	struct stat st;

	trace(request, 0);
	stat_from_statx(attr, &st);
	fresh_pages(request->fs, request->inode, &st);
	fuse_reply_attr(request->req, &st, fresh_attr(request->fs, request->inode));
}

void reply_statx(struct request *request, const struct statx *attr)
{
	trace(request, 0);
#if HAVE_FUSE_318
	struct statx copy = *attr;
	struct stat st;

	stat_from_statx(attr, &st);
	fresh_pages(request->fs, request->inode, &st);
	fuse_reply_statx(request->req, 0, &copy,
			 fresh_attr(request->fs, request->inode));
#else
	(void)attr;
	fuse_reply_err(request->req, ENOSYS);
#endif
}

void reply_data(struct request *request, const void *data, size_t size)
{
	trace(request, 0);
	fuse_reply_buf(request->req, data, size);
}

void reply_text(struct request *request, const char *text)
{
	trace(request, 0);
	fuse_reply_readlink(request->req, text);
}

void reply_count(struct request *request, size_t count)
{
	trace(request, 0);
	fuse_reply_write(request->req, count);
}

void reply_offset(struct request *request, off_t offset)
{
	trace(request, 0);
	fuse_reply_lseek(request->req, offset);
}

void reply_statfs(struct request *request, const struct statvfs *fs)
{
	trace(request, 0);
	fuse_reply_statfs(request->req, fs);
}

void reply_xattr(struct request *request, const void *value, size_t length,
		 size_t size)
{
	if (size && length > size) {
		reply_error(request, -ERANGE);
		return;
	}
	trace(request, 0);
	if (size)
		fuse_reply_buf(request->req, value, length);
	else
		fuse_reply_xattr(request->req, length);
}

void reply_tell_shadow(struct request *r)
{
	struct inode *shadow = inode_kind(r->inode) == INODE_SOURCE
		? inode_find(r->fs->inodes, INODE_SHADOW, inode_id(r->inode)) : NULL;

	if (shadow)
		r->fs->attr_changed(r->fs->notifier, inode_number(shadow));
	inode_put(r->fs->inodes, shadow);
	/* It may be the user's own from now on, or shared: see fresh_name(). */
	if (inode_kind(r->inode) == INODE_SOURCE && !r->fs->several_users)
		r->fs->name_gone(r->fs->notifier, inode_number(r->inode),
				 NAMES_PYCACHE);
}

void reply_module_changed(struct request *r, struct inode *directory,
			  const char *name, bool came)
{
	if (bytecode_module_changed(r->fs, directory, name,
				    came ? BYTECODE_CAME : 0))
		r->fs->words_sent(r->fs->notifier);
}

static void change_name(void *r, struct inode *directory, const char *name)
{
	reply_module_changed(r, directory, name, false);
}

void reply_content_changed(struct request *r, struct inode *file)
{
	if (inode_kind(file) == INODE_SOURCE)
		inode_each_name(r->fs->inodes, file, change_name, r);
}
