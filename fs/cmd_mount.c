/*
 * pycachefs [-f] [-d] [-o OPT,...] SOURCE [MOUNTPOINT]
 *
 * Checks what can be checked before anything is touched, clears a dead mount of
 * ours, goes into the background and runs the session there.
 */
#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "cmd.h"
#include "config.h"
#include "detach.h"
#include "log.h"
#include "mounts.h"
#include "opts.h"
#include "paths.h"
#include "session.h"
#include "usage.h"
#include "util.h"

static void print_help(void)
{
	usage_help_all(stdout);
	printf("\nOptions for -o, separated by commas:\n");
	opts_help(stdout);
	printf("\nWhat mount(8) and libfuse know is taken too: nosuid, nodev, noexec, ...\n"
	       "SIZE is a number of bytes, or one with K, M, G or T behind it.\n");
}

/* Makes all paths absolute; without a mountpoint it is the source. */
static int resolve_paths(struct opts *opts)
{
	int err = check_resolve_store(&opts->store);

	if (!err)
		err = check_resolve(&opts->source);

	if (!err && !opts->mountpoint) {
		opts->mountpoint = strdup(opts->source);
		return opts->mountpoint ? 0 : -ENOMEM;
	}
	/* mount.fuse3 has mounted already, for a daemon that needs no rights. */
	if (!err && starts_with(opts->mountpoint, "/dev/fd/")) {
		complain("option 'drop_privileges': not for pycachefs, which acts for the "
			 "users of its mount; leave it out");
		return -EINVAL;
	}
	return err ? err : check_resolve(&opts->mountpoint);
}

static int check_paths(const struct opts *opts)
{
	uint64_t dev;
	bool ours = false;
	int err = check_directory(opts->source);

	if (!err)
		err = check_directory(opts->mountpoint);
	if (err)
		return err;
	if (check_is_served(opts->source)) {
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
	const struct session_hooks hooks = {
		.device = -1, .ready = on_ready, .data = &detach,
	};
	int status, err = resolve_paths(opts);

	if (!err)
		err = check_paths(opts);
	if (!err)
		err = check_proc();
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
	return session_run(opts, &hooks) ? EXIT_NOT_DONE : EXIT_DONE;
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
		usage_complain(&usage_mount);
		status = EXIT_USAGE;
	} else {
		status = mount_and_serve(&opts);
	}
	opts_clear(&opts);
	return status;
}
