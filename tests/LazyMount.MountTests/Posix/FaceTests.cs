using Xunit;

namespace LazyMount.MountTests.Posix;

// Each list of tests runs over a mount of either face, in that mount's collection.

[Collection(nameof(FusePosixMount))]
public sealed class FuseStatTests(FusePosixMount mount) : StatTests(mount);

[Collection(nameof(ErofsPosixMount))]
public sealed class ErofsStatTests(ErofsPosixMount mount) : StatTests(mount);

[Collection(nameof(FusePosixMount))]
public sealed class FuseXattrTests(FusePosixMount mount) : XattrTests(mount);

[Collection(nameof(ErofsPosixMount))]
public sealed class ErofsXattrTests(ErofsPosixMount mount) : XattrTests(mount);

[Collection(nameof(FusePosixMount))]
public sealed class FuseReadTests(FusePosixMount mount) : ReadTests(mount);

[Collection(nameof(ErofsPosixMount))]
public sealed class ErofsReadTests(ErofsPosixMount mount) : ReadTests(mount);

[Collection(nameof(FusePosixMount))]
public sealed class FuseDirectoryTests(FusePosixMount mount) : DirectoryTests(mount);

[Collection(nameof(ErofsPosixMount))]
public sealed class ErofsDirectoryTests(ErofsPosixMount mount) : DirectoryTests(mount);

[Collection(nameof(FusePosixMount))]
public sealed class FuseReadOnlyTests(FusePosixMount mount) : ReadOnlyTests(mount);

[Collection(nameof(ErofsPosixMount))]
public sealed class ErofsReadOnlyTests(ErofsPosixMount mount) : ReadOnlyTests(mount);

[Collection(nameof(FusePosixMount))]
public sealed class FuseOtherUserTests(FusePosixMount mount) : OtherUserTests(mount);

[Collection(nameof(ErofsPosixMount))]
public sealed class ErofsOtherUserTests(ErofsPosixMount mount) : OtherUserTests(mount);
