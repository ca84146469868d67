/*
 * The hash of a module's source that bytecode goes by which is not told by time and
 * size (PEP 552).
 */
#ifndef PYCACHEFS_PYHASH_H
#define PYCACHEFS_PYHASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * What _imp.source_hash() makes of @source in the CPython whose bytecode begins with
 * @magic, the first four bytes as a little-endian number.  From 3.7 on.
 */
uint64_t pyhash_source(uint32_t magic, const void *source, size_t size);

#endif
