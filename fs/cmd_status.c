/*
 * pycachefs status [--json] [MOUNTPOINT...]
 *
 * Asks each mount by a virtual xattr of its root.  A mount that does not answer is
 * shown with the reason.  In JSON, paths and options are escaped (see text.h); people
 * see the bytes.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "cmd.h"
#include "log.h"
#include "mounts.h"
#include "paths.h"
#include "text.h"
#include "usage.h"
#include "util.h"

#define STATUS_NAME "user.pycachefs.status"

/* The mount's own words; NULL with errno set. */
static json_t *ask(const char *mountpoint)
{
	/* Room for growth between the two calls. */
	const size_t spare = 1024;
	ssize_t length = getxattr(mountpoint, STATUS_NAME, NULL, 0);
	json_t *answer;

	if (length < 0)
		return NULL;
	_cleanup_free_ char *text = malloc((size_t)length + spare);
	if (!text)
		return NULL;
	length = getxattr(mountpoint, STATUS_NAME, text, (size_t)length + spare);
	if (length < 0)
		return NULL;
	answer = json_loadb(text, (size_t)length, 0, NULL);
	errno = EPROTO;
	return answer;
}

/* Puts bytes into the object as text. */
static int set_text(json_t *object, const char *key, const char *bytes)
{
	_cleanup_free_ char *escaped = text_escape(bytes);

	return json_object_set_new(object, key, escaped ? json_string(escaped) : NULL) ?
		-ENOMEM : 0;
}

/* @why: it can't be asked; NULL: it is asked. */
static int add_mount(json_t *mounts, const struct mount_entry *entry,
		     const char *why)
{
	json_t *mount = why ? NULL : ask(entry->point);
	int err = 0;

	if (!mount) {
		mount = json_pack("{s:s}", "error", why ? why : strerror(errno));
		err = set_text(mount, "source", entry->origin);
	}
	if (!err)
		err = set_text(mount, "mountpoint", entry->point);
	if (err) {
		json_decref(mount);
		return err;
	}
	return json_array_append_new(mounts, mount) ? -ENOMEM : 0;
}

struct listing {
	json_t *mounts;
	const char *only;	/* the mount at this path; NULL: all */
	bool found;
};

static int add_ours(const struct mount_entry *entry, void *data)
{
	const struct mount_id id = { .dev = entry->dev, .id = entry->id };
	_cleanup_free_ char *point = NULL;
	struct listing *listing = data;
	bool covered;

	if (strcmp(entry->type, MOUNTS_TYPE) != 0 ||
	    (listing->only && strcmp(entry->point, listing->only) != 0))
		return 0;
	covered = mounts_locate(&id, &point) == -EBUSY;
	/* Whoever names a path means what it leads to. */
	if (covered && listing->only)
		return 0;
	listing->found = true;
	return add_mount(listing->mounts, entry,
			 covered ? "something else is mounted on top of it" : NULL);
}

/* Adds those that are named.  Returns how many are none of ours. */
static int add_named(json_t *mounts, char **paths)
{
	int strangers = 0;

	for (; *paths; paths++) {
		_cleanup_free_ char *path = path_resolve(*paths);
		struct listing listing = { .mounts = mounts, .only = path };
		int err = path ? mounts_each(add_ours, &listing) : -errno;

		if (!err && listing.found)
			continue;
		complain("'%s': %s", *paths,
			 err ? strerror(-err) : "not a pycachefs mount");
		strangers++;
	}
	return strangers;
}

static json_int_t number(const json_t *mount, const char *group, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(mount, group), key));
}

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "?";
}

/* Prints the bytes that a text stands for. */
static void print_bytes(const char *before, const char *escaped)
{
	_cleanup_free_ char *bytes = text_unescape(escaped);

	printf("%s%s", before, bytes ? bytes : escaped);
}

