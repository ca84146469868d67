/*
 * Private namespaces: where a process may mount without anybody else seeing it.
 */
#ifndef PYCACHEFS_NAMESPACE_H
#define PYCACHEFS_NAMESPACE_H

#include <stdbool.h>

/*
 * Enters a user namespace in which the caller keeps its uid and gid and may mount,
 * and a mount namespace of that.  What is mounted outside from now on shows inside
 * as well, never the other way.  The process must have no other threads.  Returns 0
 * or negative errno.
 */
int namespace_enter_as_user(void);

/*
 * The same without a user namespace where the caller may mount as it is, so that
 * root stays what it is; @ret_as_user says whether one was needed.  Returns 0, or
 * negative errno after complaining.
 */
int namespace_enter(bool *ret_as_user);

#endif
