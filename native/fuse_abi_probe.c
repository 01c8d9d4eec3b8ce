/* Prints the layout of <linux/fuse.h> as this machine's compiler sees it, one fact a line:
 *     sizeof STRUCT BYTES | offsetof STRUCT FIELD BYTES | value NAME NUMBER
 * FuseAbiTests compares them with src/LazyMount.Fuse/Protocol. Items younger than the oldest header we build
 * with (7.38, Debian 12) stand behind a check of the header's version. */
#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define SIZE(s) printf("sizeof %s %zu\n", #s, sizeof(struct s))
#define FIELD(s, f) printf("offsetof %s %s %zu\n", #s, #f, offsetof(struct s, f))
#define VALUE(v) printf("value %s %llu\n", #v, (unsigned long long)(v))

int main(void)
{
	VALUE(FUSE_KERNEL_VERSION);
	VALUE(FUSE_KERNEL_MINOR_VERSION);

	SIZE(fuse_in_header);
	FIELD(fuse_in_header, len);
	FIELD(fuse_in_header, opcode);
	FIELD(fuse_in_header, unique);
	FIELD(fuse_in_header, nodeid);
	FIELD(fuse_in_header, uid);
	FIELD(fuse_in_header, gid);
	FIELD(fuse_in_header, pid);
#if FUSE_KERNEL_MINOR_VERSION >= 38
	FIELD(fuse_in_header, total_extlen);
#endif

	SIZE(fuse_out_header);
	FIELD(fuse_out_header, len);
	FIELD(fuse_out_header, error);
	FIELD(fuse_out_header, unique);

	SIZE(fuse_attr);
	FIELD(fuse_attr, ino);
	FIELD(fuse_attr, size);
	FIELD(fuse_attr, blocks);
	FIELD(fuse_attr, atime);
	FIELD(fuse_attr, mtime);
	FIELD(fuse_attr, ctime);
	FIELD(fuse_attr, atimensec);
	FIELD(fuse_attr, mtimensec);
	FIELD(fuse_attr, ctimensec);
	FIELD(fuse_attr, mode);
	FIELD(fuse_attr, nlink);
	FIELD(fuse_attr, uid);
	FIELD(fuse_attr, gid);
	FIELD(fuse_attr, rdev);
	FIELD(fuse_attr, blksize);
	FIELD(fuse_attr, flags);

	SIZE(fuse_entry_out);
	FIELD(fuse_entry_out, nodeid);
	FIELD(fuse_entry_out, generation);
	FIELD(fuse_entry_out, entry_valid);
	FIELD(fuse_entry_out, attr_valid);
	FIELD(fuse_entry_out, entry_valid_nsec);
	FIELD(fuse_entry_out, attr_valid_nsec);
	FIELD(fuse_entry_out, attr);

	SIZE(fuse_attr_out);
	FIELD(fuse_attr_out, attr_valid);
	FIELD(fuse_attr_out, attr_valid_nsec);
	FIELD(fuse_attr_out, attr);

	/* sizeof would count the flexible array's alignment; FUSE_NAME_OFFSET is what the kernel uses. */
	printf("sizeof fuse_dirent %zu\n", (size_t)FUSE_NAME_OFFSET);
	FIELD(fuse_dirent, ino);
	FIELD(fuse_dirent, off);
	FIELD(fuse_dirent, namelen);
	FIELD(fuse_dirent, type);

	printf("sizeof fuse_direntplus %zu\n", (size_t)FUSE_NAME_OFFSET_DIRENTPLUS);
	FIELD(fuse_direntplus, entry_out);
	FIELD(fuse_direntplus, dirent);

	SIZE(fuse_init_in);
	FIELD(fuse_init_in, major);
	FIELD(fuse_init_in, minor);
	FIELD(fuse_init_in, max_readahead);
	FIELD(fuse_init_in, flags);
	FIELD(fuse_init_in, flags2);

	SIZE(fuse_init_out);
	FIELD(fuse_init_out, major);
	FIELD(fuse_init_out, minor);
	FIELD(fuse_init_out, max_readahead);
	FIELD(fuse_init_out, flags);
	FIELD(fuse_init_out, max_background);
	FIELD(fuse_init_out, congestion_threshold);
	FIELD(fuse_init_out, max_write);
	FIELD(fuse_init_out, time_gran);
	FIELD(fuse_init_out, max_pages);
	FIELD(fuse_init_out, map_alignment);
	FIELD(fuse_init_out, flags2);
#if FUSE_KERNEL_MINOR_VERSION >= 40
	FIELD(fuse_init_out, max_stack_depth);
#endif
#if FUSE_KERNEL_MINOR_VERSION >= 43
	FIELD(fuse_init_out, request_timeout);
#endif

	SIZE(fuse_open_in);
	FIELD(fuse_open_in, flags);
	FIELD(fuse_open_in, open_flags);

	SIZE(fuse_open_out);
	FIELD(fuse_open_out, fh);
	FIELD(fuse_open_out, open_flags);
#if FUSE_KERNEL_MINOR_VERSION >= 40
	FIELD(fuse_open_out, backing_id);
#endif

	SIZE(fuse_read_in);
	FIELD(fuse_read_in, fh);
	FIELD(fuse_read_in, offset);
	FIELD(fuse_read_in, size);
	FIELD(fuse_read_in, read_flags);
	FIELD(fuse_read_in, lock_owner);
	FIELD(fuse_read_in, flags);

	SIZE(fuse_getxattr_in);
	FIELD(fuse_getxattr_in, size);
	SIZE(fuse_getxattr_out);
	FIELD(fuse_getxattr_out, size);

	SIZE(fuse_kstatfs);
	FIELD(fuse_kstatfs, blocks);
	FIELD(fuse_kstatfs, bfree);
	FIELD(fuse_kstatfs, bavail);
	FIELD(fuse_kstatfs, files);
	FIELD(fuse_kstatfs, ffree);
	FIELD(fuse_kstatfs, bsize);
	FIELD(fuse_kstatfs, namelen);
	FIELD(fuse_kstatfs, frsize);
	SIZE(fuse_statfs_out);
	FIELD(fuse_statfs_out, st);

	SIZE(fuse_interrupt_in);
	FIELD(fuse_interrupt_in, unique);

	SIZE(fuse_lseek_in);
	FIELD(fuse_lseek_in, fh);
	FIELD(fuse_lseek_in, offset);
	FIELD(fuse_lseek_in, whence);
	SIZE(fuse_notify_inval_inode_out);
	FIELD(fuse_notify_inval_inode_out, ino);
	FIELD(fuse_notify_inval_inode_out, off);
	FIELD(fuse_notify_inval_inode_out, len);

	SIZE(fuse_notify_inval_entry_out);
	FIELD(fuse_notify_inval_entry_out, parent);
	FIELD(fuse_notify_inval_entry_out, namelen);

	SIZE(fuse_lseek_out);
	FIELD(fuse_lseek_out, offset);

	VALUE(FUSE_LOOKUP);
	VALUE(FUSE_FORGET);
	VALUE(FUSE_GETATTR);
	VALUE(FUSE_SETATTR);
	VALUE(FUSE_READLINK);
	VALUE(FUSE_SYMLINK);
	VALUE(FUSE_MKNOD);
	VALUE(FUSE_MKDIR);
	VALUE(FUSE_UNLINK);
	VALUE(FUSE_RMDIR);
	VALUE(FUSE_RENAME);
	VALUE(FUSE_LINK);
	VALUE(FUSE_OPEN);
	VALUE(FUSE_READ);
	VALUE(FUSE_WRITE);
	VALUE(FUSE_STATFS);
	VALUE(FUSE_RELEASE);
	VALUE(FUSE_FSYNC);
	VALUE(FUSE_SETXATTR);
	VALUE(FUSE_GETXATTR);
	VALUE(FUSE_LISTXATTR);
	VALUE(FUSE_REMOVEXATTR);
	VALUE(FUSE_FLUSH);
	VALUE(FUSE_INIT);
	VALUE(FUSE_OPENDIR);
	VALUE(FUSE_READDIR);
	VALUE(FUSE_RELEASEDIR);
	VALUE(FUSE_FSYNCDIR);
	VALUE(FUSE_GETLK);
	VALUE(FUSE_SETLK);
	VALUE(FUSE_SETLKW);
	VALUE(FUSE_ACCESS);
	VALUE(FUSE_CREATE);
	VALUE(FUSE_INTERRUPT);
	VALUE(FUSE_BMAP);
	VALUE(FUSE_DESTROY);
	VALUE(FUSE_IOCTL);
	VALUE(FUSE_POLL);
	VALUE(FUSE_NOTIFY_REPLY);
	VALUE(FUSE_BATCH_FORGET);
	VALUE(FUSE_FALLOCATE);
	VALUE(FUSE_READDIRPLUS);
	VALUE(FUSE_RENAME2);
	VALUE(FUSE_LSEEK);
	VALUE(FUSE_COPY_FILE_RANGE);
	VALUE(FUSE_SETUPMAPPING);
	VALUE(FUSE_REMOVEMAPPING);
	VALUE(FUSE_SYNCFS);
	VALUE(FUSE_TMPFILE);
#if FUSE_KERNEL_MINOR_VERSION >= 39
	VALUE(FUSE_STATX);
#endif

	VALUE(FUSE_ASYNC_READ);
	VALUE(FUSE_EXPORT_SUPPORT);
	VALUE(FUSE_DO_READDIRPLUS);
	VALUE(FUSE_ASYNC_DIO);
	VALUE(FUSE_NO_OPEN_SUPPORT);
	VALUE(FUSE_PARALLEL_DIROPS);
	VALUE(FUSE_POSIX_ACL);
	VALUE(FUSE_MAX_PAGES);
	VALUE(FUSE_CACHE_SYMLINKS);
	VALUE(FUSE_NO_OPENDIR_SUPPORT);
	VALUE(FUSE_EXPLICIT_INVAL_DATA);
	VALUE(FUSE_INIT_EXT);
#if FUSE_KERNEL_MINOR_VERSION >= 40
	VALUE(FUSE_HAS_RESEND);
	VALUE(FUSE_NOTIFY_RESEND);
#endif
#if FUSE_KERNEL_MINOR_VERSION >= 41
	VALUE(FUSE_ALLOW_IDMAP);
#endif

	VALUE(FUSE_NOTIFY_INVAL_INODE);
	VALUE(FUSE_NOTIFY_INVAL_ENTRY);
#if FUSE_KERNEL_MINOR_VERSION >= 44
	VALUE(FUSE_NOTIFY_INC_EPOCH);
#endif

	VALUE(FOPEN_KEEP_CACHE);
	VALUE(FOPEN_CACHE_DIR);

	VALUE(FUSE_DEV_IOC_CLONE);
	return 0;
}
