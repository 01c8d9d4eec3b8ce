using System.Text;

namespace LazyMount.Fuse;

/// <summary>
/// What the mount table shows as the source of an EROFS mount of ours: <c>lazymount:PID@START:IMAGE</c>, or <c>lazymount:PID@START-NAMESPACE:IMAGE</c>
/// where the serving process runs in a PID namespace of its own. It tells our mounts from others, and who serves one: an EROFS mount
/// whose server is gone still answers statfs(2).
/// </summary>
/// <param name="Server">Who serves it.</param>
/// <param name="Image">What is mounted.</param>
internal sealed record ErofsSource(ServingProcess Server, string Image)
{
    private const string Prefix = "lazymount:";

    /// <summary>The source of an EROFS mount in the mount table.</summary>
    /// <param name="server">The process that stands for the mount; null: this one.</param>
    /// <param name="image">What is mounted.</param>
    public static ErofsSource Of(ServingProcess? server, string image) => new(server ?? ServingProcess.Own(), image);

    /// <summary>Null for a mount that is not ours.</summary>
    public static ErofsSource? TryParse(string source)
    {
        if (!source.StartsWith(Prefix, StringComparison.Ordinal) || source.IndexOf(':', Prefix.Length) is not (> 0 and int colon))
        {
            return null;
        }
        return ServingProcess.TryParse(source[Prefix.Length..colon]) is { } server ? new ErofsSource(server, source[(colon + 1)..]) : null;
    }

    /// <summary>
    /// The source as the path that the kernel opens, each step of it by a look-up that <see cref="BackingFileOperations"/> answers. The
    /// image's name is kept as it is if it can be walked and fits.
    /// </summary>
    public override string ToString()
    {
        string head = $"{Prefix}{Server}:";
        int room = FileSystemContext.MaxValue - 1 - head.Length;
        string[] steps = (head + Image).Split('/');
        if (Encoding.UTF8.GetByteCount(Image) <= room && !steps.Contains("..") && steps[^1] is not ("" or "."))
        {
            return head + Image;
        }
        // The end of the name tells more than its beginning: a tag, a digest.
        string name = Image.Replace('/', '_');
        while (Encoding.UTF8.GetByteCount(name) > room)
        {
            name = name[1..];
        }
        return head + name;
    }
}
