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
            all.AddRange(Named(file, () => Parse(ReadText(file))));
        return all;
    }

    /// <summary>Why the certificates of a file cannot be used, as a clause; null when they can.</summary>
    public static string? WhyNot(string file)
    {
        try
        {
            Parse(ReadText(file));
            return null;
        }
        catch (InvalidDataException e)
        {
            return e.Message;
        }
    }

    /// <summary>A certificate with its key, and the certificates behind it in its file.</summary>
    /// <exception cref="ImageException">A file cannot be read, or they do not belong together.</exception>
    public static (X509Certificate2 Certificate, X509Certificate2Collection Issuers) ReadPair(ClientCertificateFiles files)
    {
        string certificate = Named(files.Certificate, () => ReadText(files.Certificate));
        X509Certificate2Collection issuers = Named(files.Certificate, () => Parse(certificate));
        string key = Named(files.Key, () => ReadText(files.Key));
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
            throw Unusable(files.Key, $"it holds no RSA or ECDSA private key in PEM form that belongs to the certificate in '{Printable.Of(files.Certificate)}'", e);
        }
    }

    // Both throw an InvalidDataException that says in a clause what is wrong.
    private static X509Certificate2Collection Parse(string pem)
    {
        var certificates = new X509Certificate2Collection();
        try
        {
            certificates.ImportFromPem(pem);
        }
        catch (CryptographicException e)
        {
            throw new InvalidDataException("it holds a certificate that is malformed", e);
        }
        return certificates.Count > 0 ? certificates : throw new InvalidDataException("it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
    }

    private static string ReadText(string file)
    {
        try
        {
            return File.ReadAllText(PathText.ForCalls(file));
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw new InvalidDataException(FileProblem.Reason(e), e);
        }
    }

    private static T Named<T>(string file, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (InvalidDataException e)
        {
            throw Unusable(file, e.Message, e.InnerException);
        }
    }

    private static ImageException Unusable(string file, string reason, Exception? cause)
        => new(ImageError.Local, $"cannot use the certificate file '{Printable.Of(file)}': {reason}", cause);
}
