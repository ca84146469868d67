/*
 * The figures of a mount as JSON: what `pycachefs status` shows.
 */
#ifndef PYCACHEFS_STATUS_H
#define PYCACHEFS_STATUS_H

#include "fs.h"

/* One JSON object, as the README lists its keys.  The caller frees the text; NULL
 * when memory is short.  Any thread. */
char *status_describe(struct fs *fs);

#endif
