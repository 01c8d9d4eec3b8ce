using Microsoft.AspNetCore.Http;

namespace LazyMount.Serving.Pages;

/// <summary>How many requests of a costly kind are worked on at once. Those that find no place in time are told to come again.</summary>
internal sealed class Gate(int places)
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(15);

    private readonly SemaphoreSlim _places = new(places);

    public async Task RunAsync(WebRequest request, Func<Task> work)
    {
        if (!await _places.WaitAsync(s_patience, request.Aborted))
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
            _places.Release();
        }
    }
}
