using System.Globalization;
using LazyMount.TestKit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>
/// The command with little memory: the heap may not grow beyond a limit and the address space not beyond twice that and a GiB for
/// code, stacks and what is only reserved, so that more than that ends it with an error that is no sentence.
/// </summary>
internal static class BoundedRun
{
    public const int DefaultHeapMiB = 96;

    public static ToolResult Ls(LazyMountCli lazymount, string image, int heapMiB = DefaultHeapMiB)
    {
        var environment = new Dictionary<string, string?>(lazymount.Environment)
        {
            ["DOTNET_GCHeapHardLimit"] = (heapMiB << 20).ToString("x", CultureInfo.InvariantCulture),
        };
        string addressSpace = string.Create(CultureInfo.InvariantCulture, $"--as={(2L * heapMiB + 1024) << 20}");
        using Tool tool = Tool.Start("prlimit", [addressSpace, LazyMountCli.Binary, "ls", "-l", image], environment);
        return tool.WaitForExit();
    }
}
