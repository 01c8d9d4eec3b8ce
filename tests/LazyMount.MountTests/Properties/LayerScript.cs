using System.Globalization;
using CsCheck;
using LazyMount.TestKit;

namespace LazyMount.MountTests.Properties;

/// <summary>What one line of a script does to a tar.</summary>
internal enum Verb
{
    File,
    Directory,
    Symlink,
    HardLink,
    PseudoLink,
    Fifo,
    Device,
    Whiteout,
    Opaque,
}

/// <summary>One entry of a random layer; its text can be read, and written as a regression test.</summary>
/// <param name="Verb">What it is.</param>
/// <param name="Path">Where.</param>
/// <param name="Target">Of links.</param>
/// <param name="Variant">Chooses content, mode, owner, time, attributes and the dialect of tar; 0 for the plainest.</param>
internal sealed record Entry(Verb Verb, string Path, string Target, int Variant)
{
    public override string ToString() => Verb switch
    {
        Verb.Symlink or Verb.HardLink => $"{Verb}(\"{Path}\", \"{Target}\")",
        Verb.File or Verb.Directory when Variant > 0 => $"{Verb}(\"{Path}\") #{Variant}",
        _ => $"{Verb}(\"{Path}\")",
    };
}

/// <summary>A random layer: entries in tar order.</summary>
/// <param name="Entries">The entries.</param>
/// <param name="Replaces">Whether something may take the place of a directory that is not empty. Then no directory comes twice.</param>
internal sealed record LayerScript(Entry[] Entries, bool Replaces)
{
    // Few names, so that they meet.
    private static readonly string[] s_names = ["a", "b", "c"];

    private static readonly Gen<string> s_path = Gen.Frequency((9, Gen.OneOf(s_names).Array[1, 3]), (1, Gen.OneOf(s_names).Array[4, 12])).Select(names => string.Join('/', names));

    private static readonly Gen<Entry> s_entry = Gen.Select(
        Gen.Frequency((6, Gen.Const(Verb.File)), (6, Gen.Const(Verb.Directory)), (2, Gen.Const(Verb.Symlink)), (2, Gen.Const(Verb.HardLink)),
            (1, Gen.Const(Verb.PseudoLink)), (1, Gen.Const(Verb.Fifo)), (1, Gen.Const(Verb.Device)), (4, Gen.Const(Verb.Whiteout)), (2, Gen.Const(Verb.Opaque))),
        s_path, s_path, Gen.Int[0, 9],
        (verb, path, target, variant) => new Entry(verb, path, verb is Verb.Symlink or Verb.HardLink ? target : "", variant));

    public static Gen<LayerScript[]> Images { get; } = Gen.Select(s_entry.Array[0, 10], Gen.Bool)
        .Select((entries, replaces) => new LayerScript(WhatTarExtracts(entries, replaces), replaces)).Array[1, 6];

    public override string ToString() => string.Join(' ', Entries.Select(entry => entry.ToString()));

    public static string Print(LayerScript[] layers) => "\n" + string.Join('\n', layers.Select((layer, i) => $"layer {i}: {layer}")) + "\n";

    public TarBytes ToTar()
    {
        var tar = new TarBytes();
        var pseudo = new HashSet<int>();
        // GNU tar leaves the attributes of a hard link entry alone, so links are of plain files here; the zoo has others.
        bool plain = Entries.Any(entry => entry.Verb is Verb.HardLink or Verb.PseudoLink);
        foreach (Entry entry in Entries)
        {
            int variant = plain ? 0 : entry.Variant;
            _ = entry.Verb switch
            {
                Verb.File => Dress(tar, variant).File(entry.Path, $"{entry.Path} {entry.Variant}", 0x1A4 - variant * 4 % 0x40, Owner(variant)),
                Verb.Directory => Dress(tar, variant).Directory(entry.Path, 0x1ED - variant % 8, Owner(variant)),
                Verb.Symlink => tar.Symlink(entry.Path, entry.Target),
                Verb.HardLink => tar.HardLink(entry.Path, entry.Target),
                Verb.PseudoLink => PseudoLink(entry.Path, entry.Variant % 2),
                Verb.Fifo => tar.Fifo(entry.Path),
                Verb.Device => tar.CharacterDevice(entry.Path, 1, 3 + variant),
                Verb.Whiteout => tar.Whiteout(entry.Path),
                _ => tar.Opaque(entry.Path),
            };
        }
        return tar;

        // As AUFS keeps a file of several names: its content apart from them, once.
        TarBytes PseudoLink(string path, int number)
        {
            string content = string.Create(CultureInfo.InvariantCulture, $".wh..wh.plnk/{number}.1");
            return (pseudo.Add(number) ? tar.File(content, $"pseudo {number} of {Entries.Length}") : tar).HardLink(path, content);
        }
    }

    // Without what GNU tar refuses, or sees in its own way: entries below what is no directory, something else over a directory or
    // (where it is told to replace directories) a directory over another, hard links to what is not there. The zoo has those.
    private static Entry[] WhatTarExtracts(Entry[] entries, bool replaces)
    {
        var there = new Dictionary<string, Verb>();
        var kept = new List<Entry>();
        foreach (Entry entry in entries)
        {
            string[] parents = [.. Enumerable.Range(1, entry.Path.Length - 1).Where(i => entry.Path[i] == '/').Select(i => entry.Path[..i])];
            bool isMarker = entry.Verb is Verb.Whiteout or Verb.Opaque;
            string[] directories = entry.Verb == Verb.Opaque ? [.. parents, entry.Path] : parents;
            bool isBelowFile = directories.Any(path => there.TryGetValue(path, out Verb verb) && verb != Verb.Directory);
            bool isSecond = !isMarker && there.TryGetValue(entry.Path, out Verb old) && old == Verb.Directory && replaces == (entry.Verb == Verb.Directory);
            bool isLoose = entry.Verb == Verb.HardLink
                && (entry.Target == entry.Path || entry.Target.StartsWith(entry.Path + "/", StringComparison.Ordinal) || !there.TryGetValue(entry.Target, out Verb target) || target is Verb.Directory or Verb.Symlink);
            if (isBelowFile || isSecond || isLoose)
            {
                continue;
            }
            foreach (string directory in directories)
            {
                there.TryAdd(directory, Verb.Directory);
            }
            if (!isMarker)
            {
                there[entry.Path] = entry.Verb;
            }
            if (!isMarker && entry.Verb != Verb.Directory)
            {
                foreach (string replaced in there.Keys.Where(path => path.StartsWith(entry.Path + "/", StringComparison.Ordinal)).ToList())
                {
                    there.Remove(replaced);
                }
            }
            kept.Add(entry);
        }
        return [.. kept];
    }

    private static TarBytes Dress(TarBytes tar, int variant) => variant switch
    {
        7 => tar.Pax(("mtime", "1500000000.25")),
        8 => tar.Pax(("SCHILY.xattr.user.k", variant.ToString(CultureInfo.InvariantCulture)), ("uid", "3000000")),
        9 => tar.Pax(("mtime", "-3.5"), ("SCHILY.xattr.user.other", "\0")),
        _ => tar,
    };

    // With GNU's magic and numbers for some.
    private static Action<byte[]> Owner(int variant) => header =>
    {
        TarBytes.Octal(header, 108, 8, variant);
        if (variant is 4 or 5)
        {
            "ustar  \0"u8.CopyTo(header.AsSpan(257));
            TarBytes.Base256(header, 116, 8, 2_500_000_000 + variant);
        }
    };
}
