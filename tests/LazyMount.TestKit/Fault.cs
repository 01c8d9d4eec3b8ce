namespace LazyMount.TestKit;

/// <summary>What a <see cref="FaultProxy"/> does to an answer.</summary>
public enum Fault
{
    /// <summary>Nothing: the answer passes.</summary>
    None,

    // The connection

    /// <summary>The connection is closed in the middle of the body.</summary>
    Cut,

    /// <summary>The connection is reset (RST) in the middle of the body.</summary>
    Reset,

    /// <summary>The connection is closed before the status line.</summary>
    NoAnswer,

    /// <summary>The headers come late.</summary>
    DelayedHeaders,

    /// <summary>The body stops for a while, the connection open.</summary>
    Stall,

    /// <summary>The body comes in small pieces.</summary>
    Drip,

    // The bytes

    /// <summary>One byte of the body is another.</summary>
    CorruptByte,

    /// <summary>The body ends early, and Content-Length says so.</summary>
    TooShort,

    /// <summary>The body goes on after what was asked for, and Content-Length says so.</summary>
    TooLong,

    /// <summary>The body is empty, and Content-Length says so.</summary>
    Empty,

    /// <summary>The body comes twice.</summary>
    Repeated,

    /// <summary>The body is compressed though nobody asked for that.</summary>
    Gzip,

    /// <summary>Not a fault: the body has no length (Transfer-Encoding: chunked).</summary>
    Chunked,

    /// <summary>Of two requests at the same time, each gets the other's answer.</summary>
    Swapped,

    /// <summary>A web page with status 200.</summary>
    Html,

    // The range

    /// <summary>Content-Range names other bytes than those that come.</summary>
    WrongContentRange,

    /// <summary>Bytes of another place, under the Content-Range that was asked for.</summary>
    WrongRange,

    /// <summary>The whole blob, with 200.</summary>
    RangeIgnored,

    /// <summary>400 for a request with a range.</summary>
    RangeBadRequest,

    /// <summary>416 for a request with a range.</summary>
    RangeNotSatisfiable,

    /// <summary>501 for a request with a range.</summary>
    RangeNotImplemented,

    // The status

    /// <summary>401 without a challenge.</summary>
    Unauthorized,

    /// <summary>401 with a Bearer challenge, whose token server is the proxy.</summary>
    Challenged,

    Forbidden,
    NotFound,

    /// <summary>429 without Retry-After.</summary>
    TooMany,

    /// <summary>429 with Retry-After: 0.</summary>
    TooManyNow,

    /// <summary>429 with Retry-After: 1.</summary>
    TooManySoon,

    /// <summary>429 with a date in Retry-After, two seconds ahead.</summary>
    TooManyDate,

    /// <summary>429 with Retry-After: 7200.</summary>
    TooManyHours,

    InternalError,
    BadGateway,
    Unavailable,
    GatewayTimeout,

    /// <summary>307 to the same URL.</summary>
    Redirected,
}
