using System.Net;
using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Registry;

/// <summary>A registry, its token server or its CDN failed or refused. <see cref="Exception.Message"/> is the user's sentence.</summary>
public sealed class RegistryException : ImageException
{
    internal RegistryException(ImageError error, string message, Exception? inner = null)
        : base(error, message, inner)
    {
    }

    /// <summary>HTTP method of the request that failed.</summary>
    public string Method { get; internal init; } = "GET";

    /// <summary>Its URL without query and user info.</summary>
    public string Url { get; internal init; } = "";

    /// <summary>HTTP status, or null when there was no answer.</summary>
    public HttpStatusCode? Status { get; internal init; }

    /// <summary>Whether the same request may succeed later.</summary>
    public bool IsTemporary { get; internal init; }

    /// <summary>What the server gave as the reason: its error code and message, or the HTTP status. Without secrets.</summary>
    internal string Reason { get; init; } = "";

    /// <summary>How many times it is worth repeating at once: a dead host is given up sooner than a busy one, because a reader of a mounted file waits.</summary>
    internal int MaxRetries { get; init; } = int.MaxValue;

    /// <summary>How long the answer asks to wait.</summary>
    internal TimeSpan? RetryAfter { get; init; }

    /// <summary>The server is there but does not speak TLS.</summary>
    internal bool IsNotTls { get; init; }

    /// <summary>The server did not answer, or broke the connection before it had said anything.</summary>
    internal bool IsSilent { get; init; }

    /// <summary>The server was spoken to in plain HTTP and speaks TLS.</summary>
    internal bool IsTls { get; init; }

    /// <summary>Nothing listens at the address.</summary>
    internal bool IsRefused { get; init; }
}
