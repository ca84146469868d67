/*
 * Bytes as text for JSON, which holds UTF-8 only, while a path may be any bytes; and
 * numbers of bytes as people read them.
 */
#ifndef PYCACHEFS_TEXT_H
#define PYCACHEFS_TEXT_H

#include <stdint.h>

/*
 * The bytes as UTF-8: each byte that is no part of valid UTF-8, and each backslash,
 * becomes "\xNN" with two digits of lower-case hexadecimal.  So every "\x" in the
 * result is such an escape, and text_unescape() gives the bytes back.  Both return
 * a text that the caller frees, or NULL when memory is short.
 */
char *text_escape(const char *bytes);
char *text_unescape(const char *text);

/* A number of bytes such as "512 B" or "1.5 MiB". */
enum { TEXT_SIZE = 32 };
const char *text_size(uint64_t bytes, char ret[TEXT_SIZE]);

#endif
