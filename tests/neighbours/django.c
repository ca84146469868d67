/*
 * Django's development server with its reloader, which looks at the times of all
 * modules once a second: it reloads on edits, those behind the mount too, and on
 * nothing that is bytecode.
 *
 * The project counts its reloader's rounds and serves the count, so that a test
 * knows when one has begun and ended, and need not guess how long that takes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "project.h"
#include "shell.h"
#include "tree.h"

#define DEADLINE 120	/* of anything that the server does, in seconds */

static const char manage_py[] =
	"import os\n"
	"import sys\n"
	"from django.core.management import execute_from_command_line\n"
	"os.environ['DJANGO_SETTINGS_MODULE'] = 'web.settings'\n"
	"execute_from_command_line(sys.argv)\n";

static const char settings_py[] =
	"DEBUG = True\n"
	"SECRET_KEY = 'none'\n"
	"ROOT_URLCONF = 'web.urls'\n"
	"ALLOWED_HOSTS = ['*']\n"
	"INSTALLED_APPS = ['web']\n"
	"USE_TZ = True\n";

static const char urls_py[] =
	"from django.urls import path\n"
	"from web import views\n"
	"urlpatterns = [path('', views.index), path('late', views.late)]\n";

static const char rounds_py[] =
	"from django.utils import autoreload\n"
	"done = 0\n\n\n"
	"def watch(sender, **kwargs):\n"
	"    scan = sender.snapshot_files\n\n"
	"    def counted():\n"
	"        global done\n"
	"        yield from scan()\n"
	"        done += 1\n"
	"    sender.snapshot_files = counted\n\n\n"
	"autoreload.autoreload_started.connect(watch)\n";

/* With the word that is to be served. */
#define VIEWS_PY(word) \
	"import os\n" \
	"from django.http import HttpResponse\n" \
	"from web import rounds\n\n\n" \
	"def index(request):\n" \
	"    return HttpResponse('" word " %d %d\\n' % (os.getpid(), rounds.done))\n\n\n" \
	"def late(request):\n" \
	"    import app.core.m8\n" \
	"    return HttpResponse('late %d 0\\n' % app.core.m8.COUNTED)\n"

static int add_site(const char *source, void *data)
{
	(void)data;
	tree_write(in(source, "manage.py"), manage_py, -1);
	tree_write(in(source, "web/__init__.py"), "", -1);
	tree_write(in(source, "web/settings.py"), settings_py, -1);
	tree_write(in(source, "web/urls.py"), urls_py, -1);
	tree_write(in(source, "web/rounds.py"), rounds_py, -1);
	tree_write(in(source, "web/views.py"), VIEWS_PY("one"), -1);
	project_stamp(source);
	return 0;
}

static const struct fixture_options with_site = {
	.in_place = true,
	.prepare = add_site,
};

/* --------------------------------------------------------------- the server */

/* The one that runs, which leads a process group; 0: none does. */
static pid_t server;
/* Bound to the server's port and never listening: nobody else is given the port,
 * and the server, which sets SO_REUSEADDR as this does, can bind it. */
static int reserved = -1;
static struct sockaddr_in address;

