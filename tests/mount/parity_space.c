/*
 * Parity of a file's size and space: truncation, allocation, holes, copies and
 * mappings.  COLLAPSE_RANGE and INSERT_RANGE are left out: FUSE in the kernel
 * refuses them (fs/fuse/file.c, fuse_file_fallocate) before a daemon hears.
 */
#include "parity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define BLOCK 4096

static int open_filled(const char *name, int blocks)
{
	static char block[BLOCK];
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);

	for (int i = 0; i < blocks; i++) {
		memset(block, 'a' + i % 26, BLOCK);
		if (write(fd, block, BLOCK) != BLOCK)
			say("no write to %s", name);
	}
	/* Delayed allocation would make the count of blocks a matter of luck. */
	fsync(fd);
	return fd;
}

/* A digest and the first bytes of each block tell what was zeroed. */
static void say_blocks(int fd)
{
	static char block[BLOCK];
	ssize_t got;

	for (off_t at = 0; at < CONTENT_MAX && (got = pread(fd, block, BLOCK, at)) > 0;
	     at += got) {
		unsigned sum = 0;

		for (ssize_t i = 0; i < got; i++)
			sum = sum * 31 + (unsigned char)block[i];
		if (sum)
			say("at %jd: %08x of %zd", (intmax_t)at, sum, got);
	}
}

static void say_space(int fd)
{
	fsync(fd);
	say_status_of(fd);
}

static void truncating(void)
{
	static const off_t sizes[] = {
		10000, 100, 0, 1, 4096, 4097, 1 << 20, 5, -1,
		(off_t)1 << 40, 12, (off_t)1 << 62,
	};
	int fd = open_filled("file", 3), reader;

	reader = TRY_OPEN(open("file", O_RDONLY));
	for (size_t i = 0; i < COUNT(sizes); i++) {
		say("%jd", (intmax_t)sizes[i]);
		TRY(ftruncate(fd, sizes[i]));
		say_space(fd);
		TRY(truncate("file", sizes[i]));
		say_status("file");
		TRY(lseek(reader, 0, SEEK_END));
	}
	say_blocks(reader);
	TRY(ftruncate(reader, 0));
	TRY(truncate("none", 0));
	TRY(truncate(".", 0));
	TRY(mkfifo("fifo", 0600));
	TRY(truncate("fifo", 0));
	TRY(symlink("file", "link"));
	TRY(truncate("link", 7));
	say_status("file");
	TRY(pwrite(fd, "x", 1, 100));
	TRY(ftruncate(fd, 50));
	TRY(ftruncate(fd, 200));
	say_content("file");
	TRY_OPEN(open("file", O_WRONLY | O_TRUNC));
	say_status_of(reader);
}

