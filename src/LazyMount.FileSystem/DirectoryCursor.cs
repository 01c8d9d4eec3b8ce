using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using LazyMount.FileSystem.Erofs;

namespace LazyMount.FileSystem;

/// <summary>Goes through the names of a directory, a block at a time, which it holds a copy of. A name is good until the next one.</summary>
public ref struct DirectoryCursor
{
    private readonly ImageTree _tree;
    private readonly Inode _inode;
    private readonly long _blocks;
    private int _count; // names in the block; 0: not read yet
    private int _length; // of the block
    private long _number;
    private int _next;
    private BlockMemory _memory;

    internal DirectoryCursor(ImageTree tree, ulong directory, ulong from)
    {
        (_tree, _inode) = (tree, tree.ReadInode(directory));
        _blocks = FileMode.IsDirectory(_inode.Mode) ? ErofsFormat.BlocksFor(_inode.Size) : 0;
        (_number, _next) = ((long)(from >> ErofsFormat.BlockBits), (int)(from & (ErofsFormat.BlockSize - 1)) / ErofsFormat.DirentSize);
    }

    /// <summary>The name.</summary>
    [UnscopedRef]
    public readonly ReadOnlySpan<byte> Name => Block.NameAt(_next - 1);

    /// <summary>The node id.</summary>
    public readonly ulong Node => Block.NodeAt(_next - 1);

    /// <summary>Type bits of st_mode.</summary>
    public readonly uint Type => Block.TypeAt(_next - 1);

    /// <summary>True for "." and "..".</summary>
    public readonly bool IsDots => Name is [(byte)'.'] or [(byte)'.', (byte)'.'];

    /// <summary>Where to go on behind this name.</summary>
    public readonly ulong Next => ((ulong)_number << ErofsFormat.BlockBits) + (ulong)(_next * ErofsFormat.DirentSize);

    /// <summary>The name is the last one of its block.</summary>
    internal readonly bool EndsBlock => _next == _count;

    /// <summary>Goes to the next name; false behind the last.</summary>
    public bool MoveNext()
    {
        while (_number < _blocks)
        {
            if (_count == 0)
            {
                DirectoryBlock block = _tree.DirectoryBlock(_inode, _number, _memory);
                (_length, _count) = (block.Length, block.Count);
            }
            if (_next < _count)
            {
                _next++;
                return true;
            }
            (_number, _next, _count) = (_number + 1, 0, 0);
        }
        return false;
    }

    [UnscopedRef]
    private readonly DirectoryBlock Block => new(((ReadOnlySpan<byte>)_memory)[.._length], _count);

    [InlineArray(ErofsFormat.BlockSize)]
    private struct BlockMemory
    {
        private byte _first;
    }
}
