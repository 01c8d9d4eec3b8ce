using System.Globalization;
using System.Runtime.InteropServices;
using LazyMount.Blobs.Files;
using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>A mounted image: owns the device, the reader threads and the mount.</summary>
public sealed class FuseMount : IAsyncDisposable
{
    // Shows on any kernel what a mount does on those before Linux 6.9.
    private static readonly InitFlags s_lessForTests = Environment.GetEnvironmentVariable("LAZYMOUNT_NO_RESEND") is null ? InitFlags.None : InitFlags.HasResend;

    private readonly FuseSession _session;
    private readonly ILogger _logger;

    private FuseMount(HeldMount held, FuseSession session, ILogger logger)
    {
        (Held, _session, _logger) = (held, session, logger);
        Completion = CompleteAsync();
    }

    /// <summary>
    /// Mounts and returns once the kernel's INIT has been answered, so that the tree answers. When it fails nothing stays mounted.
    /// </summary>
    /// <exception cref="FuseException">It cannot be mounted; nothing stays behind.</exception>
    public static FuseMount Mount(MountDirectory directory, ImageFileSystem fileSystem, FuseMountOptions options, ILoggerFactory loggers)
    {
        ArgumentNullException.ThrowIfNull(directory);
        ArgumentNullException.ThrowIfNull(fileSystem);
        ArgumentNullException.ThrowIfNull(options);
        ILogger logger = loggers.CreateLogger<FuseMount>();
        directory.EnsureUsable();
        string path = directory.Path;

        // :: Step 5: the mount, and the kernel's first request.
        FuseDevice device = Attach(directory, options);
        FuseSession? session = null;
        string? number = null;
        try
        {
            Negotiated negotiated = Negotiate(device, path, AccessLists.AreEnforced(fileSystem.Tree) ? InitFlags.PosixAcl : InitFlags.None);
            number = device.FileSystemNumber();
            if (number is not null && !MountPlaces.Of(number).Exists(place => place.MountPoint == directory.Path))
            {
                throw MountFailure.Replaced(path); // fusermount3 has resolved the path once more
            }
            number ??= NumberOf(path);
            session = new FuseSession(device, fileSystem, new FuseOperations(fileSystem.Tree, negotiated, options.Uid, options.Gid, options.Umask), options.Threads, logger);
            RaiseReadAhead(number);
            _ = FileIdentity.TryOf(path); // The kernel asks for the root's attributes now. An overlayfs that is mounted before it has would show mode 0 for ever.
            logger.Mounted(options.Source, path, MountPoint.FuseType, negotiated.Minor, negotiated.Flags, session.Threads);
            return new FuseMount(new HeldMount(path, number, negotiated.Minor, (ulong)negotiated.Flags, null), session, logger);
        }
        catch
        {
            End(device, session); // the descriptors first: unmounting needs some, and there may be none left
            Undo(number, path);
            throw;
        }
    }

