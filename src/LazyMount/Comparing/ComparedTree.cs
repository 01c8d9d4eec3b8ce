using LazyMount.Trees;

namespace LazyMount.Comparing;

/// <summary>One side of a comparison.</summary>
/// <param name="Opened">The image; not owned.</param>
/// <param name="Start">The node that is compared with all below it; <see cref="TreePaths.NoNode"/> when this side has none.</param>
/// <param name="Path">Its absolute path.</param>
internal sealed record ComparedTree(OpenedTree Opened, ulong Start, byte[] Path);
