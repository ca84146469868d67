/*
 * Bundles and hosts.  See container.h.
 */
#include "container.h"

#include <dirent.h>
#include <jansson.h>
#include <sys/mount.h>

#include "pythons.h"

#define PYTHON "/usr/bin/python3"

const char container_import[] =
	"import sys, os, importlib.util\n"
	"import _frozen_importlib_external as machinery\n"
	"real = machinery.SourceLoader.source_to_code\n"
	"compiled = set()\n"
	"def count(self, data, path, **more):\n"
	"    compiled.add(path)\n"
	"    return real(self, data, path, **more)\n"
	"machinery.SourceLoader.source_to_code = count\n"
	"sys.path.insert(0, '/project')\n"
	"import email.parser, email.policy, email.mime.multipart, email.generator\n"
	"files = [getattr(m, '__file__', None) for m in sys.modules.values()]\n"
	"files = set(f for f in files if f and f.startswith('/project/'))\n"
	"assert len(files) > 10, files\n"
	"cached = map(importlib.util.cache_from_source, files)\n"
	"found = len(files & compiled)\n"
	"print('lost' if not all(map(os.path.exists, cached)) else\n"
	"      'cold' if found == len(files) else 'warm' if not found else found)\n";

void container_project(const char *source)
{
	static const char where[] =
		"import email; print(email.__path__[0], end='')";
	char *package = command_output("/", PYTHON, "-c", where, NULL);

	/* As a checkout has it, without what the distribution has compiled. */
	free(command_output("/", "cp", "-r", package, source, NULL));
	free(command_output(source, "find", ".", "-name", "__pycache__", "-prune",
			    "-exec", "rm", "-r", "{}", "+", NULL));
	free(package);
}

/* ------------------------------------------------------------------ bundles */

static json_t *words(const char *const *list)
{
	json_t *array = json_array();

	for (; list && *list; list++)
		json_array_append_new(array, json_string(*list));
	return array;
}

static json_t *split(const char *text)
{
	char *copy = strdup(text), *rest = copy, *word;
	json_t *array = json_array();

	assert_non_null(copy);
	while ((word = strsep(&rest, ",")))
		json_array_append_new(array, json_string(word));
	free(copy);
	return array;
}

static void add_mount(json_t *mounts, const char *type, const char *from,
		      const char *to, const char *options)
{
	json_array_append_new(mounts, json_pack("{s:s, s:s, s:s, s:o}", "type", type,
						"source", from, "destination", to,
						"options", split(options)));
}

/* The machine's programs and libraries: links as it has them, bound directories. */
static void add_programs(json_t *mounts, const char *root)
{
	DIR *top = opendir("/");
	struct dirent *entry;

	assert_non_null(top);
	while ((entry = readdir(top))) {
		const char *name = entry->d_name;
		char target[256];
		ssize_t length;

		if (strcmp(name, "usr") != 0 && strcmp(name, "bin") != 0 &&
		    strcmp(name, "sbin") != 0 && strncmp(name, "lib", 3) != 0)
			continue;
		length = readlink(in("", name), target, sizeof(target) - 1);
		if (length > 0) {
			target[length] = '\0';
			assert_int_equal(symlink(target, in(root, name)), 0);
		} else {
			assert_int_equal(mkdir(in(root, name), 0755), 0);
			add_mount(mounts, "bind", in("", name), in("", name), "rbind,ro");
		}
	}
	closedir(top);
}

static json_t *mounts_of(const struct bundle *bundle, const char *root)
{
	const char *const *bind = bundle->binds;
	json_t *mounts = json_array();

	add_programs(mounts, root);
	if (!bundle->no_proc)
		add_mount(mounts, "proc", "proc", "/proc", "nosuid,nodev,noexec");
	add_mount(mounts, "tmpfs", "tmpfs", "/dev", "nosuid,strictatime,mode=755");
	add_mount(mounts, "tmpfs", "tmpfs", "/tmp", "nosuid,nodev,mode=1777");
	add_mount(mounts, "bind", fixture_program(), "/pycachefs", "bind,ro");
	for (; bind && bind[0]; bind += 3)
		add_mount(mounts, "bind", bind[0], bind[1], bind[2]);
	return mounts;
}

