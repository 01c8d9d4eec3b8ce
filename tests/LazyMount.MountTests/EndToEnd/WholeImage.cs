using LazyMount.TestKit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>What `unpack` writes.</summary>
internal static class Unpacked
{
    public static TreeSnapshot Take(LazyMountCli lazymount, string image, params string[] options)
    {
        string directory = lazymount.Directory[$"unpacked{Guid.NewGuid():N}"];
        lazymount.Run(["unpack", .. options, image, directory]).EnsureSuccess();
        return TreeSnapshot.Take(directory);
    }
}

/// <summary>What GNU tar makes of what `export` writes, without any option that the tar would need for its order.</summary>
internal static class Exported
{
    public static TreeSnapshot Take(LazyMountCli lazymount, string image, params string[] options)
    {
        string tar = lazymount.Directory[$"exported{Guid.NewGuid():N}"], directory = lazymount.Directory.CreateDirectory(Path.GetFileName(tar) + ".d");
        lazymount.Run(["export", "-o", tar, .. options, image]).EnsureSuccess();
        ToolResult result = Tool.Run("tar", "--extract", "--preserve-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp", "--file", tar, "--directory", directory);
        result.EnsureSuccess();
        if (result.Error.Length > 0)
        {
            throw new InvalidDataException($"tar warns: {result.Error}");
        }
        return TreeSnapshot.Take(directory);
    }
}

/// <summary>What the kernel shows of the EROFS image that `export --format erofs` writes, in which fsck.erofs finds nothing.</summary>
internal static class ExportedErofs
{
    public static TreeSnapshot Take(LazyMountCli lazymount, string image, params string[] options)
    {
        string file = lazymount.Directory[$"exported{Guid.NewGuid():N}"], directory = lazymount.Directory.CreateDirectory(Path.GetFileName(file) + ".d");
        lazymount.Run(["export", "--format", "erofs", "-o", file, .. options, image]).EnsureSuccess();
        ToolResult check = Tool.Run("fsck.erofs", file).EnsureSuccess();
        if (check.Output + check.Error is not ("" or "No errors found\n"))
        {
            throw new InvalidDataException($"fsck.erofs says: {check.Output}{check.Error}");
        }
        Tool.Run("mount", "-t", "erofs", "-o", "ro,loop", file, directory).EnsureSuccess();
        try
        {
            return TreeSnapshot.Take(directory);
        }
        finally
        {
            Tool.Run("umount", "-l", directory).EnsureSuccess();
            File.Delete(file);
        }
    }
}
