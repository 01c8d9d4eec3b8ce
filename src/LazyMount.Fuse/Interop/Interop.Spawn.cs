using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

internal static unsafe partial class Interop
{
    /// <summary>Room for posix_spawn_file_actions_t: 80 bytes in glibc and musl.</summary>
    internal const int SpawnActionsSize = 256;

    [LibraryImport(Libc, EntryPoint = "posix_spawn_file_actions_init")]
    internal static partial int SpawnActionsInit(void* actions);

    [LibraryImport(Libc, EntryPoint = "posix_spawn_file_actions_adddup2")]
    internal static partial int SpawnActionsDuplicate(void* actions, SafeHandle fd, int childFd);

    /// <summary>The program starts in this directory. glibc 2.29, musl 1.1.24.</summary>
    [LibraryImport(Libc, EntryPoint = "posix_spawn_file_actions_addfchdir_np")]
    internal static partial int SpawnActionsChangeDirectory(void* actions, SafeHandle fd);

    [LibraryImport(Libc, EntryPoint = "posix_spawn_file_actions_destroy")]
    internal static partial int SpawnActionsDestroy(void* actions);

    /// <summary>Returns the error number, 0 on success.</summary>
    [LibraryImport(Libc, EntryPoint = "posix_spawnp", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Spawn(out int pid, string file, void* actions, void* attributes, byte** argv, byte** envp);
}
