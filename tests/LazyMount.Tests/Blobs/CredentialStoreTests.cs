using System.Diagnostics;
using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.TestKit;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>Where credentials are looked for, and which entry is for a repository.</summary>
public sealed class CredentialStoreTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly Dictionary<string, string> _variables = [];
    private readonly List<string> _notes = [];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _directory.Dispose();

    private RegistryOptions Options => new()
    {
        Note = _notes.Add,
        Environment = new RegistryEnvironment
        {
            Variable = name => _variables.GetValueOrDefault(name),
            Home = _directory["home"],
            Root = _directory["root"],
            UserId = 1000,
        },
    };

    private Task<FoundCredentials> FindAsync(string registry, string repository = "team/app", RegistryOptions? options = null)
        => new CredentialStore(options ?? Options, "named.example", NullLogger.Instance).FindAsync(registry, repository, Token);

    private string Write(string path, string content)
    {
        string file = _directory[path];
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, content);
        return file;
    }

    private static string Auth(string user, string password = "pw") => $"\"auth\":\"{Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{password}"))}\"";

    private static string File_(params string[] entries) => $$"""{"auths":{{{string.Join(',', entries)}}} }""";

    [Theory]
    [InlineData("localhost:5000", "localhost:5000")]
    [InlineData("http://localhost:5000", "localhost:5000")]
    [InlineData("https://ghcr.io/v1/", "ghcr.io")]
    [InlineData("https://ghcr.io/v2/", "ghcr.io")]
    [InlineData("https://ghcr.io", "ghcr.io")]
    [InlineData("ghcr.io/", "ghcr.io")]
    [InlineData("GHCR.io", "ghcr.io")]
    [InlineData("ghcr.io", "GHCR.IO")]
    [InlineData("ghcr.io:443", "ghcr.io")]
    [InlineData("ghcr.io", "ghcr.io:443")]
    [InlineData("ghcr.io/team", "ghcr.io")]
    [InlineData("ghcr.io/team/app", "ghcr.io")]
    [InlineData("https://index.docker.io/v1/", "docker.io")]
    [InlineData("docker.io", "docker.io")]
    [InlineData("registry-1.docker.io", "docker.io")]
    [InlineData("*.dkr.ecr.*.amazonaws.com", "1234.dkr.ecr.eu-west-1.amazonaws.com")]
    public async Task Key_IsFoundInAnySpelling(string key, string registry)
    {
        Write("home/.docker/config.json", File_("\"other\":{}", $"\"{key}\":{{{Auth("me", "pass:word")}}}"));
        Assert.Equal(new Credentials("me", "pass:word"), (await FindAsync(registry)).Credentials);
    }

    [Theory]
    [InlineData("ghcr.io/tea", "ghcr.io")]
    [InlineData("ghcr.io/team/app/more", "ghcr.io")]
    [InlineData("ghcr.io/other", "ghcr.io")]
    [InlineData("ghcr.io:80", "ghcr.io")]
    [InlineData("ghcr.io.evil.example", "ghcr.io")]
    [InlineData("*.io", "a.ghcr.io")]
    [InlineData("*", "ghcr.io")]
    public async Task KeyOfSomethingElse_IsNotFound(string key, string registry)
    {
        Write("home/.docker/config.json", File_($"\"{key}\":{{{Auth("me")}}}"));
        Assert.Null((await FindAsync(registry)).Credentials);
    }

    [Theory]
    [InlineData("https://h.example", "h.example", "h.example")]
    [InlineData("h.example", "h.example/team", "h.example/team")]
    [InlineData("h.example/team/app", "h.example/team", "h.example/team/app")]
    [InlineData("*.example", "h.example", "h.example")]
    [InlineData("H.example", "h.example", "h.example")]
    public async Task LongestAndPlainestKey_Wins(string first, string second, string expected)
    {
        Write("home/.docker/config.json", File_($"\"{first}\":{{{Auth(first)}}}", $"\"{second}\":{{{Auth(second)}}}"));
        Assert.Equal(expected, (await FindAsync("h.example")).Credentials!.UserName);
        Write("home/.docker/config.json", File_($"\"{second}\":{{{Auth(second)}}}", $"\"{first}\":{{{Auth(first)}}}"));
        Assert.Equal(expected, (await FindAsync("h.example")).Credentials!.UserName);
    }

    [Fact]
    public async Task Places_AreLookedAtInTheirOrder()
    {
        string[] order = ["authfile", "variable", "text", "runtime", "config", "docker", "old"];
        string given = Write("given.json", File_($"\"h\":{{{Auth("authfile")}}}"));
        _variables["REGISTRY_AUTH_FILE"] = Write("named.json", File_($"\"h\":{{{Auth("variable")}}}"));
        _variables["DOCKER_AUTH_CONFIG"] = File_($"\"h\":{{{Auth("text")}}}");
        _variables["XDG_RUNTIME_DIR"] = _directory["run"];
        Write("run/containers/auth.json", File_($"\"h\":{{{Auth("runtime")}}}"));
        Write("home/.config/containers/auth.json", File_($"\"h\":{{{Auth("config")}}}"));
        string docker = Write("home/.docker/config.json", File_($"\"h\":{{{Auth("docker")}}}"));
        Write("home/.dockercfg", $$"""{"h":{"email":"me@h.example",{{Auth("old")}}} }""");
        var found = new List<string> { (await FindAsync("h", options: Options with { AuthFile = given })).Credentials!.UserName };
        foreach (string variable in (string[])["REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "XDG_RUNTIME_DIR"])
        {
            found.Add((await FindAsync("h")).Credentials!.UserName);
            _variables.Remove(variable);
        }
        found.Add((await FindAsync("h")).Credentials!.UserName);
        _variables["XDG_CONFIG_HOME"] = _directory["nowhere"];
        found.Add((await FindAsync("h")).Credentials!.UserName);
        File.Delete(docker);
        found.Add((await FindAsync("h")).Credentials!.UserName);
        Assert.Equal(order, found);
    }

    [Fact]
    public async Task RuntimeDirectoryWithoutItsVariable_AndDockerConfigElsewhere_AreRead()
    {
        Write("root/run/containers/1000/auth.json", File_($"\"h\":{{{Auth("run")}}}"));
        Assert.Equal("run", (await FindAsync("h")).Credentials!.UserName);
        Write("elsewhere/config.json", File_($"\"i\":{{{Auth("elsewhere")}}}"));
        _variables["DOCKER_CONFIG"] = _directory["elsewhere"];
        FoundCredentials found = await FindAsync("i");
        Assert.Equal("elsewhere", found.Credentials!.UserName);
        Assert.Equal($"the entry 'i' in '{_directory["elsewhere/config.json"]}'", found.Account);
    }

    [Fact]
    public async Task GivenCredentials_AreForTheNamedRegistryOnly()
    {
        RegistryOptions options = Options with { Credentials = new Credentials("me", "pw") };
        Assert.Equal("me", (await FindAsync("named.example", options: options)).Credentials!.UserName);
        Assert.Null((await FindAsync("mirror.example", options: options)).Credentials);
    }

    [Fact]
    public async Task TokensAndOddPasswords_AreRead()
    {
        Write("home/.docker/config.json", File_("\"i\":{\"auth\":\"MDAwOg==\",\"identitytoken\":\"tok\"}", "\"r\":{\"registrytoken\":\"acc\"}", $"\"p\":{{{Auth("me", "pä:ß\"\\ \0\0")}}}", "\"e\":{}"));
        Assert.Equal(new Credentials("000", "", "tok"), (await FindAsync("i")).Credentials);
        Assert.Equal("acc", (await FindAsync("r")).Credentials!.RegistryToken);
        Assert.Equal("pä:ß\"\\ ", (await FindAsync("p")).Credentials!.Password);
        Assert.Equal("no entry for e in '~/.docker/config.json'; docker login e makes one", (await FindAsync("e")).Account);
    }

    [Theory]
    [InlineData("not json, hunter2", "the credentials in", "not JSON at byte")]
    [InlineData("[\"hunter2\"]", "the credentials in", "not an object")]
    [InlineData("", "the credentials in", "it is empty")]
    [InlineData(" \n", "the credentials in", "it is empty")]
    [InlineData("{\"auths\":[\"hunter2\"]}", "a part of", "its JSON is wrong at auths")]
    [InlineData("{\"auths\":{\"h\":[\"hunter2\"]}}", "a part of", "its JSON is wrong at auths.h")]
    [InlineData("{\"auths\":{\"h\":{\"auth\":{\"hunter2\":1}}}}", "a part of", "its JSON is wrong at auths.h.auth")]
    [InlineData("{\"auths\":{\"h\":{\"auth\":\"%hunter2%\"}}}", "a part of", "its entry 'h' is not NAME:PASSWORD in base64")]
    [InlineData("{\"auths\":{\"h\":{\"auth\":\"bWU=\"}}}", "a part of", "its entry 'h' is not NAME:PASSWORD in base64")]
    [InlineData("{\"auths\":{\"h\":{\"registrytoken\":\"hunter2\\r\\nX-Evil: 1\"}}}", "a part of", "the \"registrytoken\" of its entry 'h' has spaces, line ends or other characters that no token has")]
    [InlineData("{\"auths\":{\"h\":{\"registrytoken\":\"hünter2\"}}}", "a part of", "the \"registrytoken\" of its entry 'h' has spaces")]
    [InlineData("{\"auths\":{\"h\":{\"identitytoken\":\"hunter2\\n\"}}}", "a part of", "the \"identitytoken\" of its entry 'h' has spaces")]
    [InlineData("{\"credHelpers\":7}", "a part of", "its JSON is wrong at credHelpers")]
    [InlineData("{\"credHelpers\":{\"h\":[\"hunter2\"]}}", "a part of", "its JSON is wrong at credHelpers.h")]
    [InlineData("{\"credsStore\":{\"hunter2\":1}}", "a part of", "its JSON is wrong at credsStore")]
    public async Task WhatCannotBeRead_IsNamedInOneLine_AndTheNextIsReadInItsPlace(string content, string what, string reason)
    {
        Write("home/.config/containers/auth.json", content);
        Write("home/.docker/config.json", File_($"\"h\":{{{Auth("next")}}}"));
        Assert.Equal("next", (await FindAsync("h")).Credentials!.UserName);
        string note = Assert.Single(_notes);
        Assert.StartsWith($"ignoring {what} '~/.config/containers/auth.json': ", note, StringComparison.Ordinal);
        Assert.Contains(reason, note, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", note, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"auths\":{\"other\":5,AUTH}")]
    [InlineData("\"auths\":{\"other\":{\"auth\":7},AUTH}")]
    [InlineData("\"auths\":{\"other\":{\"auth\":\"%\"},AUTH}")]
    [InlineData("\"auths\":{\"other\":{\"auth\":\"a\",\"auth\":\"b\"},AUTH}")]
    [InlineData("\"auths\":{\"other\":{\"registrytoken\":\"a\\nb\"},AUTH}")]
    [InlineData("\"credHelpers\":{\"other\":5},\"auths\":{AUTH}")]
    [InlineData("\"credsStore\":null,\"credHelpers\":null,\"HttpHeaders\":7,\"auths\":{\"other\":null,AUTH}")]
    public async Task WhatIsOfAnotherRegistry_MayBeAnything(string members)
    {
        await AssertFoundAsync(members);
        Assert.Empty(_notes);
    }

    [Theory]
    [InlineData("\"auths\":{\"h/team\":5,AUTH}")]
    [InlineData("\"auths\":{\"h/team\":{\"auth\":\"%\"},AUTH}")]
    [InlineData("\"credHelpers\":{\"h\":5},\"auths\":{AUTH}")]
    [InlineData("\"credHelpers\":5,\"auths\":{AUTH}")]
    [InlineData("\"credsStore\":5,\"auths\":{AUTH}")]
    [InlineData("\"auths\":{\"h/team\":{\"identitytoken\":\"a b\"},AUTH}")]
    public async Task WhatIsWrong_DoesNotHideTheRestOfTheFile(string members)
    {
        await AssertFoundAsync(members);
        Assert.StartsWith("ignoring a part of '~/.docker/config.json': ", Assert.Single(_notes), StringComparison.Ordinal);
    }

    // In docker's file, where AUTH stands for a good entry of the registry "h".
    private async Task AssertFoundAsync(string members)
    {
        Write("home/.docker/config.json", $"{{{members.Replace("AUTH", $"\"h\":{{{Auth("me")}}}", StringComparison.Ordinal)}}}");
        Assert.Equal("me", (await FindAsync("h")).Credentials!.UserName);
    }

    [Fact]
    public async Task TokenThatNoHeaderTakes_LeavesTheRestOfItsEntry()
    {
        Write("home/.docker/config.json", File_($"\"h\":{{{Auth("me")},\"registrytoken\":\"a\\nb\"}}"));
        Assert.Equal(new Credentials("me", "pw"), (await FindAsync("h")).Credentials);
        Assert.Single(_notes);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task NamedFileThatDoesNotExist_IsSaidOnce_AndNoOtherIsRead(bool byVariable)
    {
        Write("home/.docker/config.json", File_($"\"h\":{{{Auth("me")}}}"));
        _variables["REGISTRY_AUTH_FILE"] = _directory["home/no.json"];
        FoundCredentials found = await FindAsync("h", options: byVariable ? Options : Options with { AuthFile = _directory["home/no.json"] });
        Assert.Null(found.Credentials);
        Assert.Equal("no entry for h in '~/no.json' (no such file); skopeo login --authfile ~/no.json h makes one", found.Account);
        Assert.Equal($"ignoring {(byVariable ? "REGISTRY_AUTH_FILE" : "--authfile")}: '~/no.json' does not exist", Assert.Single(_notes));
    }

    [Fact]
    public async Task Advice_FitsThePlace()
    {
        string entry = File_($"\"h\":{{{Auth("me")}}}"), none = File_();
        foreach ((string place, string content, string? variable, string with, string without) in new[]
        {
            ("home/.docker/config.json", "", null, "docker login h replaces it", "docker login h makes one"),
            ("elsewhere/config.json", "elsewhere", "DOCKER_CONFIG", "docker login h replaces it", "docker login h makes one"),
            ("home/.config/containers/auth.json", "", null, "podman login h replaces it", "podman login h makes one"),
            ("run/containers/auth.json", "run", "XDG_RUNTIME_DIR", "podman login h replaces it", "podman login h makes one"),
            ("home/named.json", "home/named.json", "REGISTRY_AUTH_FILE", "skopeo login --authfile ~/named.json h replaces it", "skopeo login --authfile ~/named.json h makes one"),
        })
        {
            _variables.Clear();
            if (variable is not null)
                _variables[variable] = _directory[content];
            string file = Write(place, entry);
            Assert.Equal(with, (await FindAsync("h")).Advice);
            Write(place, none);
            Assert.EndsWith($"; {without}", (await FindAsync("h")).Account, StringComparison.Ordinal);
            File.Delete(file);
        }
        _variables.Clear();
        _variables["DOCKER_AUTH_CONFIG"] = entry;
        Assert.Equal("correct the variable", (await FindAsync("h")).Advice);
        _variables["DOCKER_AUTH_CONFIG"] = none;
        Assert.Equal("no entry for h in DOCKER_AUTH_CONFIG; correct the variable", (await FindAsync("h")).Account);
        _variables.Clear();
        Assert.Equal("no entry for h in '~/.docker/config.json' (no such file); docker login h makes one", (await FindAsync("h")).Account);
        Assert.Equal("check the user name and the password", (await FindAsync("named.example", options: Options with { Credentials = new Credentials("me", "pw") })).Advice);
    }

    [Fact]
    public async Task DirectoryPipeAndHugeFile_AreNamed_AndNotWaitedFor()
    {
        Directory.CreateDirectory(_directory["home/.config/containers/auth.json"]);
        Directory.CreateDirectory(_directory["run/containers"]);
        _variables["XDG_RUNTIME_DIR"] = _directory["run"];
        Tool.Run("mkfifo", _directory["run/containers/auth.json"]).EnsureSuccess();
        Directory.CreateDirectory(_directory["home/.docker"]);
        using (FileStream huge = File.Create(_directory["home/.docker/config.json"]))
            huge.SetLength(5 << 20);
        Assert.Null((await FindAsync("h")).Credentials);
        Assert.Equal(3, _notes.Count);
    }

    [Fact]
    public async Task ByteOrderMark_DoesNotMatter_NorABadEntryOfAnotherRegistry()
    {
        Write("home/.docker/config.json", "\uFEFF" + File_("\"bad\":{\"auth\":\"%\"}", $"\"h\":{{{Auth("me")}}}"));
        Assert.Equal("me", (await FindAsync("h")).Credentials!.UserName);
        Assert.Empty(_notes);
    }

    [Fact]
    public async Task FileThatIsBeingWritten_IsReadAMomentLater()
    {
        string file = Write("home/.docker/config.json", "{\"auths\":{\"h\"");
        Task<FoundCredentials> finding = FindAsync("h");
        await Task.Delay(60, Token);
        await File.WriteAllTextAsync(file, File_($"\"h\":{{{Auth("me")}}}"), Token);
        Assert.Equal("me", (await finding).Credentials!.UserName);
    }

    [Theory]
    [InlineData("{0}/team/app", "{0}/team")]
    [InlineData("{0}/team", "{0}")]
    [InlineData("{0}", "{0}/team/other")]
    [InlineData("{0}/team/app", "{0}")]
    [InlineData("{0}/team/app/more", "{0}")]
    [InlineData("http://{0}", "{0}/other")]
    [InlineData("{0}/tea", "{0}/team")]
    public async Task EntryThatSkopeoTakes_IsTaken(string right, string wrong)
    {
        using var registry = new RegistryServer(requireLogin: true);
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("./")).WriteImage("v1");
        string image = $"{registry.Host}/team/app:v1";
        Tool.Run("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", $"{RegistryServer.User}:{RegistryServer.Password}", layout.Reference("v1"), $"docker://{image}").EnsureSuccess();
        string key = string.Format(System.Globalization.CultureInfo.InvariantCulture, right, registry.Host), other = string.Format(System.Globalization.CultureInfo.InvariantCulture, wrong, registry.Host);
        string file = Write("auth.json", File_($"\"{key}\":{{{Auth(RegistryServer.User, RegistryServer.Password)}}}", $"\"{other}\":{{{Auth("nobody", "wrong")}}}"));
        bool skopeo = Tool.Run("skopeo", "inspect", "--raw", "--tls-verify=false", "--authfile", file, $"docker://{image}").ExitCode == 0;
        await using var source = new RegistrySource(ImageReference.Parse(image), Options with { AuthFile = file }, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        bool ours = await source.GetRootAsync(Token).ContinueWith(static task => task.Exception is null, TaskScheduler.Default);
        Assert.Equal(skopeo, ours);
    }

    private string Helper(string name, string script)
    {
        string file = Write($"bin/docker-credential-{name}", "#!/bin/sh\n" + script + "\n");
        Tool.Run("chmod", "0500", file).EnsureSuccess();
        string path = Environment.GetEnvironmentVariable("PATH")!;
        if (!path.Contains(_directory["bin"], StringComparison.Ordinal))
            Environment.SetEnvironmentVariable("PATH", $"{_directory["bin"]}:{path}");
        return file;
    }

    [Fact]
    public async Task Helpers_AreAskedByTheirProtocol_ThoseOfTheRegistryFirst()
    {
        string asked = _directory["asked"];
        Helper("lm-store", $$"""[ "$1" = get ] && cat >> {{asked}} && echo '{"ServerURL":"x","Username":"store","Secret":"s1"}'""");
        Helper("lm-host", """cat > /dev/null; echo '{"Username":"<token>","Secret":"refresh"}'""");
        Write("home/.docker/config.json", """{"auths":{"h":{}},"credsStore":"lm-store","credHelpers":{"special":"lm-host","*.ecr.example":"lm-host"}}""");
        FoundCredentials found = await FindAsync("docker.io");
        Assert.Equal((new Credentials("store", "s1"), "the credentials of docker-credential-lm-store (credsStore of '~/.docker/config.json')"), (found.Credentials, found.Account));
        Assert.Equal("https://index.docker.io/v1/", await File.ReadAllTextAsync(asked, Token));
        Assert.Equal("refresh", (await FindAsync("special")).Credentials!.IdentityToken);
        Assert.Equal("refresh", (await FindAsync("1.ecr.example")).Credentials!.IdentityToken);
    }

    [Theory]
    [InlineData("lm-missing", null, "is not in PATH")]
    [InlineData("../lm", null, "is not the name of a program")]
    [InlineData("lm-fails", "echo hunter2; echo hunter2 >&2; exit 3", "failed with exit code 3")]
    [InlineData("lm-text", "echo hunter2", "does not answer with JSON")]
    [InlineData("lm-flood", "cat /dev/zero", "writes more than 1 MiB")]
    [InlineData("lm-parent", "sleep 60 & echo '{'", "left its output open")]
    [InlineData("lm-token", "printf %s '{\"Username\":\"<token>\",\"Secret\":\"hunter2\\r\\n\"}'", "answers with a token that has spaces, line ends")]
    public async Task HelperThatFails_IsNamed_AndTheEntryOfTheFileIsUsed(string name, string? script, string reason)
    {
        if (script is not null)
            Helper(name, script);
        Write("home/.docker/config.json", $$"""{"auths":{"h":{{{Auth("file")}}} },"credsStore":"{{name}}"}""");
        long began = Stopwatch.GetTimestamp();
        Assert.Equal("file", (await FindAsync("h")).Credentials!.UserName);
        Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 0, 30);
        string note = Assert.Single(_notes);
        Assert.Contains($"docker-credential-{name} (credsStore of '~/.docker/config.json') {reason}", note, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", note, StringComparison.Ordinal);
    }

    [Fact]
    public async Task HelperThatLeavesAChildBehind_HasAnswered()
    {
        Helper("lm-left", $$"""cat > /dev/null; sleep 300 & echo $! > {{_directory["pid"]}}; echo '{"Username":"me","Secret":"s"}'""");
        Write("home/.docker/config.json", """{"credsStore":"lm-left"}""");
        try
        {
            Assert.Equal(new Credentials("me", "s"), (await FindAsync("h")).Credentials);
            Assert.Empty(_notes);
        }
        finally
        {
            Tool.Run("kill", (await File.ReadAllTextAsync(_directory["pid"], Token)).Trim()).EnsureSuccess();
        }
    }

    [Fact]
    public async Task HelperThatPodmanFilled_IsAskedForDockerHubByItsName()
    {
        Helper("lm-podman", """read server; [ "$server" = docker.io ] && echo '{"Username":"me","Secret":"s"}' || { echo 'credentials not found in native keychain'; exit 1; }""");
        Write("home/.docker/config.json", """{"credHelpers":{"docker.io":"lm-podman"}}""");
        Assert.Equal("me", (await FindAsync("docker.io")).Credentials!.UserName);
    }

    [Fact]
    public async Task HelperThatFails_CanBeRunByHandAsTheNoteSays()
    {
        Helper("lm-hub", "cat > /dev/null; exit 3");
        Write("home/.docker/config.json", """{"credsStore":"lm-hub"}""");
        await FindAsync("docker.io");
        Assert.Contains("; run it by hand to see why: echo https://index.docker.io/v1/ | docker-credential-lm-hub get;", Assert.Single(_notes), StringComparison.Ordinal);
        Helper("lm-hub-empty", "echo 'credentials not found in native keychain'; exit 1");
        Write("home/.docker/config.json", """{"credsStore":"lm-hub-empty"}""");
        Assert.Contains("has no credentials for https://index.docker.io/v1/;", (await FindAsync("docker.io")).Account, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"credHelpers\":{\"h\":\"\"}")]
    [InlineData("\"credHelpers\":{\"h\":null}")]
    [InlineData("\"credHelpers\":{\"h/team\":\"\",\"h\":\"lm-all\"}")]
    public async Task EmptyHelper_StandsForTheFile(string member)
    {
        Helper("lm-all", """cat > /dev/null; echo '{"Username":"all","Secret":"s"}'""");
        Write("home/.docker/config.json", $$"""{"credsStore":"lm-all",{{member}},"auths":{"h":{{{Auth("file")}}} } }""");
        Assert.Equal("file", (await FindAsync("h")).Credentials!.UserName);
        Assert.Equal("all", (await FindAsync("other")).Credentials!.UserName);
        Write("home/.docker/config.json", $$"""{"credsStore":"","auths":{"h":{{{Auth("file")}}} } }""");
        Assert.Equal("file", (await FindAsync("h")).Credentials!.UserName);
        Assert.Empty(_notes);
    }

    [Fact]
    public async Task HelperInTheCurrentDirectory_IsNotRun()
    {
        string name = $"lm-here-{Guid.NewGuid():N}", program = $"docker-credential-{name}";
        Tool.Shell($"printf '#!/bin/sh\\necho {{}}\\n' > {program} && chmod 0755 {program}").EnsureSuccess();
        try
        {
            Assert.True(File.Exists(program));
            Write("home/.docker/config.json", $$"""{"credsStore":"{{name}}"}""");
            Assert.Contains("is not in PATH", (await FindAsync("h")).Account, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(program);
        }
    }

    [Fact]
    public async Task HelperThatHasNothing_IsNoFailure()
    {
        Helper("lm-empty", "echo 'credentials not found in native keychain'; exit 1");
        Write("home/.docker/config.json", """{"credsStore":"lm-empty"}""");
        FoundCredentials found = await FindAsync("h");
        Assert.Equal("docker-credential-lm-empty (credsStore of '~/.docker/config.json') has no credentials for h; no entry for h in '~/.docker/config.json'; docker login h makes one", found.Account);
        Assert.Empty(_notes);
    }

    [Fact]
    public async Task HelperThatHangs_IsEndedAfterItsTime()
    {
        Helper("lm-hangs", $"echo $$ > {_directory["pid"]}; exec sleep 1000");
        Write("home/.docker/config.json", """{"credsStore":"lm-hangs"}""");
        Assert.Contains("did not answer within 10 s", (await FindAsync("h")).Account, StringComparison.Ordinal);
        Assert.False(Directory.Exists($"/proc/{(await File.ReadAllTextAsync(_directory["pid"], Token)).Trim()}/exe"));
    }

    [Fact]
    public void Credentials_DoNotPrintTheirSecrets()
        => Assert.DoesNotContain("secret", new Credentials("me", "secret", "secret", "secret").ToString(), StringComparison.Ordinal);
}
