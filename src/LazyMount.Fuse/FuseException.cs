namespace LazyMount.Fuse;

/// <summary>A failure to mount or unmount; the message is one sentence with the next step.</summary>
public sealed class FuseException(string message, Exception? inner = null) : IOException(message, inner)
{
    /// <summary>Not unmounted because something uses it.</summary>
    public bool IsBusy { get; internal init; }

    /// <summary>The kernel's EROFS cannot be had here; FUSE may.</summary>
    public bool IsWithoutErofs { get; internal init; }
}
