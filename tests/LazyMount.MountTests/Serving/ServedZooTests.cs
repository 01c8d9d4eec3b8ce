using LazyMount.MountTests.Zoo;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Serving;

/// <summary>Every image of the zoo on one drive, against mounts.</summary>
public sealed class ServedZooTests
{
    [Fact]
    public void Drive_ShowsWhatMountsShow()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can follow links inside a mount");
        using var lazymount = new LazyMountCli();
        ZooCase[] cases = [.. ZooTests.Cases.Values.Where(each => each.Refusal is null)];
        string[] images = [.. cases.Select((each, i) => each.Write(lazymount.Directory[$"case{i}"]))];
        using var served = new Served(lazymount, [.. images, "--public"]);
        for (int i = 0; i < cases.Length; i++)
        {
            string mount = lazymount.Mount(images[i], "--as", "fuse"), name = images[i].Split(':') is [_, var directory, var tag] ? $"{Path.GetFileName(directory)}-{tag}" : Path.GetFileName(images[i].Split(':')[1]);
            try
            {
                ServedTree.AssertSame(served, name, mount, lazymount);
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"{cases[i].Name}: {e.Message}", e);
            }
            lazymount.Run("umount", "-l", mount).EnsureSuccess();
        }
    }
}
