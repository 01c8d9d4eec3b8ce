using System.Text;
using CsCheck;
using LazyMount.Blobs.Files;
using LazyMount.Cli;
using LazyMount.Output;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary>Arguments are bytes: whatever a name is made of, the file of exactly that name is meant.</summary>
public sealed class ByteNamesTests : IDisposable
{
    private static readonly Gen<byte[]> s_names =
        from bytes in Gen.Frequency((4, Gen.Byte), (1, Gen.Byte[0x80, 0xFF]), (1, Gen.Byte[1, 0x1F])).Array[1, 40]
        let name = bytes.Select(each => each is 0 or (byte)'/' or (byte)':' ? (byte)'x' : each).ToArray()
        where name[0] is not ((byte)'-' or (byte)'.' or (byte)'@') && name[^1] != '\n' // the shell would drop it
        select name;

    private readonly TemporaryDirectory _directory = new();
    private int _made;

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void EveryName_MeansTheSameAsAPlainOne() => s_names.Sample(
        name =>
        {
            string text = PathText.Decode(name), latin1 = Encoding.Latin1.GetString(name);
            string layout = _directory[$"layout{_made++}"], target = _directory[$"target{_made++}"];
            new OciLayoutBuilder(layout).AddLayer(new TarBytes().Pax(("path", $"d/{latin1}")).File("x", "content").Pax(("path", "d/plain")).File("x", "other")).WriteImage("v1");
            string image = $"oci:{layout}:v1";

            Assert.Equal((0, "content", ""), Run("cat", image, $"/d/{text}"));
            Assert.Equal((0, latin1 + "\nplain\n", ""), Sorted(Run("ls", image, "/d")));
            Assert.Equal((1, $"lazymount: cannot find '/no/{Displayed(latin1)}' in '{image}': no such file or directory\n"), ErrorOf(Run("cat", image, $"/no/{text}")));

            // What is written has exactly this name, and nothing else is there.
            Directory.CreateDirectory(target);
            Assert.Equal((0, "", ""), Run("unpack", image, $"{target}/{text}"));
            Assert.Equal(latin1 + "\n", NamesIn(target));
            Assert.Equal("content", Read($"{target}/", name, "/d/", name));
            Assert.Equal((0, "", ""), Run("export", "-o", $"{target}/{text}.tar", image));
            Assert.Equal(Run("export", image).Output, Read($"{target}/", name, ".tar"));
        },
        iter: 25, threads: 1, print: Convert.ToHexString);

    [Fact]
    public void ImagesAndTheCache_MayHaveAnyName() => s_names.Where(name => !name.Contains((byte)'@') && !PathText.Decode(name).Any(char.IsControl)).Sample( // a reference holds neither
        name =>
        {
            string text = PathText.Decode(name), target = _directory[$"target{_made++}"], layout = _directory[$"layout{_made++}"];
            new OciLayoutBuilder(layout).AddLayer(new TarBytes().File("f", "content")).WriteImage("v1");
            Directory.CreateDirectory(target);
            string[] cache = ["--cache-dir", $"{target}/{text}.cache"];
            Assert.Equal((0, ""), ErrorOf(Run([.. cache, "pull", $"oci:{layout}:v1", $"oci:{target}/{text}:v1"])));
            Assert.Equal((0, "content", ""), Run([.. cache, "cat", $"oci:{target}/{text}:v1", "/f"]));
            Tool.Shell("tar -C \"$1\" -cf \"$2/$(printf \"$3\").tar\" .", layout, target, Octal(name)).EnsureSuccess();
            Assert.Equal((0, "content", ""), Run([.. cache, "cat", $"oci-archive:{target}/{text}.tar:v1", "/f"]));

            // Nothing else is there.
            string latin1 = Encoding.Latin1.GetString(name);
            Assert.Equal(string.Concat(((string[])[latin1, latin1 + ".cache", latin1 + ".tar"]).Select(each => each + "\n")), NamesIn(target));
        },
        iter: 15, threads: 1, print: Convert.ToHexString);

    private (int ExitCode, string Output, string Error) Run(params string[] arguments)
    {
        using var bytes = new MemoryStream();
        using var messages = new MemoryStream();
        using var output = new CommandOutput(bytes, isTerminal: false);
        using var error = new MessageWriter(messages, isTerminal: false);
        int exitCode = CommandLine.RunAsync(new CommandHost { Arguments = arguments.Contains("--cache-dir") ? arguments : [.. arguments, "--cache-dir", _directory["cache"]], Output = output, Error = error }).GetAwaiter().GetResult();
        return (exitCode, Encoding.Latin1.GetString(bytes.ToArray()), Encoding.Latin1.GetString(messages.ToArray()));
    }

    private static (int, string) ErrorOf((int ExitCode, string Output, string Error) run) => (run.ExitCode, run.Error);

    // A name may hold a newline; here it is one of two, and the other is known.
    private static (int, string, string) Sorted((int ExitCode, string Output, string Error) run)
        => run.Output.StartsWith("plain\n", StringComparison.Ordinal) ? (run.ExitCode, run.Output["plain\n".Length..] + "plain\n", run.Error) : run;

    // Control characters never reach a message; those above 0x7F are two bytes of UTF-8.
    private static string Displayed(string latin1)
    {
        string text = CommandOutput.Displayable(PathText.Decode(Encoding.Latin1.GetBytes(latin1)));
        return Encoding.Latin1.GetString(PathText.Encode(text));
    }

    private static string NamesIn(string directory) => Encoding.Latin1.GetString(Tool.Run("ls", "-A", "--quoting-style=literal", directory).OutputBytes);

    // By the shell, to which bytes can be given as octal.
    private static string Read(params object[] parts)
    {
        string path = string.Concat(parts.Select(part => part is byte[] name ? Octal(name) : (string)part));
        return Encoding.Latin1.GetString(Tool.Shell("cat \"$(printf \"$1\")\"", path).EnsureSuccess().OutputBytes);
    }

    private static string Octal(byte[] name) => string.Concat(name.Select(each => $"\\{Convert.ToString(each, 8).PadLeft(3, '0')}"));
}
