using System.Collections.Concurrent;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Images;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Node.Configuration;
using LazyMount.Node.Credentials;
using LazyMount.Node.Snapshots;
using Microsoft.Extensions.Logging;

namespace LazyMount.Node.Images;

/// <summary>
/// Finds out whether a layer can be shown before it is pulled. There is no way back once containerd was told so: the registry must have given the
/// manifest to us too, and this and all lower layers must have indexes, which are made here where nobody has published them.
/// </summary>
internal sealed class ImageAccess(NodeConfiguration configuration, PullCredentials credentials, ILoggerFactory loggers) : IAsyncDisposable
{
    /// <summary>How long the layers of an image that failed are not tried again. An image's layers are asked for one after the other.</summary>
    private static readonly TimeSpan s_failuresCount = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan s_openingsStay = TimeSpan.FromMinutes(2);

    private readonly ConcurrentDictionary<(string Reference, Digest? Manifest), Opening> _openings = new();
    private readonly BlobCache _cache = new(configuration.CacheDirectory, configuration.CacheLimit);

    /// <summary>Makes sure of a layer.</summary>
    /// <returns>The layer, and the chain id of the layers below it; null for the lowest.</returns>
    /// <exception cref="ImageException">It cannot be shown; says why in a sentence.</exception>
    public async Task<(RemoteLayer Layer, Digest? Below)> OpenAsync(RemoteRequest request, CancellationToken cancellationToken)
    {
        await SweepAsync();
        var key = (request.Reference.ToString(), request.Manifest);
        Opening opening = _openings.GetOrAdd(key, _ => new Opening());
        await opening.Turn.WaitAsync(cancellationToken);
        Blobs.Registry.Accounts.Credentials? account = null;
        try
        {
            account = await credentials.ForAsync(request.Reference, cancellationToken);
            if (opening.Failure is { } failure && Environment.TickCount64 - opening.FailedAt < s_failuresCount.TotalMilliseconds && opening.FailedWith == account)
            {
                throw new ImageException(failure.Error, failure.Message, failure);
            }
            opening.Failure = null;
            return await OpenAsync(opening, request, account, cancellationToken);
        }
        catch (ImageException e)
        {
            (opening.Failure, opening.FailedAt, opening.FailedWith) = (e, Environment.TickCount64, account);
            await (opening.Resolved?.DisposeAsync() ?? default); // other credentials may come
            opening.Resolved = null;
            throw;
        }
        finally
        {
            opening.LastUse = Environment.TickCount64;
            opening.Turn.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Opening opening in _openings.Values)
        {
            await (opening.Resolved?.DisposeAsync() ?? default);
        }
    }

    private async Task<(RemoteLayer Layer, Digest? Below)> OpenAsync(Opening opening, RemoteRequest request, Blobs.Registry.Accounts.Credentials? account, CancellationToken cancellationToken)
    {
        using var patience = new Patience(configuration, cancellationToken);
        try
        {
            OpeningOptions options = Options(request, account);
            opening.Resolved ??= await ResolveAsync(request, options, patience.Token);
            Image image = opening.Resolved.Image;
            IReadOnlyList<Digest> diffIds = ImageConfig.TryParse(image.ConfigBytes.Span)?.DiffIds ?? [];
            if (diffIds.Count != image.Layers.Count)
            {
                throw Unfit(request, $"its config names {diffIds.Count} layers and its manifest {image.Layers.Count}");
            }
            (int layer, Digest? below) = LayerOf(request, image, diffIds);
            if (layer >= opening.Certain)
            {
                await IndexAsync(opening, image, layer, diffIds, options, patience);
            }
            return (new RemoteLayer(request.Reference.ToString(), image.ManifestDescriptor.Digest, layer, request.ChainId), below);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new ImageException(ImageError.Unreachable, $"cannot open '{request.Reference}' lazily: {patience.Reason}");
        }
    }

    private async Task<ResolvedImage> ResolveAsync(RemoteRequest request, OpeningOptions options, CancellationToken cancellationToken)
    {
        ResolvedImage resolved = await ResolvedImage.OpenAsync(request.Reference, options, loggers, cancellationToken);
        try
        {
            if (options.Root is not null || request.Reference.Digest is not null)
            {
                // It may have come from the cache, which says nothing of what the registry lets us read now.
                await resolved.Source.GetManifestAsync(resolved.Image.ManifestDescriptor with { Data = null }, cancellationToken);
            }
            return resolved;
        }
        catch
        {
            await resolved.DisposeAsync();
            throw;
        }
    }

    // All layers at once, because the others are asked for next; when one of them cannot be had, those that are needed.
    private async Task IndexAsync(Opening opening, Image image, int layer, IReadOnlyList<Digest> diffIds, OpeningOptions options, Patience patience)
    {
        IndexFinder finder = opening.Resolved!.OpenIndexes(options, loggers);
        if (!opening.HasBadLayers)
        {
            try
            {
                await IndexAsync(finder, image, diffIds, patience);
                opening.Certain = image.Layers.Count;
                return;
            }
            catch (ImageException e) when (layer < image.Layers.Count - 1 && e.Error is not (ImageError.Unreachable or ImageError.Denied))
            {
                opening.HasBadLayers = true;
            }
        }
        await IndexAsync(finder, image.WithLayersUpTo(layer), diffIds, patience);
        opening.Certain = layer + 1;
    }

