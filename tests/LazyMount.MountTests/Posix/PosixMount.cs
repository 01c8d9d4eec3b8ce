using LazyMount.Fuse;
using LazyMount.TestKit;
using Xunit;

[assembly: CaptureConsole]

namespace LazyMount.MountTests.Posix;

/// <summary>One mount with one of everything, for the tests that only look.</summary>
public abstract class PosixMount(MountFace face) : IAsyncLifetime
{
    public const int ManyFiles = 3000;
    public const string LongXattr = "user.long";

    private readonly TemporaryDirectory _directory = new();
    private TestImage _image = null!;
    private FuseMount? _mount;

    /// <summary>The mount point.</summary>
    public string Root { get; private set; } = null!;

    /// <summary>Content of "big", three spans long and hardly compressible.</summary>
    public static byte[] Big { get; } = MakeBig();

    public static string LongTarget { get; } = string.Join('/', Enumerable.Repeat(new string('t', 99), 40));

    public MountFace Face => face;

    public string this[string path] => $"{Root}/{path}";

    public async ValueTask InitializeAsync()
    {
        _image = await TestImage.CreateAsync(_directory, Lower(), Upper());
        Assert.SkipUnless(face == MountFace.Fuse || Environment.IsPrivilegedProcess, "only root can mount EROFS");
        Root = _directory.CreateDirectory("mnt");
        Tool.Run("chmod", "a+rx", _directory.Path).EnsureSuccess();
        _mount = _image.Mount(Root, face: face);
    }

    public async ValueTask DisposeAsync()
    {
        if (_mount is not null)
        {
            await _mount.DisposeAsync();
        }
        await _image.DisposeAsync();
        _directory.Dispose();
        GC.SuppressFinalize(this);
    }

    private static TarBytes Lower()
    {
        TarBytes tar = new TarBytes()
            .Directory("dir", 0b111_101_000, TarBytes.OwnedBy(7, 8))
            .Pax(("mtime", "1600000000.123456789"))
            .File("dir/file", "hello\n", 0b110_100_000, TarBytes.OwnedBy(7, 8))
            .Pax(("mtime", "1600000000.123456789")).HardLink("link", "dir/file", 0b110_100_000, TarBytes.OwnedBy(7, 8))
            .Pax(("mtime", "-1.5")).File("old")
            .File("big", Big)
            .File("public", "everybody\n").File("private", "nobody\n", 0b110_000_000)
            .Directory("closed", 0b111_000_000).File("closed/inside", "nobody\n")
            .File("script", "#!/bin/sh\necho it ran\n", 0b111_101_101)
            .File("setuid", "#!/bin/sh\n", 0b100_111_101_101)
            .Symlink("symlink", "dir/file").Symlink("dangling", "no/where")
            .Pax(("linkpath", LongTarget)).Symlink("longlink", "x")
            .CharacterDevice("null", 1, 3).Fifo("pipe")
            .File("caf\u00e9").File("new\nline")
            .Pax(("SCHILY.xattr.user.a", "value"), ("SCHILY.xattr.user.b", "\0\u00ff"), ($"SCHILY.xattr.{LongXattr}", new string('v', 5000)))
            .File("xattrs")
            .Directory("many");
        for (int i = 0; i < ManyFiles; i++)
        {
            tar.File($"many/{i:d4}-{new string('n', i % 90)}");
        }
        return tar;
    }

    private static TarBytes Upper() => new TarBytes().File("plain", "from an uncompressed layer\n");

    private static byte[] MakeBig()
    {
        var bytes = new byte[(9 << 20) + 123];
        new Random(7).NextBytes(bytes);
        return bytes;
    }
}

/// <summary>Shown by FUSE.</summary>
public sealed class FusePosixMount() : PosixMount(MountFace.Fuse);

/// <summary>Shown by the kernel's EROFS.</summary>
public sealed class ErofsPosixMount() : PosixMount(MountFace.Erofs);

/// <summary>The tests that share it.</summary>
[CollectionDefinition(nameof(FusePosixMount))]
public sealed class FusePosixMountUsers : ICollectionFixture<FusePosixMount>;

/// <summary>The tests that share it.</summary>
[CollectionDefinition(nameof(ErofsPosixMount))]
public sealed class ErofsPosixMountUsers : ICollectionFixture<ErofsPosixMount>;