/* Without any of the machine's names, but told what a sanitizer is told. */
static json_t *environment(void)
{
	static const char *const kept[] = { "ASAN_OPTIONS", "UBSAN_OPTIONS" };
	json_t *array = json_array();

	json_array_append_new(array, json_string("PATH=/usr/bin:/bin"));
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (getenv(kept[i]))
			json_array_append_new(array, json_sprintf("%s=%s", kept[i],
								  getenv(kept[i])));
	return array;
}

static json_t *process_of(const struct bundle *bundle)
{
	json_t *has = bundle->capability ? json_pack("[s]", bundle->capability)
					 : json_array();
	json_t *process = json_pack(
		"{s:b, s:{s:i, s:i}, s:o, s:o, s:s, s:b, s:{s:O, s:O, s:O}}",
		"terminal", false, "user", "uid", bundle->uid, "gid", bundle->uid,
		"args", words(bundle->argv), "env", environment(),
		"cwd", bundle->directory ? bundle->directory : "/project",
		"noNewPrivileges", true, "capabilities", "bounding", has,
		"effective", has, "permitted", has);

	json_decref(has);
	assert_non_null(process);
	return process;
}

static json_t *shift(void)
{
	return json_pack("[{s:i, s:i, s:i}]", "containerID", 0, "hostID", 100000,
			 "size", 65536);
}

static json_t *linux_of(const struct bundle *bundle)
{
	/* What container engines hide and close of /proc. */
	json_t *linux_part = json_pack(
		"{s:[{s:s}, {s:s}, {s:s}], s:[s, s], s:[s, s, s]}", "namespaces",
		"type", "mount", "type", "ipc", "type", "uts",
		"maskedPaths", "/proc/kcore", "/proc/keys",
		"readonlyPaths", "/proc/sys", "/proc/irq", "/proc/sysrq-trigger");
	json_t *namespaces = json_object_get(linux_part, "namespaces");

	assert_non_null(linux_part);
	if (!bundle->host_processes)
		json_array_append_new(namespaces, json_pack("{s:s}", "type", "pid"));
	if (bundle->shifted) {
		json_array_append_new(namespaces, json_pack("{s:s}", "type", "user"));
		json_object_set_new(linux_part, "uidMappings", shift());
		json_object_set_new(linux_part, "gidMappings", shift());
	}
	if (bundle->device)
		json_object_set_new(linux_part, "devices", json_pack(
			"[{s:s, s:s, s:i, s:i, s:i}]", "path", "/dev/fuse", "type", "c",
			"major", 10, "minor", 229, "fileMode", 0666));
	if (bundle->forbidden)
		json_object_set_new(linux_part, "seccomp", json_pack(
			"{s:s, s:[{s:[s], s:s, s:i}]}",
			"defaultAction", "SCMP_ACT_ALLOW", "syscalls",
			"names", bundle->forbidden, "action", "SCMP_ACT_ERRNO",
			"errnoRet", bundle->error));
	if (bundle->propagation)
		json_object_set_new(linux_part, "rootfsPropagation",
				    json_string(bundle->propagation));
	return linux_part;
}

void container_bundle(const struct cli *cli, const struct bundle *bundle)
{
	static const char *const empty[] = {
		"proc", "dev", "sys", "tmp", "project", "store", NULL,
	};
	char top[256], root[300];
	json_t *config;

	snprintf(top, sizeof(top), "%s/%s", cli->top, bundle->name);
	snprintf(root, sizeof(root), "%s/rootfs", top);
	tree_remove(top);
	/* The one who starts it may be the only one to enter it: not in here. */
	tree_write(in(root, "pycachefs"), "", -1);
	for (const char *const *name = empty; *name; name++)
		assert_int_equal(mkdir(in(root, *name), 0755), 0);
	config = json_pack("{s:s, s:o, s:o, s:{s:s, s:b}, s:s, s:o}",
			   "ociVersion", "1.0.0", "mounts", mounts_of(bundle, root),
			   "process", process_of(bundle), "root", "path", "rootfs",
			   "readonly", (int)bundle->readonly, "hostname", bundle->name,
			   "linux", linux_of(bundle));
	assert_non_null(config);
	assert_int_equal(json_dump_file(config, in(top, "config.json"), 0), 0);
	json_decref(config);
}

/* -------------------------------------------------------------------- hosts */

/*
 * crun 1.8 refuses to start where both versions of cgroups are mounted, or neither is,
 * even when it is to use none; with an empty directory of the first it is content.
 */
