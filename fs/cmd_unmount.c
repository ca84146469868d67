/*
 * pycachefs unmount [--lazy] MOUNTPOINT
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "log.h"
#include "mounts.h"
#include "paths.h"
#include "usage.h"
#include "util.h"

static int match(const struct mount_entry *entry, void *path)
{
	return strcmp(entry->point, path) == 0 &&
		strcmp(entry->type, MOUNTS_TYPE) == 0;
}

/* Whether a mount of ours lies at @path, where another is the topmost. */
static bool lies_beneath(char *path)
{
	return mounts_each(match, path) == 1;
}

static int unmount(const char *given, bool lazy)
{
	_cleanup_free_ char *path = path_resolve(given);
	uint64_t dev;
	bool ours = false;

	if (!path) {
		complain("'%s': %s", given, strerror(errno));
		return EXIT_NOT_DONE;
	}
	if (mounts_find(path, &dev, &ours) != 1 || !ours) {
		complain("'%s': %s", given, lies_beneath(path) ?
			 "something else is mounted on top of it; unmount that first" :
			 "not a pycachefs mount");
		return EXIT_NOT_DONE;
	}
	return path_unmount(path, lazy) ? EXIT_NOT_DONE : EXIT_DONE;
}

int cmd_unmount(int argc, char **argv)
{
	bool lazy = false;
	int key;

	while ((key = usage_next(&usage_unmount, argc, argv)) != -1) {
		if (key == 'h') {
			usage_help(stdout, &usage_unmount);
			return EXIT_DONE;
		}
		if (key != 'l')
			return EXIT_USAGE;
		lazy = true;
	}
	if (optind != argc - 1) {
		usage_complain(&usage_unmount);
		return EXIT_USAGE;
	}
	return unmount(argv[optind], lazy);
}
