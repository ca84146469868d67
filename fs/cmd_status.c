/*
 * pycachefs status [--json] [MOUNTPOINT...]
 *
 * Asks each mount by a virtual xattr of its root.  A mount that does not answer is
 * shown with the reason.  In JSON, paths and options are escaped (see text.h); people
 * see the bytes, as far as a terminal is to be given them.
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
#include "table.h"
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
	/* Whoever calls their mount by our type may say anything. */
	if (!json_is_object(answer)) {
		json_decref(answer);
		answer = NULL;
	}
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

/* The same for bytes of which there can't be fewer than none. */
static const char *size(const json_t *mount, const char *group, const char *key,
			char ret[TEXT_SIZE])
{
	return text_size((uint64_t)number(mount, group, key), ret);
}

/* A row of the bytes that a text stands for, which are cut behind @breaks. */
static void row_of_bytes(struct table *table, const char *label, const char *breaks,
			 const char *escaped)
{
	_cleanup_free_ char *bytes = text_unescape(escaped);

	table_row(table, TABLE_PLAIN, label, breaks, bytes ? bytes : escaped);
}

static void row_of_requests(struct table *table, const json_t *requests)
{
	_cleanup_free_ char *line = NULL;
	size_t length;
	const char *separator = ": ", *key;
	json_t *value, *copy = json_deep_copy(requests);
	FILE *out = open_memstream(&line, &length);
	json_int_t sum = 0;

	json_object_foreach(copy, key, value)
		sum += json_integer_value(value);
	if (out)
		fprintf(out, "%lld", (long long)sum);
	json_object_foreach(copy, key, value) {
		if (!json_integer_value(value) || !out)
			continue;
		/* Cut between two of them, not between name and number. */
		fprintf(out, "%s%s=%lld", separator, key,
			(long long)json_integer_value(value));
		separator = " ";
	}
	json_decref(copy);
	if (out && fclose(out) == 0)
		table_row(table, TABLE_PLAIN, "requests", " ", line);
}

static void row_of_coherence(struct table *table, const json_t *mount)
{
	const json_t *coherence = json_object_get(mount, "coherence");
	json_int_t unwatched = number(mount, "coherence", "unwatched");

	if (strcmp(text(coherence, "kind"), "watch") != 0)
		table_words(table, TABLE_CAUTION, "coherence", "time limit of %g s: %s",
			    json_number_value(json_object_get(coherence, "seconds")),
			    text(coherence, "reason"));
	else if (unwatched)
		table_words(table, TABLE_CAUTION, "coherence",
			    "changes behind the mount are watched, but not in %lld "
			    "directories, which have a time limit", (long long)unwatched);
	else
		table_words(table, TABLE_PLAIN, "coherence",
			    "changes behind the mount are watched");
}

static void rows_of_store(struct table *table, const json_t *mount)
{
	const json_t *store = json_object_get(mount, "store");
	const char *path = json_string_value(json_object_get(store, "path"));
	json_int_t evictions = number(mount, "store", "evictions");
	json_int_t files = number(mount, "store", "files");
	char used[TEXT_SIZE], room[TEXT_SIZE];

	table_words(table, TABLE_PLAIN, "store",
		    "%s of %s, %lld file%s, %lld of %lld inodes, %s",
		    size(mount, "store", "used", used), size(mount, "store", "size", room),
		    (long long)files, files == 1 ? "" : "s",
		    (long long)number(mount, "store", "inodes_used"),
		    (long long)number(mount, "store", "inodes"), text(store, "kind"));
	if (path)
		row_of_bytes(table, "", "/", path);
	if (evictions)
		table_words(table, TABLE_CAUTION, "evicted",
			    "%lld to make room; a larger size= keeps more",
			    (long long)evictions);
}

static void show_mount(struct table *table, const json_t *mount)
{
	_cleanup_free_ char *source = text_unescape(text(mount, "source"));
	json_int_t files = number(mount, "redirected", "files");
	json_int_t dropped = json_integer_value(json_object_get(mount, "dropped"));
	char bytes[TEXT_SIZE];

	table_title(table, source ? source : "?");
	if (strcmp(text(mount, "source"), text(mount, "mountpoint")) == 0)
		table_words(table, TABLE_PLAIN, "mounted", "over itself");
	else
		row_of_bytes(table, "mounted on", "/", text(mount, "mountpoint"));
	if (json_object_get(mount, "error")) {
		table_words(table, TABLE_ERROR, "error", "%s", text(mount, "error"));
		return;
	}
	table_words(table, TABLE_PLAIN, "daemon", "pid %lld, version %s",
		    (long long)json_integer_value(json_object_get(mount, "pid")),
		    text(mount, "version"));
	row_of_bytes(table, "options", ",/",
		     *text(mount, "options") ? text(mount, "options") : "none");
	rows_of_store(table, mount);
	table_words(table, TABLE_PLAIN, "redirected", "%lld file%s, %s",
		    (long long)files, files == 1 ? "" : "s",
		    size(mount, "redirected", "bytes", bytes));
	if (dropped)
		table_words(table, TABLE_PLAIN, "dropped",
			    "%lld, since their modules changed", (long long)dropped);
	row_of_coherence(table, mount);
	table_words(table, TABLE_PLAIN, "inodes", "%lld known, %lld of %lld descriptors open",
		    (long long)number(mount, "inodes", "known"),
		    (long long)number(mount, "inodes", "descriptors"),
		    (long long)number(mount, "inodes", "limit"));
	row_of_requests(table, json_object_get(mount, "requests"));
}

static void print_all(const json_t *mounts, bool json)
{
	struct table table;
	json_t *mount;
	size_t i;

	if (json) {
		json_dumpf(mounts, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	if (!json_array_size(mounts))
		puts("nothing is mounted");
	table_begin(&table, stdout);
	json_array_foreach(mounts, i, mount)
		show_mount(&table, mount);
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
