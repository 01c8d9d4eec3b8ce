using Microsoft.AspNetCore.Http;

namespace LazyMount.Serving.Pages;

/// <summary>How many requests of a costly kind are worked on at once. Those that find no place in time are told to come again.</summary>
internal static class Gate
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(15);

    /// <summary>Four requests that compute: a search, sizes, a history, a comparison.</summary>
    public static SemaphoreSlim Work { get; } = new(4);

    /// <summary>Eight tars, which clients that read slowly keep for long.</summary>
    public static SemaphoreSlim Tars { get; } = new(8);

    /// <summary>Does the work when there is a place for it.</summary>
    public static async Task RunAsync(SemaphoreSlim places, WebRequest request, Func<Task> work)
    {
        if (!await places.WaitAsync(s_patience, request.Aborted))
        {
            request.Response.Headers.RetryAfter = "10";
            await WebServer.SendTextAsync(request, StatusCodes.Status503ServiceUnavailable, "too many requests of this kind at once: try again in a moment");
            return;
        }
        try
        {
            await work();
        }
        finally
        {
            places.Release();
        }
    }
}
