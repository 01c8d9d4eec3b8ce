using System.Text;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Tests.Blobs;

namespace LazyMount.Tests.Trust;

/// <summary>
/// A registry on loopback with images of one layer, that gives other bytes for a layer than its digest says: for every range, or
/// for some by chance.
/// </summary>
internal sealed class LyingRegistry : IAsyncDisposable
{
    private readonly Dictionary<string, (byte[] Bytes, string Type)> _answers = [];
    private readonly ScriptedServer _server;

    public LyingRegistry() => _server = new ScriptedServer(Answer);

    public string Host => _server.Host;

    /// <summary>What it gives for a blob in place of its bytes; null to be honest.</summary>
    public Func<Digest, byte[]?> Lie { get; set; } = _ => null;

    /// <summary>Whether it lists the referrers that it has.</summary>
    public bool ListsReferrers { get; set; } = true;

    /// <summary>Adds an image of one layer, tagged v1; returns its digest.</summary>
    /// <param name="repository">Where.</param>
    /// <param name="layer">Its bytes, of which the digest is right.</param>
    /// <param name="layerType">Media type.</param>
    /// <param name="annotations">Of the layer's descriptor.</param>
    public Digest Add(string repository, byte[] layer, string layerType, IReadOnlyDictionary<string, string>? annotations = null)
    {
        byte[] config = Encoding.UTF8.GetBytes($$"""{"architecture":"{{Platform.Local.Architecture}}","os":"linux","rootfs":{"type":"layers","diff_ids":[]} }""");
        string more = annotations is null ? "" : $",\"annotations\":{{{string.Join(',', annotations.Select(each => $"\"{each.Key}\":\"{each.Value}\""))}}}";
        byte[] manifest = Encoding.UTF8.GetBytes(
            $$"""{"schemaVersion":2,"mediaType":"{{MediaTypes.OciManifest}}","config":{{TestImage.Json(config, MediaTypes.OciConfig)}},"layers":[{{TestImage.Json(layer, layerType, more)}}]}""");
        AddBlob(repository, config);
        AddBlob(repository, layer);
        AddManifest(repository, "v1", manifest);
        return Digest.OfSha256(manifest);
    }

    /// <summary>Adds an artifact that refers to an image, with its blobs.</summary>
    public void AddReferrer(string repository, Digest subject, RawManifest manifest, params byte[][] blobs)
    {
        AddBlob(repository, ArtifactManifest.EmptyConfig.ToArray());
        Array.ForEach(blobs, blob => AddBlob(repository, blob));
        AddManifest(repository, manifest.Descriptor.Digest.ToString(), manifest.Bytes.ToArray());
        byte[] list = ArtifactManifest.AddTo(null, manifest.Descriptor)!;
        _answers[$"/v2/{repository}/referrers/{subject}"] = (list, MediaTypes.OciIndex);
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    private void AddBlob(string repository, byte[] bytes) => _answers[$"/v2/{repository}/blobs/{Digest.OfSha256(bytes)}"] = (bytes, "application/octet-stream");

    private void AddManifest(string repository, string name, byte[] bytes)
        => _answers[$"/v2/{repository}/manifests/{name}"] = _answers[$"/v2/{repository}/manifests/{Digest.OfSha256(bytes)}"] = (bytes, MediaTypes.OciManifest);

    private ScriptedResponse Answer(ScriptedRequest request)
    {
        if (!_answers.TryGetValue(request.Path, out (byte[] Bytes, string Type) answer) || (!ListsReferrers && request.Path.Contains("/referrers/", StringComparison.Ordinal)))
            return new ScriptedResponse(request.Path == "/v2/" ? 200 : 404);
        if (request.Path.Contains("/blobs/", StringComparison.Ordinal) && Digest.TryParse(request.Path[(request.Path.LastIndexOf('/') + 1)..], out Digest digest))
            return ScriptedResponse.Of(Lie(digest) ?? answer.Bytes, request);
        return new ScriptedResponse(200, answer.Bytes, $"Content-Type: {answer.Type}");
    }
}
