using LazyMount.Blobs.Registry.Connections;

namespace LazyMount.Blobs.Registry;

/// <summary>The proxies that registries are reached through.</summary>
public static class RegistryProxies
{
    /// <summary>The proxies of the environment for https and http, such as "https: proxy.example:3128 (HTTPS_PROXY)", without their logins.</summary>
    /// <exception cref="Images.ImageException">A variable does not hold a proxy's URL.</exception>
    public static IReadOnlyList<string> Describe(RegistryOptions options)
    {
        var settings = new ProxySettings(options.Environment);
        return [.. DescribeFor("https"), .. DescribeFor("http")];

        IEnumerable<string> DescribeFor(string scheme)
            => settings.Describe(new Uri($"{scheme}://registry.invalid/")) is { } proxy ? [$"{scheme}: {proxy}"] : [];
    }
}