    /// <summary>
    /// Mounts as <see cref="Mount"/> does, but what the kernel mounts on the directory is its own EROFS over the one file of
    /// <paramref name="imageFile"/>, which is served by FUSE where nobody sees it. Root only; owners are the image's.
    /// </summary>
    /// <exception cref="FuseException">It cannot be mounted; nothing stays behind.</exception>
    public static FuseMount MountErofs(MountDirectory directory, ImageFileSystem imageFile, FuseMountOptions options, ILoggerFactory loggers)
    {
        ArgumentNullException.ThrowIfNull(directory);
        ArgumentNullException.ThrowIfNull(imageFile);
        ArgumentNullException.ThrowIfNull(options);
        ILogger logger = loggers.CreateLogger<FuseMount>();
        directory.EnsureUsable();
        string path = directory.Path, source = ErofsSource.Of(options.Server, options.Source).ToString();

        // :: Step 5: the mount by the kernel's EROFS.
        FuseDevice device = FuseDevice.Open();
        FuseSession? session = null;
        try
        {
            using SafeFileHandle backing = ErofsFace.NewBackingMount(device, Negotiation.MaxRead);
            // EROFS sends its reads from whoever reads: one that is not asynchronous ends with EIO at any signal, and a part that failed
            // behind one that did not would be read as zeros.
            Negotiated negotiated = Negotiate(device, path, InitFlags.AsyncDio);
            if (!negotiated.Has(InitFlags.AsyncDio))
            {
                throw MountFailure.NoErofs("the kernel's FUSE cannot read directly and asynchronously");
            }
            session = new FuseSession(device, imageFile, new BackingFileOperations(imageFile.Tree, negotiated, source), options.Threads, logger);
            using SafeFileHandle mount = ErofsFace.NewMount(backing, source, options);
            string number = FileIdentity.TryOf(mount) is { } root ? string.Create(CultureInfo.InvariantCulture, $"{root.DeviceMajor}:{root.DeviceMinor}")
                : throw MountFailure.Mount(path, Marshal.GetLastPInvokeError());
            if (ErofsFace.Place(mount, directory) is not 0 and int errno)
            {
                throw MountFailure.ErofsPlace(path, errno);
            }
            logger.Mounted(options.Source, path, ErofsFace.Type, negotiated.Minor, negotiated.Flags, session.Threads);
            return new FuseMount(new HeldMount(path, number, negotiated.Minor, (ulong)negotiated.Flags, source), session, logger);
        }
        catch
        {
            End(device, session);
            throw;
        }
    }

    /// <summary>
    /// Goes on serving a mount of a process that has ended, or that reads no requests any more. Nobody who uses the mount notices: what was
    /// asked meanwhile was not answered yet, and is now.
    /// </summary>
    /// <param name="held">What that process left.</param>
    /// <param name="devices">All its open files of the connection, first the one that was mounted with. Taken over.</param>
    /// <param name="fileSystem">The same tree, or for <see cref="MountFace.Erofs"/> the same image file.</param>
    /// <param name="options">As for the first process.</param>
    /// <param name="ledger">Where requests are noted that the kernel sends again.</param>
    /// <param name="loggers">Where events go.</param>
    /// <exception cref="FuseException">The mount is gone, or the process has no descriptors left.</exception>
    public static FuseMount Resume(
        HeldMount held, IReadOnlyList<SafeFileHandle> devices, ImageFileSystem fileSystem, FuseMountOptions options, RequestLedger? ledger, ILoggerFactory loggers)
    {
        ArgumentNullException.ThrowIfNull(held);
        ArgumentNullException.ThrowIfNull(fileSystem);
        ArgumentNullException.ThrowIfNull(options);
        ILogger logger = loggers.CreateLogger<FuseMount>();
        FuseDevice[] files = [.. devices.Select(device => new FuseDevice(device) { Ledger = ledger })];
        var negotiated = new Negotiated(held.Minor, (InitFlags)held.Flags);
        // Before any thread reads: what is read from now on would be sent twice.
        if (held.SendsAgain && files[0].AskToSendAgain() is not 0 and int errno)
        {
            Array.ForEach(files, static file => file.Dispose());
            throw MountFailure.NotResumed(held.Directory, errno);
        }
        FuseOperations operations = held.ErofsSource is { } source
            ? new BackingFileOperations(fileSystem.Tree, negotiated, source)
            : new FuseOperations(fileSystem.Tree, negotiated, options.Uid, options.Gid, options.Umask);
        var session = new FuseSession(files, fileSystem, operations, logger);
        logger.Resumed(options.Source, held.Directory, session.Threads);
        return new FuseMount(held, session, logger);
    }

    /// <summary>What another process needs to go on with this mount.</summary>
    public HeldMount Held { get; }

    /// <summary>The open files of the connection, first the one that was mounted with. Still owned by this object.</summary>
    public IReadOnlyList<SafeFileHandle> Devices => [.. _session.Devices.Select(device => device.Handle)];

    /// <summary>From now on requests are noted that the kernel sends again.</summary>
    public RequestLedger? Ledger
    {
        set
        {
            foreach (FuseDevice device in _session.Devices)
            {
                device.Ledger = value;
            }
        }
    }

