using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Cli;

/// <summary>
/// OpenSSL's library, which .NET loads for every hash and for TLS. Without it .NET ends the process with SIGABRT, so we look first,
/// for the names that .NET would try.
/// </summary>
internal static class OpenSslLibrary
{
    private static readonly string[] s_names = ["libssl.so.3", "libssl.so.1.1"];

    public static void EnsureThere()
    {
        // Whoever uses .NET's own way to name another version has left ours.
        if (Environment.GetEnvironmentVariable("CLR_OPENSSL_VERSION_OVERRIDE") is null && !Array.Exists(s_names, name => NativeLibrary.TryLoad(name, out _)))
        {
            using SafeFileHandle any = File.OpenHandle("/dev/null"); // what cannot open this has too few descriptors to load anything
            throw new CommandException($"OpenSSL is not installed (no {string.Join(" or ", s_names)}), and every image is verified with it: install it (Debian 12: apt install libssl3)");
        }
    }
}
