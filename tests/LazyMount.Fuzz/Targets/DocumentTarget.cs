using System.Text;
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
                    CheckManifest(ManifestDocument.Parse(reader.Rest, null, "the manifest"));
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

    public static IEnumerable<byte[]> Seeds()
    {
        string digest = TreeWalk.Digest.ToString();
        string descriptor = $$$"""{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{{{digest}}}","size":5,"urls":["http://a/b"],"annotations":{"a":"b"}}""";
        return new[]
        {
            $$"""m{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{descriptor}},"layers":[{{descriptor}},{{descriptor}}]}""",
            $$$"""m{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{{{digest}}}","size":5,"platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}""",
            """m{"schemaVersion":1,"fsLayers":[]}""",
            """c{"os":"linux","architecture":"amd64","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":[]}}""",
            "rdebian", "rdocker.io/library/debian:12@" + digest, "rlocalhost:5000/a/b_c:v1.2", "roci:dir:tag", "roci-archive:f.tar", "rdocker-archive:f.tar:a:b", "rdocker://[::1]:5000/x",
            "plinux/arm/v7",
            "d" + digest,
            "wBearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"a\\\"b\"", "wBasic realm=x, Bearer realm=\"y\"",
        }.Select(Encoding.UTF8.GetBytes);
    }
}
