using System.Runtime.InteropServices;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>The file of `mount --view image-file` as the disk of a virtual machine, whose kernel is another than this machine's.</summary>
public sealed class VirtualMachineTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();

    public void Dispose() => _lazymount.Dispose();

    [Fact]
    public void Machine_ShowsTheTreeOfItsDisk()
    {
        Assert.SkipUnless(RuntimeInformation.OSArchitecture == Architecture.X64, "the kernel that scripts/try-qemu.sh boots is one for x86-64");
        byte[] content = new byte[3_000_000];
        new Random(12).NextBytes(content);
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        var lower = new TarBytes().Directory("./").File("big", content).Symlink("link", "big").File("b", "b")
            .Sparse(SparseFormat.Pax10, "sparse", 30_000_000, [(0, 1000), (5000, 4000), (20_000_000, 5000)], content[..10_000]);
        for (int i = 0; i < 2000; i++)
        {
            lower.File($"many/{i}", $"content of {i}");
        }
        layout.AddLayer(lower).AddLayer(new TarBytes().Directory("./").File("b", "another").Whiteout("link").HardLink("second", "b").File("empty", ""));
        layout.WriteImage("v1");

        using Tool machine = Tool.Start(Path.Combine(RepositoryRoot.Path, "scripts", "try-qemu.sh"), [layout.Reference("v1")],
            new Dictionary<string, string?> { ["LAZYMOUNT_BINARY"] = LazyMountCli.Binary, ["TIMEOUT"] = "120" });
        string output = machine.WaitForExit(TimeSpan.FromMinutes(4)).EnsureSuccess().Output;
        Assert.Contains("The machine shows the same 2007 names and all their content", output);
    }
}
