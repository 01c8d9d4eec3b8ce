using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Indexes.Model;

/// <summary>
/// What vouches for a <see cref="LayerIndex"/>: who says so (<see cref="By"/>), by which document, and the digests that bytes of
/// the layer are verified with when they are read. Immutable.
/// <para>A parser makes its proof with <see cref="OfParser(ChunkDigests)"/>, which vouches for nothing. Whoever knows where the
/// index comes from raises it with one of the <c>By…</c> methods.</para>
/// </summary>
public sealed record Proof
{
    private Proof(Voucher by, ChunkDigests? chunks, RangeDigests? ranges)
        => (By, Chunks, Ranges) = (by, chunks, ranges);

    /// <summary>Who guarantees the index.</summary>
    public Voucher By { get; private init; }

    /// <summary>
    /// Digest of what the manifest or the repository vouches for: the table of contents, or the published index. Null where the
    /// layer's own digest or nothing but the source vouches.
    /// </summary>
    public Digest? Document { get; private init; }

    /// <summary>
    /// Every connection that had a part in the index was verified (TLS, or this machine's own), and so has to be every one that brings its bytes. Always true from
    /// <see cref="Voucher.Manifest"/> on, where it does not matter who brings the bytes.
    /// </summary>
    public bool IsFromVerified { get; private init; }

    /// <summary>SHA-256 of every chunk of the blob that spans are read from; null when only ranges or nothing can be verified.</summary>
    public ChunkDigests? Chunks { get; }

    /// <summary>SHA-256 of ranges, where there is none of chunks; null when there is none at all.</summary>
    public RangeDigests? Ranges { get; }

    /// <summary>The proof by a parser: the digests can verify bytes, but only the source vouches for them yet.</summary>
    public static Proof OfParser(ChunkDigests chunks) => new(Voucher.Source, chunks, null);

    /// <summary>As the other overload, with digests of ranges; null when there are none to verify with.</summary>
    public static Proof OfParser(RangeDigests? ranges) => new(Voucher.Source, null, ranges);

    /// <summary>All bytes of the layer have matched its digest, and these are the digests of its chunks, or of its transcoding's.</summary>
    public static Proof ByLayer(ChunkDigests chunks) => new(Voucher.Layer, chunks, null) { IsFromVerified = true };

    /// <summary>The manifest, or the image index that led to it, holds the digest of the document.</summary>
    public Proof ByManifest(Digest document) => this with { By = Voucher.Manifest, Document = document, IsFromVerified = true };

    /// <summary>The document lies beside the image.</summary>
    public Proof ByRepository(Digest document, bool isFromVerified) => this with { By = Voucher.Repository, Document = document, IsFromVerified = isFromVerified };

    /// <summary>The proof of an index that was made from bytes of the source.</summary>
    public Proof BySource(bool isFromVerified) => this with { By = Voucher.Source, Document = null, IsFromVerified = isFromVerified };

    /// <summary>
    /// The same for those who do not ask what connections are verified: bytes are then taken, and kept apart, whichever brings them.
    /// </summary>
    public Proof OverAnyConnection() => By < Voucher.Manifest ? this with { IsFromVerified = false } : this;

    /// <summary>
    /// Where bytes that are read by the index are kept. Only what matched the layer's digest is for everybody: the digests of a
    /// document prove bytes to those who believe that document, and to nobody else.
    /// </summary>
    public ChunkScope ScopeFor(Image image) => By switch
    {
        Voucher.Layer => ChunkScope.Shared,
        Voucher.Manifest => DocumentScope,
        _ => ImageScope(image, IsFromVerified),
    };

    /// <summary>
    /// Where a pass over a whole layer, which proves nothing before its end, keeps bytes, and the document's scope that it reads
    /// besides. Nobody writes there but who verifies with the document's digests: other images believe what is in it.
    /// </summary>
    /// <param name="image">The image.</param>
    /// <param name="believed">The proof by which the layer was read so far; null for none.</param>
    public static (ChunkScope Own, ChunkScope? Document) ScopesOfPass(Image image, Proof? believed) => believed?.By switch
    {
        Voucher.Repository or Voucher.Source => (believed.ScopeFor(image), null),
        Voucher.Manifest => (ImageScope(image, image.Source.IsVerified), believed.DocumentScope),
        _ => (ImageScope(image, image.Source.IsVerified), null),
    };

    /// <summary>For everybody who believes <see cref="Document"/>, which must be there.</summary>
    internal ChunkScope DocumentScope => ChunkScope.Of("document", Document!.Value.ToString());

    /// <summary>What the digest of a reference vouches for: the same wherever the image comes from.</summary>
    internal static ChunkScope ManifestScope(Image image) => ChunkScope.Of("manifest", image.RootDigest.ToString(), image.ManifestDescriptor.Digest.ToString());

    /// <summary>What one repository says of one image: whoever may write there answers for it, and whoever stands between if the connection is not verified.</summary>
    public static ChunkScope ImageScope(Image image, bool isVerified)
    {
        string place = image.Reference.ToAbsolute().Place, root = image.RootDigest.ToString(), manifest = image.ManifestDescriptor.Digest.ToString();
        var scope = ChunkScope.Of("image", place, root, manifest, isVerified ? "verified" : "");
        return scope with { IsVerifiedOnly = isVerified };
    }

    /// <summary>The same proof with the same digests, kept elsewhere.</summary>
    internal Proof With(ChunkDigests? chunks, RangeDigests? ranges) => new(By, chunks, ranges) { Document = Document, IsFromVerified = IsFromVerified };

    /// <summary>As an index file has it. Null for what does not fit together.</summary>
    internal static Proof? TryRead(Voucher by, Digest? document, bool isFromVerified, ChunkDigests? chunks, RangeDigests? ranges)
    {
        bool isSound = by switch
        {
            Voucher.Layer => document is null && isFromVerified && chunks is not null,
            Voucher.Manifest => document is not null && isFromVerified && (chunks is not null || ranges is not null),
            Voucher.Repository => document is not null && (chunks is not null || ranges is not null),
            Voucher.Source => document is null,
            _ => false,
        };
        return isSound && (chunks is null || ranges is null)
            ? new Proof(by, chunks, ranges) { Document = document, IsFromVerified = isFromVerified }
            : null;
    }
}
