using LazyMount.FileSystem;

namespace LazyMount.Fuse;

/// <summary>Carries out INTERRUPT requests: only a READ that waits can be interrupted.</summary>
internal sealed class Interrupts(IReadOnlyList<FuseDevice> devices, PendingReads pending)
{
    /// <summary>Interrupts a READ that waits.</summary>
    /// <param name="unique">The READ.</param>
    /// <param name="interruptUnique">The INTERRUPT itself.</param>
    public void Interrupt(ulong unique, ulong interruptUnique)
    {
        if (pending.TryInterrupt(unique))
        {
            return; // the READ's own answer is all that the kernel wants
        }
        // Another thread may be about to answer the request, or to make it pending. EAGAIN has the kernel send the
        // INTERRUPT again if the request is still in work; it knows on which device only, so all are tried.
        foreach (FuseDevice device in devices)
        {
            if (device.WriteError(interruptUnique, Errno.EAGAIN) == 0)
            {
                return;
            }
        }
    }
}
