using LazyMount.FileSystem;
using LazyMount.Output;

namespace LazyMount.Comparing;

/// <summary>Differences as lines: `A /path`, `D /path`, `M /path  (mode 0644 -> 0755, size 10 -> 12)`, `R /old -> /new`.</summary>
/// <param name="output">Where to.</param>
/// <param name="before">The first tree.</param>
/// <param name="after">The second tree.</param>
internal sealed class DifferenceText(CommandOutput output, ImageTree before, ImageTree after)
{
    public void Write(Difference difference)
    {
        output.Write(difference.Kind switch
        {
            DifferenceKind.Added => "A ",
            DifferenceKind.Deleted => "D ",
            DifferenceKind.Changed => "M ",
            _ => "R ",
        });
        if (difference is { Kind: DifferenceKind.Renamed, Before: { } old })
        {
            output.WriteName(old.Path);
            output.Write(" -> ");
        }
        output.WriteName((difference.After ?? difference.Before)!.Value.Path);
        if (difference.Changes != Changes.None)
        {
            WriteChanges(difference.Changes, difference.Before!.Value.Node, difference.After!.Value.Node);
        }
        output.WriteLine();
    }

    private void WriteChanges(Changes changes, ulong oldNode, ulong currentNode)
    {
        (NodeAttributes old, NodeAttributes current) = (before.Attributes(oldNode), after.Attributes(currentNode));
        string separator = "  (";
        foreach ((Changes change, string name) in NodeComparison.Names.Where(each => (changes & each.Change) != 0))
        {
            output.Write(separator);
            output.Write(name);
            separator = ", ";
            switch (change)
            {
                case Changes.Type:
                    output.Write($" {EntryFormat.TypeName(old.Mode)} -> {EntryFormat.TypeName(current.Mode)}");
                    break;
                case Changes.Mode:
                    output.Write($" {EntryFormat.Octal(old.Mode)} -> {EntryFormat.Octal(current.Mode)}");
                    break;
                case Changes.Owner:
                    output.Write($" {old.Uid}:{old.Gid} -> {current.Uid}:{current.Gid}");
                    break;
                case Changes.Size:
                    output.Write($" {output.Size(old.Size)} -> {output.Size(current.Size)}");
                    break;
                case Changes.Time:
                    output.Write($" {TimeOf(old)} -> {TimeOf(current)}");
                    break;
                case Changes.Device:
                    output.Write($" {old.DeviceMajor}:{old.DeviceMinor} -> {current.DeviceMajor}:{current.DeviceMinor}");
                    break;
                case Changes.Target:
                    output.Write(" ");
                    output.WriteName(before.LinkTarget(oldNode));
                    output.Write(" -> ");
                    output.WriteName(after.LinkTarget(currentNode));
                    break;
                case Changes.Attributes:
                    WriteAttributeNames(before.XattrsOf(oldNode), after.XattrsOf(currentNode));
                    break;
            }
        }
        output.Write(")");
    }

    private void WriteAttributeNames(IReadOnlyList<(byte[] Name, byte[] Value)> old, IReadOnlyList<(byte[] Name, byte[] Value)> current)
    {
        // Names are bytes; Latin-1 keeps them apart.
        var values = old.ToDictionary(each => System.Text.Encoding.Latin1.GetString(each.Name), each => each.Value, StringComparer.Ordinal);
        foreach ((byte[] name, byte[] value) in current)
        {
            if (!values.Remove(System.Text.Encoding.Latin1.GetString(name), out byte[]? its))
            {
                WriteAttribute(" +", name);
            }
            else if (!its.AsSpan().SequenceEqual(value))
            {
                WriteAttribute(" ", name);
            }
        }
        foreach (string name in values.Keys.Order(StringComparer.Ordinal))
        {
            WriteAttribute(" -", System.Text.Encoding.Latin1.GetBytes(name));
        }
    }

    private void WriteAttribute(string before, ReadOnlySpan<byte> name)
    {
        output.Write(before);
        output.WriteName(name);
    }

    private static string TimeOf(in NodeAttributes node) => EntryFormat.FullTime(node.MtimeSeconds, node.MtimeNanoseconds);
}
