/*
 * The figures of a mount as JSON.  Each module gives its own; they are gathered
 * here and nowhere else, so the keys stay what they are.
 */
#include "status.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "text.h"
#include "util.h"

static json_t *describe_store(struct fs *fs)
{
	struct store_usage usage = { 0 };
	_cleanup_free_ char *path = fs->store.path ? text_escape(fs->store.path) : NULL;

	if (store_usage(&fs->store, &usage) < 0)
		return json_null();
	/* "s*" leaves out what is NULL. */
	return json_pack("{s:s, s:s*, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "kind", fs->store.path ? "directory" : "private tmpfs",
			 "path", path,
			 "size", (json_int_t)usage.size,
			 "used", (json_int_t)usage.used,
			 "inodes", (json_int_t)usage.inodes,
			 "inodes_used", (json_int_t)usage.inodes_used,
			 "files", (json_int_t)usage.files,
			 "evictions", (json_int_t)atomic_load(&fs->figures.evictions));
}

/* Directories that the kernel knows and we could not mark. */
static json_int_t count_unwatched(struct fs *fs)
{
	struct inode *inode;
	json_int_t count = 0;

	for (uint32_t at = 0; (inode = inode_next(fs->inodes, &at)); ) {
		count += inode_kind(inode) == INODE_SOURCE &&
			inode_type(inode) == S_IFDIR && !inode_is_watched(inode);
		inode_put(fs->inodes, inode);
	}
	return count;
}

static json_t *describe_coherence(struct fs *fs)
{
	if (atomic_load(&fs->watching))
		return json_pack("{s:s, s:I}", "kind", "watch",
				 "unwatched", count_unwatched(fs));
	return json_pack("{s:s, s:f, s:s}",
			 "kind", "timeout",
			 "seconds", fs->timeout,
			 "reason", fs->not_watching);
}

static json_t *describe_inodes(struct fs *fs)
{
	struct inode_figures figures;

	inode_table_figures(fs->inodes, &figures);
	return json_pack("{s:I, s:I, s:I}",
			 "known", (json_int_t)figures.known,
			 "descriptors", (json_int_t)figures.descriptors,
			 "limit", (json_int_t)figures.limit);
}

static json_t *describe_requests(struct fs *fs)
{
	static const char *const names[] = {
#define X(upper, lower) [FS_##upper] = #lower,
		FS_OPERATIONS(X)
#undef X
	};
	json_t *requests = json_object();

	for (int i = 0; i < FS_OPERATION_COUNT; i++)
		json_object_set_new(requests, names[i], json_integer((json_int_t)
			atomic_load(&fs->figures.requests[i])));
	return requests;
}

char *status_describe(struct fs *fs)
{
	const struct opts *opts = fs->opts;
	_cleanup_free_ char *source = text_escape(opts->source);
	_cleanup_free_ char *mountpoint = text_escape(opts->mountpoint);
	_cleanup_free_ char *words = text_escape(opts->words ? opts->words : "");
	if (!source || !mountpoint || !words)
		return NULL;
	json_t *root = json_pack(
		"{s:s, s:s, s:i, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:{s:I, s:I}, s:I, s:I}",
		"source", source,
		"mountpoint", mountpoint,
		"pid", (int)getpid(),
		"version", PYCACHEFS_VERSION,
		"options", words,
		"coherence", describe_coherence(fs),
		"io", "cached",
		"store", describe_store(fs),
		"inodes", describe_inodes(fs),
		"requests", describe_requests(fs),
		"redirected",
			"files", (json_int_t)atomic_load(&fs->figures.redirected_files),
			"bytes", (json_int_t)atomic_load(&fs->figures.redirected_bytes),
		"dropped", (json_int_t)atomic_load(&fs->figures.dropped),
		"invalidations", (json_int_t)atomic_load(&fs->figures.invalidations));
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;

	json_decref(root);
	return text;
}
