using LazyMount.FileSystem.Erofs;

namespace LazyMount.FileSystem;

/// <summary>Goes through the names of a directory. A name is good for as long as it is held.</summary>
public ref struct DirectoryCursor
{
    private readonly ImageTree _tree;
    private readonly Inode _inode;
    private readonly long _blocks;
    private DirectoryBlock _block; // no names: not read yet
    private long _number;
    private int _next;

    internal DirectoryCursor(ImageTree tree, ulong directory, ulong from)
    {
        (_tree, _inode) = (tree, tree.ReadInode(directory));
        _blocks = FileMode.IsDirectory(_inode.Mode) ? ErofsFormat.BlocksFor(_inode.Size) : 0;
        (_number, _next) = ((long)(from >> ErofsFormat.BlockBits), (int)(from & (ErofsFormat.BlockSize - 1)) / ErofsFormat.DirentSize);
    }

    /// <summary>The name.</summary>
    public readonly ReadOnlySpan<byte> Name => _block.NameAt(_next - 1);

    /// <summary>The node id.</summary>
    public readonly ulong Node => _block.NodeAt(_next - 1);

    /// <summary>Type bits of st_mode.</summary>
    public readonly uint Type => _block.TypeAt(_next - 1);

    /// <summary>True for "." and "..".</summary>
    public readonly bool IsDots => Name is [(byte)'.'] or [(byte)'.', (byte)'.'];

    /// <summary>Where to go on behind this name.</summary>
    public readonly ulong Next => ((ulong)_number << ErofsFormat.BlockBits) + (ulong)(_next * ErofsFormat.DirentSize);

    /// <summary>The name is the last one of its block.</summary>
    internal readonly bool EndsBlock => _next == _block.Count;

    /// <summary>Goes to the next name; false behind the last.</summary>
    public bool MoveNext()
    {
        while (_number < _blocks)
        {
            if (_block.Count == 0)
            {
                _block = _tree.DirectoryBlock(_inode, _number);
            }
            if (_next < _block.Count)
            {
                _next++;
                return true;
            }
            (_number, _next) = (_number + 1, 0);
            _block = default;
        }
        return false;
    }
}
