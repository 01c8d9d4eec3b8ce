using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>The extended attributes of one or more nodes, with the list of their names as listxattr(2) gives it.</summary>
internal sealed class XattrSet
{
    public XattrSet(Xattr[] xattrs)
    {
        Xattrs = xattrs;
        int length = 0;
        foreach (var xattr in xattrs)
        {
            length += xattr.Name.Length + 1;
        }
        Names = new byte[length];
        int end = 0;
        foreach (var xattr in xattrs)
        {
            xattr.Name.Span.CopyTo(Names.AsSpan(end));
            end += xattr.Name.Length + 1;
        }
    }

    public Xattr[] Xattrs { get; }

    public byte[] Names { get; }
}
