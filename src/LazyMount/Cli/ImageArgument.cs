using System.CommandLine;
using LazyMount.Blobs.Images;

namespace LazyMount.Cli;

/// <summary>The IMAGE argument, the same for all commands that have one.</summary>
internal static class ImageArgument
{
    public static Argument<string> Create() => new("IMAGE")
    {
        Description = "Image reference: NAME[:TAG][@DIGEST], docker://NAME…, oci:DIR[:TAG][@DIGEST], oci-archive:FILE[:TAG][@DIGEST] or docker-archive:FILE[:NAME:TAG]",
    };

    /// <summary>Parses what the user wrote. A bad reference is a usage error, whatever the command.</summary>
    public static ImageReference Parse(string reference)
    {
        try
        {
            return ImageReference.Parse(reference);
        }
        catch (FormatException e)
        {
            throw new UsageException(e.Message, e);
        }
    }
}
