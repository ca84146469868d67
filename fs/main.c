/*
 * The program: hands the command line to the verb that it names.  Without a verb
 * it mounts, so that mount(8) and fstab can call it.
 */
#include <string.h>

#include "cmd.h"
#include "usage.h"
#include "util.h"

static const struct {
	const struct usage_verb *verb;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ &usage_run, cmd_run },
	{ &usage_purge, cmd_purge },
	{ &usage_status, cmd_status },
	{ &usage_unmount, cmd_unmount },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++)
		if (strcmp(argv[1], commands[i].verb->name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	return cmd_mount(argc, argv);
}
