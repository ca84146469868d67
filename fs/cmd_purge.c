/*
 * pycachefs purge PATH...
 *
 * Asks the mount in which each path lies by a virtual xattr of a directory: the path's
 * own, or for a module the one that holds it.
 */
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "cmd.h"
#include "log.h"
#include "mounts.h"
#include "names.h"
#include "usage.h"
#include "util.h"

#define PURGE_NAME "user.pycachefs.purge"

static int refuse(const char *path, const char *why)
{
	complain("'%s': %s", path, why);
	return -EINVAL;
}

/* Has @module purged, or when it is "" all below the directory @fd. */
static int ask(int fd, const char *module, const char *path)
{
	char name[64];
	struct stat st;

	/* Elsewhere it would be an xattr like any other. */
	if (fstat(fd, &st) < 0)
		return refuse(path, strerror(errno));
	if (mounts_have_ours(st.st_dev) != 1)
		return refuse(path, "not in a pycachefs mount");
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	if (setxattr(name, PURGE_NAME, module, strlen(module), 0) < 0)
		return refuse(path, errno == ENOTDIR ?
			      "kept by a program itself, not a directory of the source" :
			      strerror(errno));
	/* Until the kernel has heard of it too. */
	while (getxattr(name, PURGE_NAME, NULL, 0) < 0 && errno == EAGAIN)
		;
	return 0;
}

static int purge_file(const char *path)
{
	_cleanup_free_ char *copy = strdup(path), *copy2 = strdup(path);
	_cleanup_close_ int fd = -1;
	const char *name;
	struct stat st;

	if (!copy || !copy2 || lstat(path, &st) < 0)
		return refuse(path, strerror(errno));
	name = basename(copy);
	if (!names_is_module(name))
		return refuse(path, "neither a directory nor a module such as X.py");
	fd = open(dirname(copy2), O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? refuse(path, strerror(errno)) : ask(fd, name, path);
}

static int purge(const char *path)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		return ask(fd, "", path);
	return errno == ENOTDIR ? purge_file(path) : refuse(path, strerror(errno));
}

int cmd_purge(int argc, char **argv)
{
	int key, failures = 0;

	while ((key = usage_next(&usage_purge, argc, argv)) != -1) {
		if (key != 'h')
			return EXIT_USAGE;
		usage_help(stdout, &usage_purge);
		return EXIT_DONE;
	}
	if (optind == argc) {
		usage_complain(&usage_purge);
		return EXIT_USAGE;
	}
	for (; optind < argc; optind++)
		failures += purge(argv[optind]) < 0;
	return failures ? EXIT_NOT_DONE : EXIT_DONE;
}
