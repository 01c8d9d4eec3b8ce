namespace LazyMount.Blobs.Images;

/// <summary>What kind of thing went wrong: decides the exit code and whether trying again may help.</summary>
public enum ImageError
{
    /// <summary>The image, tag, platform, blob or directory does not exist.</summary>
    NotFound,

    /// <summary>The source cannot be reached: no such host, refused, timed out, server error.</summary>
    Unreachable,

    /// <summary>The source refuses: credentials are missing or not accepted.</summary>
    Denied,

    /// <summary>What the source gave is malformed.</summary>
    Invalid,

    /// <summary>Bytes do not match their digest.</summary>
    Verification,

    /// <summary>Well-formed, but of a kind that is not supported.</summary>
    Unsupported,

    /// <summary>The local disk failed: cache not writable, no space left.</summary>
    Local,
}

/// <summary>
/// A failure to get at an image. <see cref="Exception.Message"/> is one whole sentence for the user: what failed,
/// on which thing, why, and what to do next. Never holds credentials or a signed URL's query.
/// </summary>
public class ImageException(ImageError error, string message, Exception? inner = null) : IOException(message, inner)
{
    /// <summary>The kind of failure.</summary>
    public ImageError Error { get; } = error;
}
