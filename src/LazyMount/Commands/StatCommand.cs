using System.CommandLine;
using System.Text;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Output;
using LazyMount.Trees;

namespace LazyMount.Commands;

/// <summary>`lazymount stat`: all that is known of an entry, with the layer that it came from.</summary>
internal static class StatCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var paths = Verb.PathsArgument();
        var dereference = new Option<bool>("--dereference", "-L") { Description = "Follow a symlink at the end of the path" };
        var json = JsonOption.Lines(() => ListingJson.Default.StatListing);
        var verb = new Verb("stat", "Show the attributes of entries and the layers that they came from.",
            """
            lazymount stat debian:12 /bin
            lazymount stat -L debian:12 /bin/sh
            lazymount stat --json myapp /app | jq -r .layerDigest
            """)
        { image, paths, dereference, json, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            int exitCode = ExitCode.Done;
            List<(string Path, ResolvedPath Found)> found = [];
            foreach (string path in parsed.GetRequiredValue(paths))
            {
                try
                {
                    found.Add((path, opened.Find(ImagePathText.Encode(path), parsed.GetValue(dereference))));
                }
                catch (CommandException e)
                {
                    exitCode = Math.Max(exitCode, host.Report(e, settings));
                }
            }
            if (parsed.GetValue(json))
            {
                WriteJson(host.Output, opened.Tree, [.. found.Select(one => one.Found)], LayerOf);
            }
            else
            {
                foreach ((string path, ResolvedPath one) in found)
                {
                    Write(host.Output, opened.Tree, path, one, LayerOf);
                }
            }
            return exitCode;

            (string Digest, string Proof) LayerOf(int layer) => (opened.Image.Image.Layers[layer].Digest.ToString(), opened.Image.Proofs.Of(layer));
        });
        return verb;
    }

    internal static void Write(CommandOutput output, ImageTree tree, string path, ResolvedPath found, Func<int, (string Digest, string Proof)> layerOf)
    {
        NodeAttributes attributes = tree.Attributes(found.Node);
        int layer = tree.LayerNumberOf(found.Node);
        output.Write("  File: ");
        EntryFormat.WriteNameAndTarget(output, tree, new NamedNode(ImagePathText.Encode(path), found.Path, found.Node));
        output.Write("  Path: ");
        output.WriteName(found.Path);
        output.WriteLine();
        output.WriteLine($"  Type: {EntryFormat.TypeName(attributes.Mode)}");
        output.WriteLine($"  Mode: {EntryFormat.Octal(attributes.Mode)} ({EntryFormat.ModeString(attributes.Mode)})");
        output.WriteLine($" Owner: {attributes.Uid}:{attributes.Gid}");
        output.WriteLine(EntryFormat.IsDevice(attributes.Mode) ? $"Device: {EntryFormat.SizeColumn(attributes)}" : $"  Size: {attributes.Size}");
        output.WriteLine($" Mtime: {EntryFormat.FullTime(attributes.MtimeSeconds, attributes.MtimeNanoseconds)}");
        output.WriteLine($" Links: {attributes.LinkCount}");
        output.WriteLine($" Inode: {attributes.Inode}");
        output.WriteLine(layer < 0 ? " Layer: none (no layer lists this directory)" : $" Layer: {layer} {layerOf(layer).Digest}\n Proof: {layerOf(layer).Proof}");
        foreach ((byte[] name, byte[] value) in tree.XattrsOf(found.Node))
        {
            output.Write(" Xattr: ");
            output.WriteName(name);
            output.WriteLine(IsPrintable(value) ? $" = \"{Encoding.ASCII.GetString(value)}\"" : $" = 0s{Convert.ToBase64String(value)}");
        }
    }

    internal static void WriteJson(CommandOutput output, ImageTree tree, IReadOnlyList<ResolvedPath> found, Func<int, (string Digest, string Proof)> layerOf)
    {
        using var lines = new JsonLines(output);
        foreach (ResolvedPath one in found)
        {
            var listing = new StatListing
            {
                Xattrs = [.. tree.XattrsOf(one.Node).Select(xattr => new XattrListing { Key = EntryListing.Text(xattr.Name), KeyBase64 = EntryListing.Exact(xattr.Name), ValueBase64 = xattr.Value })],
            };
            listing.Fill(tree, one.Node, one.Path, layer => layerOf(layer).Digest);
            listing.Proof = listing.Layer is int layer ? layerOf(layer).Proof : null;
            lines.Write(listing, ListingJson.Default.StatListing);
        }
    }

    private static bool IsPrintable(ReadOnlySpan<byte> value) => !value.ContainsAnyExceptInRange((byte)' ', (byte)'~');
}