    private static async Task IndexAsync(IndexFinder finder, Image image, IReadOnlyList<Digest> diffIds, Patience patience)
    {
        LayerIndex[] indexes = await finder.GetAsync(image, patience, patience.Token);
        try
        {
            // What is named by its chain id must be what the config says, as in an ordinary pull.
            for (int i = 0; i < indexes.Length; i++)
            {
                if (indexes[i].DiffId is { } diffId && diffId != diffIds[i])
                {
                    throw new ImageException(ImageError.Invalid, $"cannot open '{image.Reference}' lazily: layer {i} has the diff id {diffId}, but the config says {diffIds[i]}");
                }
            }
        }
        finally
        {
            foreach (LayerIndex index in indexes.Distinct())
            {
                index.Close();
            }
        }
    }

    private OpeningOptions Options(RemoteRequest request, Blobs.Registry.Accounts.Credentials? account) => new()
    {
        Cache = _cache,
        Root = request.Manifest,
        IndexTrust = configuration.IndexTrust,
        Registries = configuration.Registries with { Credentials = account, Note = note => loggers.CreateLogger<ImageAccess>().Noted(note) },
    };

    // The number of the layer, and the chain id of those below it.
    private static (int Layer, Digest? Below) LayerOf(RemoteRequest request, Image image, IReadOnlyList<Digest> diffIds)
    {
        Digest? chain = null, below;
        for (int layer = 0; layer < diffIds.Count; layer++)
        {
            below = chain;
            chain = chain is { } lower ? Digest.OfSha256(Encoding.ASCII.GetBytes($"{lower} {diffIds[layer]}")) : diffIds[layer];
            if (chain == request.ChainId)
            {
                return image.Layers[layer].Digest == request.Layer ? (layer, below) : throw Unfit(request, $"its layer {layer} is {image.Layers[layer].Digest}, and not {request.Layer}");
            }
        }
        throw Unfit(request, $"no layer of it has the chain id {request.ChainId}");
    }

    private static ImageException Unfit(RemoteRequest request, string reason) => new(ImageError.Invalid, $"cannot open '{request.Reference}' lazily: {reason}");

    private async Task SweepAsync()
    {
        foreach ((var key, Opening opening) in _openings)
        {
            if (Environment.TickCount64 - opening.LastUse > s_openingsStay.TotalMilliseconds && opening.Turn.Wait(0))
            {
                try
                {
                    // Who comes for it after this makes it anew.
                    _openings.TryRemove(key, out _);
                    ResolvedImage? resolved = opening.Resolved;
                    (opening.Resolved, opening.Certain) = (null, 0);
                    await (resolved?.DisposeAsync() ?? default);
                }
                finally
                {
                    opening.Turn.Release();
                }
            }
        }
    }

    /// <summary>An image that is being pulled. Its fields belong to the holder of <see cref="Turn"/>.</summary>
    private sealed class Opening
    {
        public SemaphoreSlim Turn { get; } = new(1);

        public ResolvedImage? Resolved { get; set; }

        /// <summary>How many layers, from the lowest, can be shown.</summary>
        public int Certain { get; set; }

        /// <summary>Some layer cannot be shown.</summary>
        public bool HasBadLayers { get; set; }

        public ImageException? Failure { get; set; }

        public long FailedAt { get; set; }

        public Blobs.Registry.Accounts.Credentials? FailedWith { get; set; }

        public long LastUse { get; set; } = Environment.TickCount64;
    }

    /// <summary>Ends what takes too long in all, or does not go on.</summary>
    private sealed class Patience : OpeningObserver, IProgress<LayerProgress>, IDisposable
    {
        private readonly CancellationTokenSource _stalled;
        private readonly CancellationTokenSource _all;
        private readonly NodeConfiguration _configuration;
        private long _last = Environment.TickCount64;

        public Patience(NodeConfiguration configuration, CancellationToken cancellationToken)
        {
            _configuration = configuration;
            _stalled = new CancellationTokenSource(configuration.PrepareStall);
            _all = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _stalled.Token);
            _all.CancelAfter(configuration.PrepareTimeout);
        }

        public CancellationToken Token => _all.Token;

        public string Reason => _stalled.IsCancellationRequested
            ? $"the registry has sent nothing for {_configuration.PrepareStall.TotalSeconds:0.#} s (prepare_stall)"
            : $"it has taken more than {_configuration.PrepareTimeout.TotalSeconds:0.#} s (prepare_timeout)";

        public override void Report(LayerProgress value)
        {
            const int Often = 100; // milliseconds
            if (Environment.TickCount64 - Interlocked.Read(ref _last) > Often && !_stalled.IsCancellationRequested)
            {
                Interlocked.Exchange(ref _last, Environment.TickCount64);
                _stalled.CancelAfter(_configuration.PrepareStall);
            }
        }

        public void Dispose()
        {
            _all.Dispose();
            _stalled.Dispose();
        }
    }
}
