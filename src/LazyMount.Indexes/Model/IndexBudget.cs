using System.Runtime.CompilerServices;

namespace LazyMount.Indexes.Model;

/// <summary>
/// Counts the memory of one index while it is made, and refuses what passes the bound before it is allocated. All makers of
/// an index count with it: the builders for tars, tables of contents and ztocs, and the reader of the stored form. The budgets
/// of an image's layers may share an <see cref="ImageBudget"/>. Thread-safe: a pass counts on two threads.
/// <para>What is counted is what the finished index takes. Arrays that grow are there twice while they are copied, so the peak is up
/// to three times the count.</para>
/// </summary>
internal sealed class IndexBudget : IDisposable
{
    /// <summary>Bytes of an entry.</summary>
    public static readonly int Entry = Unsafe.SizeOf<LayerEntry>();

    /// <summary>Bytes of a path besides its name: parent, end of the name, and the hash table that finds it.</summary>
    public const int Path = 24;

    /// <summary>Bytes of a symbolic link's target besides its text.</summary>
    public const int LinkTarget = 20;

    /// <summary>Bytes of a set of extended attributes, and of the place in the table that finds equal ones.</summary>
    public const int XattrSet = 64;

    /// <summary>Bytes of an extended attribute besides its name and value: two arrays and what points to them.</summary>
    public const int Xattr = 96;

    /// <summary>Bytes of a sparse map besides its extents.</summary>
    public const int SparseMap = 64;

    /// <summary>Bytes of an extent of a sparse map.</summary>
    public static readonly int SparseExtent = Unsafe.SizeOf<SparseExtent>();

    /// <summary>Bytes of a checkpoint besides its window, with those of the span that begins there while the layer is read.</summary>
    public const int Checkpoint = 40;

    /// <summary>Bytes of a range with a digest.</summary>
    public const int Range = 44;

    /// <summary>Bytes of a range to fetch first.</summary>
    public const int PrefetchRange = 16;

    // Taken from the image's budget at a time.
    private const long Step = 64 << 10;

    private readonly long _max;
    private readonly ImageBudget? _image;
    private readonly Lock _reserving = new();
    private long _taken, _reserved;

    /// <param name="limits">The bounds.</param>
    /// <param name="blobSize">Bytes of the layer's blob, which bound the memory of its index.</param>
    /// <param name="image">What the indexes of the image's layers take together; null for a layer that is indexed alone.</param>
    public IndexBudget(IndexLimits limits, long blobSize = long.MaxValue, ImageBudget? image = null)
        => (Limits, _max, _image) = (limits, limits.MemoryFor(blobSize), image);

    /// <summary>A budget with the usual limits.</summary>
    public IndexBudget(long blobSize, ImageBudget? image = null) : this(IndexLimits.Default, blobSize, image)
    {
    }

    /// <summary>The bounds of single things.</summary>
    public IndexLimits Limits { get; }

    /// <summary>Bytes that were taken and not given back.</summary>
    public long Taken => Volatile.Read(ref _taken);

    /// <summary>Counts memory that is about to be allocated.</summary>
    /// <exception cref="InvalidDataException">The bound is passed.</exception>
    public void Take(long bytes)
    {
        long taken = Interlocked.Add(ref _taken, bytes);
        if (taken > _max)
        {
            Give(bytes); // nothing is allocated
            throw new InvalidDataException($"its index takes more than {_max} bytes of memory, the maximum for a layer of its size");
        }
        if (_image is not null && taken > Volatile.Read(ref _reserved))
        {
            try
            {
                Reserve(_image, taken);
            }
            catch (InvalidDataException)
            {
                Give(bytes);
                throw;
            }
        }
    }

    private void Reserve(ImageBudget image, long taken)
    {
        lock (_reserving)
        {
            if (taken > _reserved)
            {
                long more = Math.Max(Step, taken - _reserved);
                image.Take(more);
                Volatile.Write(ref _reserved, _reserved + more);
            }
        }
    }

    /// <summary>Counts <paramref name="count"/> things of <paramref name="bytesEach"/> bytes.</summary>
    public void Take(long count, int bytesEach) => Take(count > _max / bytesEach ? _max + 1 : count * bytesEach);

    /// <summary>Gives back bytes that were needed temporarily.</summary>
    public void Give(long bytes) => Interlocked.Add(ref _taken, -bytes);

    /// <summary>Gives everything back to the image's budget: the index came to nothing.</summary>
    public void Dispose()
    {
        lock (_reserving)
        {
            _image?.Give(_reserved);
            (_taken, _reserved) = (0, 0);
        }
    }
}

/// <summary>Memory that the indexes of all layers of an image take together. Thread-safe.</summary>
/// <param name="max">Bytes; <see cref="IndexLimits.Memory"/> but in tests.</param>
internal sealed class ImageBudget(long max)
{
    private long _taken;

    public ImageBudget() : this(IndexLimits.Default.Memory)
    {
    }

    /// <exception cref="InvalidDataException">The bound is passed.</exception>
    public void Take(long bytes)
    {
        if (Interlocked.Add(ref _taken, bytes) > max)
        {
            Interlocked.Add(ref _taken, -bytes);
            throw new InvalidDataException($"the indexes of the image's layers take more than {max} bytes of memory together");
        }
    }

    public void Give(long bytes) => Interlocked.Add(ref _taken, -bytes);
}
