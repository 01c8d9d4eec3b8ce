using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry.Hosts;

namespace LazyMount.Blobs.Registry.Connections;

/// <summary>Certificates and keys in PEM files.</summary>
internal static class CertificateFiles
{
    /// <summary>All certificates of some files.</summary>
    /// <exception cref="ImageException">A file cannot be read, or holds no certificate.</exception>
    public static X509Certificate2Collection ReadAuthorities(IEnumerable<string> files)
    {
        var all = new X509Certificate2Collection();
        foreach (string file in files)
        {
            int before = all.Count;
            try
            {
                all.ImportFromPem(File.ReadAllText(PathText.ForCalls(file)));
            }
            catch (Exception e) when (FileProblem.IsOne(e) || e is CryptographicException)
            {
                throw Unusable(file, e is CryptographicException ? "it holds a certificate that is malformed" : FileProblem.Reason(e), e);
            }
            if (all.Count == before)
                throw Unusable(file, "it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", null);
        }
        return all;
    }

    /// <summary>A certificate with its key, and the certificates behind it in its file.</summary>
    /// <exception cref="ImageException">A file cannot be read, or they do not belong together.</exception>
    public static (X509Certificate2 Certificate, X509Certificate2Collection Issuers) ReadPair(ClientCertificateFiles files)
    {
        string key;
        X509Certificate2Collection issuers = ReadAuthorities([files.Certificate]);
        try
        {
            key = File.ReadAllText(PathText.ForCalls(files.Key));
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw Unusable(files.Key, FileProblem.Reason(e), e);
        }
        if (key.Contains("ENCRYPTED", StringComparison.Ordinal))
            throw Unusable(files.Key, "its key is encrypted, which is not supported; decrypt it with openssl pkey", null);
        try
        {
            var pair = X509Certificate2.CreateFromPem(File.ReadAllText(PathText.ForCalls(files.Certificate)), key);
            issuers.RemoveAt(0);
            return (pair, issuers);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw Unusable(files.Key, $"it holds no private key in PEM form that belongs to the certificate in {Printable.Of(files.Certificate)}", e);
        }
    }

    private static ImageException Unusable(string file, string reason, Exception? cause)
        => new(ImageError.Local, $"The file of certificates {Printable.Of(file)} cannot be used: {reason}.", cause);
}
