/*
 * Settling: giving up descriptors of the source that are open for writing.
 *
 * A file that someone holds open for writing can't be executed (ETXTBSY), nor its
 * filesystem be remounted.  A request carries no handle, so nobody tells us when a
 * writer is done; one that was idle from one pass to the next is taken to be.
 */
#ifndef PYCACHEFS_SETTLE_H
#define PYCACHEFS_SETTLE_H

#include <stdbool.h>

struct handles;

/*
 * One pass: turns the descriptors of source files that are open for writing, and
 * were not written to since the last pass, into O_PATH ones.  Keeps those that
 * could not be opened for writing again.  Any thread; while a pass is in progress
 * another one does nothing.
 */
void handles_settle(struct handles *handles);

/*
 * For the thread that settles: waits until a source file is open for writing, and
 * then @seconds more.  Returns false as soon as handles_settle_stop() was called.
 */
bool handles_settle_wait(struct handles *handles, unsigned seconds);
void handles_settle_stop(struct handles *handles);

#endif
