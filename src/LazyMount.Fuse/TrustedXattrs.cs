using System.Globalization;
using LazyMount.Blobs.Files;

namespace LazyMount.Fuse;

/// <summary>
/// Names of <c>trusted.*</c> attributes are listed to those alone who may read them: processes with CAP_SYS_ADMIN in the initial user
/// namespace (xattr(7)). The kernel refuses the values to others by itself, and leaves the list to the file system.
/// </summary>
internal static class TrustedXattrs
{
    private const int SystemAdministration = 21; // CAP_SYS_ADMIN

    /// <summary>Takes names that the asking thread may not see out of a list of names, each of which a zero byte ends.</summary>
    /// <returns>Bytes of the names that are left.</returns>
    public static int Hide(Span<byte> names, uint threadId)
    {
        int kept = 0;
        bool? mayBeSeen = null; // asked for when the first such name is met: few images have one
        for (int at = 0; at < names.Length;)
        {
            int length = names[at..].IndexOf((byte)0) + 1;
            Span<byte> name = names.Slice(at, length);
            if (!name.StartsWith("trusted."u8) || (mayBeSeen ??= MayBeSeenBy(threadId)))
            {
                name.CopyTo(names[kept..]);
                kept += length;
            }
            at += length;
        }
        return kept;
    }

    // False where it cannot be told. The thread waits for our answer, so the number is still its own.
    private static bool MayBeSeenBy(uint threadId)
    {
        const string Label = "CapEff:\t";
        string thread = string.Create(CultureInfo.InvariantCulture, $"/proc/{threadId}");
        try
        {
            string? line = File.ReadLines($"{thread}/status").FirstOrDefault(line => line.StartsWith(Label, StringComparison.Ordinal));
            return line is not null
                && ulong.TryParse(line.AsSpan(Label.Length), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong capabilities)
                && (capabilities & (1ul << SystemAdministration)) != 0
                && UserNamespace.IsInitialOf(thread) == true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
