/*
 * pycachefs [-f] [-d] [-o OPT,...] SOURCE [MOUNTPOINT]
 *
 * Checks what can be checked before anything is touched, clears a dead mount of
 * ours, goes into the background and runs the session there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "cmd.h"
#include "config.h"
#include "detach.h"
#include "log.h"
#include "mounts.h"
#include "opts.h"
#include "paths.h"
#include "session.h"
#include "util.h"

static void print_help(void)
{
	printf("usage: pycachefs [-f] [-d] [-o OPT,...] SOURCE [MOUNTPOINT]\n"
	       "       pycachefs status [--json] [MOUNTPOINT...]\n"
	       "       pycachefs unmount [--lazy] MOUNTPOINT\n"
	       "       pycachefs --help | --version\n"
	       "\n"
	       "Mounts the directory SOURCE on MOUNTPOINT, or over itself, so that Python's\n"
	       "bytecode goes to memory and SOURCE stays as it is.\n"
	       "\n"
	       "  -f                   stay in the foreground\n"
	       "  -d                   the same, and log every request\n"
	       "\n"
	       "Options for -o, separated by commas:\n");
	opts_help(stdout);
	printf("\nWhat mount(8) and libfuse know is taken too: nosuid, nodev, noexec, ...\n"
	       "SIZE is a number of bytes, or one with K, M, G or T behind it.\n");
}

static int check_device(void)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return 0;
	complain("/dev/fuse: %s; %s", strerror(errno),
		 errno == EACCES || errno == EPERM
		 ? "run as root, or let users have the device (chmod 0666)"
		 : "load the module by 'modprobe fuse', or give the container the device");
	return -errno;
}

/* A directory, by its path. */
static int check_directory(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		complain("'%s': %s", path, strerror(errno));
		return -errno;
	}
	if (!S_ISDIR(st.st_mode)) {
		complain("'%s': %s", path, strerror(ENOTDIR));
		return -ENOTDIR;
	}
	return 0;
}

/* Mounts of ours whose daemons are gone stand in the way: take them away. */
static int clear_dead(const char *path)
{
	struct statfs fs;
	uint64_t dev;
	bool ours = false;
	int err = 0;

	/* Not stat(), which the kernel may answer from its cache. */
	while (!err && statfs(path, &fs) < 0 &&
	       (errno == ENOTCONN || errno == ECONNABORTED) &&
	       mounts_find(path, &dev, &ours) == 1 && ours)
		err = path_unmount(path, true);
	return err;
}

/* Puts the absolute path in the place of the one given. */
static int resolve(char **path)
{
	char *resolved = path_resolve(*path);

	if (!resolved) {
		complain("'%s': %s", *path, strerror(errno));
		return -errno;
	}
	free(*path);
	*path = resolved;
	return clear_dead(resolved);
}

/* Makes both paths absolute; without a mountpoint it is the source. */
static int resolve_paths(struct opts *opts)
{
	int err = resolve(&opts->source);

	if (!err && !opts->mountpoint) {
		opts->mountpoint = strdup(opts->source);
		return opts->mountpoint ? 0 : -ENOMEM;
	}
	return err ? err : resolve(&opts->mountpoint);
}

struct overlap {
	const char *source;
	uint64_t dev;
	bool found;
};

static int match_device(const struct mount_entry *entry, void *data)
{
	struct overlap *overlap = data;

	overlap->found |= entry->dev == overlap->dev &&
		strcmp(entry->type, MOUNTS_TYPE) == 0;
	return 0;
}

static int check_paths(const struct opts *opts)
{
	struct overlap overlap = { .source = opts->source };
	struct stat st;
	uint64_t dev;
	bool ours = false;
	int err = check_directory(opts->source);

	if (!err)
		err = check_directory(opts->mountpoint);
	if (err)
		return err;
	if (stat(opts->source, &st) < 0)
		return -errno;
	overlap.dev = st.st_dev;
	if (mounts_each(match_device, &overlap) == 0 && overlap.found) {
		complain("'%s': lies in a pycachefs mount already; unmount that first",
			 opts->source);
		return -EBUSY;
	}
	if (strcmp(opts->source, opts->mountpoint) != 0 &&
	    path_is_within(opts->mountpoint, opts->source)) {
		complain("'%s': lies inside the source '%s'; mount over the source "
			 "itself, or outside of it", opts->mountpoint, opts->source);
		return -EINVAL;
	}
	if (mounts_find(opts->mountpoint, &dev, &ours) == 1 && ours) {
		complain("'%s': has a pycachefs mount already; unmount that first",
			 opts->mountpoint);
		return -EBUSY;
	}
	return 0;
}

static int on_ready(void *data)
{
	return detach_ready(data);
}

static int mount_and_serve(struct opts *opts)
{
	struct detach detach;
	int status, err = resolve_paths(opts);

	if (!err)
		err = check_paths(opts);
	if (!err)
		err = check_device();
	if (err)
		return EXIT_NOT_DONE;
	if (opts->debug)
		log_set_level(LOG_LEVEL_DEBUG);
	err = detach_start(&detach, opts->foreground, &status);
	if (err > 0)
		return status;
	if (!err && chdir("/") < 0)
		err = -errno;
	if (err) {
		complain("can't go into the background: %s", strerror(-err));
		return EXIT_NOT_DONE;
	}
	return session_run(opts, on_ready, &detach) ? EXIT_NOT_DONE : EXIT_DONE;
}

int cmd_mount(int argc, char **argv)
{
	struct opts opts;
	int status;

	if (opts_parse(&opts, argc, argv)) {
		status = EXIT_USAGE;
	} else if (opts.help) {
		print_help();
		status = EXIT_DONE;
	} else if (opts.version) {
		printf("pycachefs %s\n", PYCACHEFS_VERSION);
		status = EXIT_DONE;
	} else if (!opts.source) {
		complain("usage: pycachefs [-o OPT,...] SOURCE [MOUNTPOINT], "
			 "see pycachefs --help");
		status = EXIT_USAGE;
	} else {
		status = mount_and_serve(&opts);
	}
	opts_clear(&opts);
	return status;
}
