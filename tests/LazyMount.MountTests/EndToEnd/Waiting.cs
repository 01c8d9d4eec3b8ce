using System.Runtime.CompilerServices;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Waiting for what other processes do in their own time.</summary>
internal static class Waiting
{
    /// <summary>Waits until a condition holds; the test fails after a minute, or another limit.</summary>
    public static void WaitUntil(Func<bool> condition, TimeSpan? limit = null, [CallerArgumentExpression(nameof(condition))] string what = "")
    {
        bool holds = SpinWait.SpinUntil(
            () =>
            {
                if (condition())
                    return true;
                Thread.Sleep(10);
                return false;
            },
            limit ?? TimeSpan.FromMinutes(1));
        Assert.True(holds, $"it did not happen in time: {what}");
    }
}