static void allocating(void)
{
	static const int modes[] = {
		0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	static const struct {
		off_t at, length;
	} ranges[] = {
		{ 0, BLOCK }, { BLOCK, 2 * BLOCK }, { 100, 50 },
		{ 100, 2 * BLOCK }, { 3 * BLOCK, 4 * BLOCK },
		{ 20 * BLOCK, BLOCK }, { 0, 0 }, { -1, 10 }, { 0, -1 },
		{ (off_t)1 << 62, BLOCK },
	};

	for (size_t i = 0; i < COUNT(modes); i++) {
		for (size_t j = 0; j < COUNT(ranges); j++) {
			int fd = open_filled("file", 6);

			say("mode %d, %jd+%jd", modes[i],
			    (intmax_t)ranges[j].at,
			    (intmax_t)ranges[j].length);
			TRY(fallocate(fd, modes[i], ranges[j].at,
				      ranges[j].length));
			say_space(fd);
			say_blocks(fd);
			close(fd);
		}
	}
	TRY(fallocate(open("file", O_RDONLY), 0, 0, 100));
	TRY(fallocate(open(".", O_RDONLY), 0, 0, 100));
	TRY(posix_fallocate(open("file", O_RDWR), 0, 100000));
	say_status("file");
}

/* Where data and holes lie, as the file itself tells. */
static void say_map(int fd)
{
	off_t at = 0, next;
	int whence = SEEK_DATA;

	while ((next = lseek(fd, at, whence)) >= 0) {
		say("%s at %jd", whence == SEEK_DATA ? "data" : "hole",
		    (intmax_t)next);
		if (whence == SEEK_HOLE && next == at)
			break;
		at = next;
		whence = whence == SEEK_DATA ? SEEK_HOLE : SEEK_DATA;
	}
	say("then %s", next < 0 ? strerrorname_np(errno) : "nothing");
}

static void sparse_files(void)
{
	int fd = TRY_OPEN(open("sparse", O_RDWR | O_CREAT, 0644));

	say_map(fd);
	TRY(ftruncate(fd, 64 * BLOCK));
	say_map(fd);
	TRY(pwrite(fd, "data", 4, 8 * BLOCK + 5));
	TRY(pwrite(fd, "data", 4, 40 * BLOCK));
	say_space(fd);
	say_map(fd);
	TRY(lseek(fd, 9 * BLOCK, SEEK_DATA));
	TRY(lseek(fd, 8 * BLOCK + 7, SEEK_DATA));
	TRY(lseek(fd, 8 * BLOCK, SEEK_HOLE));
	TRY(lseek(fd, 64 * BLOCK, SEEK_DATA));
	TRY(lseek(fd, 64 * BLOCK, SEEK_HOLE));
	TRY(lseek(fd, -1, SEEK_DATA));
	TRY(lseek(fd, 0, SEEK_CUR));
	TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      8 * BLOCK, BLOCK));
	say_space(fd);
	say_map(fd);
	TRY(pwrite(fd, "far", 3, (off_t)1 << 36));
	say_space(fd);
	TRY(lseek(fd, 41 * BLOCK, SEEK_DATA));
	TRY(ftruncate(fd, 9 * BLOCK));
	say_map(fd);
}

static void sparse_copies(void)
{
	int fd = TRY_OPEN(open("sparse", O_RDWR | O_CREAT, 0644));

	TRY(pwrite(fd, "data", 4, 100 * BLOCK));
	TRY(ftruncate(fd, 1000 * BLOCK));
	TRY(fsync(fd));
	TRY(system("cp --sparse=auto --reflink=never sparse copy"));
	TRY(system("tar -cSf t.tar sparse && mkdir x && tar -xSf t.tar -C x"
		   " && rm t.tar"));
	say_space(open("copy", O_RDWR));
	say_space(open("x/sparse", O_RDWR));
}

static void copying_ranges(void)
{
	int from = open_filled("from", 5), to = open_filled("to", 2);
	off_t in = 100, out = 3 * BLOCK;

	TRY(copy_file_range(from, &in, to, &out, 2 * BLOCK, 0));
	say("%jd %jd", (intmax_t)in, (intmax_t)out);
	say_space(to);
	say_blocks(to);
	in = 4 * BLOCK;
	TRY(copy_file_range(from, &in, to, &out, 100 * BLOCK, 0));
	in = 5 * BLOCK;
	TRY(copy_file_range(from, &in, to, &out, 10, 0));
	TRY(copy_file_range(from, NULL, to, NULL, 10, 0));
	TRY(lseek(from, 0, SEEK_SET));
	TRY(copy_file_range(from, NULL, to, NULL, 10, 0));
	TRY(lseek(to, 0, SEEK_CUR));
	in = 0;
	out = 10;
	TRY(copy_file_range(from, &in, from, &out, 100, 0));
	out = 3 * BLOCK;
	TRY(copy_file_range(from, &in, from, &out, 100, 0));
	TRY(copy_file_range(from, &in, to, &out, 100, 1));
	TRY(copy_file_range(from, &in, open("to", O_RDONLY), &out, 1, 0));
	TRY(copy_file_range(from, &in, open("to", O_WRONLY | O_APPEND), &out,
			    1, 0));
	TRY(copy_file_range(open(".", O_RDONLY), &in, to, &out, 1, 0));
	/* At once visible to a reader that has the pages. */
	in = 0;
	out = 0;
	say_blocks(to);
	TRY(copy_file_range(from, &in, to, &out, BLOCK, 0));
	say_blocks(to);
	in = 0;
	out = 2 * BLOCK;
	TRY(lseek(to, BLOCK, SEEK_SET));
	TRY(sendfile(to, from, &in, 3 * BLOCK));
	TRY(sendfile(to, from, NULL, 3 * BLOCK));
	say_space(to);
	say_blocks(to);
}

