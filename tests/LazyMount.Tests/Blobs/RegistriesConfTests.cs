using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Registry.Hosts;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>registries.conf: which files are read, how they are written, which entry counts, and what is said of wrong ones.</summary>
public sealed class RegistriesConfTests : IDisposable
{
    private const string SystemFile = "etc/containers/registries.conf", UserFile = "home/.config/containers/registries.conf";

    private readonly TemporaryDirectory _directory = new();
    private readonly Dictionary<string, string> _variables = [];

    public void Dispose() => _directory.Dispose();

    private string Write(string path, string content)
    {
        string file = _directory[path];
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, content);
        return file;
    }

    private string[] Find(string reference)
    {
        RegistryOptions options = TestRegistries.With(root: _directory.Path, variables: _variables);
        return [.. new RegistryHosts(options with { Environment = options.Environment with { Home = _directory["home"] } }).EndpointsOf(ImageReference.Parse(reference)).Select(each => $"{each.Host}/{each.Repository}")];
    }

    private string Failure(string reference = "h.example/app:v1") => Assert.Throws<ImageException>(() => Find(reference)).Message;

    private static string Mirror(string mirror, string location = "h.example") => $"[[registry]]\nlocation = \"{location}\"\nmirror = [{{ location = \"{mirror}\" }}]\n";

    [Theory]
    [InlineData("prefix = \"h.example\"\nlocation = \"m:999999\"", "registry[0].location", "m:999999")]
    [InlineData("prefix = \"h.example\"\nlocation = \"m x\"", "registry[0].location", "m x")]
    [InlineData("prefix = \"h.example\"\nlocation = \"/x\"", "registry[0].location", "/x")]
    [InlineData("prefix = \"h.example\"\nlocation = \"m/Upper\"", "registry[0].location", "m/Upper")]
    [InlineData("prefix = \"h.example\"\nlocation = \"user:hunter2@m\"", "registry[0].location", "***@m")]
    [InlineData("prefix = \"h.example\"\nlocation = \"https://m\"", "registry[0].location", "leave out 'https://' in 'https://m'")]
    [InlineData("prefix = \"h.example\"\nlocation = \"https://user:hunter2@m/\"", "registry[0].location", "leave out 'https://' in 'https://***@m'")]
    [InlineData("prefix = \"h.example\"\nlocation = \"\"", "registry[0].location", "empty")]
    [InlineData("prefix = \"h.example\"\nlocation = \"/\"", "registry[0].location", "empty")]
    [InlineData("prefix = \"h.example\"\nlocation = 5", "registry[0].location", "a string")]
    [InlineData("location = \"m:999999\"", "registry[0].location", "m:999999")]
    [InlineData("location = \"https://m\"", "registry[0].location", "leave out 'https://' in 'https://m'")]
    [InlineData("", "registry[0].location", "set, and neither is prefix")]
    [InlineData("location = \"h.example\"\nmirror = [{ location = \"ok\" }, { location = \"m:0\" }]", "registry[0].mirror[1].location", "m:0")]
    [InlineData("location = \"h.example\"\nmirror = [{ location = \"http://m\" }]", "registry[0].mirror[0].location", "leave out 'http://'")]
    [InlineData("location = \"h.example\"\nmirror = [{ location = \"\" }]", "registry[0].mirror[0].location", "empty")]
    [InlineData("location = \"h.example\"\nmirror = [{ insecure = true }]", "registry[0].mirror[0].location", "empty")]
    [InlineData("location = \"h.example\"\nmirror = [\"m\"]", "registry[0].mirror", "an array of tables")]
    [InlineData("location = \"h.example\"\nmirror = { location = \"m\" }", "registry[0].mirror", "an array of tables")]
    [InlineData("location = \"h.example\"\nmirror = [{ location = \"m:5000/app:v2\" }]", "registry[0].mirror[0].location", "m:5000/app:v2/app:v1")]
    [InlineData("location = \"h.example\"\nmirror = [{ location = \"m\", pull-from-mirror = \"some\" }]", "registry[0].mirror[0].pull-from-mirror", "all, digest-only or tag-only")]
    [InlineData("location = \"h.example\"\nmirror-by-digest-only = true\nmirror = [{ location = \"m\", pull-from-mirror = \"all\" }]", "registry[0].mirror[0].pull-from-mirror", "beside mirror-by-digest-only")]
    [InlineData("location = \"h.example\"\npull-from-mirror = \"all\"", "registry[0].pull-from-mirror", "only for its mirrors")]
    [InlineData("prefix = \"m x\"", "registry[0].prefix", "m x")]
    [InlineData("location = \"m\"\nprefix = \"m x\"", "registry[0].prefix", "m x")]
    [InlineData("location = \"m\"\nprefix = \"https://h.example\"", "registry[0].prefix", "leave out 'https://' in 'https://h.example'")]
    [InlineData("location = \"m\"\nprefix = \"/\"", "registry[0].location", "")] // as no prefix: "m" is the prefix
    [InlineData("location = \"m\"\nprefix = \"*.example/x\"", "registry[0].prefix", "*.example/x")]
    [InlineData("location = \"m\"\nprefix = \"*.example:5000\"", "registry[0].prefix", "*.example:5000")]
    [InlineData("location = \"m\"\nprefix = \"h.*.example\"", "registry[0].prefix", "h.*.example")]
    [InlineData("location = \"h.example\"\nblocked = \"yes\"", "registry[0].blocked", "true or false")]
    [InlineData("location = \"h.example\"\n[[registry]]\nprefix = \"x.example\"\nlocation = \"h.example\"\nblocked = true", "registry[1].blocked", "the same in all tables with the location 'h.example'")]
    public void WrongEntry_IsOneSentence_WithItsKeyAndValue(string table, string key, string says)
    {
        string file = Write(SystemFile, $"[[registry]]\n{table}\n");
        if (says.Length == 0)
        {
            Assert.Equal(["h.example/app"], Find("h.example/app:v1"));
            return;
        }
        string message = Failure();
        Assert.StartsWith($"cannot use the configuration file '{file}': {key} is not ", message, StringComparison.Ordinal);
        Assert.Contains(says, message, StringComparison.Ordinal);
        Assert.EndsWith("; correct it", message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", message, StringComparison.Ordinal);
    }

    [Fact]
    public void LocationOfAnotherRegistry_DoesNoHarm()
    {
        Write(SystemFile, "[[registry]]\nprefix = \"other.example\"\nlocation = \"m:999999\"\n");
        Assert.Equal(["h.example/app"], Find("h.example/app:v1"));
    }

    [Theory]
    [InlineData("a = 1\nb = 'hunter2'\nb = 'other'", "line 3: The key …")]
    [InlineData("[a]\nx = 1\n[a]", "line 3: The key …")]
    [InlineData("registry = [{ location = 'x' }]\n[[registry]]\nlocation = 'h.example'", "line 2: The key …")]
    [InlineData("a = \"\\", "it is not TOML")]
    [InlineData("a = \"hunter2", "line 1: ")]
    [InlineData("hunter2 hunter2", "line 1: ")]
    [InlineData("a = 1 hunter2", "line 1: ")]
    [InlineData("a = \"x\"hunter2", "line 1: ")]
    [InlineData("[hunter2", "line 1: ")]
    [InlineData("a = [1 hunter2]", "line 1: ")]
    [InlineData("a = 'x'\nhunter2]", "line 2: ")]
    [InlineData("a = 2hunter2", "line 1: ")]
    [InlineData("a = hunter2", "line 1: Unexpected token … for a value")]
    [InlineData("[registry]\nlocation = \"h.example\"", "registry is not an array of tables")]
    [InlineData("registry = \"h.example\"", "registry is not an array of tables")]
    [InlineData("registry = [{ location = 'h.example' }, 5]", "registry is not an array of tables")]
    public void WrongToml_IsOneSentence_WithoutWhatItHolds(string content, string says)
    {
        string file = Write(SystemFile, content);
        string message = Failure();
        Assert.StartsWith($"cannot use the configuration file '{file}': {says}", message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[[registry]]\nlocation = \"h.example\"\n[[registry.mirror]]\nlocation = \"m\"\n[[registry.mirror]]\nlocation = \"n\"")]
    [InlineData("[[registry]]\nlocation = \"h.example\"\nmirror = [{ location = \"m\" }, { location = \"n\" }]")]
    [InlineData("registry = [{ location = \"h.example\", mirror = [{ location = \"m\" }, { location = \"n\" }] }]")]
    [InlineData("unqualified-search-registries = []\nregistry = [\n  { location = 'h.example',\n mirror = [\n{ location = \"\"\"m\"\"\" }, { location = 'n' },\n ] },\n  # last\n]")]
    [InlineData("[[\"registry\"]]\n'location' = \"h.example\"\nmirror = [{ 'location' = \"m\" }, { location = \"\\u006e\" }]")]
    [InlineData("[[registry]]\r\nlocation = \"h.example\"\r\nmirror = [{ location = \"m/\" }, { location = \"n//\" }]\r\n")]
    [InlineData("\uFEFF[[Registry]]\nLocation = \"h.example\"\nMIRROR = [{ LOCATION = \"m\" }, { location = \"n\" }]")]
    [InlineData("[aliases]\nx.y = \"z\"\n[[registry]]\nlocation = \"h.example\"\nmirror = [{ location = \"m\" }, { location = \"n\" }]\n[unknown]\nregistry = 1")]
    public void EntryInEachSpelling_IsReadAlike(string content)
    {
        Write(SystemFile, content);
        Assert.Equal(["m/app", "n/app", "h.example/app"], Find("h.example/app:v1"));
    }

    [Theory]
    [InlineData("")]
    [InlineData("# nothing\n")]
    [InlineData("registry = []")]
    [InlineData("registry = []\nunqualified-search-registries = []\n[aliases]")]
    [InlineData("[[registry]]\nlocation = \"h.example\"\nmirror = []")]
    [InlineData("[registries]\n[registries.search]\n")]
    [InlineData("[registries.search]\nregistries = ['docker.io']\n[registries.block]\nregistries = []")]
    public void FileWithoutEntries_IsNoError(string content)
    {
        Write(SystemFile, content);
        Assert.Equal(["h.example/app"], Find("h.example/app:v1"));
    }

    [Theory]
    [InlineData("docker.io/library/busybox:1", "busybox:1", true)]
    [InlineData("docker.io/library/busybox:1", "busybox:1.1", false)]
    [InlineData("docker.io/library/busybox:1", "busybox:2", false)]
    [InlineData("docker.io/library/busybox:1", "busybox:1@sha256:DIGEST", true)]
    [InlineData("docker.io/library/busybox:latest", "busybox", true)]
    [InlineData("docker.io/library/busybox@sha256:DIGEST", "busybox@sha256:DIGEST", true)]
    [InlineData("docker.io/library/busybox@sha256:DIGEST", "busybox:1@sha256:DIGEST", true)]
    [InlineData("docker.io/library/busybox@sha256:DIGEST", "busybox:1", false)]
    [InlineData("docker.io/library/busybox", "busybox@sha256:DIGEST", true)]
    [InlineData("docker.io/library", "busybox", true)]
    [InlineData("docker.io/library/", "busybox", true)]
    [InlineData("docker.io/lib", "busybox", false)]
    [InlineData("docker.io", "busybox", true)]
    [InlineData("h.example", "h.example:5000/app", true)] // as containers/image
    [InlineData("h.example:5000", "h.example:5000/app", true)]
    [InlineData("h.example:500", "h.example:5000/app", false)]
    [InlineData("[2001:db8::1]:5000", "[2001:db8::1]:5000/app", true)]
    [InlineData("*.example", "h.example/app", true)]
    [InlineData("*.example", "a.b.example:5000/app:v1", true)]
    [InlineData("*.example", "h.example.com/app", false)]
    [InlineData("*.example", "example.com/x.example/app", false)]
    [InlineData("*.h.example", "h.example/app", false)]
    public void BlockedPrefix_IsMatchedAgainstTheWholeReference(string prefix, string reference, bool expected)
    {
        string digest = new('a', 64);
        Write(SystemFile, $"[[registry]]\nprefix = \"{prefix.Replace("DIGEST", digest, StringComparison.Ordinal)}\"\nblocked = true\n");
        reference = reference.Replace("DIGEST", digest, StringComparison.Ordinal);
        if (expected)
            Assert.Contains($"registries.conf' blocks '{prefix.TrimEnd('/').Replace("DIGEST", digest, StringComparison.Ordinal)}'; remove", Failure(reference), StringComparison.Ordinal);
        else
            Assert.Single(Find(reference));
    }

    [Theory]
    [InlineData("docker.io/library/busybox:1", "m/b", "m/b")]
    [InlineData("docker.io/library/busybox:1", "m:5000/b:1", "m:5000/b")]
    [InlineData("docker.io/library/busybox:1", "m:5000/b", "m:5000/b")]
    [InlineData("docker.io/library/busybox", "m/b", "m/b")]
    [InlineData("docker.io/library", "m", "m/busybox")]
    [InlineData("docker.io", "registry-1.docker.io/x", "docker.io/x/library/busybox")]
    [InlineData("*.io", "m/hub", "m/hub/library/busybox")]
    [InlineData("*.io", "", "docker.io/library/busybox")]
    public void Location_TakesThePlaceOfThePrefix(string prefix, string location, string expected)
    {
        Write(SystemFile, $"[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{location}\"\n");
        Assert.Equal([expected], Find("busybox:1"));
    }

    [Fact]
    public void LocationWithAnotherTag_IsRefused()
    {
        Write(SystemFile, "[[registry]]\nprefix = \"docker.io/library/busybox:1\"\nlocation = \"m/b:2\"\n");
        Assert.Contains("registry[0].location is not a location for 'docker.io/library/busybox:1': 'm/b:2' has another tag or digest", Failure("busybox:1"), StringComparison.Ordinal);
        Write(SystemFile, "[[registry]]\nprefix = \"docker.io/library/busybox:1\"\nlocation = \"m\"\n");
        Assert.Contains("registry[0].location is not a location for 'docker.io/library/busybox:1': 'm' is not an image reference", Failure("busybox:1"), StringComparison.Ordinal);
    }

    [Fact]
    public void LongestPrefix_Counts_AndTheFirstOfTwoInAFile()
    {
        Write(SystemFile, Mirror("one") + Mirror("two", "h.example/a") + Mirror("three/b", "h.example/a/b:v1") + Mirror("four"));
        Assert.Equal("one/x", Find("h.example/x:v1")[0]);
        Assert.Equal("two/c", Find("h.example/a/c:v1")[0]);
        Assert.Equal("two/b", Find("h.example/a/b:v2")[0]);
        Assert.Equal(["three/b", "h.example/a/b"], Find("h.example/a/b:v1"));
    }

    [Fact]
    public void DropIns_AreThoseOfTheSystemAndTheUser_ExceptBesideTheUsersFile()
    {
        Write(SystemFile, Mirror("system", "a.example"));
        Write(SystemFile + ".d/1.conf", Mirror("system-1", "b.example") + Mirror("system-1", "c.example"));
        Write(SystemFile + ".d/2.conf", Mirror("system-2", "b.example"));
        Write(SystemFile + ".d/3.conf.off", Mirror("off", "b.example"));
        Write(SystemFile + ".d/4.conf/5.conf", Mirror("below", "b.example"));
        File.CreateSymbolicLink(_directory[SystemFile + ".d/6.conf"], "nowhere");
        Write(UserFile + ".d/1.conf", Mirror("user-1", "c.example"));
        Assert.Equal(["system/app", "system-2/app", "user-1/app"], ((string[])["a", "b", "c"]).Select(host => Find($"{host}.example/app")[0]));

        _variables["REGISTRIES_CONFIG_PATH"] = Write("named.conf", Mirror("named", "a.example"));
        Assert.Equal(["named/app", "system-2/app", "user-1/app"], ((string[])["a", "b", "c"]).Select(host => Find($"{host}.example/app")[0]));
        _variables["CONTAINERS_REGISTRIES_CONF"] = Write("other.conf", Mirror("other", "a.example"));
        Write(UserFile, Mirror("user", "a.example"));
        Assert.Equal(["other/app", "system-2/app", "user-1/app"], ((string[])["a", "b", "c"]).Select(host => Find($"{host}.example/app")[0]));

        _variables.Clear();
        Assert.Equal(["user/app", "b.example/app", "user-1/app"], ((string[])["a", "b", "c"]).Select(host => Find($"{host}.example/app")[0]));
        _variables["REGISTRIES_CONFIG_PATH"] = _directory["missing"];
        Assert.Equal($"cannot read the configuration file '{_directory["missing"]}' that REGISTRIES_CONFIG_PATH names: there is no such file; correct or unset the variable", Failure());
    }

    [Fact]
    public void NullDevice_StandsForAnEmptyFile()
    {
        Write(SystemFile, Mirror("system"));
        Assert.Equal(2, Find("h.example/app").Length);
        _variables["CONTAINERS_REGISTRIES_CONF"] = "/dev/null";
        Assert.Single(Find("h.example/app"));
        _variables.Clear();
        Directory.CreateDirectory(Path.GetDirectoryName(_directory[UserFile])!);
        File.CreateSymbolicLink(_directory[UserFile], "/dev/null");
        Assert.Single(Find("h.example/app"));
        _variables["CONTAINERS_REGISTRIES_CONF"] = "/dev/zero";
        Assert.Contains("it is not a regular file", Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public void WhatIsNotAFile_IsOneSentence()
    {
        Directory.CreateDirectory(_directory[SystemFile]);
        Assert.Equal($"cannot use the configuration file '{_directory[SystemFile]}': it is a directory; correct it", Failure());
        Directory.Delete(_directory[SystemFile]);
        File.CreateSymbolicLink(_directory[SystemFile], "nowhere"); // as no file
        Assert.Single(Find("h.example/app"));
        File.Delete(_directory[SystemFile]);
        File.CreateSymbolicLink(_directory[SystemFile], Path.GetFileName(SystemFile));
        Assert.StartsWith($"cannot use the configuration file '{_directory[SystemFile]}': Too many levels of symbolic links", Failure(), StringComparison.Ordinal);
        File.Delete(_directory[SystemFile]);
        File.WriteAllBytes(_directory[SystemFile], [(byte)'#', 0xFF, 0xFE]);
        Assert.Equal($"cannot use the configuration file '{_directory[SystemFile]}': it is not UTF-8 text; correct it", Failure());
        File.Delete(_directory[SystemFile]);

        // A file, or a link to a directory, where the directory of drop-ins is expected: as containers/image, it is passed over.
        Write(SystemFile + ".d", Mirror("m"));
        Assert.Single(Find("h.example/app"));
        File.Delete(_directory[SystemFile + ".d"]);
        Write("elsewhere/1.conf", Mirror("m"));
        Directory.CreateSymbolicLink(_directory[SystemFile + ".d"], _directory["elsewhere"]);
        Assert.Single(Find("h.example/app"));
        Directory.Delete(_directory[SystemFile + ".d"]);
        Write(SystemFile + ".d/0.txt", "");
        Directory.CreateSymbolicLink(_directory[SystemFile + ".d/1.conf"], _directory["elsewhere"]);
        Assert.Equal($"cannot use the configuration file '{_directory[SystemFile + ".d/1.conf"]}': it is a directory; correct it", Failure());
    }

    [Fact]
    public void Version1_IsReadAsContainersImageReadsIt()
    {
        string lists = "[registries.search]\nregistries = ['docker.io']\n[registries.insecure]\nregistries = ['plain.example:5000', 'both.example/']\n[registries.block]\nregistries = ['h.example', 'both.example']\n";
        string file = Write(SystemFile, lists);
        Assert.Contains($"cannot get 'h.example/app:v1': '{file}' blocks 'h.example'", Failure(), StringComparison.Ordinal);
        Assert.Contains("blocks 'both.example'", Failure("both.example/app"), StringComparison.Ordinal);
        RegistryOptions options = TestRegistries.With(root: _directory.Path);
        Assert.False(Assert.Single(new RegistryHosts(options).EndpointsOf(ImageReference.Parse("plain.example:5000/app"))).Tls.IsVerified);
        Assert.True(Assert.Single(new RegistryHosts(options).EndpointsOf(ImageReference.Parse("other.example/app"))).Tls.IsVerified);

        Write(SystemFile, "unqualified-search-registries = []\n" + lists);
        Assert.Equal($"cannot use the configuration file '{file}': registries.search is not allowed beside unqualified-search-registries, because it belongs to version 1 of the format: write [[registry]] tables; correct it", Failure());
        Write(SystemFile, "registries.block.registries = ['https://h.example']");
        Assert.Contains("registries.block.registries is not HOST[:PORT][/NAMESPACE]: leave out 'https://' in 'https://h.example'", Failure(), StringComparison.Ordinal);
        File.Delete(file);
        file = Write(SystemFile + ".d/1.conf", "registries.block.registries = ['h.example']");
        Assert.Equal($"cannot use the configuration file '{file}': registries.block is not allowed in a drop-in file, because it belongs to version 1 of the format: write [[registry]] tables; correct it", Failure());
    }

    /// <summary>skopeo says what it asks, is refused at the ports, and reads the same files.</summary>
    [Theory]
    [InlineData("[[registry]]\nlocation='127.0.0.1:1'\nmirror=[{location='127.0.0.1:2/x'},{location='127.0.0.1:3',pull-from-mirror='digest-only'}]", "")]
    [InlineData("[[registry]]\nlocation='127.0.0.1:1'", "[[registry]]\nlocation='127.0.0.1:1'\nmirror=[{location='127.0.0.1:2'}]")]
    [InlineData("[[registry]]\nprefix='127.0.0.1:1/a'\nlocation='127.0.0.1:2/b'\n[[registry]]\nlocation='127.0.0.1:1'\nblocked=true", "")]
    [InlineData("[[registry]]\nprefix='127.0.0.1:1/a/app'\nlocation='127.0.0.1:2/b'\n[[registry]]\nprefix='127.0.0.1:1/a'\nlocation='127.0.0.1:3'", "")]
    [InlineData("[[registry]]\nprefix='*.0.1'\nlocation='127.0.0.2/x'", "")]
    [InlineData("[[registry]]\nprefix='*.0.0.1'\nlocation='127.0.0.2'", "")]
    [InlineData("[[registry]]\nprefix='*.0.0.1'\nmirror=[{location='127.0.0.2'}]", "")]
    [InlineData("[[registry]]\nprefix='*.0.0.1:1'\nlocation='127.0.0.2'", "")]
    [InlineData("[[registry]]\nlocation='127.0.0.1'\nblocked=true", "")]
    [InlineData("[[registry]]\nlocation='127.0.0'\nblocked=true", "")]
    [InlineData("[[registry]]\nlocation='127.0.0.1:1'\nblocked=true", "[[registry]]\nlocation='127.0.0.1:1'")]
    [InlineData("[[registry]]\nlocation='127.0.0.1:1'\n[[registry]]\nlocation='127.0.0.1:1'\nblocked=true", "")]
    [InlineData("registry=[{location='127.0.0.1:1',blocked=true}]", "")]
    [InlineData("[[Registry]]\nLocation='127.0.0.1:1'\nBlocked=true", "")]
    [InlineData("[[registry]]\nlocation='127.0.0.1:1'\nblocked='true'", "")]
    [InlineData("[registry]\nlocation='127.0.0.1:1'", "")]
    [InlineData("[registries.block]\nregistries=['127.0.0.1:1']", "")]
    [InlineData("[registries.insecure]\nregistries=['127.0.0.1:1']", "")]
    [InlineData("[registries.block]\nregistries=['127.0.0.1:1']\n[[registry]]\nlocation='127.0.0.1:2'", "")]
    [InlineData("", "[registries.block]\nregistries=['127.0.0.1:1']")]
    [InlineData("[[registry]]\nlocation='http://127.0.0.1:2'", "")]
    [InlineData("[[registry]]\nlocation='127.0.0.1:2'\nmirror=[{location='https://127.0.0.1:2'}]", "")]
    [InlineData("[[registry]]\nlocation='127.0.0.1:2'\nmirror=[{location=''}]", "")]
    [InlineData("[[registry]]\nprefix='127.0.0.1:2'\nlocation=''", "")]
    [InlineData("[[registry]]\nlocation='127.0.0.1:2'\npull-from-mirror='all'", "")]
    [InlineData("[[registry]]\nprefix='127.0.0.1:1'\nlocation='/x'", "")]
    [InlineData("[[registry]]\nprefix='127.0.0.1:1'\nlocation='a b'", "")]
    [InlineData("[[registry]]\nprefix='127.0.0.1:2'\nlocation='a b'", "")]
    [InlineData("[[registry]]\nprefix='127.0.0.1:1'\nlocation='127.0.0.1:2/x:v2'", "")]
    [InlineData("a=1\na=2", "")]
    public void Skopeo_AsksTheSamePlaces(string content, string dropIn)
    {
        const string Reference = "127.0.0.1:1/a/app:v1";
        _variables["CONTAINERS_REGISTRIES_CONF"] = Write("named.conf", content);
        if (dropIn.Length > 0)
            Write(UserFile + ".d/1.conf", dropIn);
        using Tool skopeo = Tool.Start("skopeo", ["--registries-conf", _directory["named.conf"], "--debug", "inspect", "--no-creds", $"docker://{Reference}"], new Dictionary<string, string?> { ["HOME"] = _directory["home"] });
        string[] lines = skopeo.WaitForExit().Error.Split('\n');
        string[] asked = lines.Any(line => line.Contains(" is blocked in ", StringComparison.Ordinal)) ? ["blocked"]
            : [.. lines.Where(line => line.Contains("Trying to access", StringComparison.Ordinal)).Select(line => line.Split("\\\"")[1].Replace(":v1", "", StringComparison.Ordinal))];
        string[] found;
        try
        {
            found = Find(Reference);
        }
        catch (ImageException e)
        {
            found = e.Error == ImageError.Denied ? ["blocked"] : [];
        }
        Assert.Equal(asked, found);
    }
}
