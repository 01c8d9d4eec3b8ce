using System.CommandLine;
using System.Runtime.ExceptionServices;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Layers;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount pull`: all of an image's bytes, verified, into the cache or into an OCI image layout.</summary>
internal static class PullCommand
{
    /// <summary>Layers under way at once; each has several range requests of its own.</summary>
    private const int MaxAtOnce = 3;

    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var target = new Argument<string?>("LAYOUT") { Description = "Copy to this OCI image layout: oci:DIR:TAG, or oci:DIR for the image's own tag [the cache alone]", Arity = ArgumentArity.ZeroOrOne };
        var verb = new Verb("pull", "Fetch all layers of an image into the cache or into an OCI image layout. What is here is not fetched again; what was interrupted goes on where it stopped.",
            """
            lazymount pull debian:12
            lazymount pull debian:12 oci:images:debian12
            """)
        { image, target };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            ImageReference reference = ImageArgument.Parse(parsed.GetRequiredValue(image));
            ImageReference? to = parsed.GetValue(target) is { } text ? ParseTarget(text) : null;
            using ILoggerFactory loggers = Loggers.ForCommand(settings);
            await using ResolvedImage resolved = await ResolvedImage.OpenAsync(reference, settings.ToOpening(), loggers, cancellationToken);
            if (to is null && resolved.Source.IsLocal)
            {
                throw new UsageException($"cannot pull '{reference}': it is on this machine already; to copy it, name an OCI image layout as oci:DIR:TAG");
            }
            bool isNamedByImage = to is { Tag: null } && reference.Name is not null;
            to = isNamedByImage ? to!.WithTag(reference.Name!) : to;
            var pull = new Pull(resolved, to is null ? null : new LayoutWriter(to), loggers);
            var progress = new TransferProgress([.. resolved.Image.Layers.Select(layer => (layer.Digest.Hex[..12], layer.Size))]);
            Task work = Task.Run(() => pull.RunAsync(progress.Report, cancellationToken), CancellationToken.None);
            await host.ShowWhileAsync(progress, work);
            if (isNamedByImage)
            {
                host.Error.WriteLine($"lazymount: note: the image is named {reference.Name} in the layout, as in {reference}: read it as {to}{(pull.ReplacesAnother ? "; another image had that name there and has lost it" : "")}");
            }
            host.Output.WriteLine(pull.ManifestDigest);
            return ExitCode.Done;
        });
        return verb;
    }

    private static ImageReference ParseTarget(string text)
    {
        // Only a reference to a layout says what is wrong with it; of anything else, advice about images would mislead.
        ImageReference? target = text.StartsWith("oci:", StringComparison.Ordinal) ? ImageArgument.Parse(text) : null;
        string layout = text.Contains(':', StringComparison.Ordinal) || text.Length == 0 ? "oci:DIR" : $"oci:{text}";
        return target is { Digest: null, SourceIndex: null } ? target
            : throw new UsageException($"cannot pull to '{text}': name an OCI image layout as {layout} or {layout}:TAG");
    }

    private sealed class Pull(ResolvedImage resolved, LayoutWriter? layout, ILoggerFactory loggers)
    {
        private readonly ILogger _logger = loggers.CreateLogger("LazyMount.Pull");
        private readonly IndexFinder _indexes = new(resolved.Cache, loggers);

        /// <summary>Of the manifest as it is in the layout, or at the source.</summary>
        public string ManifestDigest { get; private set; } = resolved.Image.ManifestDescriptor.Digest.ToString();

        /// <summary>True when another image of the layout had the tag.</summary>
        public bool ReplacesAnother { get; private set; }

        public async Task RunAsync(Action<int, long> progress, CancellationToken cancellationToken)
        {
            IReadOnlyList<Descriptor> layers = resolved.Image.Layers;
            var options = new ParallelOptions { MaxDegreeOfParallelism = MaxAtOnce, CancellationToken = cancellationToken };
            Exception? failure = null;
            try
            {
                await Parallel.ForEachAsync(Enumerable.Range(0, layers.Count).GroupBy(i => layers[i].Digest), options, async (places, token) =>
                {
                    try
                    {
                        await PullAsync(layers[places.First()], bytes => Tell(places, bytes), token);
                        Tell(places, layers[places.First()].Size);
                    }
                    catch (Exception e)
                    {
                        Interlocked.CompareExchange(ref failure, e, null); // the first, not those that its cancellation makes
                        throw;
                    }
                });
            }
            catch (Exception) when (failure is not null and not OperationCanceledException)
            {
                ExceptionDispatchInfo.Throw(failure);
            }
            if (layout is null)
            {
                EnsureKept(layers);
            }
            else
            {
                (Descriptor manifest, ReplacesAnother) = await layout.AddAsync(resolved.Image, LayerFormats.Detect, cancellationToken);
                ManifestDigest = manifest.Digest.ToString();
            }

            void Tell(IEnumerable<int> places, long bytes)
            {
                foreach (int place in places)
                {
                    progress(place, bytes);
                }
            }
        }

        // A cache that is full, or too small, costs others no more than another fetch; here it is what was asked for.
        private void EnsureKept(IReadOnlyList<Descriptor> layers)
        {
            if (layers.FirstOrDefault(layer => !IsReadable(layer) && !resolved.Cache.HasAll(layer)) is { } lost)
            {
                throw new CommandException($"cannot keep '{resolved.Image.Reference}' in the cache '{resolved.Cache.Root}': layer {lost.Digest} is not complete there after it was fetched; free some space there, raise --cache-limit, or choose another directory with --cache-dir");
            }
        }

        // In the form that is read, when the layer has to be transcoded.
        private bool IsReadable(Descriptor layer) => _indexes.TryFindStored(layer, resolved.Image)?.Stored?.Transcoding is not null;

        private async Task PullAsync(Descriptor layer, Action<long> progress, CancellationToken cancellationToken)
        {
            if (layout is null
                ? IsReadable(layer)
                : await layout.HasAsync(layer, progress, cancellationToken))
            {
                return;
            }
            // What was read lazily so far is not fetched again.
            (ChunkScope scope, ChunkScope? document) = Proof.ScopesOfPass(resolved.Image, _indexes.TryFindStored(layer, resolved.Image)?.Stored?.Proof);
            await new BlobPass(resolved.Cache, keep: true, _logger) { Document = document }.RunAsync(
                layer, resolved.Source, scope,
                async stream => await CopyAsync(layer, stream, progress, cancellationToken) ? true : throw Wrong(layer),
                discard: _ => false,
                cancellationToken);
        }

        private Task<bool> CopyAsync(Descriptor layer, Stream from, Action<long> progress, CancellationToken cancellationToken)
            => layout is null
                ? VerifiedCopy.RunAsync(layer, from, null, progress, cancellationToken)
                : layout.TryWriteAsync(layer, from, progress, cancellationToken);

        private ImageException Wrong(Descriptor layer)
            => new(ImageError.Verification, $"cannot use layer {layer.Digest} of '{resolved.Image.Reference}': it does not match its digest; push or copy the image again");
    }
}
