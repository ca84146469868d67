/*
 * How long the kernel may cache an answer: without limit where every change is
 * heard of, else for the time limit.
 */
#ifndef PYCACHEFS_FRESH_H
#define PYCACHEFS_FRESH_H

#include "fs.h"
#include "route.h"

/*
 * To be called with a source directory that is about to become known to the
 * kernel, before its attributes are read for the answer: has it watched.
 */
void fresh_watch(struct fs *fs, struct inode *directory);

/* To be called with a directory before a name in it is looked up: see echo.h. */
void fresh_asked(struct inode *directory);

/*
 * To be called with a file that was just found by name.  A filesystem that knows files
 * by path alone (sshfs) shows another file as the same when it takes the name, but not
 * to who has the old one open; so where a change may have gone unheard, it is opened
 * anew to be read.
 */
void fresh_reader(struct fs *fs, struct inode *inode);

/* Seconds for the name at @place in @parent, found or missing. */
double fresh_name(struct fs *fs, const struct inode *parent,
		  const struct place *place);

/*
 * To be called with attributes that the kernel is about to see.  It drops a file's
 * pages when mtime or size have changed (FUSE_CAP_AUTO_INVAL_DATA); a change that
 * leaves both as they were is told by the ctime alone, and where changes aren't heard
 * of this tells the kernel.
 */
void fresh_pages(struct fs *fs, struct inode *inode, const struct stat *attr);

/* Seconds for @inode's attributes. */
double fresh_attr(struct fs *fs, const struct inode *inode);

#endif
