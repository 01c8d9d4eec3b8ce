using System.Globalization;
using System.Runtime.InteropServices;
using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;
using Microsoft.Extensions.Logging;

namespace LazyMount.Fuse;

/// <summary>A mounted image: owns the device, the reader threads and the mount point.</summary>
public sealed class FuseMount : IAsyncDisposable
{
    private readonly string _directory;
    private readonly string? _deviceNumber;
    private readonly FuseSession _session;
    private readonly ILogger _logger;

    private FuseMount(string directory, string? deviceNumber, FuseSession session, ILogger logger)
    {
        (_directory, _deviceNumber, _session, _logger) = (directory, deviceNumber, session, logger);
        Completion = CompleteAsync();
    }

    /// <summary>Mounts and returns once the kernel's INIT has been answered, so that the tree answers. Throws <see cref="FuseException"/>.</summary>
    public static FuseMount Mount(string directory, ImageFileSystem fileSystem, FuseMountOptions options, ILoggerFactory loggers)
    {
        ArgumentNullException.ThrowIfNull(fileSystem);
        ArgumentNullException.ThrowIfNull(options);
        ILogger logger = loggers.CreateLogger<FuseMount>();
        string path = MountPoint.Resolve(directory);

        FuseDevice device = Attach(path, options);
        FuseSession session;
        Negotiated negotiated;
        try
        {
            negotiated = Negotiate(device, path);
            session = new FuseSession(device, negotiated, fileSystem, options, logger);
        }
        catch
        {
            device.Dispose();
            MountPoint.TryDetach(path);
            throw;
        }
        string? deviceNumber = MountInfo.Find(path)?.Device;
        RaiseReadAhead(deviceNumber);
        logger.Mounted(options.Source, path, negotiated.Minor, negotiated.Flags, session.Threads);
        return new FuseMount(path, deviceNumber, session, logger);
    }

    /// <summary>Completes when the mount is gone, by whatever means.</summary>
    public Task Completion { get; }

    /// <summary>Unmounts. False when it is busy; with <paramref name="lazy"/> it is detached at once and ends when the last user leaves.</summary>
    public bool TryUnmount(bool lazy)
    {
        if (!IsMounted())
        {
            return true;
        }
        return MountPoint.TryUnmount(_directory, lazy, out FuseException? failure) || (failure!.IsBusy ? false : throw failure);
    }

    /// <summary>
    /// Detaches if still mounted, waits for the threads, closes the device. Whoever still has a file open gets ENOTCONN
    /// when the mount was made as root; else, and after a lazy unmount, this waits for them to leave.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        if (IsMounted() && !MountPoint.TryDetach(_directory))
        {
            _logger.CannotUnmount(_directory, "it could not be detached");
            return; // waiting would be for ever; the kernel cleans up when the process ends
        }
        await Completion.ConfigureAwait(false);
    }

    private async Task CompleteAsync()
    {
        await _session.Completion.ConfigureAwait(false);
        _logger.Unmounted(_directory);
    }

    /// <summary>Whether what is mounted on our directory is still ours, dead or alive.</summary>
    private bool IsMounted() => MountInfo.Find(_directory)?.Device == _deviceNumber && _deviceNumber is not null;

    private static FuseDevice Attach(string directory, FuseMountOptions options)
        => Interop.GetEffectiveUserId() == 0 ? AttachAsRoot(directory, options) : Fusermount.Mount(directory, FusermountOptions(options));

    private static FuseDevice AttachAsRoot(string directory, FuseMountOptions options)
    {
        nuint flags = Interop.MS_RDONLY;
        flags |= options.Suid ? 0 : Interop.MS_NOSUID;
        flags |= options.Dev ? 0 : Interop.MS_NODEV;
        flags |= options.NoExec ? Interop.MS_NOEXEC : 0;

        FuseDevice device = FuseDevice.Open();
        string data = string.Create(CultureInfo.InvariantCulture, $"fd={device.Descriptor},rootmode=40000,user_id={Interop.GetEffectiveUserId()},group_id={Interop.GetEffectiveGroupId()},allow_other,default_permissions,max_read={Negotiation.MaxRead}");
        if (Interop.Mount(options.Source, directory, MountPoint.Type, flags, data) < 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            device.Dispose();
            throw MountFailure.Mount(directory, errno);
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

    private static Negotiated Negotiate(FuseDevice device, string directory)
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
            NegotiationResult result = Negotiation.Answer(request, reply, out int replyLength, out Negotiated negotiated);
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
