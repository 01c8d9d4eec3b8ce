using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using System.Text.RegularExpressions;
using LazyMount.Blobs.Oci;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>A real docker-registry process on a loopback port with storage of its own, for a class of tests.</summary>
public sealed class OpenRegistry() : DockerRegistry(locked: false);

/// <summary>The same behind Basic authentication.</summary>
public sealed class LockedRegistry() : DockerRegistry(locked: true);

public abstract partial class DockerRegistry : IAsyncLifetime
{
    public const string User = "reader";
    public const string Password = "s3cret";

    // bcrypt of Password at the lowest cost.
    private const string Htpasswd = User + ":$2b$04$abcdefghijklmnopqrstuuLZYjhNQAOdpbzt4WxWlUHjv1wsyH5DG\n";

    private readonly bool _locked;
    private readonly TempDirectory _directory = new();
    private readonly HttpClient _client = new();
    private Process? _process;

    protected DockerRegistry(bool locked) => _locked = locked;

    public string Host { get; private set; } = "";

    public async ValueTask InitializeAsync()
    {
        string htpasswd = Path.Combine(_directory.Path, "htpasswd");
        await File.WriteAllTextAsync(htpasswd, Htpasswd);
        string config = Path.Combine(_directory.Path, "config.yml");
        await File.WriteAllTextAsync(config, $"""
            version: 0.1
            log: {"{"} level: info, accesslog: {"{"} disabled: true {"}"} {"}"}
            storage: {"{"} filesystem: {"{"} rootdirectory: {_directory.Path}/storage {"}"} {"}"}
            http: {"{"} addr: "127.0.0.1:0" {"}"}
            {(_locked ? $"auth: {{ htpasswd: {{ realm: test, path: {htpasswd} }} }}" : "")}
            """);
        _process = Process.Start(new ProcessStartInfo("docker-registry", ["serve", config]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        _ = _process.StandardOutput.ReadToEndAsync();
        while (await _process.StandardError.ReadLineAsync() is { } line)
        {
            if (ListeningPattern().Match(line) is { Success: true } match)
            {
                Host = match.Groups[1].Value;
                _ = _process.StandardError.ReadToEndAsync();
                break;
            }
        }
        Assert.NotEqual("", Host);
        _client.BaseAddress = new Uri($"http://{Host}/v2/");
        if (_locked)
            _client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{User}:{Password}")));
    }

    public async ValueTask DisposeAsync()
    {
        _process?.Kill();
        if (_process is not null)
            await _process.WaitForExitAsync();
        _process?.Dispose();
        _client.Dispose();
        _directory.Dispose();
        GC.SuppressFinalize(this);
    }

    public async Task PushBlobAsync(string repository, byte[] content)
    {
        using HttpResponseMessage start = (await _client.PostAsync($"{repository}/blobs/uploads/", null)).EnsureSuccessStatusCode();
        using HttpResponseMessage end = await _client.PutAsync($"{start.Headers.Location}&digest={Digest.OfSha256(content)}", new ByteArrayContent(content));
        end.EnsureSuccessStatusCode();
    }

    public async Task PushManifestAsync(string repository, string reference, byte[] content, string mediaType)
    {
        using var body = new ByteArrayContent(content) { Headers = { ContentType = new MediaTypeHeaderValue(mediaType) } };
        using HttpResponseMessage response = await _client.PutAsync($"{repository}/manifests/{reference}", body);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
    }

    /// <summary>Pushes config, layers and manifest.</summary>
    internal async Task PushAsync(string repository, string reference, TestImage image)
    {
        foreach (byte[] blob in (byte[][])[image.Config, .. image.Layers])
            await PushBlobAsync(repository, blob);
        await PushManifestAsync(repository, reference, image.Manifest, image.MediaType);
    }

    [GeneratedRegex("listening on (127\\.0\\.0\\.1:[0-9]+)")]
    private static partial Regex ListeningPattern();
}
