using LazyMount.Blobs.Oci;
using LazyMount.TestKit;
using LazyMount.Tests.Commands;
using Xunit;

namespace LazyMount.Tests.Trust;

/// <summary>
/// Whoever gives the bytes of an image may lie in every format that lets a layer be read in parts. An image that is named by its
/// digest shows what the digest says, or an error; and what one image was read by never changes what another shows.
/// </summary>
public sealed class LyingSourceTests : IAsyncLifetime
{
    private readonly TemporaryDirectory _directory = new();
    private readonly LyingRegistry _registry = new();
    private (string Names, string Bytes) _expected;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _registry.DisposeAsync();
        _directory.Dispose();
    }

    public static TheoryData<LieFormat> Formats => [.. Enum.GetValues<LieFormat>()];

    // All names with their attributes, and the files' bytes; what is cut off, or is not there, ends in an error, which is a sentence.
    private Task<(string Names, string Bytes)> ShowAsync(string reference, params string[] options) => ShowInAsync("cache", reference, options);

    private async Task<(string Names, string Bytes)> ShowInAsync(string cache, string reference, params string[] options)
    {
        CommandRun listed = await CommandRun.RunAsync(["ls", "-l", "-R", reference, "--cache-dir", _directory[cache], .. options]);
        CommandRun read = await CommandRun.RunAsync(["cat", reference, "script", "etc/passwd", "data/large", "--cache-dir", _directory[cache], .. options]);
        foreach (CommandRun run in (CommandRun[])[listed, read])
        {
            if (run.ExitCode != 0)
            {
                Assert.StartsWith("lazymount: ", run.Error, StringComparison.Ordinal);
                Assert.DoesNotContain("unexpected", run.Error, StringComparison.Ordinal);
            }
        }
        return (listed.Output, read.Output);
    }

    private async Task<(LyingLayer Layer, Digest Image)> PrepareAsync(LieFormat format, int seed)
    {
        LyingLayer layer = LyingLayer.Make(format, seed);
        Digest image = _registry.Add("a/app", layer.Honest, layer.MediaType);
        Assert.Equal(image, _registry.Add("b/app", layer.Honest, layer.MediaType));
        await layer.PublishAsync(format, _registry, "a/app", image, 1000);
        _expected = await ShowInAsync("honest", $"{_registry.Host}/b/app@{image}");
        Assert.Contains("echo honest", _expected.Bytes, StringComparison.Ordinal);
        return (layer, image);
    }

    private void LieAlways(LyingLayer layer)
    {
        var digest = Digest.OfSha256(layer.Honest);
        _registry.Lie = asked => asked == digest ? layer.Lying : null;
    }

    // What it shows now must be right; what it does not show is an error.
    private async Task AssertNothingElseAsync(string reference, params string[] options)
    {
        (string names, string bytes) = await ShowAsync(reference, options);
        Assert.DoesNotContain(LyingLayer.Mark, bytes, StringComparison.Ordinal);
        Assert.True(names.Length == 0 || names == _expected.Names, $"{reference} has other names: {names}");
        Assert.True(_expected.Bytes.StartsWith(bytes, StringComparison.Ordinal), $"{reference} has other bytes");
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task PinnedImage_ShowsWhatItsDigestSays_WhateverTheSourceGives(LieFormat format)
    {
        (LyingLayer layer, Digest image) = await PrepareAsync(format, 1);
        LieAlways(layer);
        await AssertNothingElseAsync($"{_registry.Host}/a/app@{image}");
        await AssertNothingElseAsync($"{_registry.Host}/a/app:v1@{image}");
        await AssertNothingElseAsync($"{_registry.Host}/a/app:v1", "--index-trust=bound");
        await AssertNothingElseAsync($"{_registry.Host}/a/app:v1", "--index-trust=none");
        _registry.Lie = _ => null;
        Assert.Equal(_expected, await ShowAsync($"{_registry.Host}/a/app@{image}"));
    }

    /// <summary>Whoever asks for more trust gets what he asked for; nobody else does, now or later.</summary>
    [Theory]
    [MemberData(nameof(Formats))]
    public async Task WhatWasBelieved_ChangesNothingForThoseWhoDoNotBelieveIt(LieFormat format)
    {
        (LyingLayer layer, Digest image) = await PrepareAsync(format, 2);
        LieAlways(layer);
        Assert.Contains(LyingLayer.Mark, (await ShowAsync($"{_registry.Host}/a/app@{image}", "--index-trust=registry")).Bytes, StringComparison.Ordinal);
        Assert.Contains(LyingLayer.Mark, (await ShowAsync($"{_registry.Host}/a/app:v1")).Bytes, StringComparison.Ordinal);

        await AssertNothingElseAsync($"{_registry.Host}/a/app@{image}");
        await AssertNothingElseAsync($"{_registry.Host}/a/app:v1", "--index-trust=bound");
        _registry.Lie = _ => null;
        Assert.Equal(_expected, await ShowAsync($"{_registry.Host}/b/app:v1"));
        Assert.Equal(_expected, await ShowAsync($"{_registry.Host}/b/app@{image}"));
        Assert.Equal(_expected, await ShowAsync($"{_registry.Host}/a/app@{image}"));
        // Proved meanwhile, and so for everybody.
        Assert.Equal(_expected, await ShowAsync($"{_registry.Host}/a/app:v1"));
    }

    /// <summary>An image whose manifest announces a lying table of another image's layer.</summary>
    [Theory]
    [InlineData(LieFormat.EstargzFooter)]
    [InlineData(LieFormat.ChunkedFooter)]
    public async Task ManifestOfAnotherImage_VouchesForThatImageOnly(LieFormat format)
    {
        (LyingLayer layer, Digest image) = await PrepareAsync(format, 3);
        Digest evil = _registry.Add("c/evil", layer.Honest, layer.MediaType, layer.Annotations);
        LieAlways(layer);
        Assert.Contains(LyingLayer.Mark, (await ShowAsync($"{_registry.Host}/c/evil@{evil}")).Bytes, StringComparison.Ordinal);

        await AssertNothingElseAsync($"{_registry.Host}/b/app@{image}");
        _registry.Lie = _ => null;
        Assert.Equal(_expected, await ShowAsync($"{_registry.Host}/b/app:v1"));
        Assert.Equal(_expected, await ShowAsync($"{_registry.Host}/b/app@{image}"));
    }

    /// <summary>Two images announce the same table. What one's registry gives when that one is read whole says nothing of the other.</summary>
    [Theory]
    [InlineData(LieFormat.EstargzFooter)]
    [InlineData(LieFormat.ChunkedFooter)]
    public async Task WrongPull_LeavesWhatTheSameTableProvedForOthers(LieFormat format)
    {
        LyingLayer layer = LyingLayer.Make(format, 8);
        Digest image = _registry.Add("a/app", layer.Lying, layer.MediaType, layer.Annotations);
        _registry.Add("c/evil", layer.Lying, layer.MediaType, layer.Annotations);
        string pinned = $"{_registry.Host}/a/app@{image}", evil = $"{_registry.Host}/c/evil@{image}";
        (string Names, string Bytes) shown = await ShowAsync(pinned);
        Assert.Contains(LyingLayer.Mark, shown.Bytes, StringComparison.Ordinal);

        var digest = Digest.OfSha256(layer.Lying);
        await ShowAsync(evil);
        _registry.Lie = asked => asked == digest ? layer.Honest : null;
        Assert.NotEqual(0, (await CommandRun.RunAsync("pull", evil, "--cache-dir", _directory["cache"])).ExitCode);
        Assert.Equal(shown, await ShowAsync(pinned, "--offline"));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task SourceThatLiesByChance_IsAnErrorOrRight(LieFormat format)
    {
        (LyingLayer layer, Digest image) = await PrepareAsync(format, 4);
        var digest = Digest.OfSha256(layer.Honest);
        for (int seed = 0; seed < 6; seed++)
        {
            var random = new Random(seed);
            int often = random.Next(2, 5);
            _registry.Lie = asked =>
            {
                lock (random)
                {
                    return asked != digest || random.Next(often) > 0 ? null
                        : random.Next(3) > 0 ? layer.Lying
                        : Damaged(layer.Honest, random);
                }
            };
            // By tag anything may be shown and kept; that may not reach the pinned one.
            await ShowAsync($"{_registry.Host}/a/app:v1");
            await AssertNothingElseAsync($"{_registry.Host}/a/app@{image}");
            await AssertNothingElseAsync($"{_registry.Host}/b/app@{image}");
        }
        _registry.Lie = _ => null;
        Assert.Equal(_expected, await ShowAsync($"{_registry.Host}/b/app:v1"));
        Assert.Equal(_expected, await ShowAsync($"{_registry.Host}/a/app@{image}"));
    }

    private static byte[] Damaged(byte[] bytes, Random random)
    {
        byte[] damaged = [.. bytes];
        for (int i = 0; i < 5; i++)
        {
            damaged[random.Next(damaged.Length)] ^= (byte)(1 << random.Next(8));
        }
        return damaged;
    }

    /// <summary>Offline, what is stored counts as it does online.</summary>
    [Theory]
    [MemberData(nameof(Formats))]
    public async Task Offline_APinnedImageTakesNothingThatItsDigestDoesNotProve(LieFormat format)
    {
        (LyingLayer layer, Digest image) = await PrepareAsync(format, 5);
        LieAlways(layer);
        await ShowAsync($"{_registry.Host}/a/app:v1");
        Assert.Contains(LyingLayer.Mark, (await ShowAsync($"{_registry.Host}/a/app:v1", "--offline")).Bytes, StringComparison.Ordinal);
        Assert.Equal(("", ""), await ShowAsync($"{_registry.Host}/a/app@{image}", "--offline"));
        Assert.Equal(("", ""), await ShowAsync($"{_registry.Host}/b/app:v1", "--offline"));
    }

    [Theory]
    [InlineData(LieFormat.EstargzFooter, "source")]
    [InlineData(LieFormat.TarHeaders, "source")]
    [InlineData(LieFormat.PublishedIndex, "repository")]
    [InlineData(LieFormat.PublishedZtoc, "repository")]
    public async Task WhoVouches_IsShown(LieFormat format, string by)
    {
        (LyingLayer layer, Digest image) = await PrepareAsync(format, 6);
        LieAlways(layer);
        string tagged = $"{_registry.Host}/a/app:v1";
        // Whether a layer tells itself what it has is not known before it is read; pinned, or with less trust, that does not count.
        string before = await JsonAsync("layers", "--json", tagged);
        Assert.True(by == "source" ? !before.Contains("\"proof\":\"", StringComparison.Ordinal) : before.Contains($"\"proof\":\"{by}\"", StringComparison.Ordinal), before);
        Assert.Contains("\"proof\":\"layer\"", await JsonAsync("layers", "--json", $"{_registry.Host}/a/app@{image}"), StringComparison.Ordinal);
        Assert.Contains("\"proof\":\"layer\"", await JsonAsync("layers", "--json", tagged, "--index-trust=bound"), StringComparison.Ordinal);
        await ShowAsync(tagged);
        Assert.Contains($"\"proof\":\"{by}\"", await JsonAsync("layers", "--json", tagged), StringComparison.Ordinal);
        Assert.Contains($"\"proof\":\"{by}\"", await JsonAsync("stat", "--json", tagged, "script"), StringComparison.Ordinal);
        Assert.Contains($" Proof: {by}\n", (await CommandRun.RunAsync("stat", tagged, "script", "--cache-dir", _directory["cache"])).Output, StringComparison.Ordinal);
        _registry.Lie = _ => null;
        await ShowAsync($"{_registry.Host}/a/app@{image}");
        Assert.Contains("\"proof\":\"layer\"", await JsonAsync("layers", "--json", tagged), StringComparison.Ordinal);
    }

    private async Task<string> JsonAsync(params string[] arguments)
        => (await CommandRun.RunAsync([.. arguments, "--cache-dir", _directory["cache"]])).Output.Replace(" ", "", StringComparison.Ordinal);

    /// <summary>A layer that was read in parts and is then pulled is not fetched again, and is proved for everybody.</summary>
    [Theory]
    [MemberData(nameof(Formats))]
    public async Task PulledLayer_IsProvedForEverybody(LieFormat format)
    {
        (LyingLayer layer, Digest image) = await PrepareAsync(format, 7);
        LieAlways(layer);
        await ShowAsync($"{_registry.Host}/a/app:v1");
        CommandRun pulled = await CommandRun.RunAsync("pull", $"{_registry.Host}/b/app@{image}", "--cache-dir", _directory["cache"]);
        Assert.NotEqual(0, pulled.ExitCode);
        _registry.Lie = _ => null;
        pulled = await CommandRun.RunAsync("pull", $"{_registry.Host}/a/app:v1", "--cache-dir", _directory["cache"]);
        Assert.Equal((0, ""), (pulled.ExitCode, pulled.Error));
        Assert.Equal(_expected, await ShowAsync($"{_registry.Host}/a/app:v1", "--offline"));
        Assert.Equal(_expected, await ShowAsync($"{_registry.Host}/a/app@{image}", "--offline"));
    }
}
