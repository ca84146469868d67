/*
 * A source that may be changed elsewhere: what is cached has a time limit, which
 * `status` tells; a warm import costs no more requests than the limit makes necessary,
 * and changes are seen.
 *
 * The kind is the program's only argument: bindfs, or sshfs, to a server of the test's
 * own on the loopback.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "command.h"
#include "fixture.h"
#include "tree.h"

enum { MODULES = 40, PATIENCE = 30 };

static bool over_ssh;
/* The source's other side, where changes are made. */
static char elsewhere[300];
static pid_t server;

static void write_modules(const char *top)
{
	char name[64], *everything = strdup("");

	for (int i = 0; i < MODULES; i++) {
		char *before = everything;

		snprintf(name, sizeof(name), "package/m%d.py", i);
		tree_write(in(top, name), "value = 1\n", -1);
		if (asprintf(&everything, "%simport package.m%d\n", before, i) < 0)
			abort();
		free(before);
	}
	tree_write(in(top, "package/__init__.py"), "", -1);
	tree_write(in(top, "everything.py"), everything, -1);
	free(everything);
}

/* A port that is free now. */
static int find_port(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&address, size) ||
	    getsockname(fd, (struct sockaddr *)&address, &size))
		abort();
	close(fd);
	return ntohs(address.sin_port);
}

/* Starts the server, whose keys and files lie in @top; returns its port. */
static int start_server(const char *top)
{
	int port = find_port();
	char *config, *path;

	free(command_output(top, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "host",
			    NULL));
	free(command_output(top, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "user",
			    NULL));
	if (asprintf(&config, "Port %d\nListenAddress 127.0.0.1\nHostKey %s/host\n"
		     "AuthorizedKeysFile %s/user.pub\nPidFile none\nStrictModes no\n"
		     "UsePAM no\nPermitRootLogin prohibit-password\n"
		     "Subsystem sftp internal-sftp\n", port, top, top) < 0)
		abort();
	path = strdup(in(top, "config"));
	tree_write(path, config, -1);
	/* Where it lives without rights; made at boot on machines that serve. */
	mkdir("/run/sshd", 0755);
	fflush(NULL);
	server = fork();
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		freopen(in(top, "server.log"), "w", stderr);
		execl("/usr/sbin/sshd", "/usr/sbin/sshd", "-D", "-e", "-f", path, (char *)NULL);
		_exit(127);
	}
	free(config);
	free(path);
	return port;
}

struct client {
	const char *top, *source;
	int port;
};

static bool connect_client(void *data)
{
	const struct client *client = data;
	char port[16], key[400], hosts[400], remote[400];
	const char *const argv[] = {
		/* In a session of its own: command_run() ends what it leaves. */
		"setsid", "--wait", "sshfs", remote, client->source, "-p", port, "-F", "/dev/null",
		"-o", key, "-o", hosts, "-o", "StrictHostKeyChecking=no,dcache_timeout=1",
		NULL
	};
	struct command command;
	bool done;

	snprintf(port, sizeof(port), "%d", client->port);
	snprintf(key, sizeof(key), "IdentityFile=%s/user", client->top);
	snprintf(hosts, sizeof(hosts), "UserKnownHostsFile=%s/hosts", client->top);
	snprintf(remote, sizeof(remote), "127.0.0.1:%s", elsewhere);
	command = command_run(NULL, argv);
	done = command.status == 0;
	command_free(&command);
	return done;
}

static int mount_source(const char *source, void *data)
{
	struct client client = { .source = source };
	char top[256];

	(void)data;
	snprintf(top, sizeof(top), "%.*s", (int)(strrchr(source, '/') - source), source);
	client.top = top;
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", top);
	write_modules(elsewhere);
	if (!over_ssh) {
		free(command_output(top, "bindfs", elsewhere, source, NULL));
		return 0;
	}
	client.port = start_server(top);
	/* It may not listen yet. */
	return eventually(PATIENCE, connect_client, &client) ? 0 : -1;
}

static int setup_with(void **state, const char *options)
{
	*state = fixture_create(&(struct fixture_options){
		.prepare = mount_source, .options = options,
	});
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, NULL);
}

static int setup_long(void **state)
{
	return setup_with(state, "timeout=3600");
}

static void stop_server(void)
{
	if (server <= 0)
		return;
	kill(server, SIGTERM);
	waitpid(server, NULL, 0);
	server = 0;
}

static int teardown(void **state)
{
	const struct fixture *f = *state;
	char source[300];

	if (f) {
		snprintf(source, sizeof(source), "%s", f->source);
		fixture_unmount(*state);
		free(command_output("/", "fusermount3", "-u", "-z", source, NULL));
	}
	fixture_destroy(*state);
	stop_server();
	return 0;
}

static json_t *status(const struct fixture *f)
{
	json_t *value = fixture_status(f->mountpoint);

	assert_non_null(value);
	return value;
}

