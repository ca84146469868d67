/*
 * Copies of a project that is in use: by rsync, tar and what packs the context of
 * a container's image.  They hold the project and no bytecode, neither what is in
 * the store nor what earlier days have left in the source.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "project.h"
#include "shell.h"
#include "tree.h"

/* Keeps a copy of the project, and then puts old caches into it. */
static int plant(const char *source, void *data)
{
	const char *clean = in(source, "../plain/clean");

	(void)data;
	free(command_output("/", "cp", "-a", source, clean, NULL));
	project_plant_caches(source);
	project_stamp(clean);
	project_stamp(source);
	return 0;
}

static const struct fixture_options with_caches = {
	.in_place = true,
	.prepare = plant,
};

/* Mounts a project and fills its caches; a clean copy is plain/clean. */
static void begin(struct project *project)
{
	project_mount(project, &with_caches);
	assert_caches_below(in(project->fixture->plain, "clean"), false);
	assert_caches_below(project_behind(project), true);
	project_import_cold(project, project_root(project), NULL);
	project_import_warm(project, project_root(project), NULL);
	setenv("ROOT", project_root(project), 1);
	setenv("BEHIND", project_behind(project), 1);
	setenv("PYTHON", project->python->path, 1);
}

/* What differs between two trees, in anything that rsync can tell. */
#define DIFFER "rsync -aHAXin --checksum --delete "

static void rsync_takes_the_project(void **state)
{
	struct project *project = *state;
	const char *plain;

	begin(project);
	plain = project->fixture->plain;
	assert_says(plain, "rsync -aHAX \"$ROOT/\" copy/; " DIFFER "copy/ clean/", "");
	assert_caches_below(in(plain, "copy"), false);
	/* A second run finds nothing to do. */
	assert_says(plain, DIFFER "\"$ROOT/\" copy/", "");

	/* It would have been seen. */
	assert_mentions(plain, "rsync -aHAX \"$BEHIND/\" old/; " DIFFER "old/ clean/",
			"__pycache__/");
}

static void rsync_brings_a_project(void **state)
{
	struct project *project = *state;
	const char *plain;

	begin(project);
	plain = project->fixture->plain;
	project_import_cold(project, in(plain, "clean"), NULL);
	assert_caches_below(in(plain, "clean"), true);
	/* Caches and all, twice, as a deployment does. */
	quietly(plain, "rsync -a --delete clean/ \"$ROOT/new/\"");
	quietly(plain, "rsync -a --delete clean/ \"$ROOT/new/\"");
	assert_caches_below(in(project_behind(project), "new"), false);
	assert_says(plain, "rsync -ain --checksum --delete --exclude=__pycache__ "
		    "clean/ \"$BEHIND/new/\"", "");
	project_import(project, in(project_root(project), "new"), NULL);
	assert_caches_below(in(project_behind(project), "new"), false);
}

static void tar_packs_the_project(void **state)
{
	static const char pack[] = "tar --sort=name -cf - -C \"$1\" . >\"$2\"";
	struct project *project = *state;
	const char *plain;

	begin(project);
	plain = project->fixture->plain;
	free(command_output(plain, "sh", "-ec", pack, "sh", project_root(project), "mount.tar",
			    NULL));
	free(command_output(plain, "sh", "-ec", pack, "sh", "clean", "clean.tar", NULL));
	/* Names, contents, modes, owners and times: every byte. */
	assert_says(plain, "cmp mount.tar clean.tar", "");

	/* It would have been seen. */
	free(command_output(plain, "sh", "-ec", pack, "sh", project_behind(project),
			    "behind.tar", NULL));
	assert_mentions(plain, "tar -tf behind.tar", "app/__pycache__/");
}

/* Packs a tree as image builders do where no .dockerignore is: walks, and takes what
 * it finds; prints the names. */
#define PACK_CONTEXT \
	"\"$PYTHON\" -c '\n" \
	"import io, os, sys, tarfile\n" \
	"top = sys.argv[1]\n" \
	"with tarfile.open(fileobj=io.BytesIO(), mode=\"w\") as context:\n" \
	"    for where, dirs, files in os.walk(top):\n" \
	"        for name in dirs + files:\n" \
	"            path = os.path.join(where, name)\n" \
	"            context.add(path, os.path.relpath(path, top), recursive=False)\n" \
	"    names = sorted(context.getnames())\n" \
	"print(*names, sep=\"\\n\")' "

static void a_context_has_no_bytecode(void **state)
{
	struct project *project = *state;
	const char *plain;
	char *expected;

	begin(project);
	plain = project->fixture->plain;
	/* The root of a context is not in it. */
	expected = shell(plain, "cd clean; find . -mindepth 1 -printf '%P\\n' | LC_ALL=C sort");
	assert_says(plain, PACK_CONTEXT "\"$ROOT\"", expected);
	free(expected);

	/* It would have been seen. */
	assert_mentions(plain, PACK_CONTEXT "\"$BEHIND\"", "app/__pycache__\n");
}

int main(void)
{
	static const struct promise promises[] = {
		{ "rsync from a mount makes a tree without caches",
		  rsync_takes_the_project, NULL },
		{ "rsync into a mount leaves bytecode out of the tree",
		  rsync_brings_a_project, NULL },
		{ "tar of a mount is tar of a clean tree, byte for byte",
		  tar_packs_the_project, NULL },
		{ "a walk that packs a context finds no bytecode",
		  a_context_has_no_bytecode, NULL },
	};
	int result = fixture_possible();

	if (result)
		return result;
	if (system("rsync --version >/dev/null 2>&1"))
		return cannot_run("rsync is not here");
	return pythons_run_newest("copies", promises,
				  sizeof(promises) / sizeof(*promises));
}
