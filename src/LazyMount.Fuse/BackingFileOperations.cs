using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;

namespace LazyMount.Fuse;

/// <summary>
/// Answers for the file system that the kernel's EROFS alone looks at: the file of <paramref name="tree"/>, below directories that exist so
/// that the path to it says what is mounted.
/// </summary>
/// <param name="tree">A directory with one file.</param>
/// <param name="negotiated">What INIT settled.</param>
/// <param name="path">The path to the file.</param>
internal sealed class BackingFileOperations(ImageTree tree, Negotiated negotiated, string path) : FuseOperations(tree, negotiated, null, null)
{
    private readonly int _directories = path.Split('/').Count(static step => step is not ("" or ".")) - 1;

    // The last of the tree's nodes, upon which those of the directories follow.
    private readonly ulong _file = tree.NamesIn(ImageTree.RootId).Single().Node;

    public override int Answer(in FuseRequest request, Span<byte> reply)
    {
        if (request.Opcode != FuseOpcode.Lookup)
        {
            return base.Answer(request, reply);
        }
        // Nobody else walks here, so every name is the one that the path has at this depth.
        int depth = request.NodeId == ImageTree.RootId ? 0 : (int)(request.NodeId - _file);
        return FuseReply.Entry(reply, request.Unique, depth < _directories
            ? Tree.Attributes(ImageTree.RootId) with { Inode = _file + (ulong)depth + 1 }
            : Tree.Attributes(_file));
    }
}
