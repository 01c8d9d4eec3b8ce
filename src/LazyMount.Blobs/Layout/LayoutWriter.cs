using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Layout;

/// <summary>
/// Adds images to an OCI image layout directory (image-spec v1.1, image-layout.md), which is made when there is none. Blobs
/// appear complete and verified, and index.json changes at once and last. Thread-safe; processes may share a layout.
/// </summary>
public sealed class LayoutWriter
{
    private const string RefName = "org.opencontainers.image.ref.name";
    private const string Marker = "oci-layout", IndexFile = "index.json";

    private const int WouldBlock = 11; // EWOULDBLOCK of flock(2): the lock is taken

    private static readonly TimeSpan s_lockPoll = TimeSpan.FromMilliseconds(20);

    private readonly ImageReference _reference;
    private readonly string _directory;

    /// <param name="reference">oci:DIR or oci:DIR:TAG.</param>
    /// <exception cref="ImageException">There is something else in its place, or it cannot be made.</exception>
    public LayoutWriter(ImageReference reference)
    {
        (_reference, _directory) = (reference, Path.GetFullPath(reference.Location));
        try
        {
            if (!HasMarker)
            {
                // Another process may be making it at the same time.
                if (Directory.Exists(_directory) && Directory.EnumerateFileSystemEntries(_directory).Any(entry => !Path.GetFileName(entry).StartsWith(LayoutDirectory.StagedPrefix, StringComparison.Ordinal)) && !HasMarker)
                    throw new ImageException(ImageError.Invalid, $"{reference.Location} is neither empty nor an OCI layout: it has no file {Marker}; name another directory.");
                Directory.CreateDirectory(_directory);
                MakeMarker();
            }
            BlobStaging.Sweep(_directory, LayoutDirectory.StagedPrefix);
            Directory.CreateDirectory(Path.Combine(_directory, "blobs"));
        }
        catch (Exception e) when (e is UnauthorizedAccessException or (IOException and not ImageException))
        {
            throw Failure("make the layout", e);
        }
    }

    private bool HasMarker => File.Exists(Path.Combine(_directory, Marker));

    // Never in the place of one that is there: whoever adds an image holds its lock.
    private void MakeMarker()
    {
        string staged = LayoutDirectory.NewStagedPath(_directory);
        try
        {
            File.WriteAllText(staged, """{"imageLayoutVersion":"1.0.0"}""");
            File.Move(staged, Path.Combine(_directory, Marker), overwrite: false);
        }
        catch (IOException) when (HasMarker)
        {
            // Another was faster.
        }
        finally
        {
            File.Delete(staged);
        }
    }

    /// <summary>Whether a blob is there; one that is not what its name says is removed.</summary>
    public async Task<bool> HasAsync(Descriptor blob, Action<long> progress, CancellationToken cancellationToken)
    {
        string path = PathOf(blob.Digest);
        try
        {
            FileStream file = File.OpenRead(path);
            await using (file.ConfigureAwait(false))
            {
                if (file.Length == blob.Size && await VerifiedCopy.RunAsync(blob, file, null, progress, cancellationToken).ConfigureAwait(false))
                    return true;
            }
            File.Delete(path);
            return false;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return false;
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw Failure($"read the blob {blob.Digest}", e);
        }
    }

