using LazyMount.Blobs.Sources;

namespace LazyMount.Blobs.Images;

/// <summary>What a reference names, with all its images.</summary>
/// <param name="Root">The image index; for an image without one its manifest.</param>
/// <param name="Images">One image for each platform, in the order of the image index. Never empty.</param>
public sealed record ImageSet(RawManifest Root, IReadOnlyList<Image> Images);
