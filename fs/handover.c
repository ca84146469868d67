/*
 * A daemon that is nobody's child, and how it is handed the mount that it serves.
 */
#include "handover.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "log.h"
#include "util.h"

/* A daemon lives as long as its mount is used, and no longer: nothing but SIGKILL
 * ends it before.  A service manager sends these to all it started at once. */
static void ignore_signals(void)
{
	static const int signals[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM,
		SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU,
	};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_IGN);
}

/* What the daemon is before it knows its mount.  The caller's descriptors are not
 * for it to keep: a lock or a pipe would stay open with them. */
static int become_daemon(struct handover *handover)
{
	unsigned kept = (unsigned)handover->socket;

	if (kept > 3)
		close_range(3, kept - 1, 0);
	close_range(kept + 1, ~0U, 0);
	ignore_signals();
	handover->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (handover->null < 0 || chdir("/") < 0)
		return -errno;
	log_open_syslog();
	return setsid() < 0 ? -errno : 0;
}

/*
 * The process between: no signal tells its end, since a SIGCHLD that the caller has
 * blocked would stay pending in the program that it becomes.
 */
static pid_t clone_silently(void)
{
	return (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
}

static int reap(pid_t between)
{
	int status = 0;

	while (waitpid(between, &status, __WALL) < 0)
		/* ECHILD: the caller was started with SIGCHLD ignored. */
		if (errno != EINTR)
			return 0;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

int handover_fork(struct handover *ret)
{
	int ends[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	pid_t between = clone_silently();
	if (between == 0) {
		pid_t daemon = fork();

		if (daemon != 0)
			_exit(daemon < 0 ? errno : 0);
		*ret = (struct handover){ .socket = ends[1], .null = -1 };
		err = become_daemon(ret);
		if (err)
			_exit(1);
		return 0;
	}
	err = between < 0 ? -errno : reap(between);
	close(ends[1]);
	if (err) {
		close(ends[0]);
		return err;
	}
	*ret = (struct handover){ .socket = ends[0], .null = -1 };
	return 1;
}

void handover_close(struct handover *handover)
{
	cleanup_close(&handover->socket);
	cleanup_close(&handover->null);
	handover->socket = handover->null = -1;
}

/* A byte, and with it a descriptor: unix(7), SCM_RIGHTS. */
union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

int handover_give(struct handover *handover, int device, bool as_user)
{
	union control control = { 0 };
	struct iovec iov = { &as_user, sizeof(as_user) };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};

	control.header = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
	};
	memcpy(CMSG_DATA(&control.header), &device, sizeof(device));
	return sendmsg(handover->socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Whatever interrupts: a program that was stopped and goes on waits on. */
static ssize_t receive(int socket, struct msghdr *message)
{
	ssize_t length;

	do
		length = recvmsg(socket, message, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	return length < 0 ? -errno : length == 0 ? -EPIPE : length;
}

int handover_take(struct handover *handover, int *ret_device, bool *ret_as_user)
{
	union control control = { 0 };
	struct iovec iov = { ret_as_user, sizeof(*ret_as_user) };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t length = receive(handover->socket, &message);

	if (length < 0)
		return (int)length;
	if (!CMSG_FIRSTHDR(&message) || control.header.cmsg_type != SCM_RIGHTS)
		return -EBADMSG;
	memcpy(ret_device, CMSG_DATA(&control.header), sizeof(*ret_device));
	return 0;
}

int handover_tell(struct handover *handover, bool ready)
{
	return send(handover->socket, &ready, sizeof(ready), MSG_NOSIGNAL) < 0
		? -errno : 0;
}

int handover_wait(struct handover *handover)
{
	bool ready = false;
	struct iovec iov = { &ready, sizeof(ready) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t length = receive(handover->socket, &message);

	return length < 0 ? (int)length : ready ? 0 : 1;
}