/* Bytes in the unit that people would use. */
static const char *readable(json_int_t bytes, char ret[32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(ret, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return ret;
}

static void print_requests(const json_t *requests)
{
	const char *separator = "", *key;
	json_t *value, *copy = json_deep_copy(requests);

	printf("  requests    ");
	json_object_foreach(copy, key, value) {
		if (!json_integer_value(value))
			continue;
		printf("%s%s %lld", separator, key,
		       (long long)json_integer_value(value));
		separator = ", ";
	}
	printf("%s\n", *separator ? "" : "none");
	json_decref(copy);
}

static void print_coherence(const json_t *mount)
{
	const json_t *coherence = json_object_get(mount, "coherence");
	json_int_t unwatched = number(mount, "coherence", "unwatched");

	if (strcmp(text(coherence, "kind"), "watch") != 0) {
		printf("  coherence   time limit of %g s: %s\n",
		       json_number_value(json_object_get(coherence, "seconds")),
		       text(coherence, "reason"));
		return;
	}
	printf("  coherence   changes behind the mount are watched");
	if (unwatched)
		printf(", but not in %lld directories, which have a time limit",
		       (long long)unwatched);
	putchar('\n');
}

static void print_mount(const json_t *mount)
{
	const json_t *store = json_object_get(mount, "store");
	const char *path = json_string_value(json_object_get(store, "path"));
	char used[32], size[32], bytes[32];

	print_bytes("", text(mount, "source"));
	print_bytes(" on ", text(mount, "mountpoint"));
	putchar('\n');
	if (json_object_get(mount, "error")) {
		printf("  error       %s\n", text(mount, "error"));
		return;
	}
	printf("  daemon      pid %lld, version %s, options: ",
	       (long long)json_integer_value(json_object_get(mount, "pid")),
	       text(mount, "version"));
	print_bytes("", *text(mount, "options") ? text(mount, "options") : "none");
	putchar('\n');
	printf("  store       %s of %s, %lld of %lld inodes, %s",
	       readable(number(mount, "store", "used"), used),
	       readable(number(mount, "store", "size"), size),
	       (long long)number(mount, "store", "inodes_used"),
	       (long long)number(mount, "store", "inodes"),
	       text(store, "kind"));
	if (path)
		print_bytes(" ", path);
	putchar('\n');
	printf("  redirected  %lld files, %s\n",
	       (long long)number(mount, "redirected", "files"),
	       readable(number(mount, "redirected", "bytes"), bytes));
	print_coherence(mount);
	printf("  inodes      %lld known, %lld of %lld descriptors open\n",
	       (long long)number(mount, "inodes", "known"),
	       (long long)number(mount, "inodes", "descriptors"),
	       (long long)number(mount, "inodes", "limit"));
	print_requests(json_object_get(mount, "requests"));
}

static void print_all(const json_t *mounts, bool json)
{
	json_t *mount;
	size_t i;

	if (json) {
		json_dumpf(mounts, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	if (!json_array_size(mounts))
		puts("nothing is mounted");
	json_array_foreach(mounts, i, mount)
		print_mount(mount);
}

/* Shows the mounts at @paths, or all when there is none. */
static int show(char **paths, bool json)
{
	json_t *mounts = json_array();
	struct listing all = { .mounts = mounts };
	int failures = 0, err = 0;

	if (*paths)
		failures = add_named(mounts, paths);
	else
		err = mounts_each(add_ours, &all);
	if (err < 0)
		complain("/proc/self/mountinfo: %s", strerror(-err));
	else if (!failures || json_array_size(mounts))
		print_all(mounts, json);
	json_decref(mounts);
	return err || failures ? EXIT_NOT_DONE : EXIT_DONE;
}

int cmd_status(int argc, char **argv)
{
	bool json = false;
	int key;

	while ((key = usage_next(&usage_status, argc, argv)) != -1) {
		if (key == 'h') {
			usage_help(stdout, &usage_status);
			return EXIT_DONE;
		}
		if (key != 'j')
			return EXIT_USAGE;
		json = true;
	}
	return show(argv + optind, json);
}
