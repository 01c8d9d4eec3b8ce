using LazyMount.FileSystem;
using LazyMount.FileSystem.Erofs;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.TestKit;

namespace LazyMount.Fuzz.Targets;

/// <summary>The EROFS metadata of whatever tree a tar makes: fsck.erofs, which we did not write, finds nothing. The input is that of the tar target.</summary>
internal static class ErofsTarget
{
    // Larger images are holes.
    private const long MaxSize = 1L << 34;

    public static void Run(byte[] input)
    {
        var reader = new InputReader(input);
        _ = reader.Byte(); // how the tar target cuts its input
        byte[] tar = reader.Rest.ToArray();
        TarTarget.SetChecksums(tar);
        (_, LayerEntriesBuilder? entries) = TarTarget.Scan(tar, int.MaxValue);
        if (entries is null)
            return;
        LayerIndex layer = TreeWalk.Index(entries, tar.Length);
        ErofsImage image;
        try
        {
            image = new ErofsImage(TreeBuilder.Build([layer, layer]));
        }
        catch (InvalidDataException)
        {
            return; // no tree, or none that EROFS holds
        }
        if (image.Size > MaxSize)
            return;
        string path = Path.GetTempFileName();
        try
        {
            byte[] metadata = new byte[image.MetadataSize];
            image.ReadMetadata(0, metadata);
            using (FileStream file = File.Create(path))
            {
                file.Write(metadata);
                file.SetLength(image.Size);
            }
            ToolResult found = Tool.Run("fsck.erofs", path);
            FuzzException.Require(found.ExitCode == 0, $"fsck.erofs: {found.Output}{found.Error}");
        }
        finally
        {
            File.Delete(path);
        }
    }
}
