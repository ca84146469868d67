/*
 * The store that a mount asks for.
 */
#include "stores.h"

#include <fcntl.h>
#include <string.h>

#include "depot.h"
#include "log.h"
#include "origin.h"
#include "util.h"

static int open_depot(struct store *ret, const struct opts *opts, int source)
{
	_cleanup_close_ int mountpoint = open(opts->mountpoint, O_PATH | O_CLOEXEC);
	const int outside[] = { source, mountpoint };
	const char *why;
	int err = depot_open(ret, opts->store, opts->size, opts->inodes, outside,
			     ARRAY_SIZE(outside), &why);

	if (err) {
		complain("store '%s': %s", opts->store, why);
		return err;
	}
	/* Without it, what goes first is what was not used for the longest time. */
	err = origin_create(&ret->origin, source);
	if (err)
		log_warning("store '%s': which directories are gone can't be told: %s",
			    opts->store, strerror(-err));
	return 0;
}

int stores_open(struct store *ret, const struct opts *opts, int source)
{
	int err;

	if (opts->store)
		return open_depot(ret, opts, source);
	err = store_create(ret, opts->size, opts->inodes);
	if (err == -EPERM || err == -EACCES || err == -ENOSYS || err == -ENOSPC)
		complain("store: can't make a private tmpfs: %s; run as root, or allow "
			 "user namespaces (sysctl user.max_user_namespaces, "
			 "kernel.unprivileged_userns_clone), or keep it in a directory "
			 "of a tmpfs (store=DIR)", strerror(-err));
	else if (err)
		complain("store: can't make a private tmpfs: %s", strerror(-err));
	return err;
}
