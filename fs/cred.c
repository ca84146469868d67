/*
 * Acting as the caller.
 *
 * setfsuid(2) to another user drops the capabilities that matter to files
 * (kernel/sys.c, cap_drop_fs_set()); going back to 0 brings them back.  With
 * CRED_ALLOWED the few are taken back that stand for permission checks, which
 * the kernel made already, but never CAP_FSETID: without it the source's kernel
 * strips setuid and setgid as the caller's own write would have.  Nor CAP_FOWNER:
 * what others own in a sticky directory stays.
 *
 * CAP_SYS_RESOURCE is none of those that setfsuid(2) knows.  It lets a writer use
 * the blocks that ext4 reserves and go over quotas (fs/ext4/balloc.c,
 * ext4_has_free_clusters(); fs/quota/dquot.c, ignore_hardlimit()), so it is laid
 * down apart.
 */
#include "cred.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "util.h"

/* What default_permissions and mknod(2) have checked before us. */
#define ALLOWED_CAPS (UINT64_C(1) << CAP_DAC_OVERRIDE | \
		      UINT64_C(1) << CAP_DAC_READ_SEARCH | \
		      UINT64_C(1) << CAP_MKNOD)
/* Rights over room that are root's alone. */
#define ROOM_CAPS (UINT64_C(1) << CAP_SYS_RESOURCE)

/* Set before threads start, only read afterwards. */
static int proc_fd = -1;
static bool can_switch;
static struct __user_cap_data_struct own_caps[2];
static uid_t overflow_uid;
static gid_t *own_groups;
static int own_group_count;

/* Of this thread. */
static __thread bool initialized;
static __thread bool switched, caps_limited, groups_switched;

static int read_caps(struct __user_cap_data_struct caps[2])
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };

	return syscall(SYS_capget, &header, caps) < 0 ? -errno : 0;
}

static int write_caps(const struct __user_cap_data_struct caps[2])
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };

	return syscall(SYS_capset, &header, caps) < 0 ? -errno : 0;
}

static uid_t read_overflow_uid(void)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/overflowuid",
				      O_RDONLY | O_CLOEXEC);
	char text[16] = "";

	/* DEFAULT_OVERFLOWUID of include/linux/highuid.h. */
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 65534;
	return (uid_t)strtoul(text, NULL, 10);
}

int cred_init(void)
{
	proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc_fd < 0)
		return -errno;
	can_switch = geteuid() == 0 && read_caps(own_caps) == 0 &&
		(own_caps[0].effective & (1U << CAP_SETUID)) &&
		(own_caps[0].effective & (1U << CAP_SETGID));
	overflow_uid = read_overflow_uid();
	own_group_count = getgroups(0, NULL);
	if (own_group_count < 0)
		return -errno;
	own_groups = calloc((size_t)own_group_count + 1, sizeof(*own_groups));
	if (!own_groups)
		return -ENOMEM;
	own_group_count = getgroups(own_group_count, own_groups);
	return own_group_count < 0 ? -errno : 0;
}

int cred_proc_fd(void)
{
	return proc_fd;
}

const char *fd_name(int fd, char ret[FD_NAME_SIZE])
{
	snprintf(ret, FD_NAME_SIZE, "%d", fd);
	return ret;
}

int cred_reopen(int fd, int flags)
{
	char name[FD_NAME_SIZE];
	int result = openat(proc_fd, fd_name(fd, name), flags | O_CLOEXEC);

	return result < 0 ? -errno : result;
}

bool cred_can_switch(void)
{
	return can_switch;
}

uid_t cred_overflow_uid(void)
{
	return overflow_uid;
}

int cred_thread_init(void)
{
	if (initialized)
		return 0;
	if (unshare(CLONE_FS) < 0 || fchdir(proc_fd) < 0)
		return -errno;
	umask(0);
	initialized = true;
	return 0;
}

static void *try_to_serve(void *data)
{
	*(int *)data = cred_thread_init();
	return NULL;
}

int cred_check_threads(void)
{
	pthread_t thread;
	int result, err = thread_start(&thread, try_to_serve, &result);

	if (err)
		return err;
	pthread_join(thread, NULL);
	return result;
}

/* What @power leaves of the capabilities that are there after setfsuid(). */
static int limit_caps(enum cred_power power)
{
	struct __user_cap_data_struct caps[2];
	int err = read_caps(caps);

	if (err)
		return err;
	if (power == CRED_ALLOWED)
		caps[0].effective |= (uint32_t)ALLOWED_CAPS & caps[0].permitted;
	caps[0].effective &= ~(uint32_t)ROOM_CAPS;
	return write_caps(caps);
}

int cred_become(const struct caller *caller, enum cred_power power)
{
	umask(caller->umask);
	if (!can_switch || (caller->uid == 0 && caller->gid == 0))
		return 0;
	if (caller->groups) {
		if (syscall(SYS_setgroups, caller->group_count, caller->groups) < 0) {
			int err = -errno;

			umask(0);
			return err;
		}
		groups_switched = true;
	}
	setfsgid(caller->gid);
	setfsuid(caller->uid);
	switched = true;
	/* Both calls can only be checked by asking again: see setfsuid(2). */
	if ((uid_t)setfsuid((uid_t)-1) != caller->uid ||
	    (gid_t)setfsgid((gid_t)-1) != caller->gid) {
		cred_restore();
		return -EPERM;
	}
	if (caller->uid == 0)
		return 0;
	caps_limited = true;
	int err = limit_caps(power);
	if (err)
		cred_restore();
	return err;
}

void cred_restore(void)
{
	int saved = errno;

	umask(0);
	if (switched) {
		setfsuid(0);
		setfsgid(getegid());
		switched = false;
	}
	/* After setfsuid(), which brings back those alone that it took. */
	if (caps_limited) {
		(void)write_caps(own_caps);
		caps_limited = false;
	}
	if (groups_switched) {
		(void)syscall(SYS_setgroups, own_group_count, own_groups);
		groups_switched = false;
	}
	errno = saved;
}
