using System.CommandLine;
using LazyMount.Blobs.Images;
using LazyMount.Layers.Archives;

namespace LazyMount.Cli;

/// <summary>The IMAGE argument, the same for all commands that have one.</summary>
internal static class ImageArgument
{
    public static Argument<string> Create() => new("IMAGE")
    {
        Description = "Image: NAME[:TAG][@DIGEST], oci:DIR[:TAG], docker-archive:FILE, ... (lazymount help images)",
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
            throw new UsageException(LocalImage.Suggest(reference) is { } suggestion ? $"{e.Message}; {suggestion}" : e.Message, e);
        }
    }
}
