using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Registry.Connections;

/// <summary>Checks the certificate of one server, and remembers why the last one was not accepted.</summary>
/// <param name="host">HOST or HOST:PORT, for sentences.</param>
/// <param name="authorities">Issuers that are trusted besides those of the system.</param>
internal sealed class ServerCheck(string host, X509Certificate2Collection authorities)
{
    /// <summary>Why the last certificate was refused, and the next step; null when none was refused.</summary>
    public string? Refusal { get; private set; }

    /// <summary>Nothing is fetched to check a certificate: no missing issuers, no lists of those that were revoked.</summary>
    public static X509ChainPolicy NewPolicy() => new()
    {
        RevocationMode = X509RevocationMode.NoCheck,
        DisableCertificateDownloads = true,
        ApplicationPolicy = { new System.Security.Cryptography.Oid("1.3.6.1.5.5.7.3.1") }, // server authentication
    };

    /// <summary>Forgets the refusal of an earlier connection.</summary>
    public void Forget() => Refusal = null;

    /// <summary>See <see cref="RemoteCertificateValidationCallback"/>.</summary>
    public bool Accept(X509Certificate? presented, X509Chain? chain, SslPolicyErrors errors)
    {
        Refusal = WhyNot(presented, chain, errors);
        return Refusal is null;
    }

    private string? WhyNot(X509Certificate? presented, X509Chain? chain, SslPolicyErrors errors)
    {
        if (errors == SslPolicyErrors.None)
            return null;
        if (presented is not X509Certificate2 certificate)
        {
            return $"{host} sends no TLS certificate; the server is at fault";
        }
        X509ChainStatusFlags problems = Flags(chain);
        DateTime now = DateTime.Now;
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateChainErrors) && authorities.Count > 0)
        {
            using var again = new X509Chain { ChainPolicy = NewPolicy() };
            again.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            again.ChainPolicy.CustomTrustStore.AddRange(authorities);
            again.ChainPolicy.ExtraStore.AddRange(authorities);
            if (chain is not null)
            {
                // What the server sent besides, whether or not it led to an issuer that the system knows.
                again.ChainPolicy.ExtraStore.AddRange(chain.ChainPolicy.ExtraStore);
            }
            if (again.Build(certificate) || LeadsToAuthority(again))
            {
                errors &= ~SslPolicyErrors.RemoteCertificateChainErrors;
                if (errors == SslPolicyErrors.None)
                    return null;
            }
            else if (!Flags(again).HasFlag(X509ChainStatusFlags.UntrustedRoot) && !Flags(again).HasFlag(X509ChainStatusFlags.PartialChain))
            {
                problems = Flags(again);
            }
        }
        return errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch) ? $"the TLS certificate of {host} is for {NamesOf(certificate)}, not for this host; check the host's name"
            : certificate.NotAfter < now ? $"the TLS certificate of {host} expired on {Date(certificate.NotAfter)}; its operator must renew it (or this machine's clock is wrong)"
            : certificate.NotBefore > now ? $"the TLS certificate of {host} is not valid before {Date(certificate.NotBefore)}; check this machine's clock"
            : problems.HasFlag(X509ChainStatusFlags.NotTimeValid) && Expired(chain, now) is { } expired ? $"the TLS certificate of {host} was issued by {expired}, whose own certificate has expired; the operator must renew it"
            : problems.HasFlag(X509ChainStatusFlags.NotValidForUsage) ? $"the TLS certificate of {host} is not for servers; its operator must replace it"
            : certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData)
                ? $"the TLS certificate of {host} is not trusted: it is self-signed; name it with --tls-ca FILE, or put it into '/etc/docker/certs.d/{host}/ca.crt'"
                : $"the TLS certificate of {host} is not trusted: this machine does not know its issuer {Name(Last(chain, certificate).IssuerName)}; name the issuer's certificate with --tls-ca FILE, or put it into '/etc/docker/certs.d/{host}/ca.crt'";
    }

    // Every certificate that the user names is an anchor, as in Go and OpenSSL (X509_V_FLAG_PARTIAL_CHAIN): an intermediate one, or the server's
    // own. What stands above it in the chain does not matter.
    private bool LeadsToAuthority(X509Chain chain)
    {
        foreach (X509ChainElement element in chain.ChainElements)
        {
            X509ChainStatusFlags problems = element.ChainElementStatus.Aggregate(X509ChainStatusFlags.NoError, static (all, status) => all | status.Status);
            if ((problems & ~(X509ChainStatusFlags.PartialChain | X509ChainStatusFlags.UntrustedRoot)) != 0)
                return false;
            if (authorities.Any(each => each.RawDataMemory.Span.SequenceEqual(element.Certificate.RawDataMemory.Span)))
                return true;
        }
        return false;
    }

    private static X509ChainStatusFlags Flags(X509Chain? chain)
        => (chain?.ChainStatus ?? []).Aggregate(X509ChainStatusFlags.NoError, static (all, status) => all | status.Status);

    private static X509Certificate2 Last(X509Chain? chain, X509Certificate2 certificate)
        => chain?.ChainElements is { Count: > 0 } elements ? elements[^1].Certificate : certificate;

    private static string? Expired(X509Chain? chain, DateTime now)
        => chain?.ChainElements.Skip(1).FirstOrDefault(element => element.Certificate.NotAfter < now) is { } old ? Name(old.Certificate.SubjectName) : null;

    private static string NamesOf(X509Certificate2 certificate)
    {
        var names = new List<string>();
        foreach (X509SubjectAlternativeNameExtension names_ in certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>())
        {
            names.AddRange(names_.EnumerateDnsNames());
            names.AddRange(names_.EnumerateIPAddresses().Select(static (IPAddress address) => address.ToString()));
        }
        return names.Count == 0 ? $"no host ({Name(certificate.SubjectName)} has no subject alternative name)"
            : Printable.Of(string.Join(", ", names.Take(5)) + (names.Count > 5 ? ", …" : ""));
    }

    private static string Name(X500DistinguishedName name) => Printable.Of(name.Name);

    private static string Date(DateTime time) => time.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);
}
