using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using LazyMount.FileSystem;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Output;

/// <summary>
/// The JSON shape of one entry of a tree, the same in every command:
/// <code>
/// { "path": "/bin/sh", "name": "sh", "type": "symlink", "mode": "0777", "uid": 0, "gid": 0, "size": 4,
///   "mtime": "2026-01-31T12:00:00.5Z", "links": 1, "inode": 7, "target": "dash", "layer": 0 }
/// </code>
/// <c>target</c> is there for symlinks, <c>major</c> and <c>minor</c> for devices, <c>layer</c> unless no layer lists the
/// directory. Names are bytes: one that is not UTF-8 has U+FFFD in it, and then its exact bytes stand beside it as
/// <c>nameBase64</c>, <c>pathBase64</c> or <c>targetBase64</c>. A time that no calendar holds is <c>"@seconds"</c>.
/// Written by hand instead of from a record: listings are long and trees deep, and neither shall be built in memory.
/// </summary>
internal static class EntryJson
{
    private const int LargestBuffer = 64 << 10;

    /// <summary>A writer on standard output: indented for people, compact for programs.</summary>
    public static Utf8JsonWriter CreateWriter(CommandOutput output) => new(output.Stream, new JsonWriterOptions
    {
        Indented = output.IsTerminal,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        MaxDepth = int.MaxValue,
    });

    /// <summary>Writes an entry as a line.</summary>
    public static void WriteLine(JsonLines lines, ImageTree tree, ulong node, ReadOnlySpan<byte> path)
    {
        WriteProperties(lines.Begin(), tree, node, path);
        lines.End();
    }

    /// <summary>Writes the properties of an entry into the object that is open.</summary>
    public static void WriteProperties(Utf8JsonWriter json, ImageTree tree, ulong node, ReadOnlySpan<byte> path)
    {
        if (json.BytesPending > LargestBuffer)
        {
            json.Flush(); // the writer itself keeps everything
        }
        NodeAttributes attributes = tree.Attributes(node);
        WriteBytes(json, "path", "pathBase64", path);
        WriteBytes(json, "name", "nameBase64", path[(path.LastIndexOf((byte)'/') + 1)..]);
        json.WriteString("type", EntryFormat.TypeName(attributes.Mode));
        json.WriteString("mode", EntryFormat.Octal(attributes.Mode));
        json.WriteNumber("uid", attributes.Uid);
        json.WriteNumber("gid", attributes.Gid);
        json.WriteNumber("size", attributes.Size);
        json.WriteString("mtime", EntryFormat.FullTime(attributes.MtimeSeconds, attributes.MtimeNanoseconds));
        json.WriteNumber("links", attributes.LinkCount);
        json.WriteNumber("inode", attributes.Inode);
        if (FileMode.IsSymlink(attributes.Mode))
        {
            WriteBytes(json, "target", "targetBase64", tree.LinkTarget(node));
        }
        if (EntryFormat.IsDevice(attributes.Mode))
        {
            json.WriteNumber("major", attributes.DeviceMajor);
            json.WriteNumber("minor", attributes.DeviceMinor);
        }
        if (tree.LayerNumberOf(node) is >= 0 and int layer)
        {
            json.WriteNumber("layer", layer);
        }
    }

    /// <summary>A string property out of bytes, with the exact bytes beside it when they are not UTF-8.</summary>
    public static void WriteBytes(Utf8JsonWriter json, string property, string exactProperty, ReadOnlySpan<byte> bytes)
    {
        if (Utf8.IsValid(bytes))
        {
            json.WriteString(property, bytes);
        }
        else
        {
            json.WriteString(property, Encoding.UTF8.GetString(bytes));
            json.WriteBase64String(exactProperty, bytes);
        }
    }
}
