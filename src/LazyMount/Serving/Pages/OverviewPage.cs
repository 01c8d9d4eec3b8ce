using System.Globalization;
using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Commands;
using LazyMount.Images;
using LazyMount.Output;

namespace LazyMount.Serving.Pages;

/// <summary>What an image is: platforms, config, and its layers with what made, serves and proves each. No layer is fetched for it.</summary>
internal static class OverviewPage
{
    public static async Task WriteAsync(Html html, ServedImage image, CancellationToken cancellationToken)
    {
        using IdleResource<ResolvedImage>.Lease lease = await image.UseManifestAsync(cancellationToken);
        Image found = lease.Value.Image;
        IReadOnlyList<LayerListing> layers = await LayersCommand.ListAsync(found, lease.Value.OpenIndexes(image.Opening, image.Loggers), cancellationToken);
        ImageHistory history = ImageHistory.Read(found.ConfigBytes.Span, found.Layers.Count);

        html.Add($"<dl class=\"facts\"><dt>Manifest</dt><dd><code>{found.ManifestDescriptor.Digest.ToString()}</code></dd>");
        if (found.Platform is { } platform)
        {
            html.Add($"<dt>Platform</dt><dd>{platform.ToString()}</dd>");
        }
        if (found.ArtifactType is { } type)
        {
            html.Add($"<dt>Artifact type</dt><dd>{type}</dd>");
        }
        html.Add($"<dt>Layers</dt><dd>{found.Layers.Count}, {ByteSize.Format(found.Layers.Sum(layer => layer.Size))} compressed</dd>");
        WriteConfigFacts(html, found.ConfigBytes);
        html.Add($"</dl>");

        WriteLayers(html, image, layers, history);
        await WritePlatformsAsync(html, image, found, cancellationToken);
        html.Add($"<h2>Config</h2><details><summary>As JSON</summary><pre tabindex=\"0\" role=\"region\" aria-label=\"Config\"><code class=\"language-json\">{Pretty(found.ConfigBytes)}</code></pre></details><details><summary>Manifest as JSON</summary><pre tabindex=\"0\" role=\"region\" aria-label=\"Manifest\"><code class=\"language-json\">{Pretty(found.ManifestBytes)}</code></pre></details>");
    }

    private static void WriteLayers(Html html, ServedImage image, IReadOnlyList<LayerListing> layers, ImageHistory history)
    {
        html.Add($"<h2>Layers and history</h2>");
        if (history.Problem is { } problem)
        {
            html.Add($"<p>The history does not tell what made which layer: {problem}</p>");
        }
        html.Add($"<p class=\"hint\">Lowest first. <em>Served by</em> is the index that lets single files be read; <em>proved by</em> says who vouches for it.</p><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Layers\"><table><thead><tr><th scope=\"col\">Layer</th><th scope=\"col\" class=\"number\">Size</th><th scope=\"col\" class=\"number\">Unpacked</th><th scope=\"col\" class=\"number\">Entries</th><th scope=\"col\">Served by</th><th scope=\"col\">Proved by</th><th scope=\"col\">Made by</th></tr></thead><tbody>");
        foreach (HistoryStep step in history.Steps)
        {
            string made = HistoryCommand.Known(step.Entry?.Command) ?? HistoryCommand.Known(step.Entry?.Comment) ?? "";
            if (step.Layer is not int number)
            {
                html.Add($"<tr class=\"quiet\"><th scope=\"row\"><span aria-label=\"no layer\">–</span></th><td></td><td></td><td></td><td></td><td></td><td class=\"made\"><code>{made}</code></td></tr>");
                continue;
            }
            LayerListing layer = layers[number];
            html.Add($"<tr><th scope=\"row\"><a href=\"{PageLink.ToTree(image, "/"u8, number)}\">Layer {number}</a></th><td class=\"number\">{ByteSize.Format(layer.CompressedSize)}</td><td class=\"number\">{(layer.UncompressedSize is { } size ? ByteSize.Format(size) : "–")}</td><td class=\"number\">{(layer.Entries is { } entries ? entries.ToString("N0", CultureInfo.InvariantCulture) : "–")}</td><td>{layer.Origin ?? "not read yet"}</td><td>{layer.Proof ?? "–"}</td><td class=\"made\"><code>{made}</code></td></tr>");
        }
        html.Add($"</tbody></table></div>");
    }