    /// <summary>Writes a blob; false, and nothing is written, when the bytes are not what the descriptor says.</summary>
    public async Task<bool> TryWriteAsync(Descriptor blob, Stream from, Action<long> progress, CancellationToken cancellationToken)
    {
        string path = PathOf(blob.Digest), staged = LayoutDirectory.NewStagedPath(_directory);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            bool isRight;
            using (SafeFileHandle file = File.OpenHandle(staged, FileMode.CreateNew, FileAccess.Write, FileShare.None, FileOptions.None, blob.Size))
            {
                isRight = await VerifiedCopy.RunAsync(blob, from, file, progress, cancellationToken).ConfigureAwait(false);
                if (isRight)
                    RandomAccess.FlushToDisk(file);
            }
            if (isRight)
                File.Move(staged, path, overwrite: true);
            return isRight;
        }
        catch (Exception e) when (e is UnauthorizedAccessException or (IOException and not ImageException))
        {
            throw Failure($"write the blob {blob.Digest}", e);
        }
        finally
        {
            File.Delete(staged);
        }
    }

    /// <summary>
    /// Writes an image's config and manifest, whose layers are there, and enters it under the reference's tag in the place of
    /// what had that tag. docker's manifests become OCI's, since most readers of layouts know no others.
    /// </summary>
    /// <returns>The manifest as it is in the layout.</returns>
    public async Task<Descriptor> AddAsync(Image image, CancellationToken cancellationToken)
    {
        byte[] manifest = ToOci(image);
        var descriptor = new Descriptor(MediaTypes.OciManifest, image.ManifestBytes.Span.SequenceEqual(manifest) ? image.ManifestDescriptor.Digest : Digest.OfSha256(manifest), manifest.Length);
        foreach ((Descriptor blob, ReadOnlyMemory<byte> bytes) in new[] { (image.ConfigDescriptor, image.ConfigBytes), (descriptor, manifest) })
        {
            using var stream = new MemoryStream(bytes.ToArray());
            if (!await HasAsync(blob, static _ => { }, cancellationToken).ConfigureAwait(false) && !await TryWriteAsync(blob, stream, static _ => { }, cancellationToken).ConfigureAwait(false))
                throw new ImageException(ImageError.Verification, $"{blob.Digest} of {image.Reference} does not match its digest: its source is at fault, push or copy the image again.");
        }
        FileStream turn = await LockAsync(cancellationToken).ConfigureAwait(false);
        await using (turn.ConfigureAwait(false))
            new LayoutDirectory(_reference).Write(IndexFile, Encoding.UTF8.GetBytes(Enter(descriptor).ToJsonString()));
        return descriptor;
    }

    // One writer at a time reads and writes index.json. Readers need no lock: it is renamed into place.
    private async Task<FileStream> LockAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return new FileStream(Path.Combine(_directory, Marker), FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException e) when (e.HResult == WouldBlock)
            {
                await Task.Delay(s_lockPoll, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (e is UnauthorizedAccessException or IOException)
            {
                throw Failure("write to the layout", e);
            }
        }
    }

    private JsonObject Enter(Descriptor manifest)
    {
        JsonObject index = ReadIndex();
        JsonArray entries = index["manifests"]!.AsArray();
        string? tag = _reference.Tag;
        for (int i = entries.Count - 1; i >= 0; i--)
        {
            string? name = NameOf(entries[i]!);
            if (name == tag && (tag is not null || (string?)entries[i]!["digest"] == manifest.Digest.ToString()))
                entries.RemoveAt(i);
        }
        var entry = new JsonObject { ["mediaType"] = manifest.MediaType, ["digest"] = manifest.Digest.ToString(), ["size"] = manifest.Size };
        if (tag is not null)
            entry["annotations"] = new JsonObject { [RefName] = tag };
        entries.Add((JsonNode)entry);
        return index;
    }

    private JsonObject ReadIndex()
    {
        string path = Path.Combine(_directory, IndexFile);
        if (!File.Exists(path))
            return new JsonObject { ["schemaVersion"] = 2, ["manifests"] = new JsonArray() };
        byte[] bytes = File.ReadAllBytes(path);
        // It says in its own words what is wrong with a broken one.
        if (ManifestDocument.Parse(bytes, MediaTypes.OciIndex, $"the index.json of {_reference.Location}") is not ImageIndex)
            throw new ImageException(ImageError.Invalid, $"The index.json of {_reference.Location} is not an image index: it is not an OCI layout.");
        JsonObject index = JsonNode.Parse(bytes, OciJson.Nodes)!.AsObject();
        index["manifests"] ??= new JsonArray();
        return index;
    }

    private static string? NameOf(JsonNode entry)
        => entry["annotations"] is JsonObject annotations && annotations[RefName] is JsonValue value && value.GetValueKind() == JsonValueKind.String ? (string?)value : null;

    private static byte[] ToOci(Image image)
    {
        if (image.ManifestDescriptor.MediaType != MediaTypes.DockerManifest)
            return image.ManifestBytes.ToArray();
        JsonObject manifest = JsonNode.Parse(image.ManifestBytes.Span, OciJson.Nodes)!.AsObject();
        manifest["mediaType"] = MediaTypes.OciManifest;
        Convert(manifest["config"]!);
        foreach (JsonNode? layer in manifest["layers"]!.AsArray())
            Convert(layer!);
        return Encoding.UTF8.GetBytes(manifest.ToJsonString());

        static void Convert(JsonNode descriptor)
        {
            if ((string?)descriptor["mediaType"] is { } type)
                descriptor["mediaType"] = MediaTypes.ToOci(type);
        }
    }

    private string PathOf(Digest digest) => Path.Combine(_directory, "blobs", digest.Algorithm, digest.Hex);

    private ImageException Failure(string what, Exception e)
        => new(ImageError.Local, $"Cannot {what} in {_reference.Location}: {e.Message}", e);
}
