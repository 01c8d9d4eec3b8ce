using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published.Soci;
using LazyMount.TestKit;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Fuzz.Targets;

/// <summary>ztocs that others published: refused, or an index that the store takes and gives back.</summary>
internal static class ZtocTarget
{
    public static void Run(byte[] input)
    {
        try
        {
            // As if the manifest gave the size that it claims: everything else is then looked at.
            var layer = new Descriptor("", Digest.OfSha256([]), FlatTable.Root(input).Int64(ZtocFormat.Ztoc.CompressedSize));
            LayerIndex index = ZtocReader.Read(input, layer, new IndexBudget(IndexLimits.Default)).Index;
            LayerIndex? stored = LayerIndexFile.TryDecode(LayerIndexFile.Encode(index), index.Digest);
            FuzzException.Require(stored is not null, "an index of a ztoc cannot be stored");
            TreeWalk.CheckLayer(stored!);
            TreeWalk.Merge([stored!]);
            FuzzException.Require(stored!.Entries.AsSpan().SequenceEqual(index.Entries), "a stored index of a ztoc is another");
        }
        catch (InvalidDataException)
        {
        }
    }

    public static IEnumerable<byte[]> Seeds()
    {
        byte[] tar = new TarBytes()
            .Directory("dir")
            .Pax(("SCHILY.xattr.user.a", "value"), ("mtime", "1577836800.5"))
            .File("dir/file", "hello")
            .Symlink("dir/link", "file")
            .HardLink("dir/hard", "dir/file")
            .CharacterDevice("dir/null", 1, 3)
            .ToArray();
        foreach (byte[] blob in (byte[][])[OciLayoutBuilder.Gzip(tar), tar])
        {
            var layer = new Descriptor("", Digest.OfSha256(blob), blob.Length);
            LayerIndex index = new LayerIndexer(NullLogger.Instance).IndexAsync(layer, new MemoryStream(blob), null, default).GetAwaiter().GetResult();
            yield return ZtocBuilder.BuildAsync(index, new MemoryStream(blob), default).GetAwaiter().GetResult().Ztoc!;
        }
    }
}
