namespace LazyMount.TestKit;

/// <summary>Where LazyMount.sln stands, above the running test assembly.</summary>
public static class RepositoryRoot
{
    public static string Path { get; } = Find();

    private static string Find()
    {
        for (DirectoryInfo? directory = new(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
        {
            if (File.Exists(System.IO.Path.Combine(directory.FullName, "LazyMount.sln")))
            {
                return directory.FullName;
            }
        }
        throw new DirectoryNotFoundException($"there is no LazyMount.sln above {AppContext.BaseDirectory}");
    }
}
