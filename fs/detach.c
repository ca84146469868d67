/*
 * Into the background, and the word that the mount is usable.
 */
#include "detach.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "log.h"
#include "util.h"

/* The command's end: a byte says ready; the end of the pipe, that it failed. */
static int wait_ready(pid_t child, int pipe)
{
	char byte;
	ssize_t length;
	int status;

	do
		length = read(pipe, &byte, 1);
	while (length < 0 && errno == EINTR);
	if (length == 1)
		return 0;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		return WEXITSTATUS(status);
	complain("the daemon has ended before the mount was usable");
	return 1;
}

int detach_start(struct detach *ret, bool foreground, int *ret_status)
{
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
	child = fork();
	if (child < 0)
		return -errno;
	if (child > 0) {
		close(ends[1]);
		*ret_status = wait_ready(child, ends[0]);
		close(ends[0]);
		return 1;
	}
	close(ends[0]);
	ret->pipe = ends[1];
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

void detach_ready(struct detach *detach)
{
	notify_socket();
	if (detach->pipe < 0)
		return;
	log_use_syslog();
	for (int fd = 0; fd <= 2; fd++)
		dup2(detach->null, fd);
	cleanup_close(&detach->null);
	/* A command that was killed meanwhile leaves nobody to be told. */
	if (write(detach->pipe, "", 1) < 0)
		log_info("the command that mounted has gone: %s", strerror(errno));
	cleanup_close(&detach->pipe);
	detach->pipe = detach->null = -1;
}
