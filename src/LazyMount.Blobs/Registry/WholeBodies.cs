using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Registry;

/// <summary>The answer of a server that gives the whole blob whatever range it is asked for, at the byte where its reader stopped.</summary>
internal sealed record WholeBody(Digest Blob, long At, HttpResponseMessage Response, Stream Body) : IDisposable
{
    public void Dispose()
    {
        Body.Dispose();
        Response.Dispose();
    }
}

/// <summary>
/// Answers of that kind that somebody may read on from: a blob that is read in order, range by range, would else be sent from
/// its first byte for each. Thread-safe.
/// </summary>
internal sealed class WholeBodies : IDisposable
{
    // As many as there are ranges under way at once for one blob.
    private const int Most = 4;

    private readonly List<WholeBody> _bodies = []; // the oldest first
    private bool _disposed;

    /// <summary>The one that has least to pass over before <paramref name="offset"/>, or null; the caller's from now on.</summary>
    /// <param name="blob">The blob.</param>
    /// <param name="offset">The byte that is wanted.</param>
    /// <param name="most">Bytes that may be passed over.</param>
    public WholeBody? TryTake(Digest blob, long offset, long most)
    {
        lock (_bodies)
        {
            WholeBody? nearest = _bodies.Where(body => body.Blob == blob && body.At <= offset && offset - body.At <= most).MaxBy(body => body.At);
            if (nearest is not null)
                _bodies.Remove(nearest);
            return nearest;
        }
    }

    /// <summary>Takes it over.</summary>
    public void Leave(WholeBody body)
    {
        WholeBody? unwanted = body;
        lock (_bodies)
        {
            if (!_disposed)
            {
                _bodies.Add(body);
                unwanted = _bodies.Count > Most ? _bodies[0] : null;
                if (unwanted is not null)
                    _bodies.RemoveAt(0);
            }
        }
        unwanted?.Dispose();
    }

    public void Dispose()
    {
        lock (_bodies)
        {
            _disposed = true;
            _bodies.ForEach(body => body.Dispose());
            _bodies.Clear();
        }
    }
}
