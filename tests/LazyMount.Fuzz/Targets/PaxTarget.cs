using System.Text;
using LazyMount.Indexes.Tar;

namespace LazyMount.Fuzz.Targets;

/// <summary>The records of PAX headers, a zero-free run of them after the other: applied alone, and over a global header.</summary>
internal static class PaxTarget
{
    public static void Run(byte[] input)
    {
        int split = input.AsSpan().IndexOf("\0\0"u8);
        ReadOnlySpan<byte> global = split < 0 ? default : input.AsSpan(0, split);
        ReadOnlySpan<byte> local = split < 0 ? input : input.AsSpan(split + 2);
        var first = new PaxAttributes();
        var second = new PaxAttributes();
        try
        {
            first.Apply(global);
            second.CopyFrom(first);
            second.Apply(local);
            first.Apply(local);
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException)
        {
            FuzzException.Require(e.Message.Length < 2000 && !e.Message.Any(char.IsControl), $"not one readable sentence: {e.Message}");
            return;
        }
        FuzzException.Require(Describe(first) == Describe(second), "a copy takes records otherwise");
        FuzzException.Require(first.Mtime is not { Nanoseconds: > 999_999_999 }, "nanoseconds are out of bounds");
    }

    private static string Describe(PaxAttributes pax)
    {
        var text = new StringBuilder($"{pax.HasPath} {Convert.ToHexString(pax.Path)} {pax.HasLinkPath} {Convert.ToHexString(pax.LinkPath)} {pax.Size} {pax.Uid} {pax.Gid} {pax.Mtime}");
        for (int i = 0; i < pax.XattrCount; i++)
        {
            FuzzException.Require(pax.XattrName(i).Length > 0, "an attribute has no name");
            text.Append($" {Convert.ToHexString(pax.XattrName(i))}={Convert.ToHexString(pax.XattrValue(i))}");
        }
        return text.ToString();
    }

    public static IEnumerable<byte[]> Seeds() => new[]
    {
        "9 path=a\n12 linkpath=b\n",
        "10 size=12\n30 mtime=1350244992.023960108\n12 uid=70000\n9 gid=-2\n",
        "12 mtime=-1.\n13 mtime=-0.5\n9 mtime=\n",
        "25 SCHILY.xattr.user.a=b\n",
        "34 LIBARCHIVE.xattr.user.%62=dmFs\n24 SCHILY.xattr.user.b=\n",
        "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.name=a/b/c\n30 GNU.sparse.realsize=10000\n",
        "11 gid=123\n\0\09 gid=1\n7 gid=\n14 comment=xyz\n",
    }.Select(Encoding.ASCII.GetBytes);
}
