using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Text.RegularExpressions;
using LazyMount.Cli;
using LazyMount.Output;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary><c>--json</c> of all commands: what they write is what docs/json.md says, and docs/json.md is what the types say.</summary>
public sealed partial class JsonTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly HashSet<(string Object, string Name)> _seen = [];

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Page_IsWhatTheTypesSay()
    {
        string file = Path.Combine(RepositoryRoot.Path, "docs", "json.md"), page = JsonPage.Write();
        if (Environment.GetEnvironmentVariable("LAZYMOUNT_WRITE_DOCS") is { Length: > 0 })
        {
            File.WriteAllText(file, page);
        }
        Assert.Equal(page, File.ReadAllText(file));
    }

    [Fact]
    public void Name_StandsForOneThing()
    {
        foreach (IGrouping<string, JsonPage.Field> name in JsonPage.Objects.SelectMany(JsonPage.FieldsOf).GroupBy(field => field.Name))
        {
            Assert.Single(name.Select(field => JsonPage.OwnMeaningOf(field.Property)).OfType<string>().Distinct());
            Assert.Single(name.Select(field => JsonPage.MeaningOf(field.Property)).Distinct());
            Assert.Single(name.Select(field => JsonPage.KindOf(field.Property.PropertyType)).Distinct());
        }
    }

    [Fact]
    public void Meanings_AreSentences_AndDiffer()
    {
        (string Name, string Meaning)[] names = [.. JsonPage.Objects.SelectMany(JsonPage.FieldsOf).Select(field => (field.Name, JsonPage.MeaningOf(field.Property))).Distinct()];
        Assert.All(names, name => Assert.EndsWith(".", name.Meaning, StringComparison.Ordinal));
        Assert.Equal(names.Length, names.DistinctBy(name => name.Meaning).Count()); // else one thing has two names
    }

    [Fact]
    public async Task EveryCommand_WritesWhatThePageSays()
    {
        string image = Image(), index = $"{image[..^":v2".Length]}:all", odd = ImagePathText.Decode([.. "/odd"u8, 0xFF]);
        List<(string Command, string? With, string[] Arguments)> runs =
        [
            ("ls", null, ["-R", image]), ("tree", null, [image]), ("find", null, [image]), ("stat", null, [image, "/twice", "/dev/null", "/dev", odd]),
            ("du", null, ["-ac", image]), ("layers", null, [image]), ("history", null, [image]), ("waste", null, [image]),
            ("log", null, [image, "/etc/conf"]), ("log", null, [image, "/new/file"]), ("log", null, [image, "/etc"]), ("log", null, [image, "/tmp/x"]), ("log", null, [image, "/hard"]), ("log", null, [image, odd]), ("log", null, [image, "/dev/null"]),
            ("log", null, [image, ImagePathText.Decode([.. "/dir"u8, 0xFF, .. "/x"u8])]),
            ("diff", null, ["--layer", "0,1", image]), ("diff", "--stat", ["--stat", "--layer", "0,1", image]),
            ("tags", null, [image[..^":v2".Length]]), ("platforms", null, [PlatformsImage()]), ("index build", null, [image]),
            ("index push", null, [image]), ("index push", null, ["--format", "soci", image]), ("index show", null, [image]), ("layers", null, [image]),
            ("index push", "--bind", ["--bind", "lazy", index]), ("index push", "--bind", ["--bind", "soci", "--format", "soci2", index]),
            ("cache info", null, []), ("cache verify", null, []), ("cache prune", null, []), ("list", null, []), ("doctor", null, []),
        ];
        Assert.Equal(JsonPage.Commands.Select(each => (each.Command, each.Form.With)).Order(), runs.Select(run => (run.Command, run.With)).Distinct().Order());
        foreach ((string command, string? with, string[] arguments) in runs)
        {
            JsonForm form = JsonPage.Commands.Single(each => each.Command == command && each.Form.With == with).Form;
            CommandRun run = await CommandRun.RunAsync([.. command.Split(' '), "--json", .. arguments, "--cache-dir", _directory["cache"]]);
            Assert.True(run.ExitCode == 0 || command is "diff" or "doctor", $"{command}: {run.Error}");
            AssertWritten(form, run.Output);
        }
        AssertWritten(new JsonForm(() => ListingJson.Default.IReadOnlyListMountListing, IsLines: false), CommandRun.Written(output => output.WriteDocument([Mount()], ListingJson.Default.IReadOnlyListMountListing)));

        (string, string)[] documented = [.. JsonPage.Objects.SelectMany(type => JsonPage.FieldsOf(type).Select(field => (JsonPage.TitleOf(type), field.Name)))];
        string[] unseen = [.. documented.Except(_seen).Except([("check", "mend")]).Select(each => $"{each.Item1}.{each.Item2}")]; // that one is for machines that lack something
        Assert.True(unseen.Length == 0, string.Join(' ', unseen));
    }

    private void AssertWritten(JsonForm form, string output)
    {
        string[] documents = form.IsLines ? output.TrimEnd('\n').Split('\n') : [output];
        foreach (string document in documents)
        {
            using JsonDocument json = JsonDocument.Parse(document);
            AssertIs(form.Type, json.RootElement, form.Type.Type.Name);
        }
    }

    private void AssertIs(JsonTypeInfo type, JsonElement value, string where)
    {
        switch (type.Kind)
        {
            case JsonTypeInfoKind.Enumerable:
                Assert.Equal(JsonValueKind.Array, value.ValueKind);
                foreach (JsonElement element in value.EnumerateArray())
                {
                    AssertIs(JsonPage.Of(type.ElementType!), element, $"{where}[]");
                }
                break;
            case JsonTypeInfoKind.Object:
                Assert.Equal(JsonValueKind.Object, value.ValueKind);
                IReadOnlyList<JsonPage.Field> fields = JsonPage.FieldsOf(type);
                foreach (JsonProperty property in value.EnumerateObject())
                {
                    JsonPage.Field field = Assert.Single(fields, field => field.Name == property.Name);
                    _seen.Add((JsonPage.TitleOf(type), property.Name));
                    AssertIs(JsonPage.Of(Nullable.GetUnderlyingType(field.Property.PropertyType) ?? field.Property.PropertyType), property.Value, $"{where}.{property.Name}");
                    Assert.True(!JsonPage.MeaningOf(field.Property).StartsWith("Time ", StringComparison.Ordinal) || Time().IsMatch(property.Value.GetString()!), $"{where}.{property.Name} is {property.Value}");
                }
                Assert.All(fields.Where(field => field.IsAlwaysThere), field => Assert.True(value.TryGetProperty(field.Name, out _), $"{where} has no {field.Name}"));
                break;
            default:
                Assert.Equal(JsonPage.KindOf(type.Type), value.ValueKind switch
                {
                    JsonValueKind.True or JsonValueKind.False => "boolean",
                    JsonValueKind.Number => "number",
                    JsonValueKind.String => "string",
                    _ => value.ValueKind.ToString(),
                });
                Assert.True(type.Type != typeof(string) || Time().IsMatch(value.GetString()!) || !LikeATime().IsMatch(value.GetString()!), $"{where} is {value}");
                break;
        }
    }

    [GeneratedRegex(@"\A(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d*[1-9])?Z|@-?\d+)\z")]
    private static partial Regex Time();

    [GeneratedRegex(@"\A\d{4}-\d\d-\d\d[T ]")]
    private static partial Regex LikeATime();

    /// <summary>An image of two layers and an image index, in which everything is that commands can tell.</summary>
    private string Image()
    {
        byte[] noise = new byte[1 << 20]; // its index is small beside it
        new Random(1).NextBytes(noise);
        var layout = new OciLayoutBuilder(_directory["layout"]);
        Layers().WriteImageIndex("all", "linux/amd64", "linux/arm64");
        Layers().AddHistory("COPY a /", author: "somebody", comment: "why").AddHistory("CMD x", isEmpty: true).AddHistory("RUN b").WriteImage("v2");
        return layout.Reference("v2");

        OciLayoutBuilder Layers() => layout
            .AddLayer(new TarBytes()
                .Directory("etc").Pax(("mtime", "1600000000.25")).File("etc/conf", "before", 0x180)
                .Symlink("link", "etc").Symlink("odd\u00ff", "to\u00ff").CharacterDevice("dev/null", 1, 3).Fifo("pipe").File("old\u00ff/file", new string('z', 5000))
                .File("tmp/x", "gone").File("gone").Pax(("SCHILY.xattr.user.one", "1"), ("SCHILY.xattr.user.\u00ff", "2")).File("twice", "t").File("dir\u00ff/x", "x").File("noise", noise))
            .AddLayer(new TarBytes()
                .File("etc/conf", "after!", 0x1A4).File("new/file", new string('z', 5000)).File("old\u00ff/other").Opaque("tmp").Opaque("dir\u00ff").HardLink("hard", "twice").Whiteout("gone").Pax(("mtime", "99999999999999")).File("late").Symlink("odd\u00ff", "\u00fe"));
    }

    private string PlatformsImage()
    {
        string d = new('a', 64);
        byte[] index = Encoding.UTF8.GetBytes($$"""
            {"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{{d}}","size":11,"platform":{"os":"linux","architecture":"arm64"} },
            {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{{d}}","size":12,"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"sha256:{{d}}"} },
            {"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.example","digest":"sha256:{{d}}","size":13}]}
            """);
        string digest = OciLayoutBuilder.DigestOf(index), directory = _directory["platforms"];
        File.WriteAllBytes(new OciLayoutBuilder(directory).BlobFile(digest), index);
        File.WriteAllText(Path.Combine(directory, "index.json"), $$"""{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{{digest}}","size":{{index.Length}} }]}""");
        return $"oci:{directory}";
    }

    // A mount as `list` describes it, with all that it can have.
    private static MountListing Mount() => new()
    {
        MountPoint = "/\uFFFD",
        MountPointBase64 = [(byte)'/', 0xFF],
        Image = "debian:12",
        State = "restarting",
        Trouble = "died 5 times",
        Face = "fuse",
        ManifestDigest = "sha256:0",
        Proof = "layer",
        Layer = 0,
        TopLayer = 0,
        View = "layers",
        Pid = 1,
        Worker = 2,
        Restarts = 3,
        SurvivesCrashes = true,
        Since = new DateTimeOffset(2026, 1, 31, 12, 0, 0, 500, TimeSpan.FromHours(1)).UtcDateTime,
        FetchedBytes = 4,
        DecodedBytes = 5,
        ServedBytes = 6,
        CachedShare = 0.5,
        LastError = new ErrorListing { Time = new DateTime(2026, 1, 31, 12, 0, 0, DateTimeKind.Utc), Path = "/file", Message = "no reason" },
        Metrics = "unix:/socket",
        LogFile = "/log",
        CacheDirectory = "/cache",
    };
}