    /// <summary>
    /// Reads no more requests; <see cref="Completion"/> completes when those that were read are answered. The mount stays, for another process
    /// that has the <see cref="Devices"/>.
    /// </summary>
    public void Yield() => _session.Yield();

    /// <summary>Another process is to go on with the mount.</summary>
    public bool HasYielded => _session.HasYielded;

    /// <summary>Where it was mounted: absolute, without symbolic links.</summary>
    public string Directory => Held.Directory;

    /// <summary>Device number (major:minor) of the file system, by which the mount table knows it wherever it is mounted. Null when it is not known.</summary>
    public string? Device => Held.Device;

    /// <summary>Completes when the mount is no longer served, for any reason.</summary>
    public Task Completion { get; }

    /// <summary>It has a place in this mount namespace, as far as can be told.</summary>
    public bool IsMounted
    {
        get
        {
            try
            {
                return Device is null || MountPlaces.Of(Device).Exists(place => OnlyOurs?.Invoke(place) ?? true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return true; // no /proc, or no descriptors left
            }
        }
    }

    /// <summary>
    /// Unmounts from all places of this mount namespace. False when one is busy; with <paramref name="lazy"/> they are detached at once,
    /// and the mount ends when the last user leaves. Mounts in other mount namespaces stay.
    /// </summary>
    /// <exception cref="FuseException">It may not be unmounted, or cannot be.</exception>
    public bool TryUnmount(bool lazy)
    {
        if (Device is null)
        {
            return true;
        }
        MountPlaces.Unmount(Device, lazy, out FuseException? failure, OnlyOurs);
        return failure is null || (failure.IsBusy ? false : throw failure);
    }

    /// <summary>
    /// The tree turned out not to be the image's: from now on everything is answered EIO, and the kernel forgets all content, names and
    /// attributes that it was given. Returns when it has.
    /// </summary>
    public void Refuse() => _session.Refuse();

    /// <summary>As far as <see cref="Refuse"/> comes with kernels before Linux 6.16.</summary>
    internal void ForgetEach() => _session.ForgetEach();

    /// <summary>
    /// Detaches from all places, ends the connection and waits for the threads. Whoever still uses the mount, here or in another mount
    /// namespace, gets ENOTCONN.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        bool detached = TryDetach();
        _session.Stop();
        await Completion.ConfigureAwait(false);
        if (!detached)
        {
            Undo(Device, Directory, OnlyOurs); // there are free descriptors now
        }
    }

    /// <summary>Which file system of the kernel shows the tree.</summary>
    public MountFace Face => Held.ErofsSource is null ? MountFace.Fuse : MountFace.Erofs;

    // When the connection has ended the device number may be another's: of EROFS mounts ours is the one that names this process and image, and
    // of FUSE mounts the one that nobody serves.
    private Predicate<MountInfo>? OnlyOurs => !Completion.IsCompleted ? null
        : Held.ErofsSource is null ? static place => place.Face == MountFace.Fuse && MountPoint.Probe(place.MountPoint) == Interop.ENOTCONN
        : place => place.Source == Held.ErofsSource;

