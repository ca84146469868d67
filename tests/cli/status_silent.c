/*
 * `status` where a daemon does not answer: it comes to an end, says which mount that is,
 * and shows the others.
 */
#include "cli.h"

#include <jansson.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define NO_ANSWER "no answer from the daemon"

/* Mounts over a further directory, whose daemon answers. */
static void mount_other(const struct cli *cli, char ret[96])
{
	snprintf(ret, 96, "%s/other", cli->top);
	assert_int_equal(mkdir(ret, 0755), 0);
	cli_quietly(ret, NULL);
}

static void stop(pid_t daemon)
{
	int status;

	assert_int_equal(kill(daemon, SIGSTOP), 0);
	assert_int_equal(waitpid(daemon, &status, WUNTRACED), daemon);
	assert_true(WIFSTOPPED(status));
}

/* A `status` that runs, and what it has said so far. */
struct asking {
	pid_t pid;
	int pipe;
	size_t length;
	char said[8192];
};

static void start(struct asking *asking, const char *word)
{
	int ends[2];

	*asking = (struct asking){ 0 };
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	asking->pipe = ends[0];
	fflush(NULL);
	asking->pid = fork();
	assert_true(asking->pid >= 0);
	if (asking->pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		execl(fixture_program(), fixture_program(), "status", word, NULL);
		_exit(127);
	}
	close(ends[1]);
}

static bool is_closed(void *data)
{
	struct asking *asking = data;
	ssize_t got = read(asking->pipe, asking->said + asking->length,
			   sizeof(asking->said) - 1 - asking->length);

	if (got > 0)
		asking->length += (size_t)got;
	return got == 0;
}

/* It ends with @status, and nobody holds its output open. */
static void finish(struct asking *asking, int status)
{
	assert_true(eventually(DEADLINE, is_closed, asking));
	close(asking->pipe);
	assert_int_equal(cli_wait(asking->pid), status);
}

/* The mount at @point in what `status --json` said. */
static json_t *find(const json_t *all, const char *point)
{
	json_t *mount;
	size_t i;

	json_array_foreach(all, i, mount) {
		const char *here = json_string_value(json_object_get(mount, "mountpoint"));

		if (here && strcmp(here, point) == 0)
			return mount;
	}
	fail_msg("no '%s' is shown", point);
	return NULL;
}

static const char *text(const json_t *mount, const char *key)
{
	const char *value = json_string_value(json_object_get(mount, key));

	return value ? value : "";
}

/* What `status --json` says, which must end with @status. */
static json_t *all_mounts(int status)
{
	struct asking asking;
	json_t *all;

	start(&asking, "--json");
	finish(&asking, status);
	all = json_loads(asking.said, 0, NULL);
	assert_true(json_is_array(all));
	return all;
}

/* Asked for in all ways at once, since each takes as long as a daemon may. */
static void a_stopped_daemon_is_named_and_the_others_are_shown(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	struct asking named, through;
	char other[96];
	json_t *all;

	mount_other(cli, other);
	stop(daemon);
	start(&named, cli->mnt);
	/* The path itself has to be looked up in the mount. */
	start(&through, in(cli->mnt, "pkg"));

	all = all_mounts(1);
	assert_int_equal(json_array_size(all), 2);
	assert_string_equal(text(find(all, cli->mnt), "source"), cli->source);
	assert_string_equal(text(find(all, cli->mnt), "error"), NO_ANSWER);
	assert_string_equal(text(find(all, other), "source"), other);
	assert_null(json_object_get(find(all, other), "error"));
	assert_non_null(json_object_get(find(all, other), "pid"));
	json_decref(all);

	finish(&named, 1);
	assert_non_null(strstr(named.said, cli->source));
	assert_non_null(strstr(named.said, "error       " NO_ANSWER));
	finish(&through, 1);
	cli_assert_complaint(through.said, NO_ANSWER);

	assert_int_equal(kill(daemon, SIGCONT), 0);
	all = all_mounts(0);
	assert_null(json_object_get(find(all, cli->mnt), "error"));
	json_decref(all);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_quietly("unmount", other, NULL);
}

/* A daemon that takes each request and answers the first alone. */
static _Noreturn void take_requests(int device)
{
	static char request[FUSE_MIN_READ_BUFFER + (1 << 17)];
	const struct fuse_in_header *in = (const void *)request;
	struct {
		struct fuse_out_header head;
		struct fuse_init_out init;
	} answer = {
		.head = { .len = sizeof(answer) },
		.init = { .major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096 },
	};

	/* Whoever waits for an answer can be killed then, where a test fails. */
	alarm(2 * DEADLINE);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(device, request, sizeof(request)) < 0)
		_exit(1);
	answer.head.unique = in->unique;
	if (write(device, &answer, sizeof(answer)) != sizeof(answer))
		_exit(1);
	while (read(device, request, sizeof(request)) >= 0)
		;
	_exit(1);
}

/* Then not even SIGKILL ends who waits. */
static void who_has_taken_the_question_is_not_waited_for_either(void **state)
{
	struct cli *cli = *state;
	int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[80], other[96];
	pid_t daemon;
	json_t *all;

	mount_other(cli, other);
	assert_true(device >= 0);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0",
		 device);
	assert_int_equal(mount("silent", cli->mnt, "fuse.pycachefs", 0, options), 0);
	fflush(NULL);
	daemon = fork();
	assert_true(daemon >= 0);
	if (daemon == 0)
		take_requests(device);
	close(device);

	all = all_mounts(1);
	assert_string_equal(text(find(all, cli->mnt), "error"), NO_ANSWER);
	assert_null(json_object_get(find(all, other), "error"));
	json_decref(all);
	/* The daemon of the other one, this one, and who waits for it. */
	assert_int_equal(cli_processes(NULL), 3);
	assert_int_equal(kill(daemon, SIGKILL), 0);
	cli_wait_left(1);
	assert_int_equal(umount2(cli->mnt, MNT_DETACH), 0);
	cli_quietly("unmount", other, NULL);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(a_stopped_daemon_is_named_and_the_others_are_shown),
		CLI(who_has_taken_the_question_is_not_waited_for_either),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
