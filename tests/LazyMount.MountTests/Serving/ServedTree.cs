using System.Security.Cryptography;
using System.Text;
using System.Xml.Linq;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Serving;

/// <summary>Compares a served image with a mount of it: the kernel follows the links of the mount inside of it, and rclone reads both.</summary>
internal static class ServedTree
{
    // Every file that can be reached without going through a directory by a link that is on the way to it already; names in hexadecimal digits.
    private const string Walk = """
        import hashlib, os, sys
        os.chroot(sys.argv[1]); os.chdir("/")
        def walk(path, way, is_plain):
            for name in os.listdir(path):
                child = path + b"/" + name
                is_link = os.path.islink(child)
                try: found = os.stat(child)
                except OSError: continue
                if os.path.isdir(child):
                    key = found.st_ino
                    if not (is_link and key in way): walk(child, way | {key}, is_plain and not is_link)
                elif os.path.isfile(child):
                    with open(child, "rb") as file: print(child[1:].hex(), hashlib.sha256(file.read()).hexdigest(), int(is_plain and not is_link))
        walk(b"/.", {os.stat("/").st_ino}, True)
        """;

    private static readonly XNamespace s_dav = "DAV:";

    public static void AssertSame(Served served, string image, string mount, LazyMountCli lazymount)
    {
        string[][] mounted = [.. Tool.Run("python3", "-c", Walk, mount).EnsureSuccess().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' '))];
        Dictionary<string, string> expected = mounted.ToDictionary(file => NameOf(file[0]), file => file[1]);
        string[] shown = [.. FilesBelow(served, $"/files/{image}/", "")];
        Assert.Equal(expected.Keys.Order(StringComparer.Ordinal), shown.Order(StringComparer.Ordinal));
        foreach (string name in shown.Where(name => !name.StartsWith("many/", StringComparison.Ordinal)))
        {
            Assert.Equal(expected[name], Convert.ToHexStringLower(SHA256.HashData(served.Get($"/files/{image}/{Escape(name)}"))));
        }
        // rclone reads lists of lines, and what is UTF-8.
        string[] plain = [.. mounted.Where(file => file[2] == "1").Select(file => NameOf(file[0])).Where(name => name.All(each => each is > ' ' and < '\u007F') && !name.StartsWith("many/", StringComparison.Ordinal))];
        if (plain.Length > 0)
        {
            string list = lazymount.Directory[$"list-{image}"];
            File.WriteAllLines(list, plain);
            Tool.Run("rclone", "check", "--config", "/dev/null", "--download", "--files-from-raw", list, "--webdav-url", new Uri(served.Client.BaseAddress!, "/files/" + image).ToString(), ":webdav:", mount).EnsureSuccess();
        }

        static string NameOf(string hex) => Encoding.Latin1.GetString(Convert.FromHexString(hex))["./".Length..];
    }

    /// <summary>Escapes every byte, whatever it is.</summary>
    public static string Escape(string name) => string.Concat(Encoding.Latin1.GetBytes(name).Select(each => each == '/' ? "/" : $"%{each:X2}"));

    /// <summary>The bytes of an escaped name.</summary>
    public static byte[] Unescape(string text)
    {
        List<byte> bytes = [];
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '%')
            {
                bytes.Add(Convert.FromHexString(text.AsSpan(i + 1, 2))[0]);
                i += 2;
            }
            else
            {
                bytes.Add((byte)text[i]);
            }
        }
        return [.. bytes];
    }

    private static IEnumerable<string> FilesBelow(Served served, string directory, string prefix)
    {
        using HttpResponseMessage response = served.Send("PROPFIND", directory, ("Depth", "1"));
        XElement root = XDocument.Load(response.Content.ReadAsStream()).Root!;
        foreach (string href in root.Elements(s_dav + "response").Select(each => each.Element(s_dav + "href")!.Value).Skip(1))
        {
            string name = prefix + Encoding.Latin1.GetString(Unescape(href[directory.Length..]));
            foreach (string below in name.EndsWith('/') ? FilesBelow(served, href, name) : [name])
            {
                yield return below;
            }
        }
    }
}
