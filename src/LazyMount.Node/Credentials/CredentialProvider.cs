using System.Buffers;
using System.Collections.Concurrent;
using System.Globalization;
using System.IO.Enumeration;
using System.Text.Json;
using System.Text.Json.Serialization;
using LazyMount.Blobs.Images;
using LazyMount.Node.Mounting;
using Microsoft.Extensions.Logging;

namespace LazyMount.Node.Credentials;

/// <summary>A program that gives credentials for images, by the kubelet's protocol (credentialprovider.kubelet.k8s.io/v1): a question and an answer in JSON.</summary>
/// <param name="Command">The program; absolute.</param>
/// <param name="Arguments">Its arguments.</param>
/// <param name="Images">Which images it is asked for: HOST[:PORT][/PATH], where a part of the host may have stars.</param>
internal sealed record CredentialProvider(string Command, IReadOnlyList<string> Arguments, IReadOnlyList<string> Images)
{
    private const string Version = "credentialprovider.kubelet.k8s.io/v1";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30), s_longestCache = TimeSpan.FromHours(12);

    private static readonly SearchValues<char> s_digits = SearchValues.Create("0123456789.");

    private readonly ConcurrentDictionary<string, (Blobs.Registry.Accounts.Credentials Given, long Until)> _cache = new(StringComparer.Ordinal);

    /// <summary>Whether it is asked for an image.</summary>
    public bool Knows(ImageReference reference) => Images.Any(pattern => Matches(pattern, reference));

    /// <summary>What the program says; null when it has nothing, or fails, which is logged.</summary>
    public async Task<Blobs.Registry.Accounts.Credentials?> AskAsync(ImageReference reference, ILogger logger, CancellationToken cancellationToken)
    {
        string image = reference.Place;
        if (_cache.TryGetValue(image, out var known) && Environment.TickCount64 < known.Until)
        {
            return known.Given;
        }
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(s_patience);
        try
        {
            string question = JsonSerializer.Serialize(new ProviderRequest(Version, "CredentialProviderRequest", image), ProviderJson.Default.ProviderRequest);
            (int exitCode, string output, string error) = await Helper.RunAsync(Command, Arguments, question, patience.Token);
            if (exitCode != 0)
            {
                logger.ProviderFailed(Command, image, $"it ended with {exitCode}: {error.Trim().Split('\n')[0]}");
                return null;
            }
            ProviderResponse? answer = JsonSerializer.Deserialize(output, ProviderJson.Default.ProviderResponse);
            // The longest pattern is the most exact.
            if (answer?.Auth?.Where(each => Matches(each.Key, reference)).OrderByDescending(each => each.Key.Length).FirstOrDefault().Value is not { Username: { } user } account)
            {
                return null;
            }
            var given = new Blobs.Registry.Accounts.Credentials(user, account.Password ?? "");
            TimeSpan kept = TryDuration(answer.CacheDuration) is { } asked ? asked < s_longestCache ? asked : s_longestCache : TimeSpan.Zero;
            _cache[image] = (given, Environment.TickCount64 + (long)kept.TotalMilliseconds);
            return given;
        }
        catch (Exception e) when (e is IOException or JsonException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            logger.ProviderFailed(Command, image, e is OperationCanceledException ? $"it has not ended after {s_patience.TotalSeconds:0} s" : e is JsonException ? "its answer is no CredentialProviderResponse" : e.Message);
            return null;
        }
    }

    /// <summary>As the kubelet compares: as many parts of the host, each by itself; the port; and how the path begins.</summary>
    internal static bool Matches(string pattern, ImageReference reference)
    {
        string[] parts = pattern.Split("://")[^1].Split('/', 2);
        (string host, string port) = Cut(parts[0]);
        (string ours, string ourPort) = Cut(reference.Location);
        string[] patterns = host.Split('.'), names = ours.Split('.');
        return port == ourPort && patterns.Length == names.Length
            && patterns.Zip(names).All(pair => FileSystemName.MatchesSimpleExpression(pair.First, pair.Second, ignoreCase: true))
            && (parts.Length == 1 || reference.Repository.StartsWith(parts[1], StringComparison.Ordinal));

        static (string Host, string Port) Cut(string location) => location.LastIndexOf(':') is >= 0 and int at && !location.EndsWith(']') ? (location[..at], location[(at + 1)..]) : (location, "");
    }

    // Of Go: "10m", "1h30m0s".
    private static TimeSpan? TryDuration(string? text)
    {
        double seconds = 0;
        for (int at = 0; text is not null && at < text.Length;)
        {
            int end = text.AsSpan(at).IndexOfAnyExcept(s_digits) + at;
            if (end < at || !double.TryParse(text.AsSpan(at, end - at), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number))
            {
                return null;
            }
            (int unit, int length) = text[end] switch { 'h' => (3600, 1), 'm' when !text.AsSpan(end).StartsWith("ms") => (60, 1), 's' => (1, 1), _ => (0, text.Length) };
            seconds += number * unit;
            at = end + length;
        }
        return text is null ? null : TimeSpan.FromSeconds(Math.Min(seconds, s_longestCache.TotalSeconds));
    }
}

internal sealed record ProviderRequest(string ApiVersion, string Kind, string Image);

internal sealed record ProviderAccount(string? Username, string? Password);

internal sealed record ProviderResponse(string? CacheDuration, Dictionary<string, ProviderAccount>? Auth);

/// <summary>The question and the answer.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(ProviderRequest))]
[JsonSerializable(typeof(ProviderResponse))]
internal sealed partial class ProviderJson : JsonSerializerContext;
