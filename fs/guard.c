/*
 * The guard of `auto_unmount`.  See guard.h.
 *
 * A pipe leads from the daemon to its guard.  First comes the mount's identity, then
 * a byte when the daemon ends in good order.  The pipe's end without that byte means
 * that it was killed.
 */
#include "guard.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "log.h"
#include "paths.h"
#include "util.h"

static void let_go_of_terminal(void)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	log_use_syslog();
}

/* What ends the daemon must not end its guard, which goes by the pipe alone. */
static void ignore_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_IGN);
}

/* Waits for the daemon's end.  Returns whether it left @ret_mount behind. */
static bool is_left(int pipe, struct mount_id *ret_mount)
{
	ssize_t length;
	char byte;

	/* Written by one call, so read by one; with nobody to handle signals. */
	if (read(pipe, ret_mount, sizeof(*ret_mount)) != sizeof(*ret_mount))
		return false;
	length = read(pipe, &byte, sizeof(byte));
	return length == 0;
}

/* Before Linux 6.8 another may have got its numbers: that one has a daemon. */
static bool is_anothers(const struct mount_id *mount)
{
	_cleanup_free_ char *point = NULL;
	struct statfs fs;

	return !mount->unique && mounts_locate(mount, &point) == 0 &&
		statfs(point, &fs) == 0;
}

int guard_start(struct guard *ret, bool foreground)
{
	struct mount_id mount;
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child == 0) {
		ignore_signals();
		setsid();
		prctl(PR_SET_NAME, "pycachefs-guard");
		close(ends[1]);
		if (!foreground)
			let_go_of_terminal();
		_exit(chdir("/") < 0 ||
		      (is_left(ends[0], &mount) && !is_anothers(&mount) &&
		       path_unmount_only(&mount) < 0));
	}
	int err = child < 0 ? -errno : 0;
	close(ends[0]);
	if (err) {
		close(ends[1]);
		return err;
	}
	*ret = (struct guard){ child, ends[1] };
	return 0;
}

int guard_watch(const struct guard *guard, const struct mount_id *mount)
{
	if (!guard->child)
		return 0;
	return write(guard->pipe, mount, sizeof(*mount)) < 0 ? -errno : 0;
}

void guard_dismiss(struct guard *guard)
{
	if (!guard->child)
		return;
	/* A guard that was killed can't be told, and needs not be. */
	if (write(guard->pipe, "", 1) < 0)
		log_debug("the guard has gone: %s", strerror(errno));
	close(guard->pipe);
	while (waitpid(guard->child, NULL, 0) < 0 && errno == EINTR)
		;
	guard->child = 0;
}
