using System.Collections.Concurrent;
using LazyMount.Blobs.Images;

namespace LazyMount.Node.Credentials;

/// <summary>
/// The credentials that the kubelet gave with its pulls, for each reference: in memory alone, so that a restart forgets them. References without
/// any use what the node's own files say.
/// </summary>
internal sealed class PullCredentials
{
    private const int Most = 10_000;

    private readonly ConcurrentDictionary<string, Blobs.Registry.Accounts.Credentials> _byReference = new(StringComparer.Ordinal);

    /// <summary>What was given for a reference, or null.</summary>
    public Blobs.Registry.Accounts.Credentials? For(ImageReference reference) => _byReference.GetValueOrDefault(reference.ToString());

    /// <summary>Remembers what a pull came with; null forgets.</summary>
    public void Remember(ImageReference reference, Blobs.Registry.Accounts.Credentials? credentials)
    {
        if (credentials is null)
        {
            _byReference.TryRemove(reference.ToString(), out _);
            return;
        }
        if (_byReference.Count >= Most)
        {
            _byReference.Clear(); // the kubelet gives them again with the next pull
        }
        _byReference[reference.ToString()] = credentials;
    }
}
