namespace LazyMount.Fuse;

/// <summary>Which file system of the kernel shows a mount.</summary>
public enum MountFace
{
    /// <summary>FUSE: the kernel asks us for names, attributes and content.</summary>
    Fuse,

    /// <summary>EROFS: the kernel reads names and attributes in the image file that we serve, and asks for bytes alone.</summary>
    Erofs,
}
