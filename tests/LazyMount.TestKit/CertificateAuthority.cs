using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace LazyMount.TestKit;

/// <summary>A private certificate authority, whose certificates and keys are PEM files in a directory of its own.</summary>
public sealed class CertificateAuthority : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly X509Certificate2 _certificate;
    private int _count;

    /// <param name="name">Its common name.</param>
    /// <param name="issuer">Who issues its own certificate; null: it signs it itself.</param>
    public CertificateAuthority(string name = "Test Authority", CertificateAuthority? issuer = null)
    {
        var request = new CertificateRequest($"CN={name}", _key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, issuer is null, issuer is null ? 1 : 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        if (issuer is null)
        {
            _certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddYears(-2), DateTimeOffset.UtcNow.AddYears(2));
        }
        else
        {
            using X509Certificate2 issued = request.Create(issuer._certificate, DateTimeOffset.UtcNow.AddYears(-1), DateTimeOffset.UtcNow.AddYears(1), [1, 2, 3]);
            _certificate = issued.CopyWithPrivateKey(_key);
        }
        File.WriteAllText(Certificate, _certificate.ExportCertificatePem());
    }

    /// <summary>The authority's own certificate.</summary>
    public string Certificate => _directory["ca.crt"];

    /// <summary>Issues a certificate for a server.</summary>
    /// <param name="host">A DNS name or an address.</param>
    /// <param name="from">From when it is valid; null: yesterday.</param>
    /// <param name="to">Until when; null: a day.</param>
    public (string Certificate, string Key) Issue(string host, DateTimeOffset? from = null, DateTimeOffset? to = null) => Issue(host, "1.3.6.1.5.5.7.3.1", from, to);

    /// <summary>Issues a certificate for a client.</summary>
    public (string Certificate, string Key) IssueClient(string name) => Issue(name, "1.3.6.1.5.5.7.3.2", null, null);

    public void Dispose()
    {
        _certificate.Dispose();
        _key.Dispose();
        _directory.Dispose();
    }

    private (string Certificate, string Key) Issue(string name, string usage, DateTimeOffset? from, DateTimeOffset? to)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        if (IPAddress.TryParse(name, out IPAddress? address))
        {
            names.AddIpAddress(address);
        }
        else
        {
            names.AddDnsName(name);
        }
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        byte[] serial = new byte[8];
        RandomNumberGenerator.Fill(serial);
        serial[0] &= 0x7F;
        using X509Certificate2 certificate = request.Create(_certificate, from ?? DateTimeOffset.UtcNow.AddDays(-1), to ?? DateTimeOffset.UtcNow.AddDays(1), serial);
        (string, string) files = (_directory[$"{++_count}.cert"], _directory[$"{_count}.key"]);
        File.WriteAllText(files.Item1, certificate.ExportCertificatePem());
        File.WriteAllText(files.Item2, key.ExportPkcs8PrivateKeyPem());
        return files;
    }
}
