using System.Text;

namespace LazyMount.FileSystem;

/// <summary>Absolute paths in a tree, byte-exact, and as messages show them.</summary>
internal static class TreePath
{
    /// <summary>The path of names from the root down; "/" for none.</summary>
    public static byte[] Of(IEnumerable<byte[]> names)
    {
        byte[] path = [.. names.SelectMany(static name => (byte[])[(byte)'/', .. name])];
        return path.Length == 0 ? "/"u8.ToArray() : path;
    }

    /// <summary>The path in quotation marks; control characters become question marks.</summary>
    public static string Quoted(byte[] path) => $"'{string.Concat(Encoding.UTF8.GetString(path).Select(static c => char.IsControl(c) ? '?' : c))}'";
}