static void status_tells_of_the_time_limit_and_why(void **state)
{
	json_t *all = status(*state), *coherence = json_object_get(all, "coherence");

	assert_string_equal(json_string_value(json_object_get(coherence, "kind")),
			    "timeout");
	assert_true(json_number_value(json_object_get(coherence, "seconds")) == 1);
	assert_string_equal(json_string_value(json_object_get(coherence, "reason")),
			    "the source's filesystem may be changed elsewhere");
	json_decref(all);
}

/* Requests but for those that nothing can save: asking for this is one, and Python
 * asks of each file that it opens whether it is a terminal. */
static json_int_t count_requests(const struct fixture *f)
{
	json_t *all = status(f), *value;
	json_int_t count = 0;
	const char *key;

	json_object_foreach(json_object_get(all, "requests"), key, value)
		if (strcmp(key, "getxattr") && strcmp(key, "ioctl"))
			count += json_integer_value(value);
	json_decref(all);
	return count;
}

/* What importing everything costs. */
static json_int_t import_all(const struct fixture *f)
{
	json_int_t before = count_requests(f);

	free(command_output(f->mountpoint, "python3", "-c", "import everything", NULL));
	return count_requests(f) - before;
}

static void a_warm_import_costs_what_the_limit_makes_necessary(void **state)
{
	const struct fixture *f = *state;
	json_int_t cold = import_all(f), warm = (import_all(f), import_all(f));
	/* For each module: its name, its bytecode's, and their attributes; and as
	 * much for the directories and the two that are no module of the package. */
	const json_int_t necessary = 4 * (MODULES + 6);

	print_message("requests: %d cold, %d warm\n", (int)cold, (int)warm);
	assert_true(warm <= necessary);
}

/* But to ask, for each module, whose `__pycache__` it is: several users reach it. */
static void within_the_limit_a_warm_import_costs_a_name(void **state)
{
	const struct fixture *f = *state;
	json_int_t cold = import_all(f), warm;

	/* Reading changes a file's time, which is asked for once more. */
	import_all(f);
	import_all(f);
	warm = import_all(f);
	print_message("requests: %d cold, %d warm\n", (int)cold, (int)warm);
	/* The package and the module that imports all are modules too. */
	assert_in_range(warm, 1, MODULES + 2);
}

struct sight {
	char path[320];
	const char *content;	/* NULL: there is none */
};

static bool is_seen(void *data)
{
	const struct sight *sight = data;
	char text[64];
	ssize_t length;
	int fd = open(sight->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return !sight->content;
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[length > 0 ? length : 0] = '\0';
	return sight->content && strcmp(text, sight->content) == 0;
}

static void expect(const struct fixture *f, const char *name, const char *content)
{
	struct sight sight = { .content = content };

	snprintf(sight.path, sizeof(sight.path), "%s/%s", f->mountpoint, name);
	if (!eventually(PATIENCE, is_seen, &sight))
		fail_msg("'%s' does not become '%s'", name, content ? content : "missing");
}

static void changes_elsewhere_are_seen(void **state)
{
	const struct fixture *f = *state;

	expect(f, "package/m0.py", "value = 1\n");
	expect(f, "package/new.py", NULL);
	tree_write(in(elsewhere, "package/m0.py"), "value = 22\n", -1);
	expect(f, "package/m0.py", "value = 22\n");
	tree_write(in(elsewhere, "package/new.py"), "new", -1);
	expect(f, "package/new.py", "new");
	assert_int_equal(rename(in(elsewhere, "package/new.py"),
				in(elsewhere, "package/m0.py")), 0);
	expect(f, "package/m0.py", "new");
	assert_int_equal(unlink(in(elsewhere, "package/m0.py")), 0);
	expect(f, "package/m0.py", NULL);
}

static int possible(int argc, char **argv)
{
	const char *needs[] = { "bindfs", "fusermount3", "python3", "sshfs", "ssh-keygen" };
	char command[64];
	int status;

	if (argc != 2 || (strcmp(argv[1], "bindfs") && strcmp(argv[1], "sshfs"))) {
		fprintf(stderr, "usage: fallback bindfs|sshfs\n");
		return 2;
	}
	over_ssh = strcmp(argv[1], "sshfs") == 0;
	status = fixture_possible();
	for (size_t i = over_ssh ? 1 : 0; !status && i < (over_ssh ? 5 : 3); i++) {
		snprintf(command, sizeof(command), "command -v %s >/dev/null", needs[i]);
		if (system(command))
			status = 77;
	}
	if (!status && over_ssh && (geteuid() != 0 || access("/usr/sbin/sshd", X_OK)))
		status = 77;
	if (status == 77) {
		fprintf(stderr, "a program is missing, or the right to serve\n");
		status = getenv("PYCACHEFS_MUST_RUN") ? 1 : 77;
	}
	return status;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(status_tells_of_the_time_limit_and_why,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_warm_import_costs_what_the_limit_makes_necessary,
			setup, teardown),
		cmocka_unit_test_setup_teardown(
			within_the_limit_a_warm_import_costs_a_name,
			setup_long, teardown),
		cmocka_unit_test_setup_teardown(changes_elsewhere_are_seen, setup, teardown),
	};
	int status = possible(argc, argv);

	atexit(stop_server);
	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
