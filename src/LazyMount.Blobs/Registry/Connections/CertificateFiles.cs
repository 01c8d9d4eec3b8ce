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
            Add(all, file, ReadText(file));
        return all;
    }

    /// <summary>Why the certificates of a file cannot be used, as a clause; null when they can.</summary>
    public static string? WhyNot(string file)
    {
        try
        {
            ReadAuthorities([file]);
            return null;
        }
        catch (ImageException e)
        {
            return e.Message[(e.Message.IndexOf(": ", StringComparison.Ordinal) + 2)..].TrimEnd('.');
        }
    }

    /// <summary>A certificate with its key, and the certificates behind it in its file.</summary>
    /// <exception cref="ImageException">A file cannot be read, or they do not belong together.</exception>
    public static (X509Certificate2 Certificate, X509Certificate2Collection Issuers) ReadPair(ClientCertificateFiles files)
    {
        string certificate = ReadText(files.Certificate);
        var issuers = new X509Certificate2Collection();
        Add(issuers, files.Certificate, certificate);
        string key = ReadText(files.Key);
        if (key.Contains("ENCRYPTED", StringComparison.Ordinal))
            throw Unusable(files.Key, "its key is encrypted, which is not supported; decrypt it with openssl pkey", null);
        try
        {
            var pair = X509Certificate2.CreateFromPem(certificate, key);
            issuers.RemoveAt(0);
            return (pair, issuers);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw Unusable(files.Key, $"it holds no RSA or ECDSA private key in PEM form that belongs to the certificate in {Printable.Of(files.Certificate)}", e);
        }
    }

    private static void Add(X509Certificate2Collection all, string file, string pem)
    {
        int before = all.Count;
        try
        {
            all.ImportFromPem(pem);
        }
        catch (CryptographicException e)
        {
            throw Unusable(file, "it holds a certificate that is malformed", e);
        }
        if (all.Count == before)
            throw Unusable(file, "it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", null);
    }

    private static string ReadText(string file)
    {
        try
        {
            return File.ReadAllText(PathText.ForCalls(file));
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw Unusable(file, FileProblem.Reason(e), e);
        }
    }

    private static ImageException Unusable(string file, string reason, Exception? cause)
        => new(ImageError.Local, $"The file of certificates {Printable.Of(file)} cannot be used: {reason}.", cause);
}
