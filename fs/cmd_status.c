/*
 * pycachefs status [--json] [MOUNTPOINT...]
 *
 * Asks all mounts at once, or those that are named one after the other, each by a virtual
 * xattr of its root.  One that does not answer is shown with the reason, and keeps none of
 * the others from being shown.  In JSON, paths and options are escaped (see text.h); people
 * see the bytes, as far as a terminal is to be given them.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "cmd.h"
#include "inquiry.h"
#include "log.h"
#include "mounts.h"
#include "paths.h"
#include "table.h"
#include "text.h"
#include "usage.h"
#include "util.h"

#define STATUS_NAME "user.pycachefs.status"

/* How long a mount may take to answer. */
enum { PATIENCE_MILLISECONDS = 5000 };

/* The mount's own words; -EBUSY when something else is mounted on top of it. */
static int ask(const void *data, char **ret)
{
	const struct mount_entry *entry = data;
	const struct mount_id id = { .dev = entry->dev, .id = entry->id };
	_cleanup_free_ char *point = NULL, *answer = calloc(1, XATTR_SIZE_MAX + 1);

	if (!answer)
		return -ENOMEM;
	if (mounts_locate(&id, &point) == -EBUSY)
		return -EBUSY;
	if (getxattr(entry->point, STATUS_NAME, answer, XATTR_SIZE_MAX) < 0)
		return -errno;
	*ret = answer;
	answer = NULL;
	return 0;
}

/* The same for where a path leads: it may lead through a mount. */
static int ask_path(const void *path, char **ret)
{
	*ret = path_resolve(path);
	return *ret ? 0 : -errno;
}

static const char *reason(int err)
{
	return err == -ETIMEDOUT ? "no answer from the daemon" :
		err == -EBUSY ? "something else is mounted on top of it" :
		strerror(-err);
}

/* Puts bytes into the object as text. */
static int set_text(json_t *object, const char *key, const char *bytes)
{
	_cleanup_free_ char *escaped = text_escape(bytes);

	return json_object_set_new(object, key, escaped ? json_string(escaped) : NULL) ?
		-ENOMEM : 0;
}

/* A mount that is being asked. */
struct asked {
	json_t *known;		/* owned: what can be said without its answer */
	struct inquiry inquiry;
	int err;		/* why it could not be asked */
};

struct listing {
	const char *only;	/* the mount at this path; NULL: all */
	struct asked *asked;	/* owned */
	size_t count;
};

static int ask_ours(const struct mount_entry *entry, void *data)
{
	struct listing *listing = data;
	struct asked *asked;
	int err;

	if (strcmp(entry->type, MOUNTS_TYPE) != 0 ||
	    (listing->only && strcmp(entry->point, listing->only) != 0))
		return 0;
	asked = reallocarray(listing->asked, listing->count + 1, sizeof(*asked));
	if (!asked)
		return -ENOMEM;
	listing->asked = asked;
	asked += listing->count++;
	asked->known = json_object();
	asked->err = inquiry_begin(&asked->inquiry, ask, entry);
	err = set_text(asked->known, "source", entry->origin);
	return err ? err : set_text(asked->known, "mountpoint", entry->point);
}

/* What is shown of a mount; @err: why there is no answer. */
static json_t *describe(const struct asked *asked, int err, const char *answer)
{
	json_t *mount = err ? NULL : json_loads(answer, 0, NULL);

	if (json_is_object(mount)) {
		json_object_set(mount, "mountpoint",
				json_object_get(asked->known, "mountpoint"));
		return mount;
	}
	json_decref(mount);
	/* Whoever calls their mount by our type may say anything. */
	json_object_set_new(asked->known, "error",
			    json_string(reason(err ? err : -EPROTO)));
	return json_incref(asked->known);
}

/* Whether that is of the asking, and says nothing of the mount. */
static bool is_unheard(int err)
{
	return err == -ETIMEDOUT || err == -EINTR || err == -ENOMEM;
}

/* Adds what the mounts have answered until @due.  Returns of how many it is not known how
 * they are: one that is dead, or covered by another, is. */
static int gather(struct listing *listing, uint64_t due, json_t *mounts)
{
	int silent = 0;

	for (size_t i = 0; i < listing->count; i++) {
		struct asked *asked = &listing->asked[i];
		_cleanup_free_ char *answer = NULL;
		int err = asked->err ? asked->err :
			inquiry_end(&asked->inquiry, due, &answer);

		silent += asked->err || is_unheard(err);
		/* Whoever names a path means what it leads to. */
		if (err != -EBUSY || !listing->only)
			json_array_append_new(mounts, describe(asked, err, answer));
		json_decref(asked->known);
	}
	free(listing->asked);
	return silent;
}

/* Adds the mount at @given.  Returns whether it is there, and known how it is. */
static bool add_named(json_t *mounts, const char *given)
{
	const uint64_t due = milliseconds() + PATIENCE_MILLISECONDS;
	size_t before = json_array_size(mounts);
	_cleanup_free_ char *path = NULL;
	struct listing listing = { 0 };
	struct inquiry inquiry;
	int silent, err = inquiry_begin(&inquiry, ask_path, given);

	if (!err)
		err = inquiry_end(&inquiry, due, &path);
	listing.only = path;
	if (!err)
		err = mounts_each(ask_ours, &listing);
	silent = gather(&listing, due, mounts);
	if (!err && json_array_size(mounts) > before)
		return !silent;
	complain("'%s': %s", given, err ? reason(err) : "not a pycachefs mount");
	return false;
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

/* Adds all there are.  Returns whether it is known how they all are. */
static bool add_all(json_t *mounts)
{
	const uint64_t due = milliseconds() + PATIENCE_MILLISECONDS;
	struct listing listing = { 0 };
	int err = mounts_each(ask_ours, &listing);
	int silent = gather(&listing, due, mounts);

	if (err)
		complain("/proc/self/mountinfo: %s", strerror(-err));
	return !err && !silent;
}

/* Shows the mounts at @paths, or all when there is none. */
static int show(char **paths, bool json)
{
	json_t *mounts = json_array();
	bool done = *paths || add_all(mounts);

	for (; *paths; paths++)
		done &= add_named(mounts, *paths);
	if (done || json_array_size(mounts))
		print_all(mounts, json);
	json_decref(mounts);
	return done ? EXIT_DONE : EXIT_NOT_DONE;
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