static void reserve_port(void)
{
	socklen_t size = sizeof(address);
	int one = 1;

	address = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	reserved = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(reserved >= 0);
	assert_int_equal(setsockopt(reserved, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(reserved, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(reserved, (struct sockaddr *)&address, &size), 0);
}

static void server_start(const struct project *project)
{
	const char *log = in(project->fixture->top, "server.log");
	const char *python = project->python->path, *root = project_root(project);
	char where[32];
	int out;

	reserve_port();
	snprintf(where, sizeof(where), "127.0.0.1:%d", ntohs(address.sin_port));
	unsetenv("PYTHONDONTWRITEBYTECODE");
	unsetenv("PYTHONPYCACHEPREFIX");
	setenv("PYTHONUNBUFFERED", "1", 1);
	out = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	assert_true(out >= 0);
	fflush(NULL);
	server = fork();
	assert_true(server >= 0);
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
		if (chdir(root) == 0)
			execl(python, python, "manage.py", "runserver", where, NULL);
		_exit(127);
	}
	setpgid(server, server);
	close(out);
}

static void server_stop(void)
{
	if (server > 0) {
		kill(-server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	server = 0;
	if (reserved >= 0)
		close(reserved);
	reserved = -1;
}

/* --------------------------------------------------------------- what it says */

struct answer {
	const char *path;	/* what is asked for */
	char word[32];		/* the page: a word and two numbers */
	int pid, rounds;
};

/* Asks the server; false when it doesn't serve just now. */
static bool ask(struct answer *answer)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timeval limit = { .tv_sec = 10 };
	char text[4096], *body = NULL;
	size_t length = 0;
	ssize_t got;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\n\r\n", answer->path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text)) {
		while (length < sizeof(text) - 1 &&
		       (got = recv(fd, text + length, sizeof(text) - 1 - length, 0)) > 0)
			length += (size_t)got;
		text[length] = '\0';
		body = strstr(text, "\r\n\r\n");
	}
	close(fd);
	return body && sscanf(body, " %31s %d %d", answer->word, &answer->pid,
			      &answer->rounds) == 3;
}

struct wanted {
	struct answer answer;
	const char *word;
	int rounds;		/* at least */
};

static bool is_served(void *data)
{
	struct wanted *wanted = data;

	return ask(&wanted->answer) && !strcmp(wanted->answer.word, wanted->word) &&
		wanted->answer.rounds >= wanted->rounds;
}

/* Waits until the page is served with this word after so many rounds. */
static struct answer await(const struct project *project, const char *path,
			   const char *word, int rounds)
{
	struct wanted wanted = {
		.answer.path = path, .word = word, .rounds = rounds,
	};

	if (!eventually(DEADLINE, is_served, &wanted)) {
		char *log = tree_read(in(project->fixture->top, "server.log"), NULL);

		print_error("the server's log:\n%s\n", log);
		free(log);
		fail_msg("'%s' is not served in time", word);
	}
	return wanted.answer;
}

/* How often the server's log says this. */
static int count_said(const struct project *project, const char *words)
{
	char *log = tree_read(in(project->fixture->top, "server.log"), NULL);
	int count = 0;

	for (char *at = log; (at = strstr(at, words)); at++)
		count++;
	free(log);
	return count;
}

/* Whether the server has started as often as was waited for. */
struct starts {
	const struct project *project;
	int count;
};

static bool has_started(void *data)
{
	const struct starts *starts = data;

	return count_said(starts->project, "Quit the server with") >= starts->count;
}

/*
 * Replaces the view at once, as most editors do, and waits for the start that follows,
 * the @count-th.  Nobody asks meanwhile: Django may come to hang when it has to end
 * while it answers.
 */
static void edit(const struct project *project, const char *dir, const char *text, int count)
{
	struct starts starts = { project, count };

	tree_write(in(dir, "web/views.new"), text, -1);
	assert_int_equal(rename(in(dir, "web/views.new"), in(dir, "web/views.py")), 0);
	assert_true(eventually(DEADLINE, has_started, &starts));
}

static void it_reloads_on_edits_alone(void **state)
{
	struct project *project = *state;
	struct answer first, second, third;
	const char *root;

	project_mount(project, &with_site);
	root = project_root(project);
	project->stop = server_stop;
	server_start(project);
	first = await(project, "/", "one", 1);

	/* Bytecode of modules that it runs, that it comes to run, and of others. */
	await(project, "/late", "late", 0);
	free(command_output(root, project->python->path, "-m", "compileall", "-q", "-f", ".",
			    NULL));
	free(command_output(root, project->python->path, "-O", "-m", "compileall", "-q", "-b",
			    ".", NULL));
	assert_true(ask(&first));
	second = await(project, "/", "one", first.rounds + 2);
	assert_int_equal(second.pid, first.pid);
	assert_int_equal(count_said(project, "changed, reloading"), 0);
	project_assert_untouched(project);

	edit(project, root, VIEWS_PY("two"), 2);
	second = await(project, "/", "two", 1);
	assert_int_not_equal(second.pid, first.pid);
	edit(project, project_behind(project), VIEWS_PY("three"), 3);
	third = await(project, "/", "three", 1);
	assert_int_not_equal(third.pid, second.pid);

	assert_int_equal(count_said(project, "views.py changed, reloading"), 2);
	assert_int_equal(count_said(project, "changed, reloading"), 2);
	assert_int_equal(count_said(project, "Watching for file changes with StatReloader"), 3);
	assert_caches_below(project_behind(project), false);
}

int main(void)
{
	static const struct promise promises[] = {
		{ "runserver reloads on edits through the mount and behind it, and on "
		  "no bytecode", it_reloads_on_edits_alone, NULL },
	};
	int result = fixture_possible();

	if (result)
		return result;
	result = pythons_run_having("django", "django", promises,
				    sizeof(promises) / sizeof(*promises));
	return result < 0 ? cannot_run("no Python here has Django") : result;
}