    private static async Task WritePlatformsAsync(Html html, ServedImage image, Image found, CancellationToken cancellationToken)
    {
        IReadOnlyList<PlatformListing> platforms = await PlatformsCommand.ListAsync(image.Reference, image.Opening, image.Loggers, cancellationToken);
        if (platforms.Count < 2)
        {
            return;
        }
        html.Add($"<h2>Platforms</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Platforms\"><table><thead><tr><th scope=\"col\">Platform</th><th scope=\"col\">Kind</th><th scope=\"col\">Manifest</th></tr></thead><tbody>");
        foreach (PlatformListing each in platforms)
        {
            bool isShown = each.ManifestDigest == found.ManifestDescriptor.Digest.ToString();
            html.Add($"<tr><th scope=\"row\">{each.Platform ?? "–"}{(isShown ? new Markup(" <span class=\"badge\">shown here</span>") : default)}</th><td>{each.Kind}</td><td><code>{each.ManifestDigest}</code></td></tr>");
        }
        html.Add($"</tbody></table></div><p class=\"hint\">Another platform is served when lazymount serve is started with --platform.</p>");
    }

    private static void WriteConfigFacts(Html html, ReadOnlyMemory<byte> bytes)
    {
        try
        {
            using var document = JsonDocument.Parse(bytes);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                return;
            }
            JsonElement config = document.RootElement.TryGetProperty("config", out JsonElement found) && found.ValueKind == JsonValueKind.Object ? found : default;
            Fact("Created", document.RootElement, "created");
            Fact("Author", document.RootElement, "author");
            if (config.ValueKind != JsonValueKind.Object)
            {
                return;
            }
            foreach ((string title, string name) in ((string, string)[])
                [("Entrypoint", "Entrypoint"), ("Command", "Cmd"), ("Working directory", "WorkingDir"), ("User", "User"), ("Ports", "ExposedPorts"), ("Volumes", "Volumes"), ("Environment", "Env"), ("Labels", "Labels")])
            {
                Fact(title, config, name);
            }
        }
        catch (JsonException)
        {
            // The config of an artifact may be anything; it is shown below as it is.
        }

        void Fact(string title, JsonElement from, string name)
        {
            if (!from.TryGetProperty(name, out JsonElement value))
            {
                return;
            }
            string[] lines = value.ValueKind switch
            {
                JsonValueKind.String when value.GetString() is { Length: > 0 } text => [text],
                JsonValueKind.Array when name is "Env" => [.. value.EnumerateArray().Select(each => each.ToString())],
                JsonValueKind.Array when value.GetArrayLength() > 0 => [string.Join(' ', value.EnumerateArray().Select(each => each.ToString() is { Length: > 0 } word && !word.Contains(' ', StringComparison.Ordinal) ? word : $"'{each}'"))],
                JsonValueKind.Object => [.. value.EnumerateObject().Select(each => each.Value.ValueKind == JsonValueKind.String ? $"{each.Name}={each.Value}" : each.Name)],
                _ => [],
            };
            if (lines.Length > 0)
            {
                html.Add($"<dt>{title}</dt><dd>");
                foreach (string line in lines)
                {
                    html.Add($"<code class=\"line\">{CommandOutput.Displayable(line)}</code>");
                }
                html.Add($"</dd>");
            }
        }
    }

    private static string Pretty(ReadOnlyMemory<byte> json)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            using var stream = new MemoryStream();
            using (var writer = new Utf8JsonWriter(stream, CommandOutput.JsonOptions(isIndented: true)))
            {
                document.RootElement.WriteTo(writer);
            }
            return Encoding.UTF8.GetString(stream.GetBuffer(), 0, (int)stream.Length);
        }
        catch (JsonException)
        {
            return Encoding.UTF8.GetString(json.Span);
        }
    }
}
