namespace LazyMount.TestKit;

/// <summary>A directory of a test's own, gone afterwards with all it holds.</summary>
public sealed class TemporaryDirectory : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("lazymount-test-");

    public string Path => _directory.FullName;

    /// <summary>A path inside; nothing is created.</summary>
    public string this[string name] => System.IO.Path.Combine(Path, name);

    public string CreateDirectory(string name) => Directory.CreateDirectory(this[name]).FullName;

    /// <summary>Lets every user look in: for tests that act as somebody else.</summary>
    public void OpenToAll() => Tool.Run("chmod", "-R", "a+rX", Path).EnsureSuccess();

    public void Dispose()
    {
        // Not Directory.Delete: trees unpacked from images hold names that are not UTF-8. Never into a mount left behind.
        Tool.Run("rm", "-rf", "--one-file-system", Path);
    }
}