static void mapping(void)
{
	int fd = open_filled("file", 3), reader, failed;
	char text[16] = "";
	char *map, *private;

	reader = TRY_OPEN(open("file", O_RDONLY));
	map = mmap(NULL, 3 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd,
		       0);
	failed = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, reader,
		      0) == MAP_FAILED ? errno : 0;
	say("a shared writable map of a reader: %s", strerrorname_np(failed));
	if (map == MAP_FAILED || private == MAP_FAILED) {
		say("no map: %s", strerrorname_np(errno));
		return;
	}
	memcpy(map + 10, "mapped", 6);
	TRY(pread(reader, text, 6, 10));
	say("%s", text);
	TRY(msync(map, 3 * BLOCK, MS_SYNC));
	TRY(pread(reader, text, 6, 10));
	say("%s", text);
	TRY(pwrite(fd, "wrote!", 6, BLOCK));
	say("%.6s", map + BLOCK);
	memcpy(private, "private", 7);
	TRY(pread(reader, text, 7, 0));
	say("%s", text);
	memcpy(map + 2 * BLOCK + 5, "unsynced", 8);
	TRY(munmap(map, 3 * BLOCK));
	TRY(munmap(private, BLOCK));
	TRY(pread(reader, text, 8, 2 * BLOCK + 5));
	say("%s", text);
	TRY(fsync(fd));
	say_blocks(reader);
}

static void a_map_outlives_its_file(void)
{
	int fd = open_filled("file", 2);
	char *map = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED,
			 fd, 0);

	if (map == MAP_FAILED) {
		say("no map: %s", strerrorname_np(errno));
		return;
	}
	close(fd);
	TRY(unlink("file"));
	say("%c %c", map[0], map[BLOCK]);
	memcpy(map, "changed", 7);
	TRY(msync(map, 2 * BLOCK, MS_SYNC));
	TRY(madvise(map, 2 * BLOCK, MADV_DONTNEED));
	say("%.7s %c", map, map[BLOCK]);
	TRY(munmap(map, 2 * BLOCK));
}

static void programs_run(void)
{
	int fd;

	TRY(system("cp /bin/true program"));
	TRY(system("./program"));
	TRY(chmod("program", 0644));
	TRY(system("./program 2>/dev/null"));
	TRY(chmod("program", 0755));
	fd = TRY_OPEN(open("program", O_WRONLY));
	TRY(system("./program 2>/dev/null"));
	close(fd);
	TRY(system("./program"));
	make("script", "#!/bin/sh\nexit 3\n");
	TRY(chmod("script", 0755));
	TRY(system("./script"));
}

static const struct parity_case cases[] = {
	{ "truncation sets any size", truncating },
	{ "fallocate allocates, punches and zeroes", allocating },
	{ "sparse files tell their holes", sparse_files },
	{ "copies of sparse files stay sparse", sparse_copies },
	{ "ranges are copied within the mount", copying_ranges },
	{ "maps share their pages with reads and writes", mapping },
	{ "a map outlives its file", a_map_outlives_its_file },
	{ "programs run", programs_run },
};

int main(void)
{
	return parity_main(cases, COUNT(cases));
}
