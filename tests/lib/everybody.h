/*
 * Programs where every user can start them.
 *
 * Tests start the tested program as several users.  In a clone below a home that
 * is closed to others, as /root is, none of them but root would get at it.
 */
#ifndef TESTS_EVERYBODY_H
#define TESTS_EVERYBODY_H

#include <limits.h>
#include <stdbool.h>

/*
 * Sets @ret to @program; but when this is root and others can't start it, to the path
 * of a copy, which goes when this process exits.  False after saying what failed.
 * For the beginning of a main function: one thread, no child yet.
 */
bool for_everybody(const char *program, char ret[PATH_MAX]);

#endif
