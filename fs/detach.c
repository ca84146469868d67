/*
 * Into the background, and the word that the mount is usable.
 */
#include "detach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "log.h"
#include "util.h"

/* Blocks the signals that would end the process, all at one moment. */
static void block_ending(sigset_t *ret_ending, sigset_t *ret_before)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action;

	sigemptyset(ret_ending);
	/* One that is ignored, as by nohup(1), ends nothing. */
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], NULL, &action) == 0 &&
		    action.sa_handler == SIG_DFL)
			sigaddset(ret_ending, signals[i]);
	sigprocmask(SIG_BLOCK, ret_ending, ret_before);
}

/* The command's end of the pipe: a byte says ready; its end, that it failed.
 * Returns whether it was the byte, handing signals on meanwhile. */
static bool wait_word(pid_t child, int pipe, int signals, int *ret_signal)
{
	struct pollfd fds[] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = pipe, .events = POLLIN },
	};
	struct signalfd_siginfo info;
	char byte;

	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[0].revents && read(signals, &info, sizeof(info)) > 0) {
			*ret_signal = (int)info.ssi_signo;
			kill(child, *ret_signal);
			continue;
		}
		if (fds[1].revents)
			return read(pipe, &byte, 1) == 1;
	}
}

static int reap(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int wait_ready(pid_t child, int pipe, const sigset_t *ending,
		      const sigset_t *before)
{
	_cleanup_close_ int signals = signalfd(-1, ending, SFD_CLOEXEC);
	int ended_by = 0;
	bool ready = wait_word(child, pipe, signals, &ended_by);
	int status;

	/* It is done.  A signal that comes now finds nothing left to stop, so it
	 * stays blocked: the exit status has to say that there is a mount. */
	if (ready && !ended_by)
		return 0;
	status = reap(child);
	if (ended_by)
		raise(ended_by);
	sigprocmask(SIG_SETMASK, before, NULL);
	if (status > 0)
		return status;
	complain("the daemon has ended before the mount was usable");
	return 1;
}

int detach_start(struct detach *ret, bool foreground, int *ret_status)
{
	sigset_t ending, before;
	int ends[2];
	pid_t child;

	*ret = (struct detach){ .pipe = -1, .null = -1 };
	if (foreground)
		return 0;
	/* Whatever the caller had open is not for a daemon to keep. */
	close_range(3, ~0U, 0);
	ret->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (ret->null < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	block_ending(&ending, &before);
	child = fork();
	if (child < 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		return -ENOMEM;
	}
	if (child > 0) {
		close(ends[1]);
		*ret_status = wait_ready(child, ends[0], &ending, &before);
		close(ends[0]);
		return 1;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(ends[0]);
	ret->pipe = ends[1];
	log_open_syslog();
	return setsid() < 0 ? -errno : 0;
}

static void notify_socket(void)
{
	static const char message[] = "READY=1";
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = path ? strlen(path) : 0;

	if (length < 2 || length >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, length);
	if (*path == '@')
		address.sun_path[0] = '\0';
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, message, sizeof(message) - 1, MSG_NOSIGNAL,
			     (const struct sockaddr *)&address,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
					 length)) < 0)
		log_warning("'%s': can't be told that the mount is usable: %s",
			    path, strerror(errno));
}

void detach_streams(int null)
{
	log_use_syslog();
	for (int fd = 0; fd <= 2; fd++)
		dup2(null, fd);
}

/* Lets go of the terminal, and tells the command. */
static int let_go(struct detach *detach)
{
	int err = 0;

	detach_streams(detach->null);
	if (write(detach->pipe, "", 1) < 0)
		err = -errno;
	cleanup_close(&detach->null);
	cleanup_close(&detach->pipe);
	detach->pipe = detach->null = -1;
	return err;
}

int detach_ready(struct detach *detach)
{
	int err = detach->pipe < 0 ? 0 : let_go(detach);

	if (!err)
		notify_socket();
	return err;
}