static const char before[] =
	"case $(stat -f -c %T /sys/fs/cgroup 2>&1) in\n"
	"cgroup2fs) ;;\n"
	"*) [ ! -d /sys/fs/cgroup ] || mount -t tmpfs -o ro none /sys/fs/cgroup ;;\n"
	"esac\n"
	"box() { crun --cgroup-manager=disabled --root \"$TOP/crun\" "
	"run --bundle \"$TOP/$1\" \"$1\"; }\n"
	"bare() {\n"
	"	for name in /usr /bin /sbin /lib*; do\n"
	"		if [ -L \"$name\" ]; then\n"
	"			set -- --symlink \"$(readlink \"$name\")\" \"$name\" \"$@\"\n"
	"		else\n"
	"			set -- --ro-bind \"$name\" \"$name\" \"$@\"\n"
	"		fi\n"
	"	done\n"
	"	bwrap --unshare-pid --die-with-parent --proc /proc --dev /dev "
	"--tmpfs /tmp --ro-bind \"$PYCACHEFS\" /pycachefs \"$@\"\n"
	"}\n"
	"mounts=$(cat /proc/self/mountinfo)\n"
	"(\n";

/* One that is missing was another test's: see cli_mounts_are(). */
static const char after[] =
	"\n)\n"
	"status=$?\n"
	"for i in $(seq 400); do\n"
	"	set -- /proc/[0-9]*\n"
	"	[ \"$*\" != /proc/1 ] || break\n"
	"	sleep 0.05\n"
	"done\n"
	"if [ \"$*\" != /proc/1 ]; then\n"
	"	echo \"processes are left:\" >&2\n"
	"	head -n 1 /proc/[0-9]*/comm >&2\n"
	"	status=99\n"
	"fi\n"
	"if printf '%s\\n' \"$mounts\" | grep -vxFf - /proc/self/mountinfo >&2; then\n"
	"	echo \"mounts are left\" >&2\n"
	"	status=99\n"
	"fi\n"
	"exit $status\n";

struct command container_host(const struct cli *cli, const char *script)
{
	char top[80], source[96], mnt[96], code[sizeof(container_import) + 8];
	const char *environment[] = { top, source, mnt, code, NULL };
	struct command_options options = {
		.directory = cli->top, .seconds = 3 * DEADLINE,
		.environment = environment,
	};
	const char *argv[] = {
		"unshare", "--mount", "--propagation", "unchanged", "--pid", "--fork",
		"--kill-child", "--mount-proc", "sh", "-c", NULL, NULL,
	};
	struct command command;
	char *whole;

	snprintf(top, sizeof(top), "TOP=%s", cli->top);
	snprintf(source, sizeof(source), "SOURCE=%s", cli->source);
	snprintf(mnt, sizeof(mnt), "MNT=%s", cli->mnt);
	snprintf(code, sizeof(code), "IMPORT=%s", container_import);
	assert_true(asprintf(&whole, "%sset -e\n%s%s", before, script, after) > 0);
	argv[10] = whole;
	command = command_run(&options, argv);
	free(whole);
	return command;
}

/* ----------------------------------------------------------------- the probes */

static bool succeeds(const char *what, uid_t uid, const char *const *argv)
{
	const struct command_options options = {
		.directory = "/", .seconds = DEADLINE, .uid = uid, .gid = uid,
	};
	struct command command = command_run(&options, argv);
	bool done = command.status == 0;

	if (!done)
		print_message("%s: %s", what, command.err);
	command_free(&command);
	return done;
}

bool container_plain_users_may_mount(void)
{
	static const char *const argv[] = {
		"unshare", "--user", "--map-root-user", "--mount", "true", NULL,
	};

	return succeeds("user namespaces are refused to plain users", GUEST, argv);
}

static bool has(const char *program)
{
	const char *const argv[] = { program, "--version", NULL };

	return succeeds(program, 0, argv);
}

int container_possible(void)
{
	static const char *const host[] = {
		"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"--ipc", "--uts", "true", NULL,
	};
	int skip = cli_possible();

	if (skip)
		return skip;
	if (!has("crun") || !has("bwrap") || !has(PYTHON))
		return cannot_run("containers need crun, bwrap and " PYTHON);
	return succeeds("containers are refused", 0, host) ? 0 : 77;
}