    // False when the mount table could not be read.
    private bool TryDetach()
    {
        if (Device is null)
        {
            return true;
        }
        try
        {
            List<MountInfo> left = MountPlaces.Unmount(Device, lazy: true, out FuseException? failure, OnlyOurs);
            if (failure is not null)
            {
                _logger.CannotUnmount(Directory, failure.Message);
            }
            else if (left.Count > 0)
            {
                _logger.Covered(left[0].MountPoint);
            }
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private async Task CompleteAsync()
    {
        await _session.Completion.ConfigureAwait(false);
        if (!HasYielded)
        {
            _logger.Unmounted(Directory);
        }
    }

    private static void End(FuseDevice device, FuseSession? session)
    {
        if (session is null)
        {
            device.Dispose();
            return;
        }
        session.Stop();
        session.Completion.Wait();
    }

    private static void Undo(string? number, string path, Predicate<MountInfo>? only = null)
    {
        try
        {
            if ((number ?? NumberOf(path)) is { } mounted)
            {
                MountPlaces.Unmount(mounted, lazy: true, out _, only);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The mount table cannot be read, for want of descriptors. What was mounted last is what we have mounted.
            MountPoint.TryUnmount(path, lazy: true, out _);
        }
    }

    // What is mounted on the directory, on kernels that do not tell which file system a device belongs to.
    private static string? NumberOf(string directory) => MountInfo.Find(directory) is { Type: MountPoint.FuseType } mount ? mount.Device : null;

    private static FuseDevice Attach(MountDirectory directory, FuseMountOptions options)
        => Interop.GetEffectiveUserId() == 0 ? AttachAsRoot(directory, options) : Fusermount.Mount(directory, FusermountOptions(options));

    private static FuseDevice AttachAsRoot(MountDirectory directory, FuseMountOptions options)
    {
        FuseDevice device = FuseDevice.Open();
        string data = string.Create(CultureInfo.InvariantCulture, $"fd={device.Descriptor},rootmode=40000,user_id={Interop.GetEffectiveUserId()},group_id={Interop.GetEffectiveGroupId()},allow_other,default_permissions,max_read={Negotiation.MaxRead}{options.ContextData}");
        if (Interop.Mount(options.Source, directory.DescriptorPath, MountPoint.FuseType, options.MountFlags, data) < 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            device.Dispose();
            throw MountFailure.Mount(directory.Path, errno);
        }
        return device;
    }

    /// <summary>fusermount3 adds fd, rootmode, user_id and group_id itself, and nosuid and nodev whether asked to or not.</summary>
    internal static string FusermountOptions(FuseMountOptions options)
    {
        string source = options.Source.Replace("\\", "\\\\", StringComparison.Ordinal).Replace(",", "\\,", StringComparison.Ordinal);
        return string.Create(CultureInfo.InvariantCulture, $"ro,nosuid,nodev,{(options.NoExec ? "noexec," : "")}fsname={source},subtype={MountPoint.Subtype},default_permissions,max_read={Negotiation.MaxRead}{(options.AllowOther ? ",allow_other" : "")}");
    }

    /// <summary>
    /// The kernel reads 128 KiB ahead whatever INIT allows, unless told otherwise here; with 1 MiB sequential reads out
    /// of memory are about twice as fast (0.7 -> 1.5 GB/s on a busy machine) and ask a network eight times less often.
    /// Only root may, and only where /sys is writable.
    /// </summary>
    private static void RaiseReadAhead(string? deviceNumber)
    {
        try
        {
            File.WriteAllText($"/sys/class/bdi/{deviceNumber}/read_ahead_kb", (Negotiation.MaxRead >> 10).ToString(CultureInfo.InvariantCulture));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The kernel's own value does.
        }
    }

    private static Negotiated Negotiate(FuseDevice device, string directory, InitFlags more = InitFlags.None)
    {
        using var buffer = new NativeBuffer(Negotiation.RequestBufferSize);
        Span<byte> reply = stackalloc byte[256];
        while (true)
        {
            int length = device.Read(buffer, out int errno);
            if (length < 0)
            {
                if (errno is Interop.EINTR or Interop.EAGAIN)
                {
                    continue;
                }
                throw MountFailure.NoInit(directory, errno);
            }
            if (FuseRequest.Parse(buffer.Span[..length], out FuseRequest request) != RequestError.None || request.Opcode != FuseOpcode.Init)
            {
                throw MountFailure.NoInit(directory, Interop.EINVAL);
            }
            NegotiationResult result = Negotiation.Answer(request, reply, out int replyLength, out Negotiated negotiated, more, s_lessForTests);
            errno = device.Write(reply[..replyLength]);
            if (result == NegotiationResult.TooOld)
            {
                throw MountFailure.KernelTooOld(Negotiation.OldestMinor);
            }
            if (errno != 0)
            {
                throw MountFailure.NoInit(directory, errno);
            }
            if (result == NegotiationResult.Settled)
            {
                return negotiated;
            }
        }
    }
}
