using System.Collections.Concurrent;
using LazyMount.Blobs.Images;
using Microsoft.Extensions.Logging;

namespace LazyMount.Node.Credentials;

/// <summary>
/// Credentials of single images: what the kubelet gave with a pull, in memory alone, so that a restart forgets it; else what a provider says. Images without
/// any use what the node's own files say.
/// </summary>
internal sealed class PullCredentials(IReadOnlyList<CredentialProvider> providers, ILogger logger)
{
    private const int Most = 10_000;

    private readonly ConcurrentDictionary<string, Blobs.Registry.Accounts.Credentials> _byReference = new(StringComparer.Ordinal);

    /// <summary>What there is for an image, or null.</summary>
    public async Task<Blobs.Registry.Accounts.Credentials?> ForAsync(ImageReference reference, CancellationToken cancellationToken)
    {
        if (_byReference.TryGetValue(reference.ToString(), out Blobs.Registry.Accounts.Credentials? given))
        {
            return given;
        }
        foreach (CredentialProvider provider in providers.Where(provider => provider.Knows(reference)))
        {
            if (await provider.AskAsync(reference, logger, cancellationToken) is { } answer)
            {
                return answer;
            }
        }
        return null;
    }

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
