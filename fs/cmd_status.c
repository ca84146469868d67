/*
 * pycachefs status [--json] [MOUNTPOINT...]
 *
 * Asks each mount by a virtual xattr of its root.  A mount that does not answer is
 * shown with the reason.
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

static int add_mount(json_t *mounts, const char *mountpoint, const char *origin)
{
	json_t *mount = ask(mountpoint);

	if (mount)
		json_object_set_new(mount, "mountpoint", json_string(mountpoint));
	else
		mount = json_pack("{s:s, s:s, s:s}", "source", origin,
				  "mountpoint", mountpoint, "error", strerror(errno));
	return json_array_append_new(mounts, mount) ? -ENOMEM : 0;
}

static int add_ours(const struct mount_entry *entry, void *data)
{
	if (strcmp(entry->type, MOUNTS_TYPE) != 0)
		return 0;
	return add_mount(data, entry->point, entry->origin);
}

/* Adds those that are named.  Returns how many are none of ours. */
static int add_named(json_t *mounts, char **paths)
{
	int strangers = 0;

	for (; *paths; paths++) {
		_cleanup_free_ char *path = path_resolve(*paths);
		uint64_t dev;
		bool ours = false;

		if (path && mounts_find(path, &dev, &ours) == 1 && ours) {
			add_mount(mounts, path, *paths);
			continue;
		}
		complain("'%s': %s", *paths,
			 path ? "not a pycachefs mount" : strerror(errno));
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

static void print_mount(const json_t *mount)
{
	const json_t *coherence = json_object_get(mount, "coherence");
	char used[32], size[32], bytes[32];

	printf("%s on %s\n", text(mount, "source"), text(mount, "mountpoint"));
	if (json_object_get(mount, "error")) {
		printf("  error       %s\n", text(mount, "error"));
		return;
	}
	printf("  daemon      pid %lld, version %s, options: %s\n",
	       (long long)json_integer_value(json_object_get(mount, "pid")),
	       text(mount, "version"),
	       *text(mount, "options") ? text(mount, "options") : "none");
	printf("  store       %s of %s, %lld of %lld inodes, %s\n",
	       readable(number(mount, "store", "used"), used),
	       readable(number(mount, "store", "size"), size),
	       (long long)number(mount, "store", "inodes_used"),
	       (long long)number(mount, "store", "inodes"),
	       text(json_object_get(mount, "store"), "kind"));
	printf("  redirected  %lld files, %s\n",
	       (long long)number(mount, "redirected", "files"),
	       readable(number(mount, "redirected", "bytes"), bytes));
	if (strcmp(text(coherence, "kind"), "watch") == 0)
		puts("  coherence   changes behind the mount are watched");
	else
		printf("  coherence   time limit of %g s: %s\n",
		       json_number_value(json_object_get(coherence, "seconds")),
		       text(coherence, "reason"));
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

int cmd_status(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	json_t *mounts = json_array();
	bool json = false;
	int option, failures = 0, err = 0;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option != 'j') {
			complain("option '%s': not known, see pycachefs --help",
				 argv[optind - 1]);
			json_decref(mounts);
			return EXIT_USAGE;
		}
		json = true;
	}
	if (optind < argc)
		failures = add_named(mounts, argv + optind);
	else
		err = mounts_each(add_ours, mounts);
	if (err < 0)
		complain("/proc/self/mountinfo: %s", strerror(-err));
	else if (!failures || json_array_size(mounts))
		print_all(mounts, json);
	json_decref(mounts);
	return err || failures ? EXIT_NOT_DONE : EXIT_DONE;
}
