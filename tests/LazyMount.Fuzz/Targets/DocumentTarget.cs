using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;

namespace LazyMount.Fuzz.Targets;

/// <summary>The small texts from outside: the first byte says which. Each is taken, or refused with one sentence.</summary>
internal static class DocumentTarget
{
    public static void Run(byte[] input)
    {
        var reader = new InputReader(input);
        byte kind = reader.Byte();
        string text = Encoding.UTF8.GetString(reader.Rest);
        try
        {
            switch (kind)
            {
                case (byte)'m':
                    ManifestDocument document = ManifestDocument.Parse(reader.Rest, null, "the manifest");
                    CheckManifest(document);
                    CheckEdits(document, reader.Rest.ToArray());
                    break;
                case (byte)'j':
                    CheckSyntax(reader.Rest.ToArray());
                    break;
                case (byte)'c':
                    _ = ImageConfig.TryParse(reader.Rest)?.Platform;
                    break;
                case (byte)'r':
                    string reference = ImageReference.Parse(text).ToString();
                    FuzzException.Require(ImageReference.Parse(reference).ToString() == reference, $"{reference} does not parse to itself");
                    break;
                case (byte)'p':
                    _ = Platform.Parse(text).Rank(Platform.Local);
                    break;
                case (byte)'d':
                    FuzzException.Require(!Digest.TryParse(text, out Digest digest) || digest.ToString() == text, "the digest is another");
                    break;
                case (byte)'w':
                    _ = Challenge.Choose([text]);
                    break;
            }
        }
        catch (Exception e) when (e is ImageException or FormatException)
        {
            // A reference and a platform are the user's own words; the document is not.
            FuzzException.Require(kind != 'm' || (e.Message.Length < 2000 && !e.Message.Any(char.IsControl)), $"not one readable sentence: {e.Message}");
        }
    }

    private static void CheckManifest(ManifestDocument document)
    {
        IEnumerable<Descriptor> descriptors = document switch
        {
            Manifest manifest => [manifest.Config, .. manifest.Layers],
            ImageIndex index => index.Manifests.Concat(index.Images.Select(entry => entry.Descriptor).OfType<Descriptor>()),
            _ => throw new FuzzException("neither manifest nor index"),
        };
        foreach (Descriptor descriptor in descriptors)
        {
            FuzzException.Require(descriptor.Size >= (document is ImageIndex ? Descriptor.UnknownSize : 0) && descriptor.Digest.ToString().Length > 70, "a descriptor is not sound");
            _ = descriptor.Platform is { } platform ? Platform.Local.Rank(platform) : 0;
        }
    }

    // What is changed in a document changes nothing else that is read from it.
    private static void CheckEdits(ManifestDocument document, byte[] bytes)
    {
        if (document is ImageIndex index)
        {
            var text = new IndexText(bytes);
            FuzzException.Require(text.Entries.Select(entry => entry.DigestText).SequenceEqual(index.Entries.Select(entry => entry.DigestText)), "the two readers of an index disagree");
            var changed = (ImageIndex)ManifestDocument.Parse(text.With(entry => entry.Descriptor is not null, $$"""{"digest":"{{TreeWalk.Digest}}"}"""), null, "the changed index");
            FuzzException.Require(changed.Entries.Select(entry => entry.DigestText).SequenceEqual(index.Manifests.Select(entry => entry.Digest.ToString()).Append(TreeWalk.Digest.ToString())), "the changed index has other entries");
        }
        else if (document is Manifest manifest)
        {
            string[] types = [.. manifest.Layers.Select((_, i) => $"a/{i}")];
            var changed = (Manifest)ManifestDocument.Parse(DockerManifestText.ToOci(bytes, "c/d", types), null, "the changed manifest");
            FuzzException.Require(changed.Config == manifest.Config with { MediaType = "c/d", Annotations = changed.Config.Annotations, Urls = changed.Config.Urls, Data = changed.Config.Data, Platform = changed.Config.Platform }
                && changed.Layers.Select(layer => (layer.Digest, layer.Size, layer.MediaType)).SequenceEqual(manifest.Layers.Select((layer, i) => (layer.Digest, layer.Size, types[i]))), "the changed manifest names other blobs");
        }
    }

    // The same texts are JSON as to System.Text.Json, and a value ends where it ends there.
    private static void CheckSyntax(byte[] bytes)
    {
        bool isJson = true;
        Range range = default;
        try
        {
            range = GoJsonReader.Read(bytes, (ref json) => json.ReadRange());
        }
        catch (JsonException)
        {
            isJson = false;
        }
        try
        {
            using JsonDocument document = JsonDocument.Parse(bytes, new JsonDocumentOptions { MaxDepth = 10_000 });
            FuzzException.Require(isJson && bytes.AsSpan()[range].SequenceEqual(bytes.AsSpan().Trim(" \t\r\n"u8)), "what is JSON is refused, or ends elsewhere");
        }
        catch (JsonException)
        {
            FuzzException.Require(!isJson, "what is no JSON is taken");
        }
    }

    public static IEnumerable<byte[]> Seeds()
    {
        string digest = TreeWalk.Digest.ToString();
        string descriptor = $$$"""{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{{{digest}}}","size":5,"urls":["http://a/b"],"annotations":{"a":"b"}}""";
        return new[]
        {
            $$"""m{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{descriptor}},"layers":[{{descriptor}},{{descriptor}}]}""",
            $$$"""m{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{{{digest}}}","size":5,"platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}""",
            """m{"schemaVersion":1,"fsLayers":[]}""",
            $$$"""m{"Manifests" : [null,{"digest":"md5:1","x":1,"x":[{}]},{"Digest":"{{{digest}}}","platform":{},"data":"e30=","annotations":{"a":"1","A":"2","a":null}}],"x":"\ud800","x":"\u017f"}""",
            $$$"""m{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"digest":"{{{digest}}}","size":2,"data":"e30="},"LAYERS":[{{{descriptor}}}],"manifests":null}""",
            """j {"a":[1,-2.5e+7,true,null,"\ud83d\ude00\n"],"a":{}} """,
            """c{"os":"linux","architecture":"amd64","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":[]}}""",
            "rdebian", "rdocker.io/library/debian:12@" + digest, "rlocalhost:5000/a/b_c:v1.2", "roci:dir:tag", "roci-archive:f.tar", "rdocker-archive:f.tar:a:b", "rdocker://[::1]:5000/x",
            "plinux/arm/v7",
            "d" + digest,
            "wBearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"a\\\"b\"", "wBasic realm=x, Bearer realm=\"y\"",
        }.Select(Encoding.UTF8.GetBytes);
    }
}
