/*
 * The commands, a file each.  @argv[0] is the program or the verb; each returns
 * an exit status: 0, 1 when it could not be done, 2 for wrong usage.
 * cmd_run() becomes another program, and has its exit statuses.
 */
#ifndef PYCACHEFS_CMD_H
#define PYCACHEFS_CMD_H

enum { EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

int cmd_mount(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_purge(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_unmount(int argc, char **argv);

#endif
