using LazyMount.MountTests.EndToEnd;
using LazyMount.TestKit;

namespace LazyMount.MountTests.Reliability;

/// <summary>
/// A registry with an image whose bytes are known: more than the daemon keeps decoded in memory, in a layer of gzip, one of many
/// small files, and one that is not compressed.
/// </summary>
public sealed class FaultyImage : IDisposable
{
    private const int MiB = 1 << 20;
    private const string Repository = "reliability/image:v1";

    private readonly TemporaryDirectory _directory = new();

    public FaultyImage()
    {
        var random = new Random(20_26);
        var layout = new OciLayoutBuilder(_directory["layout"]);
        (string, byte[])[] large = Files("large", 14, () => random.Next(MiB, 7 * MiB));
        (string, byte[])[] small = Files("small", 150, () => random.Next(90_000));
        (string, byte[])[] plain = Files("plain", 14, () => random.Next(MiB, 7 * MiB));
        layout.AddLayer(Tar("large", large)).AddLayer(Tar("small", small));
        byte[] tar = Tar("plain", plain);
        layout.AddLayer(tar, OciLayoutBuilder.TarLayer, OciLayoutBuilder.DigestOf(tar)).WriteImage("v1");
        Tree = new KnownTree([large, small, plain]);
        Tool.Run("skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", layout.Reference("v1"), $"docker://{Registry.Host}/{Repository}").EnsureSuccess();

        (string, byte[])[] Files(string directory, int count, Func<int> size)
            => [.. Enumerable.Range(0, count).Select(number =>
            {
                byte[] content = new byte[size()];
                random.NextBytes(content);
                foreach (ref byte value in content.AsSpan())
                {
                    value &= 0x3F; // compressible by a quarter
                }
                return ($"{directory}/{number}", content);
            })];
    }

    public RegistryServer Registry { get; } = new();

    public KnownTree Tree { get; }

    /// <summary>The image, asked for at another host.</summary>
    public static string At(string host) => $"{host}/{Repository}";

    public void Dispose()
    {
        Registry.Dispose();
        _directory.Dispose();
    }

    private static byte[] Tar(string directory, (string Path, byte[] Content)[] files)
    {
        TarBytes tar = new TarBytes().Directory(directory);
        foreach ((string path, byte[] content) in files)
        {
            tar.File(path, content);
        }
        return tar.ToArray();
    }
}
