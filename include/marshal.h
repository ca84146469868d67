/*
 * Whether a text of Python's marshal format is whole.  Pure; nothing is built.
 */
#ifndef PYCACHEFS_MARSHAL_H
#define PYCACHEFS_MARSHAL_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether the @size bytes at @data are exactly one code object as CPython 3.@minor
 * writes it.  Later versions than are known count as the last known one, and what
 * does not fit that is not whole.
 */
bool marshal_is_code(const unsigned char *data, size_t size, int minor);

#endif
