using LazyMount.FileSystem;
using LazyMount.Output;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Finding;

/// <summary>One run of find: the image, and the name that the walk has come to, which tests and actions look at. Not thread-safe.</summary>
/// <param name="opened">The image. Not owned.</param>
/// <param name="output">Where actions write. Not owned.</param>
internal sealed class FindRun(OpenedTree opened, CommandOutput output) : IDisposable
{
    private NodeAttributes? _attributes;
    private DepthFirstWalk? _walk;
    private byte[] _startPath = [];

    public OpenedTree Opened { get; } = opened;

    public ImageTree Tree => Opened.Tree;

    public CommandOutput Output { get; } = output;

    /// <summary>The output for objects of JSON.</summary>
    public JsonLines Json { get; } = new(output);

    /// <summary>The image's users, if a test or an action needs their names.</summary>
    public IdNames? Users { get; set; }

    /// <summary>The image's groups, if a test or an action needs their names.</summary>
    public IdNames? Groups { get; set; }

    /// <summary>The starting point as it was given.</summary>
    public byte[] Start { get; private set; } = [];

    /// <summary>The name's path as it is printed: it begins with <see cref="Start"/>.</summary>
    public ReadOnlySpan<byte> Path => _walk!.Path;

    /// <summary>How many directories lead from the starting point to the name.</summary>
    public int Depth => _walk!.Depth;

    /// <summary>The node that is named.</summary>
    public ulong Node => _walk!.Node;

    /// <summary>An action has said that the walk does not go into this directory.</summary>
    public bool IsPruned { get; set; }

    /// <summary>An action has ended the search.</summary>
    public bool IsEnded { get; set; }

    /// <summary>The attributes of the node.</summary>
    public NodeAttributes Attributes => _attributes ??= Tree.Attributes(Node);

    /// <summary>The last part of the path, of which slashes at the end are none: "/" for the root.</summary>
    public ReadOnlySpan<byte> Name
    {
        get
        {
            ReadOnlySpan<byte> path = Path.TrimEnd((byte)'/');
            return path.IsEmpty ? "/"u8 : path[(path.LastIndexOf((byte)'/') + 1)..];
        }
    }

    /// <summary>The path from the image's root, without "." and symbolic links before the last name.</summary>
    public byte[] AbsolutePath
        => Depth == 0 ? _startPath : [.. _startPath.AsSpan().TrimEnd((byte)'/'), (byte)'/', .. Path[Start.Length..].TrimStart((byte)'/')];

    /// <summary>A file that the command line names. A symbolic link is followed on request, unless it leads to nothing.</summary>
    /// <exception cref="Cli.CommandException">There is no such file.</exception>
    public ResolvedPath Find(ReadOnlySpan<byte> path, bool follow)
        => follow && PathResolver.Resolve(Tree, path, followFinal: true, out ResolvedPath target) == Errno.None ? target : Opened.Find(path, follow: false);

    /// <summary>Begins at another starting point.</summary>
    public DepthFirstWalk BeginAt(byte[] start, ResolvedPath resolved)
    {
        (Start, _startPath) = (start, resolved.Path);
        return _walk = new DepthFirstWalk(Tree, resolved.Node, start);
    }

    /// <summary>The walk has come to another name.</summary>
    public void ComeToName() => (_attributes, IsPruned) = (null, false);

    /// <summary>Where the name leads when symbolic links are followed; null when that is nothing.</summary>
    public ulong? Target(out Errno errno)
    {
        errno = Errno.None;
        if (!FileMode.IsSymlink(Attributes.Mode))
        {
            return Node;
        }
        errno = PathResolver.Resolve(Tree, AbsolutePath, followFinal: true, out ResolvedPath resolved);
        return errno == Errno.None ? resolved.Node : null;
    }

    public void Dispose() => Json.Dispose();
}
