/*
 * Private namespaces.  A user namespace gives its maker every capability over what
 * it holds, such as the mounts of a mount namespace made with it, and none outside.
 * They are gone when the process executes a program, unless that runs as uid 0
 * (capabilities(7)), so a command started here can't undo what was mounted.
 */
#include "namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "log.h"
#include "util.h"

static int write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

/*
 * A new user namespace comes with all capabilities in the bounding set.  What the
 * caller took out of it, no program run from here on is to gain.
 */
static int unshare_bounded(void)
{
	uint64_t bounding = 0;
	unsigned long last = 0;

	for (int has; last < 64 && (has = prctl(PR_CAPBSET_READ, last)) >= 0; last++)
		bounding |= (uint64_t)has << last;
	/* The kernel makes every shared mount of the copy a slave: a copy with
	 * another owner never tells the original (copy_mnt_ns()). */
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -errno;
	for (unsigned long cap = 0; cap < last; cap++)
		if (!(bounding >> cap & 1) && prctl(PR_CAPBSET_DROP, cap) < 0)
			return -errno;
	return 0;
}

int namespace_enter_as_user(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];
	int err = unshare_bounded();

	if (err)
		return err;
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	err = write_file("/proc/self/uid_map", map);
	if (!err)
		err = write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	return err ? err : write_file("/proc/self/gid_map", map);
}

/*
 * Nothing that is mounted from here on is told to others.  In a user namespace that
 * is so already, but the call shows whether mount(2) may be used at all: else libfuse
 * would try fusermount3, which can do nothing here and complains of something else.
 */
static int make_private(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0)
		return 0;
	int err = -errno;
	complain("can't make the mounts private: %s; %s", strerror(-err), err == -EINVAL ?
		 "'/' has to be a mount point, which it is not after chroot" :
		 "mount(2) is forbidden by a profile of AppArmor (for docker: "
		 "--security-opt apparmor=unconfined) or seccomp (--cap-add SYS_ADMIN)");
	return err;
}

static void complain_user_namespace(int err)
{
	complain("can't make a user namespace: %s; run as root, or %s", strerror(-err),
		 err == -ENOSPC || err == -EUSERS ?
		 "raise their limit (sysctl user.max_user_namespaces)" :
		 "allow user namespaces (sysctl kernel.unprivileged_userns_clone, "
		 "kernel.apparmor_restrict_unprivileged_userns; for a container its "
		 "profile of seccomp, which --cap-add SYS_ADMIN opens)");
}

int namespace_enter(bool *ret_as_user)
{
	bool as_user = false;
	int err = unshare(CLONE_NEWNS) < 0 ? -errno : 0;

	if (err && geteuid() == 0) {
		complain("can't make a mount namespace: %s; give the container the "
			 "capability SYS_ADMIN (--cap-add SYS_ADMIN) and a profile of "
			 "seccomp that allows unshare, or run as another user, who does "
			 "without the capability", strerror(-err));
		return err;
	}
	if (err) {
		as_user = true;
		err = namespace_enter_as_user();
		if (err) {
			complain_user_namespace(err);
			return err;
		}
	}
	err = make_private();
	if (!err)
		*ret_as_user = as_user;
	return err;
}
