namespace LazyMount.Layers;

/// <summary>
/// Recognises readers that go through a layer in order and tells how far ahead of them to fetch: nothing at the first read, and
/// from the second in a row on twice as much each time. Several readers at a time are told apart. Thread-safe.
/// </summary>
internal sealed class ReadAhead
{
    /// <summary>The first step, and the most: on a link of 20 ms and 200 Mbit/s half a MB is under way at any time.</summary>
    private const long FirstWindow = 512 << 10, LastWindow = 8 << 20;

    /// <summary>A read that begins so close behind the last one goes on from it: small files are passed over, not read.</summary>
    private const long Slack = 256 << 10;

    /// <summary>
    /// Behind the end of the file that is read, no more than this part of what the reader has read in a row: whoever reads one directory
    /// stops somewhere, whoever reads everything gains.
    /// </summary>
    private const int PartBehindFile = 8;

    /// <summary>Less is not worth a request, unless it is the rest of the file.</summary>
    private const long SmallestStep = 256 << 10;

    private const int Readers = 4;

    private readonly Lock _lock = new();
    private readonly Reader[] _readers = new Reader[Readers];

    private struct Reader
    {
        public long Start, End, Window, Ahead, LastUse;
    }

    /// <summary>Notes a read of bytes [offset, end) of the blob. Returns the range to fetch ahead of it, empty for none.</summary>
    /// <param name="offset">Where the span that is read begins.</param>
    /// <param name="end">Where it ends.</param>
    /// <param name="fileEnd">Where the last span of the file ends that is read.</param>
    /// <param name="blobSize">Where there is nothing more.</param>
    public (long Offset, long End) Note(long offset, long end, long fileEnd, long blobSize)
    {
        // :: Step 8: readers that go in order are gone ahead of.
        long now = Environment.TickCount64;
        lock (_lock)
        {
            int oldest = 0;
            for (int i = 0; i < Readers; i++)
            {
                ref Reader reader = ref _readers[i];
                if (reader.End > 0 && offset >= reader.End - Slack && offset <= reader.End + Slack)
                {
                    reader.LastUse = now;
                    if (end <= reader.End)
                    {
                        return default; // the same place once more
                    }
                    reader.End = end;
                    reader.Window = reader.Window == 0 ? FirstWindow : Math.Min(reader.Window * 2, LastWindow);
                    long most = Math.Min(blobSize, Math.Max(fileEnd, end + (end - reader.Start) / PartBehindFile));
                    long from = Math.Max(end, reader.Ahead), to = Math.Min(end + reader.Window, most);
                    if (to - from < SmallestStep)
                    {
                        long rest = Math.Min(fileEnd, blobSize);
                        to = to < rest ? from : rest;
                    }
                    if (to <= from)
                    {
                        return default;
                    }
                    reader.Ahead = to;
                    return (from, to);
                }
                if (reader.LastUse < _readers[oldest].LastUse)
                {
                    oldest = i;
                }
            }
            _readers[oldest] = new Reader { Start = offset, End = end, LastUse = now };
            return default;
        }
    }

    /// <summary>Whether a reader is still at it: it has read within the last seconds and not yet what lies at this offset.</summary>
    public bool IsWanted(long offset)
    {
        const long Patience = 3000; // ms
        long now = Environment.TickCount64;
        lock (_lock)
        {
            foreach (ref readonly Reader reader in _readers.AsSpan())
            {
                if (reader.Ahead > offset && reader.End <= offset + LastWindow && now - reader.LastUse < Patience)
                {
                    return true;
                }
            }
            return false;
        }
    }
}
